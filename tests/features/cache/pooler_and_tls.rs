//! PgBouncer in transaction mode, and TLS.

use super::{data, one, pool_to};
use deadpool_postgres::{Manager, Pool};
use futures_util::future::join_all;
use qsessions::{Error, Store};
use qsessions_testkit::{Database, PgBouncer, Server, connect};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use std::fs;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

#[tokio::test(flavor = "multi_thread")]
async fn the_client_works_through_pgbouncer_in_transaction_mode() {
    let database = Database::new().await;
    let pgbouncer = PgBouncer::in_front_of(database.server(), 2).await.unwrap();
    let store = Store::builder(pool_to(&pgbouncer.config(database.name()), 8))
        .unnamed_statements()
        .cached(database.config(), NoTls)
        .build()
        .unwrap();
    store.ready().await.unwrap();
    let other = Store::new(pool_to(&database.config(), 1));
    // Eight connections share two connections to the server, and each call may get either.
    let lives = (0..8).map(|n: i64| {
        let (store, other) = (&store, &other);
        async move {
            let session = store.create().data(one()).await.unwrap();
            let session = store.login(1 + n % 9).key(&session.key).await.unwrap();
            let key = store.rotate_key(&session.key).await.unwrap();
            assert_eq!(data(store, &key).await, Some(json!({"n": 1})));
            store
                .patch(&key, json!({"n": 2}))
                .remove(&["m"])
                .await
                .unwrap();
            assert_eq!(data(store, &key).await, Some(json!({"n": 2})));
            assert!(
                store
                    .resume(&key)
                    .ip(std::net::IpAddr::from([192, 0, 2, 1]))
                    .user_agent("x")
                    .await
                    .unwrap()
                    .is_some()
            );
            other.save(&key, json!({"n": 3})).await.unwrap();
            store.catch_up().await;
            assert_eq!(data(store, &key).await, Some(json!({"n": 3})));
            assert!(store.health().serving);
            assert!(other.revoke(session.id).await.unwrap());
            store.catch_up().await;
            assert_eq!(data(store, &key).await, None);
        }
    });
    join_all(lives).await;
    store.purge().await.unwrap();
    assert_eq!(store.stats().await.unwrap().total, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_behind_a_transaction_pooler_is_detected() {
    let database = Database::new().await;
    let pgbouncer = PgBouncer::in_front_of(database.server(), 2).await.unwrap();
    let store = Store::builder(pool_to(&pgbouncer.config(database.name()), 2))
        .unnamed_statements()
        .cached(pgbouncer.config(database.name()), NoTls)
        .build()
        .unwrap();
    let error = store.ready().await.unwrap_err();
    assert!(matches!(error, Error::Listener { .. }), "{error}");
    assert!(
        error.to_string().contains("pooler in transaction mode"),
        "{error}"
    );
    assert!(!store.health().serving);
    assert_eq!(
        store
            .health()
            .error
            .map(|known| error.to_string().contains(&known)),
        Some(true)
    );
    // Only the cache is affected.
    let session = store.create().data(one()).await.unwrap();
    assert_eq!(data(&store, &session.key).await, Some(json!({"n": 1})));
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_behind_a_transaction_pooler_fail_with_a_hint() {
    let database = Database::new().await;
    let pgbouncer = PgBouncer::in_front_of(database.server(), 2).await.unwrap();
    let config = pgbouncer.config(database.name());
    let store = Store::new(pool_to(&config, 1));
    store.generate_key().await.unwrap();
    // Another client takes the connection that has the statement, so that the next call gets the
    // other connection.
    let client = connect(&config).await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    let error = store.generate_key().await.unwrap_err();
    assert!(error.to_string().contains("unnamed_statements"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_and_listener_use_tls_with_the_callers_connector() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tempfile::Builder::new()
        .prefix("qsessions-tls-")
        .tempdir_in("/tmp")
        .unwrap();
    let (certificate, secret) = (
        files.path().join("server.crt"),
        files.path().join("server.key"),
    );
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&secret, made.signing_key.serialize_pem()).unwrap();
    private_for_the_server(files.path(), &[&certificate, &secret]);
    let port = free_port();
    let server = Server::builder()
        .tcp_port(port)
        .setting("ssl", "on")
        .setting("ssl_cert_file", &certificate.to_string_lossy())
        .setting("ssl_key_file", &secret.to_string_lossy())
        .start()
        .await
        .unwrap();
    let admin = server.connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()")
        .await
        .unwrap();

    let mut config = Config::new();
    config
        .host("localhost")
        .port(port)
        .user("postgres")
        .dbname("postgres")
        .ssl_mode(tokio_postgres::config::SslMode::Require);
    let connector = connector_that_trusts(made.cert.der());
    let manager = Manager::new(config.clone(), connector.clone());
    let store = Store::builder(Pool::builder(manager).max_size(2).build().unwrap())
        .cached(config, connector)
        .build()
        .unwrap();
    store.ready().await.unwrap();
    let session = store.create().data(one()).await.unwrap();
    assert_eq!(data(&store, &session.key).await, Some(json!({"n": 1})));
    let encrypted = admin
        .query(
            "SELECT s.ssl FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a USING (pid) WHERE a.client_port > 0",
            &[],
        )
        .await
        .unwrap();
    // The listener's connection and one or two of the pool.
    assert!(encrypted.len() >= 2);
    assert!(encrypted.iter().all(|row| row.get(0)));
}

fn connector_that_trusts(certificate: &CertificateDer<'static>) -> MakeRustlsConnect {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}

/// Restricts access to the files, because the server refuses a private key that others can read.
fn private_for_the_server(folder: &std::path::Path, files: &[&std::path::Path]) {
    use std::os::unix::fs::PermissionsExt;
    let installation = qsessions_testkit::Installation::find().unwrap();
    for file in files {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        installation.hand_over(file).unwrap();
    }
    installation.hand_over(folder).unwrap();
}

/// A port that the system considers free.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
