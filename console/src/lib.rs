//! Web pages on which administrators see the sessions of [qsessions](https://docs.rs/qsessions), find
//! them, and end them.
//!
//! The program `qsessions-console` serves them on its own. An application that has axum, and pages
//! for administrators, can mount them there instead. **Anyone who can open the pages can see and end
//! all sessions**, so put them behind a login:
//!
//! ```
//! use axum::{Router, extract::Request, http::StatusCode, middleware::{self, Next}, response::Response};
//! use qsessions::deadpool_postgres::Pool;
//! use qsessions_console::Options;
//!
//! # fn is_administrator(_: &Request) -> bool { true }
//! async fn require_administrator(request: Request, next: Next) -> Result<Response, StatusCode> {
//!     match is_administrator(&request) {
//!         true => Ok(next.run(request).await),
//!         false => Err(StatusCode::NOT_FOUND),
//!     }
//! }
//!
//! fn application(pool: Pool) -> Router {
//!     let console = qsessions_console::router(pool, Options::new())
//!         .layer(middleware::from_fn(require_administrator));
//!     Router::new().nest("/admin/sessions", console)
//! }
//! ```
//!
//! The pool connects as a role that may read and delete sessions; the README of the crate lists the
//! privileges. Forms have tokens against forgery of their own.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod assets;
mod cached;
mod csrf;
mod data;
mod database;
mod door;
mod filter;
mod headers;
mod options;
mod pages;
mod pairs;
mod plot;
mod problem;
mod random;
mod site;
mod words;

pub use door::Door;
pub use options::Options;

use axum::Router;
use axum::middleware::map_response;
use qsessions::deadpool_postgres::Pool;
use site::Site;
use std::sync::Arc;

/// The pages, to be served at any path.
pub fn router(pool: Pool, options: Options) -> Router {
    pages::routes()
        .with_state(Arc::new(Site::new(pool, options)))
        .merge(assets::routes())
        .layer(map_response(async |response| headers::protect(response)))
}

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
