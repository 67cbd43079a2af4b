//! Every function of the API, from every server, as the owner and as the role of an application.

use super::{CALLS, Cluster, DATABASE, execute};
use crate::common::{failure, texts};
use crate::declared::CONTRACT;
use qsessions_testkit::connect;
use std::collections::{BTreeSet, HashMap};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

/// Functions that only create, change or remove what belongs to a database, or refuse to.
const OF_THE_DATABASE: &[&str] = &[
    "create_event_table",
    "create_session_table",
    "distribute_session_table",
    "grant_access",
    "grant_monitoring",
    "link_users",
    "revoke_access",
    "revoke_monitoring",
    "schedule_purge",
    "unschedule_purge",
    "update_session_table",
    "user_events",
];

/// A connection that prepares each statement once, with parameters, as applications do.
struct Caller {
    client: Client,
    /// The type of user ids, and the three users whose sessions this connection uses.
    user_type: &'static str,
    users: [String; 3],
    /// The server's administrator may call more than an application.
    is_owner: bool,
    statements: HashMap<String, Statement>,
}

impl Caller {
    /// What a call returns, as text. `{user}` in it is the argument after the others.
    async fn call(&mut self, call: &str, arguments: &[&str], user: usize) -> Option<String> {
        let mut arguments = arguments.to_vec();
        let parameter = format!("${}::{}", arguments.len() + 1, self.user_type);
        if call.contains("{user}") {
            arguments.push(&self.users[user]);
        }
        let statement =
            format!("SELECT r::text FROM (SELECT {call}) AS c (r)").replace("{user}", &parameter);
        if !self.statements.contains_key(&statement) {
            let types = vec![Type::TEXT; arguments.len()];
            let prepared = self.client.prepare_typed(&statement, &types).await;
            let prepared = prepared.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
            self.statements.insert(statement.clone(), prepared);
        }
        let arguments = arguments
            .iter()
            .map(|argument| argument as &(dyn tokio_postgres::types::ToSql + Sync));
        let rows = self
            .client
            .query(&self.statements[&statement], &arguments.collect::<Vec<_>>())
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        rows.first().and_then(|row| row.get(0))
    }

    async fn get(&mut self, call: &str, arguments: &[&str]) -> String {
        let found = self.call(call, arguments, 0).await;
        found.unwrap_or_else(|| panic!("{call} returned nothing"))
    }

    /// Asserts what a call returns; an empty text stands for null and for no row.
    async fn expect(&mut self, call: &str, arguments: &[&str], expected: &str) {
        let found = self.call(call, arguments, 0).await.unwrap_or_default();
        assert_eq!(found, expected, "{call}");
    }

