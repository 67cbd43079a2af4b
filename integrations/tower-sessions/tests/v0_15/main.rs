//! The store under tower-sessions 0.15.

extern crate tower_sessions_core_0_15 as tower_sessions_core;

mod quick_start;
#[path = "../suite/mod.rs"]
mod suite;
