//! Fills: a session that changes while it is read is not cached.

use super::{Cached, data, one, until};
use futures_util::future::join_all;
use qsessions::{Error, Key};
use serde_json::json;

/// Loads a session, and changes it before the answer arrives.
async fn load_across<F: Future<Output = ()>>(cached: &Cached, key: &Key, change: F) {
    let before = cached.pool.kept_back();
    cached.pool.keep_answers();
    let load = tokio::spawn({
        let (store, key) = (cached.store.clone(), key.clone());
        async move { store.load(&key).await.unwrap() }
    });
    // The server has read the session.
    cached.pool.answer_is_kept(before).await;
    change.await;
    cached.store.catch_up().await;
    cached.pool.release();
    let session = load.await.unwrap().expect("it was there when it was read");
    assert_eq!(session.data, json!({"n": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_during_a_save_is_not_cached() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    let dropped = cached.count("fills_dropped");
    load_across(&cached, &session.key, async {
        cached
            .other
            .save(&session.key, json!({"n": 2}))
            .await
            .unwrap();
    })
    .await;
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 2}))
    );
    assert_eq!(cached.count("fills_dropped"), dropped + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_during_a_revocation_is_not_cached() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    load_across(&cached, &session.key, async {
        assert!(cached.other.revoke(session.id).await.unwrap());
    })
    .await;
    assert_eq!(data(&cached.store, &session.key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_during_a_delete_of_the_user_is_not_cached() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).user(7_i64).await.unwrap();
    let client = cached.client().await;
    load_across(&cached, &session.key, async {
        client
            .batch_execute("DELETE FROM users WHERE id = 7")
            .await
            .unwrap();
    })
    .await;
    assert_eq!(data(&cached.store, &session.key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_during_a_truncate_is_not_cached() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    let client = cached.client().await;
    load_across(&cached, &session.key, async {
        client
            .batch_execute("TRUNCATE qsessions.session")
            .await
            .unwrap();
    })
    .await;
    assert_eq!(data(&cached.store, &session.key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_during_a_change_by_the_same_store_is_not_cached() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    cached.listener.keep_answers();
    let before = cached.pool.kept_back();
    cached.pool.keep_answers();
    let load = tokio::spawn({
        let (store, key) = (cached.store.clone(), session.key.clone());
        async move { store.load(&key).await.unwrap() }
    });
    cached.pool.answer_is_kept(before).await;
    // The change uses another connection of the same pool.
    assert!(cached.store.revoke(session.id).await.unwrap());
    cached.pool.release();
    assert!(load.await.unwrap().is_some());
    assert_eq!(data(&cached.store, &session.key).await, None);
    cached.listener.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_during_an_outage_of_the_listener_is_not_cached() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    load_across(&cached, &session.key, async {
        cached.listener.cut().await;
        until(async || !cached.store.health().serving).await;
        cached
            .other
            .save(&session.key, json!({"n": 2}))
            .await
            .unwrap();
        until(async || cached.store.health().serving).await;
    })
    .await;
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 2}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_loads_of_an_uncached_key_are_one_statement() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    let before = cached.pool.kept_back();
    cached.pool.keep_answers();
    let statements = cached.pool.executed();
    let (store, key) = (cached.store.clone(), session.key.clone());
    let loads = tokio::spawn(async move { join_all((0..1000).map(|_| store.load(&key))).await });
    cached.pool.answer_is_kept(before).await;
    cached.pool.release();
    let sessions: Vec<_> = loads
        .await
        .unwrap()
        .into_iter()
        .map(|load| load.unwrap().unwrap())
        .collect();
    assert_eq!(sessions.len(), 1000);
    assert!(
        sessions
            .iter()
            .all(|other| std::ptr::eq(&**other, &*sessions[0]))
    );
    assert_eq!(cached.pool.executed() - statements, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_after_a_change_does_not_join_an_earlier_load() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    let before = cached.pool.kept_back();
    cached.pool.keep_answers();
    let early = tokio::spawn({
        let (store, key) = (cached.store.clone(), session.key.clone());
        async move { data(&store, &key).await }
    });
    cached.pool.answer_is_kept(before).await;
    cached
        .other
        .save(&session.key, json!({"n": 2}))
        .await
        .unwrap();
    cached.store.catch_up().await;
    let late = tokio::spawn({
        let (store, key) = (cached.store.clone(), session.key.clone());
        async move { data(&store, &key).await }
    });
    cached.pool.release();
    assert_eq!(early.await.unwrap(), Some(json!({"n": 1})));
    assert_eq!(late.await.unwrap(), Some(json!({"n": 2})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_load_does_not_cancel_the_others() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    let before = cached.pool.kept_back();
    cached.pool.keep_answers();
    let [first, second] = [(), ()].map(|()| {
        let (store, key) = (cached.store.clone(), session.key.clone());
        tokio::spawn(async move { data(&store, &key).await })
    });
    cached.pool.answer_is_kept(before).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    cached.pool.release();
    assert_eq!(second.await.unwrap(), Some(json!({"n": 1})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_after_all_others_were_cancelled_is_started_again() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    let before = cached.pool.kept_back();
    cached.pool.keep_answers();
    let only = tokio::spawn({
        let (store, key) = (cached.store.clone(), session.key.clone());
        async move { data(&store, &key).await }
    });
    cached.pool.answer_is_kept(before).await;
    only.abort();
    assert!(only.await.unwrap_err().is_cancelled());
    cached.pool.release();
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 1}))
    );
    assert!(cached.is_cached(&session.key).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_reaches_every_waiting_load_and_is_not_cached() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    let before = cached.pool.kept_back();
    cached.pool.keep_answers();
    let loads = tokio::spawn({
        let (store, key) = (cached.store.clone(), session.key.clone());
        async move { join_all((0..3).map(|_| store.load(&key))).await }
    });
    cached.pool.answer_is_kept(before).await;
    cached.pool.cut().await;
    cached.pool.release();
    let loads = loads.await.unwrap();
    let is_cut_off = |load: &Result<_, _>| matches!(load, Err(Error::Database(_)));
    assert!(loads.iter().all(is_cut_off), "{loads:?}");
    assert_eq!(
        data(&cached.store, &session.key).await,
        Some(json!({"n": 1}))
    );
}