    /// Uses sessions, in an order in which each call finds what those before have left.
    async fn use_sessions(&mut self, round: usize) {
        const NEW: &str =
            "(qsessions.create_session({user}, '{\"a\": 1}', '192.0.2.1', 'Mozilla/5.0')).key";
        let key = self.get(NEW, &[]).await;
        let key = key.as_str();
        self.expect("(qsessions.load_session($1)).data", &[key], "{\"a\": 1}")
            .await;
        self.expect("(qsessions.load_for_cache($1)).version", &[key], "1")
            .await;
        self.expect("qsessions.session_exists($1)", &[key], "true")
            .await;
        self.expect("qsessions.save_session($1, '{\"b\": 2}', 1)", &[key], "2")
            .await;
        self.expect(
            "qsessions.save_session($1, '{\"b\": 2}', ttl => '2 days')",
            &[key],
            "3",
        )
        .await;
        self.expect(
            "qsessions.patch_session($1, '{\"c\": 3}', '{b}')",
            &[key],
            "4",
        )
        .await;
        self.expect("(qsessions.load_session($1)).data", &[key], "{\"c\": 3}")
            .await;
        let address = format!("198.51.100.{}", round % 200);
        self.expect(
            "(qsessions.resume_session($1, $2::inet, 'curl/8.0', '{\"Sec-CH-UA-Platform\": \"\\\"Linux\\\"\"}')).user_agent",
            &[key, &address],
            "curl/8.0",
        )
        .await;
        self.expect(
            "(qsessions.resume_session($1)).ip",
            &[key],
            &format!("{address}/32"),
        )
        .await;
        self.client.batch_execute("BEGIN").await.unwrap();
        let user = self.users[0].clone();
        self.expect("(qsessions.authenticate($1)).user_id", &[key], &user)
            .await;
        self.expect("qsessions.current_user_id()", &[], &user).await;
        self.expect(
            "qsessions.current_session_id() = qsessions.session_id($1)",
            &[key],
            "true",
        )
        .await;
        self.client.batch_execute("COMMIT").await.unwrap();
        self.expect(
            "qsessions.set_expiry($1, idle_timeout => '1 hour', max_age => '1 day') > now()",
            &[key],
            "true",
        )
        .await;
        self.expect(
            "(qsessions.get_session(qsessions.session_id($1))).version",
            &[key],
            "4",
        )
        .await;
        let rotated = self
            .get("qsessions.rotate_key($1, '30 seconds')", &[key])
            .await;
        self.expect("qsessions.session_exists($1)", &[key], "true")
            .await;
        let again = self
            .get("(qsessions.login($1, {user})).key", &[&rotated])
            .await;
        self.expect("qsessions.session_exists($1)", &[key], "false")
            .await;
        self.expect(
            "count(*) FROM qsessions.user_sessions({user}, $1) AS u WHERE u.is_current",
            &[&again],
            "1",
        )
        .await;
        for filter in [
            "{user}, true",
            "{user}, max_rows => 5, device => 'curl'",
            "{user}, ip => '198.51.100.0/24'",
        ] {
            self.expect(
                &format!("count(*) FROM qsessions.list_sessions({filter})"),
                &[],
                "1",
            )
            .await;
        }
        self.end_sessions(&again).await;
        self.purge().await;
    }

    /// Continues with the session of a key.
    async fn end_sessions(&mut self, key: &str) {
        // Another user's login ends the session and begins another.
        let login = "(qsessions.login($1, {user}, max_sessions => 1)).key";
        let of_other = self.call(login, &[key], 1).await.unwrap();
        self.expect("qsessions.session_exists($1)", &[key], "false")
            .await;
        let newer = self
            .call(
                "(qsessions.create_session({user}, max_sessions => 1)).key",
                &[],
                1,
            )
            .await
            .unwrap();
        self.expect("qsessions.session_exists($1)", &[&of_other], "false")
            .await;
        self.expect("qsessions.logout($1)", &[&newer], "true").await;
        self.expect("qsessions.logout($1)", &[&newer], "false")
            .await;

        let key = self
            .get(
                "(qsessions.create_session(idle_timeout => '1 hour')).key",
                &[],
            )
            .await;
        self.expect(
            "qsessions.save_session($1, '{}', user_id => {user})",
            &[&key],
            "2",
        )
        .await;
        let visit = "ARRAY[qsessions.session_id($1)], ARRAY[sha256($1::bytea)], ARRAY[$2::inet], ARRAY['Mozilla/5.0'], ARRAY[now()]";
        for (function, address) in [
            ("record_visits", "203.0.113.1"),
            ("record_visits_for_cache", "203.0.113.2"),
        ] {
            let call = format!("count(*) FROM qsessions.{function}({visit})");
            self.expect(&call, &[&key, address], "1").await;
            self.expect("host((qsessions.load_session($1)).ip)", &[&key], address)
                .await;
        }
        let id = self.get("qsessions.session_id($1)", &[&key]).await;
        self.expect("qsessions.revoke_session($1::uuid, {user})", &[&id], "true")
            .await;
        let key = self.get("(qsessions.create_session()).key", &[]).await;
        self.expect(
            "qsessions.revoke_session(qsessions.session_id($1))",
            &[&key],
            "true",
        )
        .await;
        let gone = failure(
            &self.client,
            &format!("SELECT qsessions.save_session('{key}', '{{}}')"),
            &[],
        )
        .await;
        assert_eq!(gone.code, "QS001");

        let import = "qsessions.import_session($1, {user}, '{\"a\": 1}', ip => '192.0.2.9')";
        let imported = self
            .get("qsessions.generate_key() || ' imported'", &[])
            .await;
        self.expect(import, &[&imported], "true").await;
        self.expect(import, &[&imported], "false").await;
        for call in [
            "qsessions.revoke_user_sessions({user})",
            "qsessions.revoke_sessions({user}, max_rows => 3)",
        ] {
            let kept = self
                .call("(qsessions.create_session({user})).key", &[], 2)
                .await
                .unwrap();
            for _ in 0..3 {
                self.call("(qsessions.create_session({user})).key", &[], 2)
                    .await
                    .unwrap();
            }
            if call.contains("revoke_user_sessions") {
                let others = self
                    .call("qsessions.revoke_user_sessions({user}, $1)", &[&kept], 2)
                    .await;
                assert_eq!(others.as_deref(), Some("3"));
                assert_eq!(self.call(call, &[], 2).await.as_deref(), Some("1"));
            } else {
                assert_eq!(self.call(call, &[], 2).await.as_deref(), Some("3"));
                assert_eq!(self.call(call, &[], 2).await.as_deref(), Some("1"));
            }
        }
        let filter =
            "ip => '192.0.2.8/29', created_before => 'infinity', last_seen_before => 'infinity'";
        self.expect(
            &format!("qsessions.revoke_sessions({{user}}, {filter})"),
            &[],
            "1",
        )
        .await;
    }

