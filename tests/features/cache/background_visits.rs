//! Visits that no request waits for: the cached session shows them at once, and the store writes
//! them soon after.

use super::{Cached, data, one, until};
use futures_util::future::join_all;
use qsessions::{ClientHints, ErrorKind, Key, Session};
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::Client;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
const AGENT: &str = "curl/8.5.0";

/// Sessions that idle for an hour, whose last visit was ten minutes ago, and that are cached.
async fn visited_long_ago<const N: usize>(cached: &Cached) -> [Key; N] {
    let mut keys = vec![];
    for _ in 0..N {
        let session = cached.other.create().data(one()).ip(HOME).user_agent(AGENT);
        let session = session.idle_timeout(Duration::from_secs(3600)).await;
        keys.push(session.unwrap().key);
    }
    let ago =
        "last_seen_at = now() - interval '10 minutes', expires_at = now() + interval '50 minutes'";
    change(cached, ago).await;
    for key in &keys {
        cached.store.load(key).await.unwrap().unwrap();
    }
    keys.try_into().unwrap()
}

/// Changes all sessions. The cache knows when this returns.
async fn change(cached: &Cached, set: &str) {
    let sql = format!("UPDATE qsessions.session SET {set}");
    cached.client().await.batch_execute(&sql).await.unwrap();
    cached.store.catch_up().await;
}

/// A visit, which is answered without a statement.
async fn resumed(cached: &Cached, key: &Key, ip: IpAddr) -> Session {
    let (session, statements) = resumed_somehow(cached, key, ip).await;
    assert_eq!(statements, 0);
    session
}

async fn resumed_somehow(cached: &Cached, key: &Key, ip: IpAddr) -> (Session, u64) {
    let visit = cached.store.resume(key).ip(ip).user_agent(AGENT);
    let (session, statements) = cached.statements(visit).await;
    (session.unwrap().expect("it is alive"), statements)
}

/// A session as the table has it.
async fn stored(cached: &Cached, key: &Key) -> Session {
    cached.other.load(key).await.unwrap().expect("it is alive")
}

fn pending(cached: &Cached) -> u64 {
    cached.store.health().pending_visits
}

