//! Hits: loads that take no statement.

use super::{Cached, data, one, until};
use qsessions::{CacheConfig, Key};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_session_takes_no_statement() {
    let cached = Cached::new().await;
    let key = cached.begin().await.key;
    let hits = cached.count("hits");
    let (_, statements) = cached
        .statements(async {
            for _ in 0..100 {
                assert_eq!(data(&cached.store, &key).await, Some(json!({"n": 1})));
                assert!(cached.store.exists(&key).await.unwrap());
                assert!(cached.store.resume(&key).await.unwrap().is_some());
            }
        })
        .await;
    assert_eq!(statements, 0);
    assert_eq!(cached.count("hits"), hits + 300);
    assert!(cached.store.health().serving);
}

/// On one thread: without a turn of its own, the other task would wait until the cache is out of
/// date.
#[tokio::test]
async fn a_task_that_only_hits_the_cache_lets_others_run() {
    let cached = Cached::new().await;
    let key = cached.begin().await.key;
    data(&cached.store, &key).await;
    let other = tokio::spawn(async {});
    let mut loads = 0;
    while !other.is_finished() {
        data(&cached.store, &key).await;
        loads += 1;
    }
    assert!(loads < 1000, "{loads}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_a_session_takes_one_statement() {
    let cached = Cached::new().await;
    let invented = Key::from("an invented key");
    let (_, statements) = cached
        .statements(async {
            for _ in 0..100 {
                assert_eq!(data(&cached.store, &invented).await, None);
            }
        })
        .await;
    // One statement, or a second one if the hundred loads take longer than negative_ttl.
    assert!((1..100).contains(&statements), "{statements}");
    assert!(cached.count("negative_hits") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_cannot_be_a_key_takes_no_statement() {
    let cached = Cached::new().await;
    let texts = ["", "short", "with\0nul in it", &"x".repeat(513)].map(Key::from);
    let (_, statements) = cached
        .statements(async {
            for text in &texts {
                assert_eq!(data(&cached.store, text).await, None);
                assert!(cached.store.resume(text).await.unwrap().is_none());
            }
        })
        .await;
    assert_eq!(statements, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_of_a_key_that_had_none_is_found() {
    let cached = Cached::new().await;
    let (mine, theirs) = (
        Key::from("key of my own choice"),
        Key::from("key of their choice"),
    );
    assert_eq!(data(&cached.store, &mine).await, None);
    assert_eq!(data(&cached.store, &theirs).await, None);
    cached.store.create().data(one()).key(&mine).await.unwrap();
    assert_eq!(data(&cached.store, &mine).await, Some(json!({"n": 1})));
    // The session of another process is found after negative_ttl.
    cached
        .other
        .create()
        .data(one())
        .key(&theirs)
        .await
        .unwrap();
    until(async || data(&cached.store, &theirs).await.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_invented_keys_evicts_no_session() {
    let cached = Cached::with(CacheConfig::new().capacity(10).negative_capacity(10)).await;
    let key = cached.begin().await.key;
    for n in 0..200 {
        let invented = Key::from(format!("invented key number {n}"));
        assert_eq!(data(&cached.store, &invented).await, None);
    }
    let (_, statements) = cached.statements(data(&cached.store, &key)).await;
    assert_eq!(statements, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_secret_does_not_open_a_cached_session() {
    let cached = Cached::new().await;
    let session = cached.begin().await;
    let secret = session.key.expose();
    let guess = Key::from(format!(
        "{}{}",
        &secret[..47],
        if secret.ends_with('A') { 'B' } else { 'A' }
    ));
    assert_eq!(data(&cached.store, &guess).await, None);
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 1}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_another_process_has_just_rotated_is_found() {
    let cached = Cached::new().await;
    let session = cached.begin().await;
    // The old key is cached, and no notification arrives.
    cached.listener.keep_answers();
    let rotated = cached.other.rotate_key(&session.key).await.unwrap();
    assert_eq!(data(&cached.store, &rotated).await, Some(json!({"n": 1})));
    cached.listener.release();
    cached.store.catch_up().await;
    assert_eq!(data(&cached.store, &session.key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_too_much_data_is_loaded_but_not_cached() {
    let cached = Cached::with(CacheConfig::new().max_data_bytes(1000)).await;
    let large = json!({"text": "x".repeat(1000)});
    let session = cached.other.create().data(&large).await.unwrap();
    assert_eq!(data(&cached.store, &session.key).await, Some(large));
    assert!(!cached.is_cached(&session.key).await);
}