    async fn purge(&mut self) {
        let expired = "count(*) FROM (SELECT qsessions.create_session(ttl => '1 microsecond') FROM generate_series(1, 8) OFFSET 0) AS c";
        self.expect(expired, &[], "8").await;
        self.expect("qsessions.purge_expired(100) > 0", &[], "true")
            .await;
        self.client
            .batch_execute("CALL qsessions.purge()")
            .await
            .unwrap();
        for exact in ["true", "false"] {
            let stats =
                format!("(total, expired, table_bytes > 8192) FROM qsessions.stats({exact})");
            self.expect(&stats, &[], "(0,0,t)").await;
        }
    }

    /// Functions that do not read or write the table. Their arguments are parameters, because the
    /// planner would call an immutable function of constants only once.
    async fn compute(&mut self) {
        for (call, argument, expected) in [
            (
                "qsessions.device($1) = qsessions.device($1, NULL)",
                "curl/8.0",
                "true",
            ),
            (
                "(qsessions.parse_user_agent($1)).is_bot",
                "curl/8.0",
                "false",
            ),
            (
                "(qsessions.parse_user_agent($1, NULL)).browser",
                "curl/8.0",
                "curl",
            ),
            ("qsessions.address($1)", "192.0.2.1:80", "192.0.2.1/32"),
            ("qsessions.location($1::inet)", "192.0.2.1", ""),
            ("qsessions.location_info($1::inet)", "192.0.2.1", ""),
            ("qsessions.country_code($1::inet)", "192.0.2.1", ""),
            ("(qsessions.asn($1::inet)).number", "192.0.2.1", ""),
        ] {
            self.expect(call, &[argument], expected).await;
        }
        for (call, expected) in [
            ("(qsessions.user_agent_rules()).models > 0", "true"),
            ("qsessions.invalidate(gen_random_uuid())", ""),
            ("octet_length(qsessions.request_heartbeat())", "32"),
            // The coordinator has no shards. All servers agree on where these are.
            (
                "format('%s servers, %s with sessions, %s layout, %s', count(DISTINCT h.server_started_at),
                        count(*) FILTER (WHERE h.has_sessions), count(DISTINCT h.layout), min(octet_length(h.digest)))
                 FROM qsessions.request_heartbeats() AS h",
                "3 servers, 2 with sessions, 1 layout, 32",
            ),
            (
                "count(DISTINCT h.digest) FROM qsessions.request_heartbeats(gen_random_uuid()) AS h",
                "3",
            ),
            ("qsessions.invalidation_channel()", "qsessions"),
            ("(qsessions.invalidation_status()).mode", "ring"),
            (
                "sessions_created_total > 0 FROM qsessions.metrics()",
                "true",
            ),
            ("count(*) FROM qsessions.geoip_databases()", "0"),
        ] {
            self.expect(call, &[], expected).await;
        }
        if self.is_owner {
            self.expect("count(*) FROM qsessions.geoip_reload()", &[], "0")
                .await;
        }
    }
}

