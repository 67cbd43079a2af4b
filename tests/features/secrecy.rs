//! Secrecy: no error, log line or notification contains a key.

use crate::common::{begin, row};
use deadpool_postgres::{Manager, Pool};
use qsessions::{ClientHints, Executor, Expiry, Key, Store, Visit};
use qsessions_testkit::{Database, Installation, Server, ServerBuilder};
use serde_json::json;
use std::cell::RefCell;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use tokio_postgres::{Client, Config, NoTls};

/// Calls every function that takes a key, with parameters, in ways that succeed and ways that fail.
async fn use_keys(client: &Client) -> Vec<String> {
    let mut keys = Vec::new();
    for arguments in ["", "key => 'foreign-secret-key-0001'", "user_id => 1"] {
        let session = begin(client, arguments).await;
        let mut key = session.key;
        for round in 0..2 {
            for call in [
                "load_session($1)",
                "resume_session($1, '192.0.2.1')",
                "session_exists($1)",
                "save_session($1, '{}')",
                "save_session($1, '{}', 1)",
                "save_session($1, NULL)",
                "patch_session($1, '{\"a\": 1}')",
                "patch_session($1, '[]')",
                "set_expiry($1, ttl => '1 h')",
                "set_expiry($1, ttl => '-1 h')",
                "set_expiry($1)",
                "user_sessions(1, $1)",
                "revoke_user_sessions(2, $1)",
                "login($1, 404)",
                "login($1, 'nobody')",
                "create_session(key => $1)",
                "session_id($1)",
            ] {
                // Some of these calls fail, as they should.
                let _ = client
                    .query(&format!("SELECT qsessions.{call}"), &[&key])
                    .await;
            }
            keys.push(key.clone());
            if round == 0 {
                key = row(client, "SELECT qsessions.rotate_key($1)", &[&key])
                    .await
                    .get(0);
            } else {
                row(client, "SELECT qsessions.logout($1)", &[&key]).await;
            }
        }
        let _ = client
            .query("SELECT qsessions.rotate_key($1)", &[&key])
            .await;
    }
    // Texts that are not keys, but could be a part of one.
    for text in ["sh0rt-s", &"too-long-secret".repeat(40)] {
        let _ = client
            .query("SELECT qsessions.session_id($1)", &[&text])
            .await;
        let _ = client
            .query("SELECT qsessions.save_session($1, '{}')", &[&text])
            .await;
        keys.push(text.to_owned());
    }
    keys
}

fn verbose() -> ServerBuilder {
    let server = if Installation::find().unwrap().major() >= 16 {
        Server::builder().setting("auto_explain.log_parameter_max_length", "0")
    } else {
        Server::builder()
    };
    server
        .setting("log_min_messages", "debug1")
        .setting("log_error_verbosity", "verbose")
        .setting("log_statement", "all")
        // As docs/security.md says, plans contain no key unless they are verbose.
        .setting("session_preload_libraries", "auto_explain")
        .setting("auto_explain.log_min_duration", "0")
        .setting("auto_explain.log_nested_statements", "on")
        // With the setting above, these keep parameters out of the log.
        .setting("log_parameter_max_length", "0")
        .setting("log_parameter_max_length_on_error", "0")
}

#[tokio::test]
async fn a_server_that_logs_everything_logs_no_key() {
    let server = verbose().start().await.unwrap();
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute(
            "CREATE EXTENSION qsessions; CREATE TABLE users (id bigint PRIMARY KEY);
             INSERT INTO users VALUES (1); SELECT qsessions.create_session_table('users');
             SET client_min_messages = debug1",
        )
        .await
        .unwrap();
    let keys = use_keys(&client).await;
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    // The log exists and contains the errors.
    for code in [
        "QS001", "QS002", "QS003", "22004", "22023", "23503", "23505",
    ] {
        assert!(log.contains(code), "{code} is not in the log");
    }
    for key in keys.iter().filter(|key| *key != "foreign-secret-key-0001") {
        let line = log.lines().find(|line| line.contains(key.as_str()));
        assert_eq!(line, None, "a key is in the log");
    }
    // Only the statement that created this session contains the key, as it was sent and in its
    // plan.
    let lines = log
        .lines()
        .filter(|line| line.contains("foreign-secret-key-0001"))
        .count();
    assert_eq!(lines, 2);
}

/// Collects the log records of threads that request it.
struct Logged;

thread_local! {
    static LOGGED: RefCell<Option<String>> = const { RefCell::new(None) };
}

impl log::Log for Logged {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        LOGGED.with_borrow(Option::is_some)
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.with_borrow_mut(|logged| {
            if let Some(logged) = logged {
                *logged += &format!("{}\n", record.args());
            }
        });
    }

    fn flush(&self) {}
}

const DATA: &str = "what a visitor has in the cart";
const AGENT: &str = "an agent of a visitor";
const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 77));
const USER: i64 = 7_777_777;

