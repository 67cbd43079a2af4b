//! Tests against a real server, one file per feature.

mod cached;
mod common;
mod concurrency;
mod cookies;
mod csrf;
mod devices;
mod failures;
mod lazy;
mod login;
mod logs;
mod quick_start;
mod streaming;
mod users;
mod visitors;
