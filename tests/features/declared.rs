//! The objects of the extension. A change here is a change of the API.

/// Functions and procedures of the API, as PostgreSQL prints them: arguments, defaults and result.
pub(crate) const CONTRACT: &[&str] = &[
    // Keys and ids
    "generate_key() -> text",
    "session_id(key text) -> uuid",
    // The table
    "create_session_table(users regclass DEFAULT NULL::regclass, user_key name DEFAULT NULL::name) -> void",
    "link_users(users regclass, user_key name DEFAULT NULL::name) -> void",
    "update_session_table(rewrite boolean DEFAULT false) -> void",
    "distribute_session_table(shard_count integer DEFAULT NULL::integer) -> void",
    // Sessions
    "create_session(user_id anycompatiblenonarray DEFAULT NULL::text, data jsonb DEFAULT '{}'::jsonb, ip inet DEFAULT NULL::inet, \
     user_agent text DEFAULT NULL::text, ttl interval DEFAULT NULL::interval, \
     idle_timeout interval DEFAULT NULL::interval, max_age interval DEFAULT NULL::interval, \
     key text DEFAULT NULL::text, client_hints jsonb DEFAULT NULL::jsonb, \
     max_sessions integer DEFAULT NULL::integer) -> qsessions.new_session",
    "import_session(key text, user_id anycompatiblenonarray DEFAULT NULL::text, data jsonb DEFAULT '{}'::jsonb, \
     ip inet DEFAULT NULL::inet, user_agent text DEFAULT NULL::text, \
     created_at timestamp with time zone DEFAULT NULL::timestamp with time zone, \
     authenticated_at timestamp with time zone DEFAULT NULL::timestamp with time zone, \
     last_seen_at timestamp with time zone DEFAULT NULL::timestamp with time zone, \
     expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, \
     client_hints jsonb DEFAULT NULL::jsonb) -> boolean",
    "load_session(key text) -> SETOF qsessions.session_data",
    "resume_session(key text, ip inet DEFAULT NULL::inet, user_agent text DEFAULT NULL::text, \
     client_hints jsonb DEFAULT NULL::jsonb) -> SETOF qsessions.session_data",
    "record_visits(ids uuid[], digests bytea[], ips inet[], user_agents text[], seen_at timestamp with time zone[], \
     client_hints jsonb[] DEFAULT NULL::jsonb[]) -> bigint",
    "record_visits_for_cache(ids uuid[], digests bytea[], ips inet[], user_agents text[], \
     seen_at timestamp with time zone[], client_hints jsonb[] DEFAULT NULL::jsonb[]) \
     -> SETOF qsessions.recorded_visit",
    "session_exists(key text) -> boolean",
    "save_session(key text, data jsonb, expected_version bigint DEFAULT NULL::bigint, \
     ttl interval DEFAULT NULL::interval, user_id anycompatiblenonarray DEFAULT NULL::text) -> bigint",
    "patch_session(key text, changes jsonb DEFAULT '{}'::jsonb, remove text[] DEFAULT '{}'::text[]) -> bigint",
    "set_expiry(key text, ttl interval DEFAULT NULL::interval, idle_timeout interval DEFAULT NULL::interval, \
     max_age interval DEFAULT NULL::interval) -> timestamp with time zone",
    "login(key text, user_id anycompatiblenonarray, ip inet DEFAULT NULL::inet, user_agent text DEFAULT NULL::text, \
     data jsonb DEFAULT NULL::jsonb, max_sessions integer DEFAULT NULL::integer, \
     ttl interval DEFAULT NULL::interval, idle_timeout interval DEFAULT NULL::interval, \
     max_age interval DEFAULT NULL::interval, client_hints jsonb DEFAULT NULL::jsonb) -> qsessions.new_login",
    "rotate_key(key text, grace interval DEFAULT NULL::interval) -> text",
    "logout(key text) -> boolean",
    "revoke_session(id uuid) -> boolean",
    "revoke_session(id uuid, user_id anycompatiblenonarray) -> boolean",
    "revoke_user_sessions(user_id anycompatiblenonarray, except_key text DEFAULT NULL::text) -> bigint",
    "revoke_sessions(user_id anycompatiblenonarray DEFAULT NULL::text, ip inet DEFAULT NULL::inet, \
     created_before timestamp with time zone DEFAULT NULL::timestamp with time zone, \
     last_seen_before timestamp with time zone DEFAULT NULL::timestamp with time zone, \
     user_agent text DEFAULT NULL::text, max_rows integer DEFAULT NULL::integer) -> bigint",
    // Who is asking
    "authenticate(key text, ip inet DEFAULT NULL::inet, user_agent text DEFAULT NULL::text, \
     client_hints jsonb DEFAULT NULL::jsonb) -> SETOF qsessions.session_data",
    "current_user_id() -> text",
    "current_session_id() -> uuid",
    // Events
    "create_event_table(retention interval DEFAULT '180 days'::interval) -> void",
    "user_events(user_id anycompatiblenonarray, max_rows integer DEFAULT 50) -> SETOF qsessions.event_info",
    // Listing sessions
    "user_sessions(user_id anycompatiblenonarray, current_key text DEFAULT NULL::text, max_rows integer DEFAULT NULL::integer) -> SETOF qsessions.session_info",
    "list_sessions(user_id anycompatiblenonarray DEFAULT NULL::text, active boolean DEFAULT NULL::boolean, \
     ip inet DEFAULT NULL::inet, after uuid DEFAULT NULL::uuid, max_rows integer DEFAULT 100, \
     device text DEFAULT NULL::text, country text DEFAULT NULL::text, \
     last_seen_after timestamp with time zone DEFAULT NULL::timestamp with time zone) \
     -> SETOF qsessions.session_info",
    "get_session(id uuid) -> SETOF qsessions.session_data",
    "stats(exact boolean DEFAULT true) -> qsessions.session_stats",
    "metrics() -> TABLE(sessions_created_total bigint, logins_total bigint, loads_of_nothing_total bigint, \
     saves_total bigint, conflicts_total bigint, logouts_total bigint, revoked_total bigint, \
     expired_total bigint, purged_total bigint, announced_total bigint, overflows_total bigint)",
    // Expiry and purge
    "purge_expired(batch_size integer DEFAULT 10000) -> bigint",
    "purge(IN batch_size integer DEFAULT 10000, IN max_batches integer DEFAULT NULL::integer) -> procedure",
    "schedule_purge(schedule text DEFAULT '*/5 * * * *'::text, batch_size integer DEFAULT 10000) -> bigint",
    "unschedule_purge() -> boolean",
    // User agents
    "parse_user_agent(user_agent text) -> qsessions.user_agent_info",
    "parse_user_agent(user_agent text, client_hints jsonb) -> qsessions.user_agent_info",
    "device(user_agent text) -> text",
    "device(user_agent text, client_hints jsonb) -> text",
    "user_agent_rules() -> TABLE(version text, browsers integer, bots integer, tools integer, systems integer, \
     devices integer, models integer)",
    // Addresses and GeoIP
    "address(written text) -> inet",
    "location(ip inet, locale text DEFAULT NULL::text) -> text",
    "location_info(ip inet, locale text DEFAULT NULL::text) -> jsonb",
    "country_code(ip inet) -> text",
    "asn(ip inet) -> qsessions.asn_info",
    "geoip_databases() -> TABLE(path text, database_type text, build_time timestamp with time zone, \
     ip_version integer, languages text[], node_count bigint, bytes bigint, \
     loaded_at timestamp with time zone, error text, error_at timestamp with time zone)",
    "geoip_reload() -> TABLE(path text, database_type text, build_time timestamp with time zone, \
     ip_version integer, languages text[], node_count bigint, bytes bigint, \
     loaded_at timestamp with time zone, error text, error_at timestamp with time zone)",
    // Invalidation
    "invalidate(id uuid) -> void",
    "request_heartbeat() -> bytea",
    "request_heartbeats(probe uuid DEFAULT NULL::uuid) -> TABLE(server text, has_sessions boolean, \
     server_started_at timestamp with time zone, database text, channel text, \
     clock timestamp with time zone, digest bytea, layout text, placements text)",
    "invalidation_channel() -> text",
    "load_for_cache(key text) -> SETOF qsessions.cacheable_session",
    "invalidation_status() -> TABLE(mode text, channel text, ring_size integer, backlog bigint, \
     announced bigint, overflows bigint, notifier_pid integer, problem text)",
    // Access
    "grant_access(role regrole) -> void",
    "revoke_access(role regrole) -> void",
    "grant_monitoring(role regrole) -> void",
    "revoke_monitoring(role regrole) -> void",
];