/// Calls every method of the client, in ways that succeed and ways that fail, and returns the keys
/// that it has used.
async fn call_everything<E: Executor>(store: &Store<E>) -> Vec<Key> {
    let chosen = Key::from("a key of another store");
    let new = store
        .create()
        .data(json!({DATA: DATA}))
        .ip(IP)
        .user_agent(AGENT);
    let mut keys = vec![new.await.unwrap().key, chosen.clone()];
    store.create().key(&chosen).user(USER).await.unwrap();
    assert!(store.create().key(&chosen).await.is_err());
    let key = &keys[0];
    store.load(key).await.unwrap();
    store.resume(key).ip(IP).user_agent(AGENT).await.unwrap();
    let hints: ClientHints = [("Sec-CH-UA-Model", DATA)].into_iter().collect();
    store.resume(key).client_hints(&hints).await.unwrap();
    let visit = Visit::new(key).unwrap().ip(IP).user_agent(AGENT);
    store
        .record_visits(&[visit.client_hints(hints)])
        .await
        .unwrap();
    let imported = Key::from("secret-of-another-store");
    store
        .import(&imported)
        .user(USER)
        .data(DATA)
        .ip(IP)
        .await
        .unwrap();
    keys.push(imported);
    let key = &keys[0];
    store.exists(key).await.unwrap();
    store.save(key, json!({DATA: DATA})).await.unwrap();
    store
        .save(key, DATA)
        .expected_version(99)
        .await
        .unwrap_err();
    store
        .patch(key, json!({DATA: DATA}))
        .remove(&[DATA])
        .await
        .unwrap();
    store
        .set_expiry(key, Expiry::ttl(Duration::from_secs(60)))
        .await
        .unwrap();
    store
        .set_expiry(key, Expiry::ttl(Duration::ZERO))
        .await
        .unwrap_err();
    let grace = Duration::from_secs(60);
    let rotated = store.rotate_key(key).grace(grace).await.unwrap();
    store.rotate_key(key).grace(grace).await.unwrap_err();
    let login = store.login(USER).key(&rotated).ip(IP).user_agent(AGENT);
    let logged_in = login.data(DATA).max_sessions(2).await.unwrap();
    keys.push(rotated);
    let key = logged_in.key;
    store.user_sessions(USER).current(&key).await.unwrap();
    store.list_sessions().user(USER).network(IP).await.unwrap();
    store.get_session(logged_in.id).await.unwrap();
    store.revoke_for_user(logged_in.id, 1).await.unwrap();
    store
        .revoke_sessions()
        .user(USER)
        .network(IP)
        .user_agent(AGENT)
        .created_before(SystemTime::UNIX_EPOCH)
        .await
        .unwrap();
    store.revoke_user_sessions(USER).except(&key).await.unwrap();
    store.location(IP).await.unwrap();
    store.location_info(IP).await.unwrap();
    store.country_code(IP).await.unwrap();
    store.asn(IP).await.unwrap();
    store.device(AGENT).await.unwrap();
    store.parse_user_agent(AGENT).await.unwrap();
    store.logout(&key).await.unwrap();
    store.revoke(logged_in.id).await.unwrap();
    store.save(&key, DATA).await.unwrap_err();
    store.rotate_key(&key).await.unwrap_err();
    keys.push(key);
    keys.push(store.generate_key().await.unwrap());
    store.purge_expired().await.unwrap();
    keys
}

fn pool(config: &Config) -> Pool {
    let manager = Manager::new(config.clone(), NoTls);
    Pool::builder(manager).max_size(2).build().unwrap()
}

/// Runs on one thread, so that this thread writes all log records.
#[tokio::test]
async fn a_client_that_logs_everything_logs_no_key_and_no_data() {
    // No other test installs a logger.
    log::set_logger(&Logged).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let database =
        Database::with(qsessions_testkit::Users::Keyed("bigint", &["1", "7777777"])).await;
    let config = database.config();
    let store = Store::new(pool(&config));
    let unnamed = Store::builder(pool(&config)).unnamed_statements().build();
    let connection = pool(&config).get().await.unwrap();
    LOGGED.set(Some(String::new()));
    logs_nothing_of_a_visitor(&store, true).await;
    logs_nothing_of_a_visitor(&unnamed, false).await;
    logs_nothing_of_a_visitor(&store.on(&connection), true).await;
    logs_nothing_of_a_visitor(&store.on(&**connection), false).await;
    // The last one, because its probes are prepared statements too.
    let cached = Store::builder(pool(&config))
        .cached(config.clone(), NoTls)
        .build()
        .unwrap();
    cached.ready().await.unwrap();
    logs_nothing_of_a_visitor(&cached, true).await;
    LOGGED.set(None);
}

async fn logs_nothing_of_a_visitor<E: Executor>(store: &Store<E>, prepares: bool) {
    let keys = call_everything(store).await;
    let log = LOGGED.replace(Some(String::new())).unwrap();
    // What the driver does is logged, and prepared statements with their parameters.
    assert!(log.contains("polled new request"));
    assert_eq!(log.contains("with parameters: ["), prepares, "{log}");
    for key in &keys {
        assert!(!log.contains(key.expose()), "a key was logged");
    }
    for text in [DATA, AGENT, "203.0.113.77", "7777777"] {
        assert!(!log.contains(text), "{text} was logged");
    }
}
