//! Client for [qsessions](crate), session management inside PostgreSQL.
//!
//! Sessions live in an ordinary table of the database. SQL functions of the extension create, load,
//! save, revoke and purge them. This crate calls those functions: [`Store`] has one method for
//! each, with typed arguments, typed rows and typed [errors](Error). It has no session SQL of its
//! own, so that it does exactly what other languages do with the same functions.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use qsessions::deadpool_postgres::{Config, Runtime, tokio_postgres::NoTls};
//! use qsessions::{Key, Store};
//! use serde_json::json;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = Config {
//!         url: Some("postgres://app@localhost/shop".into()),
//!         ..Config::default()
//!     };
//!     let store = Store::new(config.create_pool(Some(Runtime::Tokio1), NoTls)?);
//!
//!     // An anonymous visitor. The key belongs in the cookie, and nowhere else.
//!     let visit = store
//!         .create()
//!         .data(json!({ "cart": [7] }))
//!         .idle_timeout(Duration::from_secs(30 * 60))
//!         .await?;
//!
//!     // The visitor logs in: the session and its cart stay, the key changes.
//!     let visit = store.login(42).key(&visit.key).await?;
//!
//!     // The next request brings the key back in its cookie.
//!     let key = Key::from(visit.key.expose());
//!     if let Some(session) = store.resume(&key).await? {
//!         println!("{:?} has {} in the cart", session.user_id, session.data["cart"]);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Calls
//!
//! A call with optional arguments returns a builder, which is sent when it is awaited. Where an
//! argument may be missing, its setter also takes an [`Option`]. To hand a call to something that
//! wants a future, such as `join_all`, use its `into_future()`.
//!
//! # Transactions
//!
//! [`Store::on`] makes the same calls on a connection or a transaction of yours, so that a session
//! changes together with your own tables, or not at all.
//!
//! # Cache
//!
//! With the feature `cache`, a [`CachedStore`] keeps sessions in memory and drops what any process
//! changes. A load never returns a state that had been replaced or ended, by a confirmed commit,
//! more than `max_staleness` before the load was called. If the cache cannot guarantee that, the
//! database answers.
//!
//! # Time
//!
//! Instants are [`SystemTime`](std::time::SystemTime), which every library of dates can convert,
//! and durations are [`Duration`](std::time::Duration). `expires_at` is an [`Option`]: `None` is a
//! session that never expires. In serialized results, instants are text as in RFC 3339.
//!
//! # Features
//!
//! All are enabled by default.
//!
//! - `cache`: [`CachedStore`].
//! - `metrics`: counters of the cache, for the recorder of the crate `metrics`.
//! - `purge`: [`Store::purge_every`], a task that purges.
//! - `tracing`: events when the cache begins and stops to answer, and when a purge has failed.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(missing_debug_implementations)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod answer;
mod authenticate;
mod builder;
#[cfg(feature = "cache")]
mod cache;
mod call;
mod client_hints;
mod create;
mod data;
mod database;
mod error;
mod events;
mod expiry;
mod geoip;
mod hooks;
mod import;
mod json;
mod key;
mod list;
mod load;
mod login;
mod members;
mod monitoring;
mod named;
mod purge;
#[cfg(any(feature = "cache", feature = "purge"))]
mod random;
mod revoke;
mod rfc3339;
mod save;
mod session;
mod store;
mod table;
mod user_agents;
mod user_id;
mod visits;
mod wire;

/// The crate of the pool that [`Store::new`] takes, in the version that this crate uses.
pub use deadpool_postgres;
/// The crate of the networks that [`ListSessions::network`] takes, in the version that this crate
/// uses.
pub use ipnet;
pub use uuid::Uuid;

pub use answer::Answer;
pub use authenticate::Authenticate;
#[cfg(feature = "cache")]
pub use builder::CachedStoreBuilder;
pub use builder::StoreBuilder;
#[cfg(feature = "cache")]
pub use cache::{CacheConfig, CachedPool, CachedStore, Health};
pub use client_hints::ClientHints;
pub use create::{Create, NewSession};
pub use data::DataColumn;
pub use database::{Executor, InTransaction};
pub use error::{Error, ErrorKind};
pub use events::{CreateEventTable, EventKind, RevokedBy, UserEvent, UserEvents};
pub use expiry::Expiry;
pub use geoip::{AutonomousSystem, GeoipDatabase, Location, LocationInfo};
pub use import::Import;
pub use key::Key;
pub use list::{ListSessions, SessionInfo, UserSessions};
pub use load::Resume;
pub use login::{Login, NewLogin, RotateKey};
pub use monitoring::{GetStats, Stats};
#[cfg(feature = "purge")]
pub use purge::PurgeTask;
pub use purge::{Purge, PurgeExpired, SchedulePurge};
pub use revoke::{RevokeSessions, RevokeUserSessions};
pub use save::{Patch, Save};
pub use session::{Session, SessionData};
pub use store::Store;
pub use table::{CreateSessionTable, LinkUsers};
pub use user_agents::{Category, Device, ParseUserAgent, UserAgent};
pub use user_id::UserId;
pub use visits::Visit;

/// The code in the README compiles.
#[cfg(all(doctest, feature = "cache"))]
#[doc = include_str!("../README.md")]
struct Readme;
