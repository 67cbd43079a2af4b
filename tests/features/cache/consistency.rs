//! Consistency: the cache follows changes, and does not answer when it may have missed some.

use super::{Cached, data, one, pool_to, until};
use deadpool_postgres::{Manager, Pool};
use futures_util::FutureExt;
use qsessions::{CacheConfig, Error, Key, Store, Visit};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::NoTls;

#[tokio::test(flavor = "multi_thread")]
async fn changes_on_every_path_reach_the_cache() {
    let cached = Cached::new().await;
    let client = cached.client().await;
    let changes = [
        "UPDATE qsessions.session SET data = '{\"n\": 2}', version = version + 1",
        "SELECT count(qsessions.save_session($1, '{\"n\": 2}'))",
        "UPDATE qsessions.session SET expires_at = now()",
        "DELETE FROM qsessions.session",
        "TRUNCATE qsessions.session",
    ];
    for change in changes {
        let session = cached.begin().await;
        assert!(cached.is_cached(&session.key).await);
        if change.contains("$1") {
            client
                .query(change, &[&session.key.expose()])
                .await
                .unwrap();
        } else {
            client.batch_execute(change).await.unwrap();
        }
        cached.store.catch_up().await;
        let expected = change.contains('2').then(|| json!({"n": 2}));
        assert_eq!(
            data(&cached.store, &session.key).await,
            expected,
            "{change}"
        );
    }
}

