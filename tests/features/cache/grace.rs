//! The grace of rotated keys: the cache keeps no answer to a former key.

use super::{Cached, data, one, unhurried};
use qsessions::Key;
use serde_json::json;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(60);

/// A session that the cache holds, its key, and the key that another process has given it since.
async fn rotated(cached: &Cached) -> (Key, Key) {
    let former = cached.begin().await.key;
    let present = cached.other.rotate_key(&former).grace(GRACE).await.unwrap();
    (former, present)
}

/// Ends the grace of all former keys. As far as caches know, time has passed.
async fn end_grace(cached: &Cached) {
    let client = cached.client().await;
    client
        .batch_execute("UPDATE qsessions.session SET former_digest_until = now()")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_answers_a_former_key_and_the_cache_the_present_one() {
    let cached = Cached::new().await;
    let (former, present) = rotated(&cached).await;
    cached.store.catch_up().await;
    assert!(cached.is_cached(&present).await);
    for _ in 0..2 {
        let (session, statements) = cached.statements(data(&cached.store, &former)).await;
        assert_eq!((session, statements), (Some(json!({"n": 1})), 1));
    }
    let (exists, statements) = cached.statements(cached.store.exists(&former)).await;
    assert_eq!((exists.unwrap(), statements), (true, 1));
    // The answers have not taken the place of the entry.
    let (_, statements) = cached.statements(cached.store.load(&present)).await;
    assert_eq!(statements, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_key_opens_nothing_after_its_grace() {
    let cached = Cached::new().await;
    let (former, present) = rotated(&cached).await;
    cached.store.catch_up().await;
    assert!(data(&cached.store, &former).await.is_some());
    // No notification arrives, as there is none when a grace ends.
    cached.listener.keep_answers();
    end_grace(&cached).await;
    assert_eq!(data(&cached.store, &former).await, None);
    assert!(cached.store.resume(&former).await.unwrap().is_none());
    assert!(!cached.store.exists(&former).await.unwrap());
    assert!(data(&cached.store, &present).await.is_some());
    cached.listener.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_rotates_a_key_knows_both_keys_at_once() {
    let cached = Cached::new().await;
    let former = cached.begin().await.key;
    cached.listener.keep_answers();
    let present = cached.store.rotate_key(&former).grace(GRACE).await.unwrap();
    assert_eq!(data(&cached.store, &former).await, Some(json!({"n": 1})));
    assert_eq!(data(&cached.store, &present).await, Some(json!({"n": 1})));
    end_grace(&cached).await;
    assert_eq!(data(&cached.store, &former).await, None);
    cached.listener.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_ends_is_ended_for_the_former_key_too() {
    let cached = Cached::new().await;
    let mut former = vec![];
    for end in 0..5 {
        let session = cached.other.create().user(1_i64).data(one());
        let key = session.await.unwrap().key;
        assert!(cached.is_cached(&key).await);
        let other = &cached.other;
        let present = other.rotate_key(&key).grace(GRACE).await.unwrap();
        cached.store.catch_up().await;
        assert!(data(&cached.store, &key).await.is_some());
        // No notification arrives.
        cached.listener.keep_answers();
        match end {
            0 => drop(other.logout(&present).await.unwrap()),
            1 => drop(other.logout(&key).await.unwrap()),
            2 => drop(other.revoke(key.id().unwrap()).await.unwrap()),
            3 => drop(other.login(1_i64).key(&present).await.unwrap()),
            _ => drop(other.rotate_key(&present).await.unwrap()),
        }
        assert_eq!(data(&cached.store, &key).await, None, "{end}");
        assert!(cached.store.resume(&key).await.unwrap().is_none(), "{end}");
        cached.listener.release();
        cached.store.catch_up().await;
        former.push(key);
    }
    for key in &former {
        assert_eq!(data(&cached.store, key).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_by_a_former_key_are_recorded_and_not_cached() {
    let cached = Cached::new().await;
    let (former, present) = rotated(&cached).await;
    let ip = std::net::IpAddr::from([192, 0, 2, 7]);
    let visit = cached.store.resume(&former).ip(ip).await.unwrap().unwrap();
    assert_eq!(visit.ip, Some(ip));
    make_due(&cached).await;
    let before = cached.other.load(&present).await.unwrap().unwrap();
    let due = cached.store.resume(&former).ip(ip).await.unwrap().unwrap();
    assert!(due.last_seen_at > before.last_seen_at);
    cached.store.flush_visits().await.unwrap();
    let stored = cached.other.load(&present).await.unwrap().unwrap();
    assert!(stored.last_seen_at > before.last_seen_at);
    assert!(!cached.is_cached(&former).await);
    end_grace(&cached).await;
    assert!(cached.store.resume(&former).ip(ip).await.unwrap().is_none());
}

/// The request has found the entry before the rotation was known, and records the visit after.
#[tokio::test(flavor = "multi_thread")]
async fn a_visit_across_a_rotation_does_not_bring_the_former_key_into_the_cache() {
    let cached = Cached::with(unhurried().background_visits(false)).await;
    let key = cached.begin().await.key;
    make_due(&cached).await;
    cached.store.load(&key).await.unwrap();
    let visit = cached.store.resume(&key).into_future();
    let rotated = cached.other.rotate_key(&key).grace(GRACE).await;
    cached.store.catch_up().await;
    assert!(visit.await.unwrap().is_some());
    assert!(!cached.is_cached(&key).await);
    cached.listener.keep_answers();
    end_grace(&cached).await;
    assert_eq!(data(&cached.store, &key).await, None);
    assert!(data(&cached.store, &rotated.unwrap()).await.is_some());
    cached.listener.release();
}

/// The visit of the next request has to be recorded. Only an earlier expiry is notified.
async fn make_due(cached: &Cached) {
    let client = cached.client().await;
    client
        .batch_execute(
            "UPDATE qsessions.session SET last_seen_at = now() - interval '10 minutes',
                 expires_at = expires_at - interval '10 minutes'",
        )
        .await
        .unwrap();
    cached.store.catch_up().await;
}
