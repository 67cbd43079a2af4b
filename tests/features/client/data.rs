//! Data that the client saves, and data that other programs save.

use super::{HOUR, address, pool, store};
use qsessions::{Error, Executor, Expiry, Store};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

/// This number of nested arrays.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test]
async fn data_that_the_client_saves_is_loaded_unchanged() {
    let (_database, store) = store().await;
    let deep = |levels: usize| json!({"a": nested(levels - 1)});
    for data in [
        json!({"n": f64::MAX, "m": f64::MIN, "least": 5e-324, "sum": 0.1 + 0.2, "third": 1.0 / 3.0}),
        json!([u64::MAX, i64::MIN, 1e23, -0.5]),
        deep(130),
        deep(1000),
    ] {
        let session = store.create().data(&data).await.unwrap();
        assert_eq!(store.load(&session.key).await.unwrap().unwrap().data, data);
        store.save(&session.key, &data).await.unwrap();
        let resumed = store.resume(&session.key).await.unwrap();
        assert_eq!(resumed.unwrap().data, data);
        let by_id = store.get_session(session.id).await.unwrap().unwrap();
        assert_eq!(by_id.data_as::<Value>().unwrap(), data);
    }
    // The client refuses to save data that it could not load.
    let session = store.create().await.unwrap();
    let too_deep = deep(1001);
    for refused in [
        store.create().data(&too_deep).await.map(drop),
        store.login(1).data(&too_deep).await.map(drop),
        store.save(&session.key, &too_deep).await.map(drop),
        store.patch(&session.key, &too_deep).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Data(_))), "{refused:?}");
    }
    assert_eq!(store.stats().await.unwrap().total, 5);
}

#[tokio::test]
async fn data_that_sql_saves_is_loaded() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let session = store.create().await.unwrap();
    let save = async |data: &str| {
        let sql = "SELECT qsessions.save_session($1, $2::text::jsonb)";
        client
            .execute(sql, &[&session.key.expose(), &data])
            .await
            .unwrap();
        store.load(&session.key).await.unwrap().unwrap()
    };
    // A numeric becomes the nearest f64; RawValue has all its digits.
    let loaded = save(r#"{"huge": 1e400, "low": -1e400, "exact": 7, "tiny": 1e-400}"#).await;
    let nearest = json!({"huge": f64::MAX, "low": f64::MIN, "exact": 7, "tiny": 0.0});
    assert_eq!(loaded.data, nearest);
    assert_eq!(loaded.data_as::<Value>().unwrap(), nearest);
    #[derive(Deserialize)]
    struct Numbers {
        huge: Box<serde_json::value::RawValue>,
        exact: u8,
    }
    let numbers: Numbers = loaded.data_as().unwrap();
    assert_eq!(numbers.huge.get(), format!("1{}", "0".repeat(400)));
    assert_eq!(numbers.exact, 7);
    // The client can save all of it again.
    let raw: Box<serde_json::value::RawValue> = loaded.data_as().unwrap();
    store.save(&session.key, raw).await.unwrap();
    let sql = "SELECT data->'huge' = '1e400' FROM qsessions.session";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));

    for levels in [130, 1000] {
        let text = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(save(&text).await.data, nested(levels));
    }
    assert_eq!(
        save("[1.5, \"\\\"[\", null]").await.data,
        json!([1.5, "\"[", null])
    );
}

#[tokio::test]
async fn a_session_whose_data_cannot_be_read_supports_other_calls() {
    let (database, store) = store().await;
    let client = database.connect().await;
    assert_other_calls_work(&client, &store, || async {}).await;
    let cached = Store::builder(pool(&database))
        .cached(database.config(), NoTls)
        .build()
        .unwrap();
    cached.ready().await.unwrap();
    assert_other_calls_work(&client, &cached, || cached.catch_up()).await;
}

async fn assert_other_calls_work<E: Executor, F: Future<Output = ()>>(
    client: &Client,
    store: &Store<E>,
    catch_up: impl Fn() -> F,
) {
    let session = store.login(1).await.unwrap();
    let spoil =
        "UPDATE qsessions.session SET data = (repeat('[', 5000) || repeat(']', 5000))::jsonb";
    client.batch_execute(spoil).await.unwrap();
    catch_up().await;
    let key = &session.key;
    let ip = address("192.0.2.1");
    for unreadable in [
        store.load(key).await.map(drop),
        store.resume(key).ip(ip).await.map(drop),
        store.get_session(session.id).await.map(drop),
    ] {
        assert!(matches!(unreadable, Err(Error::Data(_))), "{unreadable:?}");
    }
    assert!(store.exists(key).await.unwrap());
    let seen = store.user_sessions(1).current(key).await.unwrap();
    assert!(seen[0].is_current);
    // The visit was recorded nevertheless.
    assert_eq!(seen[0].ip, Some(ip));
    store.set_expiry(key, Expiry::ttl(HOUR)).await.unwrap();
    let key = store.rotate_key(key).await.unwrap();
    store.save(&key, json!({"n": 1})).await.unwrap();
    let repaired = store.load(&key).await.unwrap().unwrap();
    assert_eq!(repaired.data, json!({"n": 1}));
    client.batch_execute(spoil).await.unwrap();
    assert!(store.logout(&key).await.unwrap());
    let other = store.login(1).await.unwrap();
    client.batch_execute(spoil).await.unwrap();
    assert!(store.revoke_for_user(other.id, 1).await.unwrap());
}

#[tokio::test]
async fn extreme_values_in_other_columns_are_loaded() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let session = store.create().await.unwrap();
    for set in [
        "ip = '198.51.100.7/24'",
        "ip = '2001:db8::/32'",
        "ip = '::ffff:198.51.100.7/120'",
        "created_at = '-infinity', authenticated_at = '-infinity', updated_at = 'infinity', last_seen_at = 'infinity'",
        "created_at = '4713-01-01 00:00:00+00 BC', authenticated_at = '294276-12-31 23:59:59+00'",
        "expires_at = '294276-12-31 23:59:59.999999+00', deadline = 'infinity'",
        "expires_at = 'infinity', idle_timeout = '178000000 years', last_seen_at = '294276-01-01 00:00:00+00'",
        "version = 9223372036854775807, user_agent = repeat('é', 100000)",
        "version = -9223372036854775808, user_agent = ''",
    ] {
        let update = format!("UPDATE qsessions.session SET {set}");
        client.batch_execute(&update).await.unwrap();
        let loaded = store.load(&session.key).await;
        assert!(matches!(loaded, Ok(Some(_))), "{set}: {loaded:?}");
        let listed = store.list_sessions().await.unwrap();
        assert_eq!(listed.len(), 1, "{set}");
    }
}