#[tokio::test]
async fn a_flood_of_drop_everything_does_not_open_connections() {
    let cached = Cached::new().await;
    let before = cached.pool.accepted();
    cached.pool.stall();
    cached.pool.cut().await;
    cached.listener.cut().await;
    // The listener reconnects. The pool opens a connection that is not answered, and the listener
    // tries another one.
    until(async || cached.pool.accepted() >= before + 2).await;
    let begun = cached.pool.accepted();

    let client = cached.client().await;
    // Each reading resets the counter.
    cached.count("invalidations");
    let mut heard = 0;
    for _ in 0..100 {
        client.batch_execute("NOTIFY qsessions, '*'").await.unwrap();
    }
    while heard < 100 {
        heard += cached.count("invalidations");
        tokio::task::yield_now().await;
    }
    assert_eq!(cached.pool.accepted(), begun);

    cached.pool.release();
    until(async || cached.store.health().serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_notification_does_not_stop_the_listener() {
    let cached = Cached::new().await;
    let session = cached.begin().await;
    assert!(cached.is_cached(&session.key).await);
    let client = cached.client().await;
    cached.count("invalidations");
    client
        .batch_execute("SELECT pg_notify('qsessions', repeat(',', 7980) || g) FROM generate_series(1, 500) AS g")
        .await
        .unwrap();
    cached
        .other
        .save(&session.key, json!({"n": 2}))
        .await
        .unwrap();
    cached.store.catch_up().await;
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 2}))
    );
    assert!(cached.store.health().serving);
    assert!(cached.is_cached(&session.key).await);
    // The others are the save and the probe.
    assert!((500..600).contains(&cached.count("invalidations")));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_not_lost_in_a_flood_of_ids() {
    let cached = Cached::new().await;
    let session = cached.begin().await;
    assert!(cached.is_cached(&session.key).await);
    let client = cached.client().await;
    // More than any queue holds: three hundred thousand ids, and the relevant one among them.
    let flood = "SELECT pg_notify('qsessions', (SELECT string_agg(gen_random_uuid()::text, ',')
                 FROM generate_series(1, 200) WHERE g > 0)) FROM generate_series(1, 750) AS g";
    client.batch_execute(flood).await.unwrap();
    let change = json!({"n": 2});
    cached.other.save(&session.key, &change).await.unwrap();
    client.batch_execute(flood).await.unwrap();
    cached.store.catch_up().await;
    assert_eq!(data(&cached.store, &session.key).await, Some(change));
    assert!(cached.store.health().serving);
    assert!(cached.is_cached(&session.key).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_stops_answering_max_staleness_after_the_last_probe() {
    let cached = Cached::with(CacheConfig::new().max_staleness(Duration::from_millis(400))).await;
    let session = cached.begin().await;
    assert!(cached.is_cached(&session.key).await);

    cached.listener.stall();
    cached
        .other
        .save(&session.key, json!({"n": 2}))
        .await
        .unwrap();
    until(async || !cached.store.health().serving).await;
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 2}))
    );
    assert!(!cached.is_cached(&session.key).await);
    assert!(cached.store.health().error.is_some());
    assert!(cached.count("bypassed") > 0);

    cached.listener.release();
    until(async || cached.store.health().serving).await;
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 2}))
    );
    assert!(cached.is_cached(&session.key).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_during_an_outage_of_the_listener_are_not_missed() {
    let cached = Cached::new().await;
    let session = cached.begin().await;
    let gone = cached.begin().await;
    cached.listener.cut().await;
    until(async || !cached.store.health().serving).await;
    cached
        .other
        .save(&session.key, json!({"n": 2}))
        .await
        .unwrap();
    cached.other.revoke(gone.id).await.unwrap();
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 2}))
    );
    until(async || cached.store.health().serving).await;
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 2}))
    );
    assert_eq!(data(&cached.store, &gone.key).await, None);
    assert!(cached.is_cached(&session.key).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_knows_its_own_changes_when_the_call_returns() {
    let cached = Cached::new().await;
    let store = &cached.store;
    let key = cached.begin().await.key;
    // The listener receives no notifications meanwhile.
    cached.listener.keep_answers();
    store.save(&key, json!({"n": 2})).await.unwrap();
    assert_eq!(data(store, &key).await, Some(json!({"n": 2})));
    store
        .patch(&key, json!({"m": 3}))
        .remove(&["n"])
        .await
        .unwrap();
    assert_eq!(data(store, &key).await, Some(json!({"m": 3})));
    let rotated = store.rotate_key(&key).await.unwrap();
    assert_eq!(data(store, &key).await, None);
    assert_eq!(data(store, &rotated).await, Some(json!({"m": 3})));
    let login = store.login(1_i64).key(&rotated).await.unwrap();
    assert_eq!(data(store, &rotated).await, None);
    let user = store
        .load(&login.key)
        .await
        .unwrap()
        .unwrap()
        .user_id
        .clone();
    assert_eq!(user.as_deref(), Some("1"));
    assert!(store.logout(&login.key).await.unwrap());
    assert_eq!(data(store, &login.key).await, None);

    let revoked = cached.other.create().data(one()).await.unwrap();
    assert_eq!(data(store, &revoked.key).await, Some(json!({"n": 1})));
    assert!(store.revoke(revoked.id).await.unwrap());
    assert_eq!(data(store, &revoked.key).await, None);
    assert!(cached.store.health().serving);
    cached.listener.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_knows_the_visits_that_it_records_and_the_sessions_that_it_imports() {
    let cached = Cached::new().await;
    let (store, key) = (&cached.store, cached.begin().await.key);
    let imported = Key::from("a key of another framework");
    assert_eq!(data(store, &imported).await, None);
    cached.listener.keep_answers();
    let ip = IpAddr::from([192, 0, 2, 1]);
    let visit = Visit::new(&key).unwrap().ip(ip);
    assert_eq!(store.record_visits(&[visit]).await.unwrap(), 1);
    assert_eq!(store.load(&key).await.unwrap().unwrap().ip, Some(ip));
    assert!(store.import(&imported).data(json!(7)).await.unwrap());
    assert_eq!(data(store, &imported).await, Some(json!(7)));
    assert!(cached.store.health().serving);
    cached.listener.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_a_call_ends_without_their_keys_are_dropped() {
    let cached = Cached::new().await;
    let log_in = || cached.other.login(1_i64).data(json!({"n": 1}));
    let sessions = [log_in().await.unwrap(), log_in().await.unwrap()];
    for session in &sessions {
        assert!(cached.is_cached(&session.key).await);
    }
    cached.store.login(1_i64).max_sessions(2).await.unwrap();
    assert_eq!(data(&cached.store, &sessions[0].key).await, None);
    assert!(data(&cached.store, &sessions[1].key).await.is_some());
    assert_eq!(cached.store.revoke_user_sessions(1_i64).await.unwrap(), 2);
    assert_eq!(data(&cached.store, &sessions[1].key).await, None);
    let last = log_in().await.unwrap();
    assert!(cached.is_cached(&last.key).await);
    let revoked = cached.store.revoke_sessions().user(1_i64).await;
    assert_eq!(revoked.unwrap(), 1);
    assert_eq!(data(&cached.store, &last.key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_brings_an_ended_session_back() {
    let cached = Cached::new().await;
    let session = cached.begin().await;
    cached.other.revoke(session.id).await.unwrap();
    let saved = cached.store.save(&session.key, json!({"n": 2})).await;
    assert!(matches!(saved, Err(Error::SessionNotFound)), "{saved:?}");
    assert_eq!(data(&cached.store, &session.key).await, None);
    assert!(!cached.other.exists(&session.key).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn catch_up_waits_for_a_transaction_of_the_caller() {
    let cached = Cached::new().await;
    let session = cached.begin().await;
    let mut client = cached.client().await;
    let transaction = client.transaction().await.unwrap();
    let within = cached.store.on(&transaction);
    within.save(&session.key, json!({"n": 2})).await.unwrap();
    assert_eq!(
        within.load(&session.key).await.unwrap().unwrap().data,
        json!({"n": 2})
    );
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 1}))
    );
    transaction.commit().await.unwrap();
    cached.store.catch_up().await;
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 2}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn catch_up_does_not_wait_for_a_listener_that_receives_nothing() {
    let cached = Cached::with(CacheConfig::new().max_staleness(Duration::from_millis(400))).await;
    let session = cached.begin().await;
    cached.listener.stall();
    let client = cached.client().await;
    client
        .batch_execute("UPDATE qsessions.session SET data = '{\"n\": 2}'")
        .await
        .unwrap();
    cached.store.catch_up().await;
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 2}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_is_not_returned() {
    let cached = Cached::new().await;
    let expiry = qsessions::Expiry::ttl(Duration::from_millis(300));
    let session = cached
        .other
        .create()
        .data(one())
        .ttl(Duration::from_secs(3600))
        .await
        .unwrap();
    cached.other.set_expiry(&session.key, expiry).await.unwrap();
    cached.store.catch_up().await;
    cached.store.load(&session.key).await.unwrap();
    until(async || !cached.other.exists(&session.key).await.unwrap()).await;
    assert_eq!(data(&cached.store, &session.key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_listener_loads_go_to_the_database() {
    let cached = Cached::new().await;
    let mut nowhere = tokio_postgres::Config::new();
    nowhere
        .host_path(cached.database.server().folder().join("nowhere"))
        .user("postgres");
    let store = Store::builder(pool_to(&cached.database.config(), 4))
        .cached(nowhere, NoTls)
        .build()
        .unwrap();
    let session = store.create().data(one()).await.unwrap();
    assert_eq!(data(&store, &session.key).await, Some(json!({"n": 1})));
    store.save(&session.key, json!({"n": 2})).await.unwrap();
    assert_eq!(data(&store, &session.key).await, Some(json!({"n": 2})));
    assert!(store.revoke_user_sessions(1_i64).await.is_ok());
    assert!(store.resume(&session.key).await.unwrap().is_some());
    assert!(store.logout(&session.key).await.unwrap());
    assert_eq!(data(&store, &session.key).await, None);
    let health = store.health();
    assert!(!health.serving && health.staleness.is_none());
    assert!(health.error.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_another_database_is_detected() {
    let cached = Cached::new().await;
    let other = qsessions_testkit::Database::new().await;
    let store = Store::builder(pool_to(&cached.database.config(), 4))
        .cached(other.config(), NoTls)
        .build()
        .unwrap();
    let error = store.ready().await.unwrap_err();
    assert!(matches!(error, Error::Listener { .. }), "{error}");
    assert!(
        error.to_string().contains("same server and database"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_another_database_is_detected_during_a_flood() {
    let cached = Cached::new().await;
    let other = qsessions_testkit::Database::new().await;
    let client = other.connect().await;
    let store = Store::builder(pool_to(&cached.database.config(), 4))
        .cached(other.config(), NoTls)
        .build()
        .unwrap();
    let talk = async {
        loop {
            client.batch_execute("NOTIFY qsessions, '*'").await.unwrap();
        }
    };
    let ready = tokio::select! {
        ready = store.ready() => ready,
        () = talk => unreachable!("it never ends"),
    };
    assert!(matches!(ready, Err(Error::Listener { .. })), "{ready:?}");
    assert!(!store.health().serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_extension_is_detected() {
    let cached = Cached::new().await;
    let store = Store::builder(pool_to(&cached.database.config(), 4))
        .cached(cached.database.server().config("postgres"), NoTls)
        .build()
        .unwrap();
    let error = store.ready().await.unwrap_err();
    assert!(error.to_string().contains("qsessions"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_needs_a_valid_max_staleness() {
    let cached = Cached::new().await;
    let config = CacheConfig::new().max_staleness(Duration::ZERO);
    let error = Store::builder(pool_to(&cached.database.config(), 1))
        .cached(cached.database.config(), NoTls)
        .config(config)
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("max_staleness"), "{error}");
}

#[test]
fn a_cache_outside_of_a_runtime_is_refused() {
    let pool = Pool::builder(Manager::new(tokio_postgres::Config::new(), NoTls));
    let error = Store::builder(pool.build().unwrap())
        .cached(tokio_postgres::Config::new(), NoTls)
        .build()
        .unwrap_err();
    assert!(matches!(error, Error::Configuration { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_after_a_catch_up_does_not_join_an_earlier_load() {
    let cached = Cached::new().await;
    let store = &cached.store;
    let session = cached.begin().await;
    // Notifications that are not received cannot prevent the running load from being shared.
    cached.listener.stall();
    cached.listener.cut().await;
    until(async || !store.health().serving).await;
    cached.pool.keep_answers();
    let kept = cached.pool.kept_back();
    let (first, key) = (store.clone(), session.key.clone());
    let first = tokio::spawn(async move { first.load(&key).await });
    cached.pool.answer_is_kept(kept).await;

    cached.other.revoke(session.id).await.unwrap();
    store.catch_up().await;
    let mut second = Box::pin(store.load(&session.key));
    let at_once = second.as_mut().now_or_never();
    cached.pool.release();
    let second = match at_once {
        Some(second) => second,
        None => second.await,
    };
    assert_eq!(second.unwrap(), None);
    assert!(first.await.unwrap().unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catch_up_finds_a_new_session_of_a_key_that_had_none() {
    let cached = Cached::new().await;
    let key = Key::from("a key that others give a session to");
    assert_eq!(data(&cached.store, &key).await, None);
    let session = cached.other.create().data(one()).key(&key);
    session.await.unwrap();
    cached.store.catch_up().await;
    assert_eq!(data(&cached.store, &key).await, Some(json!({"n": 1})));
}
