//! The id in the cookie: the table does not have it, and no id that a browser has sent begins a
//! session.

use super::{count, sessions, store, visit};
use qsessions::Key;
use qsessions_testkit::Database;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tower_sessions::SessionStore as _;
use tower_sessions::session::{Id, Record};

fn record() -> Record {
    Record {
        id: Id::default(),
        data: [("foo".to_owned(), json!(42))].into(),
        expiry_date: OffsetDateTime::now_utc() + Duration::hours(1),
    }
}

#[tokio::test]
async fn the_table_keeps_the_hash_of_the_id_only() {
    let (database, mut browser) = visit().await;
    let id = browser.set("foo", "42").await;
    let client = database.connect().await;
    let sql = "SELECT count(*) FROM qsessions.session AS s WHERE position($1 IN s::text) > 0";
    let rows_with_id: i64 = client.query_one(sql, &[&id]).await.unwrap().get(0);
    assert_eq!(rows_with_id, 0);
    let sql = "SELECT digest = sha256(convert_to($1, 'UTF8')) FROM qsessions.session";
    let is_hashed: bool = client.query_one(sql, &[&id]).await.unwrap().get(0);
    assert!(is_hashed);
}

#[tokio::test]
async fn the_id_is_a_key_for_the_client() {
    let (database, mut browser) = visit().await;
    let key = Key::from(browser.set("foo", "42").await);
    let session = store(&database).load(&key).await.unwrap().unwrap();
    assert_eq!(session.data, json!({ "foo": 42 }));
}

#[tokio::test]
async fn a_new_session_never_has_the_id_of_another_one() {
    let database = Database::new().await;
    let sessions = sessions(&database);
    let mut first = record();
    sessions.create(&mut first).await.unwrap();
    let mut second = record();
    second.id = first.id;
    second.data.insert("foo".to_owned(), json!(43));
    sessions.create(&mut second).await.unwrap();
    assert_ne!(second.id, first.id);
    for record in [first, second] {
        let loaded = sessions.load(&record.id).await.unwrap().unwrap();
        assert_eq!((loaded.id, loaded.data), (record.id, record.data));
    }
}

#[tokio::test]
async fn an_id_that_was_given_up_never_opens_a_session_again() {
    let database = Database::new().await;
    let sessions = sessions(&database);
    let mut given_up = record();
    sessions.create(&mut given_up).await.unwrap();
    sessions.delete(&given_up.id).await.unwrap();
    // tower-sessions does this if a request flushes its session and then uses it again.
    let mut used_again = given_up.clone();
    sessions.create(&mut used_again).await.unwrap();
    assert_ne!(used_again.id, given_up.id);
    assert!(sessions.load(&given_up.id).await.unwrap().is_none());
}

#[tokio::test]
async fn deleting_what_does_not_exist_is_no_error() {
    let database = Database::new().await;
    sessions(&database).delete(&Id::default()).await.unwrap();
    let client = database.connect().await;
    assert_eq!(count(&client).await, 0);
}
