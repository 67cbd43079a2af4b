//! What the pages show, read from the database.

pub(crate) mod health;
pub(crate) mod live;
pub(crate) mod overview;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod timeline;
