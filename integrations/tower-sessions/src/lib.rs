//! A session store for [tower-sessions] and [axum-login] that keeps sessions in PostgreSQL with
//! [qsessions].
//!
//! [`QsessionsStore`] implements the `SessionStore` and `ExpiredDeletion` of tower-sessions 0.14 and
//! 0.15. [`VisitorLayer`] tells it which address and which browser a request comes from.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use axum::{Router, extract::ConnectInfo};
//! use qsessions_tower_sessions::{QsessionsStore, VisitorLayer};
//! use tower_sessions::SessionManagerLayer;
//!
//! # fn example(store: qsessions::Store) -> Router {
//! Router::new()
//!     .layer(SessionManagerLayer::new(QsessionsStore::new(store)))
//!     .layer(VisitorLayer::new(|request| {
//!         let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
//!         peer.map(|peer| peer.0.ip())
//!     }))
//! # }
//! ```
//!
//! # Features
//!
//! Both are enabled by default, and can be enabled together.
//!
//! - `v0_14`: the store of tower-sessions 0.14, which axum-login 0.18 uses.
//! - `v0_15`: the store of tower-sessions 0.15.
//!
//! [tower-sessions]: https://docs.rs/tower-sessions
//! [axum-login]: https://docs.rs/axum-login

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(missing_debug_implementations)]

#[cfg(not(any(feature = "v0_14", feature = "v0_15")))]
compile_error!("enable the feature v0_14 or v0_15, for the version of tower-sessions");

mod data;
mod request;
mod store;
mod user;
mod versions;
mod visitor;

/// The client of qsessions, in the version that this crate uses.
pub use qsessions;

pub use data::Data;
pub use store::QsessionsStore;
pub use user::axum_login_user;
pub use visitor::{Visitor, VisitorLayer};

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
