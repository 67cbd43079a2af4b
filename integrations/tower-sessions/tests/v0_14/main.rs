//! The store under tower-sessions 0.14, and under axum-login, which is built on that version.

extern crate tower_sessions_0_14 as tower_sessions;
extern crate tower_sessions_core_0_14 as tower_sessions_core;

mod logins;
#[path = "../suite/mod.rs"]
mod suite;
