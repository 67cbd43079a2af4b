//! Long random tests, mostly of the client's cache.
//!
//! Several processes, each with its own cache, load and change the same sessions at random, while
//! the server is restarted and connections are cut or silently stalled. Each process records every
//! call with its time and its result. Afterwards the [`checker`] looks for loads whose results
//! violate the guarantee of the cache.
//!
//! [`rows`] is a test of its own, of the session table instead of caches.

pub mod chaos;
pub mod checker;
pub mod history;
pub mod report;
pub mod rows;
pub mod run;
pub mod worker;

pub use qsessions_testkit::{Error, Result};