/// Internal functions, which only the functions of the API call.
pub(crate) const INTERNAL: &[&str] = &[
    "_add_event_month",
    "_add_expires_hour",
    "_add_user_foreign_key",
    "_admit_session",
    "_announce",
    "_application_functions",
    "_are_distinct",
    "_assign_user",
    "_base_type",
    "_begin_event_reason",
    "_check_access_change",
    "_check_batch_size",
    "_check_citus",
    "_check_cron",
    "_check_grace",
    "_check_interval",
    "_check_max_sessions",
    "_check_user_kept",
    "_check_visit_arrays",
    "_check_workers",
    "_collation_clause",
    "_conversion_type",
    "_count",
    "_count_load_of_nothing",
    "_data_fits",
    "_data_size",
    "_default_ttl",
    "_delete_deletable",
    "_device_key",
    "_digest_opens",
    "_distribute",
    "_distributed_get_session",
    "_distributed_load_for_cache",
    "_distributed_load_session",
    "_distributed_record_visits_for_cache",
    "_distributed_revoke_sessions",
    "_distributed_user_sessions",
    "_end_event_reason",
    "_estimate",
    "_event_partitions",
    "_event_reason",
    "_expired_ids",
    "_expiry",
    "_expiry_or_default",
    "_find_session_id",
    "_generate_key_for",
    "_grant_events",
    "_has_events",
    "_has_used_device",
    "_has_used_place",
    "_heartbeat_of_server",
    "_host",
    "_id_time",
    "_is_distributed",
    "_is_new",
    "_is_same_device",
    "_is_user_key_type",
    "_kept_client_hints",
    "_kept_user_agent",
    "_key_digest",
    "_key_opens",
    "_last_logins",
    "_layout",
    "_library_version",
    "_lock_expired",
    "_lock_passed",
    "_lock_user_hash",
    "_maintain_event_table",
    "_max_data_bytes",
    "_merge_visits",
    "_merged_client_hints",
    "_monitored_columns",
    "_monitoring_functions",
    "_move_on",
    "_needs_more",
    "_network",
    "_now_if",
    "_oldest_expired",
    "_plus",
    "_prepare_worker",
    "_purge_batch",
    "_purge_pause",
    "_purge_relation",
    "_purge_shards",
    "_raise_cron_denied",
    "_raise_data_too_large",
    "_raise_not_found",
    "_raise_not_saved",
    "_raise_null",
    "_record_deletions",
    "_record_import",
    "_record_login",
    "_record_new_login",
    "_record_rotation",
    "_records_logins",
    "_repeat_on_workers",
    "_revoke_beyond",
    "_run_on_shards",
    "_run_on_workers",
    "_schedule_purge",
    "_slide",
    "_sync_user_key_type",
    "_touch_interval",
    "_unschedule_purge",
    "_use_distributed_bodies",
    "_user_agent_max_length",
    "_user_key_column",
    "_visit_counts",
    "_visit_due_at",
    "_visit_tells",
    "_warn_not_recorded",
];

