//! The Rust code in the repository's documentation compiles.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/cache.md")]
struct CacheGuide;

#[cfg(doctest)]
#[doc = include_str!("../docs/expiry-and-purge.md")]
struct PurgeGuide;

#[cfg(doctest)]
#[doc = include_str!("../docs/row-level-security.md")]
struct PolicyGuide;
