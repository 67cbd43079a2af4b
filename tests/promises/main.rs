//! What the contract promises, one file per promise, over the wire.

mod bad_input;
mod client;
mod common;
mod concurrency;
mod expiry;
mod keys;
mod life;
mod places;
mod secrecy;
mod seeing;
mod settings;
mod table;
mod user_agents;