/// Tables of the extension.
pub(crate) const TABLES: &[&str] = &["invalidation_prepared", "invalidation_state"];

/// Row types and their columns.
pub(crate) const TYPES: &[(&str, &[&str])] = &[
    (
        "cacheable_session",
        &[
            "id uuid",
            "user_id text",
            "data jsonb",
            "ip inet",
            "user_agent text",
            "created_at timestamp with time zone",
            "authenticated_at timestamp with time zone",
            "updated_at timestamp with time zone",
            "last_seen_at timestamp with time zone",
            "expires_at timestamp with time zone",
            "version bigint",
            "visit_due_at timestamp with time zone",
            "user_agent_max_length integer",
            "server_started_at timestamp with time zone",
            "is_standby boolean",
            "client_hints jsonb",
            "is_former_key boolean",
            "idle_timeout interval",
            "deadline timestamp with time zone",
        ],
    ),
    (
        "new_session",
        &["key text", "id uuid", "expires_at timestamp with time zone"],
    ),
    (
        "new_login",
        &[
            "key text",
            "id uuid",
            "expires_at timestamp with time zone",
            "is_new_device boolean",
            "is_new_place boolean",
        ],
    ),
    (
        "session_data",
        &[
            "id uuid",
            "user_id text",
            "data jsonb",
            "ip inet",
            "user_agent text",
            "created_at timestamp with time zone",
            "authenticated_at timestamp with time zone",
            "updated_at timestamp with time zone",
            "last_seen_at timestamp with time zone",
            "expires_at timestamp with time zone",
            "version bigint",
        ],
    ),
    (
        "session_info",
        &[
            "id uuid",
            "user_id text",
            "ip inet",
            "location text",
            "device text",
            "user_agent text",
            "created_at timestamp with time zone",
            "authenticated_at timestamp with time zone",
            "updated_at timestamp with time zone",
            "last_seen_at timestamp with time zone",
            "expires_at timestamp with time zone",
            "is_active boolean",
            "is_current boolean",
        ],
    ),
    (
        "session_stats",
        &[
            "total bigint",
            "active bigint",
            "expired bigint",
            "anonymous bigint",
            "authenticated bigint",
            "users bigint",
            "oldest_expired_at timestamp with time zone",
            "table_bytes bigint",
            "index_bytes bigint",
        ],
    ),
    (
        "event_info",
        &[
            "at timestamp with time zone",
            "event text",
            "revoked_by text",
            "session_id uuid",
            "ip inet",
            "location text",
            "device text",
            "user_agent text",
            "is_new_device boolean",
            "is_new_place boolean",
        ],
    ),
    ("asn_info", &["number bigint", "organization text"]),
    (
        "recorded_visit",
        &[
            "id uuid",
            "last_seen_at timestamp with time zone",
            "expires_at timestamp with time zone",
            "visit_due_at timestamp with time zone",
            "is_written boolean",
            "is_skipped boolean",
        ],
    ),
    (
        "user_agent_info",
        &[
            "browser text",
            "browser_version text",
            "os text",
            "os_version text",
            "device text",
            "vendor text",
            "category text",
            "is_bot boolean",
        ],
    ),
];
