//! A randomised run that shows whether a cache ever answers with what is too old.
//!
//! Several processes, each with a cache of its own, load and change the same sessions at random, while the server is
//! restarted and connections are cut or silently stalled. Each process writes down what it did, when, and what came of it;
//! afterwards the [`checker`] looks for a load that may not have come out as it did.

pub mod chaos;
pub mod checker;
pub mod history;
pub mod report;
pub mod run;
pub mod worker;

pub use qsessions_testkit::{Error, Result};
