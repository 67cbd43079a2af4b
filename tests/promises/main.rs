//! What the contract promises, one file per promise, over the wire.

mod access;
mod bad_input;
mod client;
mod common;
mod concurrency;
mod declared;
mod docs;
mod dump;
mod expiry;
mod grants;
mod inlining;
mod invalidation;
mod keys;
mod languages;
mod life;
mod places;
mod purge;
mod purge_schedule;
mod roles;
mod schema;
mod secrecy;
mod seeing;
mod settings;
mod standby;
mod table;
mod user_agents;