async fn flush(cached: &Cached) {
    cached.store.flush_visits().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_visit_is_shown_at_once_and_written_once() {
    let cached = Cached::new().await;
    let [key] = visited_long_ago(&cached).await;
    let before = cached.store.load(&key).await.unwrap().unwrap();
    // Nothing is written while the pool cannot reach its server.
    cached.pool.stall();
    let visits = (0..20).map(|_| resumed(&cached, &key, HOME));
    for visit in join_all(visits).await {
        assert!(visit.last_seen_at > before.last_seen_at);
        assert!(visit.expires_at > before.expires_at);
    }
    let shown = cached.store.load(&key).await.unwrap().unwrap();
    assert_eq!((pending(&cached), cached.count("visits_written")), (1, 0));
    assert_eq!(*stored(&cached, &key).await, *before);
    cached.pool.release();
    flush(&cached).await;
    assert_eq!((pending(&cached), cached.count("visits_written")), (0, 1));
    let after = stored(&cached, &key).await;
    // The cache takes the server's clock to be a little ahead, and the server records no visit that is
    // later than its own clock.
    assert!(before.last_seen_at < after.last_seen_at && after.last_seen_at <= shown.last_seen_at);
    assert!(before.expires_at < after.expires_at && after.expires_at <= shown.expires_at);
    assert_eq!((after.ip, &after.user_agent), (shown.ip, &shown.user_agent));
    // The entry is still there, and says the same.
    assert_eq!(*resumed(&cached, &key, HOME).await, *after);
    assert_eq!(pending(&cached), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_is_written_without_a_flush() {
    let cached = Cached::new().await;
    let [one, other] = visited_long_ago(&cached).await;
    for key in [&one, &other] {
        let visit = resumed(&cached, key, AWAY).await;
        until(async || *stored(&cached, key).await == *visit).await;
    }
    until(async || pending(&cached) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_user_agent_and_hint_are_shown_at_once() {
    let cached = Cached::new().await;
    let [key] = visited_long_ago(&cached).await;
    change(&cached, "last_seen_at = now()").await;
    cached.store.load(&key).await.unwrap();
    let hints: ClientHints = [("Sec-CH-UA-Model", "\"Pixel 8\"")].into_iter().collect();
    let long = "x".repeat(600);
    let call = || {
        let visit = cached.store.resume(&key).ip(AWAY).user_agent(long.as_str());
        cached.statements(visit.client_hints(&hints))
    };
    cached.pool.stall();
    for _ in 0..2 {
        let (visit, statements) = call().await;
        let visit = visit.unwrap().unwrap();
        assert_eq!((visit.ip, statements), (Some(AWAY), 0));
        assert_eq!(visit.user_agent.as_deref(), Some(&long[..512]));
        // What a visit does not tell stays.
        let (bare, statements) = cached.statements(cached.store.resume(&key)).await;
        assert_eq!((bare.unwrap().unwrap().ip, statements), (Some(AWAY), 0));
    }
    cached.pool.release();
    flush(&cached).await;
    let visit = stored(&cached, &key).await;
    assert_eq!(visit.user_agent.as_deref(), Some(&long[..512]));
    assert_eq!(visit.ip, Some(AWAY));
    // The server announces it to all caches, and is asked once.
    cached.store.catch_up().await;
    assert_eq!(call().await.1, 1);
    assert_eq!(call().await.1, 0);
    assert_eq!(cached.count("visits_written"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_ended_or_rotated_is_not_brought_back() {
    let cached = Cached::new().await;
    let [ended, rotated] = visited_long_ago(&cached).await;
    // The cache hears of nothing.
    cached.listener.keep_answers();
    cached.pool.stall();
    for key in [&ended, &rotated] {
        resumed(&cached, key, AWAY).await;
    }
    assert!(cached.other.logout(&ended).await.unwrap());
    let before = stored(&cached, &rotated).await;
    let present = cached.other.rotate_key(&rotated).await.unwrap();
    cached.pool.release();
    flush(&cached).await;
    assert_eq!((pending(&cached), cached.count("visits_written")), (0, 0));
    assert!(!cached.other.exists(&ended).await.unwrap());
    let after = stored(&cached, &present).await;
    assert_eq!(
        (after.ip, after.last_seen_at),
        (Some(HOME), before.last_seen_at)
    );
    // The write has shown that the keys are dead, before a notification does.
    for key in [&ended, &rotated] {
        assert_eq!(data(&cached.store, key).await, None);
    }
    cached.listener.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ends_a_key_writes_the_visit_before() {
    let cached = Cached::new().await;
    let [rotated, logged_in] = visited_long_ago(&cached).await;
    for key in [&rotated, &logged_in] {
        resumed(&cached, key, AWAY).await;
    }
    let key = cached.store.rotate_key(&rotated).await.unwrap();
    assert_eq!(stored(&cached, &key).await.ip, Some(AWAY));
    let login = cached.store.login(1_i64).key(&logged_in).await.unwrap();
    assert_eq!(stored(&cached, &login.key).await.ip, Some(AWAY));
    assert_eq!(pending(&cached), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_another_transaction_changes_holds_up_no_other() {
    let cached = Cached::new().await;
    let [locked, free] = visited_long_ago(&cached).await;
    let mut client = cached.client().await;
    let transaction = client.transaction().await.unwrap();
    let sql = "SELECT FROM qsessions.session WHERE id = $1 FOR UPDATE";
    transaction.execute(sql, &[&locked.id()]).await.unwrap();
    let visit = resumed(&cached, &locked, AWAY).await;
    resumed(&cached, &free, AWAY).await;
    flush(&cached).await;
    assert_eq!(stored(&cached, &free).await.ip, Some(AWAY));
    assert_eq!(stored(&cached, &locked).await.ip, Some(HOME));
    assert_eq!(pending(&cached), 1);
    transaction.rollback().await.unwrap();
    until(async || pending(&cached) == 0).await;
    assert_eq!(*stored(&cached, &locked).await, *visit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_to_a_session_that_is_about_to_expire_is_written_at_once() {
    let cached = Cached::new().await;
    let [key] = visited_long_ago(&cached).await;
    change(&cached, "expires_at = now() + interval '4 seconds'").await;
    let before = cached.store.load(&key).await.unwrap().unwrap();
    let (visit, statements) = resumed_somehow(&cached, &key, HOME).await;
    assert_eq!((pending(&cached), statements), (0, 1));
    assert!(visit.expires_at > before.expires_at);
    assert_eq!(*stored(&cached, &key).await, *visit);
}

async fn rename(client: &Client, from: &str, to: &str) {
    let sql = format!(
        "ALTER FUNCTION qsessions.{from}(uuid[], bytea[], inet[], text[], timestamptz[], jsonb[])
         RENAME TO {to}"
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_writing_fails_requests_write_their_own_visits() {
    let cached = Cached::new().await;
    let [pending_key, own] = visited_long_ago(&cached).await;
    let client = cached.client().await;
    rename(&client, "record_visits_for_cache", "gone").await;
    let visit = resumed(&cached, &pending_key, AWAY).await;
    let error = cached.store.flush_visits().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Setup);
    assert!(cached.count("visit_errors") > 0);
    let (session, statements) = resumed_somehow(&cached, &own, HOME).await;
    assert!(statements > 0);
    assert_eq!(*stored(&cached, &own).await, *session);
    assert_eq!(pending(&cached), 1);
    rename(&client, "gone", "record_visits_for_cache").await;
    until(async || pending(&cached) == 0).await;
    assert_eq!(*stored(&cached, &pending_key).await, *visit);
    // From now on they do not wait again.
    cached.store.catch_up().await;
    cached.store.load(&own).await.unwrap();
    resumed(&cached, &own, AWAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_that_the_database_refuses_does_not_stop_the_others() {
    let cached = Cached::new().await;
    let keys: [Key; 5] = visited_long_ago(&cached).await;
    let check = "ALTER TABLE qsessions.session ADD CHECK (ip <> '198.51.100.1')";
    cached.client().await.batch_execute(check).await.unwrap();
    for (number, key) in keys.iter().enumerate() {
        resumed(&cached, key, if number == 2 { AWAY } else { HOME }).await;
    }
    flush(&cached).await;
    assert_eq!((pending(&cached), cached.count("visits_refused")), (0, 1));
    for (number, key) in keys.iter().enumerate() {
        let idle = stored(&cached, key).await.last_seen_at.elapsed().unwrap();
        assert_eq!(idle > Duration::from_secs(300), number == 2, "{number}");
    }
    // The request gets the error of a text that PostgreSQL has no form for.
    let visit = cached.store.resume(&keys[0]).user_agent("a\0b").await;
    assert!(visit.unwrap_err().is_caller_error());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_privilege_is_no_refusal_unless_other_visits_are_written() {
    let cached = Cached::new().await;
    let keys: [Key; 4] = visited_long_ago(&cached).await;
    let client = cached.client().await;
    client
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF NEW.ip = '198.51.100.1' THEN
                     RAISE insufficient_privilege;
                 END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON qsessions.session
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
    resumed(&cached, &keys[0], AWAY).await;
    let refused = cached.store.flush_visits().await.unwrap_err();
    assert!(!refused.is_caller_error());
    assert_eq!((pending(&cached), cached.count("visits_refused")), (1, 0));
    // Requests write their own visits now, and the first one shows that the others can be written.
    let (_, statements) = resumed_somehow(&cached, &keys[1], HOME).await;
    assert_eq!(statements, 1);
    flush(&cached).await;
    assert_eq!((pending(&cached), cached.count("visits_refused")), (0, 1));
    // So do the others of the same statement.
    for (number, key) in keys.iter().enumerate().skip(1) {
        resumed(&cached, key, if number == 2 { AWAY } else { HOME }).await;
    }
    flush(&cached).await;
    assert_eq!((pending(&cached), cached.count("visits_refused")), (0, 1));
    assert_ne!(stored(&cached, &keys[2]).await.ip, Some(AWAY));
    assert_eq!(stored(&cached, &keys[3]).await.ip, Some(HOME));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_of_a_store_writes_what_is_pending() {
    let cached = Cached::new().await;
    let [key] = visited_long_ago(&cached).await;
    let other = cached.store.clone();
    resumed(&cached, &key, AWAY).await;
    let (store, second) = (cached.store, cached.other);
    drop(other);
    drop(store);
    until(async || second.load(&key).await.unwrap().unwrap().ip == Some(AWAY)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_by_both_keys_of_a_grace_are_written() {
    let cached = Cached::new().await;
    let [former, other] = visited_long_ago(&cached).await;
    let grace = Duration::from_secs(60);
    let present = cached.other.rotate_key(&former).grace(grace).await.unwrap();
    cached.store.catch_up().await;
    // The cache keeps nothing that it reads by the former key.
    let (visit, statements) = resumed_somehow(&cached, &former, AWAY).await;
    assert_eq!((visit.ip, statements), (Some(AWAY), 1));
    let (visit, statements) = resumed_somehow(&cached, &present, AWAY).await;
    assert_eq!((visit.ip, statements), (Some(AWAY), 1));
    resumed(&cached, &other, AWAY).await;
    flush(&cached).await;
    for key in [&present, &other] {
        assert_eq!(stored(&cached, key).await.ip, Some(AWAY));
    }
    assert_eq!((pending(&cached), cached.count("visits_written")), (0, 2));
}
