//! Client for [qsessions](crate), session management inside PostgreSQL.
//!
//! The sessions live in the database, in an ordinary table, and SQL functions of the extension
//! create, load, save, revoke and purge them. This crate calls those functions: [`Store`] has one
//! async method for each, typed arguments, typed rows and typed [errors](Error). It writes no
//! session SQL of its own, so that what it does is what any other language does through the same
//! functions.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use qsessions::deadpool_postgres::{Config, Runtime, tokio_postgres::NoTls};
//! use qsessions::{Key, Login, NewSession, Store};
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
//!     // A visitor: the key goes into a cookie, and nowhere else.
//!     let visitor = NewSession::new()
//!         .data(json!({ "cart": [7] }))
//!         .idle_timeout(Duration::from_secs(30 * 60));
//!     let visit = store.create(visitor).await?;
//!
//!     // The visitor logs in: the cart stays, the key changes.
//!     let visit = store.login(Login::user(42).key(visit.key)).await?;
//!
//!     // The next request brings the key back in its cookie.
//!     let key = Key::from(visit.key.expose());
//!     if let Some(session) = store.resume(&key, None, None).await? {
//!         println!("{:?} has {} in the cart", session.user_id, session.data["cart"]);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Transactions
//!
//! [`Store::on`] gives the same methods on a connection or a transaction of yours, so that a
//! session changes together with your own tables or not at all.
//!
//! # Cache
//!
//! [`Store::builder`] makes a store that keeps sessions in memory and drops what any process
//! changes. Its guarantee: a load never returns a state that had been replaced or ended more than
//! [`max_staleness`](CacheConfig::max_staleness) before the load was called, by a commit that had
//! been confirmed. What it can't vouch for comes from the database.
//!
//! # Time
//!
//! Instants are [`SystemTime`](std::time::SystemTime), which every date library converts from, and
//! durations are [`Duration`](std::time::Duration). A session that never expires has no instant, so
//! `expires_at` is an [`Option`], and `None` means never.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod cache;
mod error;
mod expiry;
mod key;
mod login;
mod new_session;
mod place;
mod save;
mod session;
mod session_filter;
mod stats;
mod store;
mod user_agent;
mod user_id;
mod wire;

/// The pool that [`Store::new`] takes, at the version this crate was built with.
pub use deadpool_postgres;

pub use cache::{CacheConfig, Health};
pub use error::Error;
pub use expiry::Expiry;
pub use key::Key;
pub use login::Login;
pub use new_session::NewSession;
pub use place::{AutonomousSystem, GeoipDatabase};
pub use save::Save;
pub use session::{CreatedSession, Session, SessionInfo};
pub use session_filter::SessionFilter;
pub use stats::Stats;
pub use store::{Connection, Source, Store, StoreBuilder};
pub use user_agent::{Category, UserAgent};
pub use user_id::UserId;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
