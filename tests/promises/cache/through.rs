//! Through PgBouncer, and with TLS.
