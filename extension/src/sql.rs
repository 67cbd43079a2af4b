//! The SQL of the extension, from the folder `sql/`: a file for each subject.
//!
//! The install script has them in an order in which each finds what it needs: the functions in Rust
//! that a file comments on, or that a standard body in it calls, and the files that are named.

use pgrx::extension_sql_file;

extension_sql_file!("../../sql/schema.sql", name = "schema", bootstrap);
extension_sql_file!(
    "../../sql/gucs.sql",
    name = "gucs",
    requires = [
        "schema",
        default_ttl,
        touch_interval,
        user_agent_max_length,
        max_data_bytes,
        purge_pause,
        data_size,
        data_fits
    ]
);
extension_sql_file!(
    "../../sql/keys.sql",
    name = "keys",
    requires = [
        "gucs",
        generate_key,
        generate_key_for,
        find_session_id,
        key_digest,
        digest_opens
    ]
);
extension_sql_file!(
    "../../sql/addresses.sql",
    name = "addresses",
    requires = ["keys", address, host, network]
);
extension_sql_file!(
    "../../sql/user_agents.sql",
    name = "user_agents",
    requires = [
        "addresses",
        parse_user_agent,
        parse_user_agent_with_hints,
        device,
        device_with_hints,
        kept_user_agent,
        kept_client_hints,
        user_agent_rules
    ]
);
extension_sql_file!(
    "../../sql/geoip.sql",
    name = "geoip",
    requires = [
        "user_agents",
        location,
        location_info,
        country_code,
        asn,
        geoip_databases,
        geoip_reload
    ]
);
extension_sql_file!(
    "../../sql/invalidation.sql",
    name = "invalidation",
    requires = [
        "geoip",
        invalidate,
        invalidation_channel,
        invalidation_status,
        request_heartbeat
    ]
);
extension_sql_file!(
    "../../sql/errors.sql",
    name = "errors",
    requires = ["invalidation"]
);
extension_sql_file!("../../sql/table.sql", name = "table", requires = ["errors"]);
extension_sql_file!(
    "../../sql/expiry.sql",
    name = "expiry",
    requires = ["table", plus, slide, expiry_or_default, now_if]
);
extension_sql_file!(
    "../../sql/create.sql",
    name = "create",
    requires = ["expiry", admit_session, needs_more]
);
extension_sql_file!(
    "../../sql/import.sql",
    name = "import",
    requires = ["create"]
);
extension_sql_file!("../../sql/load.sql", name = "load", requires = ["import"]);
extension_sql_file!(
    "../../sql/visits.sql",
    name = "visits",
    requires = ["load", are_distinct]
);
extension_sql_file!("../../sql/cache.sql", name = "cache", requires = ["visits"]);
extension_sql_file!("../../sql/save.sql", name = "save", requires = ["cache"]);
extension_sql_file!(
    "../../sql/login.sql",
    name = "login",
    requires = ["save", lock_user_hash]
);
extension_sql_file!(
    "../../sql/revoke.sql",
    name = "revoke",
    requires = ["login"]
);
extension_sql_file!("../../sql/list.sql", name = "list", requires = ["revoke"]);
extension_sql_file!(
    "../../sql/distribute.sql",
    name = "distribute",
    requires = ["list"]
);
extension_sql_file!(
    "../../sql/distributed_bodies.sql",
    name = "distributed_bodies",
    requires = ["distribute"]
);
extension_sql_file!(
    "../../sql/monitoring.sql",
    name = "monitoring",
    requires = ["distributed_bodies", metrics, count]
);
extension_sql_file!(
    "../../sql/purge.sql",
    name = "purge",
    requires = ["monitoring", schedule_purge, unschedule_purge]
);
extension_sql_file!(
    "../../sql/events.sql",
    name = "events",
    requires = [
        "purge",
        has_events,
        begin_reason,
        end_reason,
        reason,
        records_logins,
        device_key
    ]
);
extension_sql_file!(
    "../../sql/authenticate.sql",
    name = "authenticate",
    requires = ["purge", authenticate, current_user_id, current_session_id]
);
extension_sql_file!(
    "../../sql/event_table.sql",
    name = "event_table",
    requires = ["events"]
);
extension_sql_file!("../../sql/access.sql", name = "access", finalize);

/// pgrx creates functions only in a schema that it knows. `schema.sql`, which comes first, has
/// created this one; the CREATE SCHEMA IF NOT EXISTS that pgrx adds then does nothing.
#[pgrx::pg_schema]
mod qsessions {}
