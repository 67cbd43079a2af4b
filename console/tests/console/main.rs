//! Tests of the console against a real server. Unless a test says otherwise, the console connects as
//! a role that has the privileges in docs/console.md and no others.

mod common;
mod end;
mod failures;
mod forms;
mod health;
mod live;
mod mounted;
mod overview;
mod places;
mod program;
mod rights;
mod search;
mod secrecy;
mod session;
