//! What the contract promises, one file per promise, over the wire.

mod keys;