/// Calls all functions in one connection to each server, more often than it takes PL/pgSQL to change
/// to a plan for all parameters.
async fn call_on_every_server(
    cluster: &Cluster,
    role: &str,
    user_type: &'static str,
    users: [&str; 3],
) {
    for server in &cluster.servers {
        let mut caller = Caller {
            client: connect(server.config(DATABASE).user(role)).await.unwrap(),
            user_type,
            users: users.map(str::to_owned),
            is_owner: role == "postgres",
            statements: HashMap::new(),
        };
        for round in 0..CALLS {
            caller.use_sessions(round).await;
            caller.compute().await;
        }
        execute(&caller.client, "SELECT pg_stat_force_next_flush()").await;
    }
}

/// The functions that were called less than six times on one of the servers.
async fn rarely_called(cluster: &Cluster) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for server in &cluster.servers {
        let client = server.connect(DATABASE).await.unwrap();
        let often = texts(
            &client,
            "SELECT f.funcname::text FROM pg_stat_user_functions AS f
             WHERE f.schemaname = 'qsessions' GROUP BY f.funcname HAVING sum(f.calls) >= 6",
        )
        .await;
        found.extend(CONTRACT.iter().filter_map(|function| {
            let name = function.split('(').next().unwrap();
            let is_rare =
                !OF_THE_DATABASE.contains(&name) && !often.iter().any(|often| often == name);
            is_rare.then(|| name.to_owned())
        }));
    }
    found
}

async fn works_with(user_type: &'static str, users: [&str; 3], tables: &str) {
    let Some(cluster) = Cluster::start(tables).await else {
        return;
    };
    let coordinator = cluster.connect(0).await;
    execute(&coordinator, "CREATE ROLE app LOGIN").await;
    for function in ["grant_access", "grant_monitoring"] {
        execute(&coordinator, &format!("SELECT qsessions.{function}('app')")).await;
    }
    call_on_every_server(&cluster, "app", user_type, users).await;
    call_on_every_server(&cluster, "postgres", user_type, users).await;
    assert_eq!(rarely_called(&cluster).await, BTreeSet::new());

    for function in ["revoke_access", "revoke_monitoring"] {
        execute(&coordinator, &format!("SELECT qsessions.{function}('app')")).await;
    }
    for server in &cluster.servers {
        let client = connect(server.config(DATABASE).user("app")).await.unwrap();
        for call in [
            "location('192.0.2.1')",
            "metrics()",
            "load_session('the key of no session')",
        ] {
            let denied = failure(&client, &format!("SELECT qsessions.{call}"), &[]).await;
            assert_eq!(denied.code, "42501", "{call}");
        }
    }
}

#[tokio::test]
async fn every_function_works_with_bigint_users() {
    works_with(
        "bigint",
        ["1", "2", "3"],
        "CREATE TABLE users (id bigint PRIMARY KEY);
         INSERT INTO users SELECT generate_series(1, 9);
         SELECT qsessions.create_session_table('users')",
    )
    .await;
}

#[tokio::test]
async fn every_function_works_with_text_users() {
    works_with(
        "text",
        ["one", "two ", "three"],
        "SELECT qsessions.create_session_table()",
    )
    .await;
}

#[tokio::test]
async fn every_function_works_with_uuid_users() {
    let users = [
        "00000000-0000-4000-8000-000000000001",
        "00000000-0000-4000-8000-000000000002",
        "00000000-0000-4000-8000-000000000003",
    ];
    let tables = format!(
        "CREATE TABLE users (id uuid PRIMARY KEY);
         INSERT INTO users SELECT unnest('{{{}}}'::uuid[]);
         SELECT qsessions.create_session_table('users')",
        users.join(",")
    );
    works_with("uuid", users, &tables).await;
}
