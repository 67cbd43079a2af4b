//! A session that changes while it is read is not kept.

use super::{Cached, data, one, until};
use futures_util::future::join_all;
use qsessions::{Error, Key};
use serde_json::json;

/// A load whose answer is on its way while the session changes.
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
async fn a_load_that_a_save_overtakes_is_not_kept() {
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
async fn a_load_that_a_revocation_overtakes_does_not_bring_the_session_back() {
    let cached = Cached::new().await;
    let session = cached.other.create().data(one()).await.unwrap();
    load_across(&cached, &session.key, async {
        assert!(cached.other.revoke(session.id).await.unwrap());
    })
    .await;
    assert_eq!(data(&cached.store, &session.key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_the_end_of_the_user_overtakes_does_not_bring_the_session_back() {
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
async fn a_load_that_a_truncate_overtakes_is_not_kept() {
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
async fn a_load_that_its_own_process_overtakes_is_not_kept_even_without_notifications() {
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
    // By another connection of the same pool.
    assert!(cached.store.revoke(session.id).await.unwrap());
    cached.pool.release();
    assert!(load.await.unwrap().is_some());
    assert_eq!(data(&cached.store, &session.key).await, None);
    cached.listener.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_an_outage_of_the_listener_overtakes_is_not_kept() {
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
async fn a_thousand_loads_of_one_cold_key_are_one_statement() {
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
async fn a_request_after_a_change_does_not_share_a_load_from_before() {
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
async fn a_load_that_is_given_up_leaves_the_others_theirs() {
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
async fn a_load_that_all_requests_have_given_up_is_begun_anew() {
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
async fn an_error_goes_to_each_waiting_request_and_is_not_kept() {
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
