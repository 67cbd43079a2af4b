//! What the contract promises, one file per promise, over the wire.

mod common;
mod expiry;
mod keys;
mod life;
mod table;
