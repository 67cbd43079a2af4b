//! Sessions for [axum](https://docs.rs/axum), kept by [qsessions] in PostgreSQL.
//!
//! A [`SessionLayer`] gives each request its [`Session`]. [`CurrentUser`] and [`RequireLogin`] are
//! for users who are signed in, [`CsrfToken`], [`CsrfForm`] and [`CsrfHeader`] protect forms and
//! scripts, and [`Devices`] is a page on which people see where they are signed in.
//!
//! ```no_run
//! use axum::Router;
//! use axum::response::Redirect;
//! use axum::routing::{get, post};
//! use qsessions_axum::{CurrentUser, Devices, Error, RequireLogin, Session, SessionLayer};
//!
//! async fn sign_in(session: Session) -> Result<Redirect, Error> {
//!     // After the password was checked.
//!     session.login(42).await?;
//!     Ok(Redirect::to("/orders"))
//! }
//!
//! async fn orders(CurrentUser(user): CurrentUser<i64>) -> String {
//!     format!("the orders of user {user}")
//! }
//!
//! fn app(store: qsessions::Store) -> Result<Router, qsessions_axum::BuildError> {
//!     let sessions = SessionLayer::builder(store).sign_in_page("/sign-in").build()?;
//!     Ok(Router::new()
//!         .route("/orders", get(orders))
//!         .nest("/account/devices", Devices::new().router())
//!         .route_layer(RequireLogin)
//!         .route("/sign-in", post(sign_in))
//!         .layer(sessions))
//! }
//! ```
//!
//! [`SessionLayer`] says what happens to a session when a handler fails, panics or streams. The
//! README of this crate has a program that signs in, shows devices and signs out.
//!
//! # Features
//!
//! All are enabled by default.
//!
//! - `cache`: the layer also takes a [`qsessions::CachedStore`].
//! - `devices`: the page of devices.
//! - `tracing`: errors are logged with the crate `tracing`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(missing_debug_implementations)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod calls;
mod cookies;
mod csrf;
#[cfg(feature = "devices")]
pub mod devices;
mod error;
mod finish;
mod future;
mod layer;
mod login;
mod next;
mod session;
mod shared;
mod state;
mod store;
mod user;
mod visitor;

pub use builder::SessionLayerBuilder;
pub use cookies::SameSite;
pub use csrf::{CsrfForm, CsrfHeader, CsrfRejection, CsrfToken};
#[cfg(feature = "devices")]
pub use devices::Devices;
pub use error::{BuildError, Error, Interrupted};
pub use future::ResponseFuture;
pub use layer::{SessionLayer, SessionService};
pub use login::{LoggedIn, Login};
pub use next::{Next, safe_path};
pub use session::{ClientAddress, Session};
pub use store::SessionStore;
pub use user::{CurrentUser, NotSignedIn, RequireLogin, RequireLoginService};
pub use visitor::ProxyHeader;

/// The code in the README compiles.
#[cfg(all(doctest, feature = "devices"))]
#[doc = include_str!("../README.md")]
struct Readme;
