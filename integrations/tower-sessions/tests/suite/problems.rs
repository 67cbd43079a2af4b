//! What the application sees if the database cannot do what it is asked.

use super::{Browser, an_hour, count, pool, routes, sessions, visit};
use axum::http::StatusCode;
use qsessions::Store;
use qsessions_testkit::{Database, Users};
use qsessions_tower_sessions::QsessionsStore;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tower_sessions::SessionStore as _;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::Error;

fn record(value: Value) -> Record {
    Record {
        id: Id::default(),
        data: [("foo".to_owned(), value)].into(),
        expiry_date: OffsetDateTime::now_utc() + Duration::hours(1),
    }
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| Value::Array(vec![inner]))
}

#[tokio::test]
async fn data_that_is_too_large_is_refused_and_the_session_stays() {
    let (database, mut browser) = visit().await;
    let id = browser.set("foo", "42").await;
    let mut large = record(json!("x".repeat(2_000_000)));
    large.id = id.parse().unwrap();
    let error = sessions(&database).save(&large).await.unwrap_err();
    assert!(matches!(error, Error::Backend(_)), "{error:?}");
    assert!(error.to_string().contains("1048576"), "{error}");
    assert_eq!(browser.value("foo").await, "42");
}

#[tokio::test]
async fn text_that_postgresql_cannot_hold_is_refused() {
    let database = Database::new().await;
    let sessions = sessions(&database);
    let error = sessions
        .create(&mut record(json!("a\0b")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Backend(_)), "{error:?}");
    assert_eq!(count(&database.connect().await).await, 0);
}

#[tokio::test]
async fn data_that_is_nested_too_deeply_is_neither_saved_nor_loaded() {
    let database = Database::new().await;
    let sessions = sessions(&database);
    let error = sessions
        .create(&mut record(nested(1001)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error:?}");
    let mut record = record(json!(1));
    sessions.create(&mut record).await.unwrap();
    let client = database.connect().await;
    let sql = "UPDATE qsessions.session SET data = (repeat('[', 2000) || repeat(']', 2000))::jsonb";
    client.execute(sql, &[]).await.unwrap();
    let error = sessions.load(&record.id).await.unwrap_err();
    assert!(matches!(error, Error::Decode(_)), "{error:?}");
    sessions.delete(&record.id).await.unwrap();
    assert_eq!(count(&client).await, 0);
}

#[tokio::test]
async fn data_of_another_program_that_has_no_members_is_empty() {
    let (database, mut browser) = visit().await;
    browser.set("foo", "42").await;
    let client = database.connect().await;
    for data in ["[1, 2]", "\"text\"", "null"] {
        let sql = format!("UPDATE qsessions.session SET data = '{data}'");
        client.execute(&sql, &[]).await.unwrap();
        assert_eq!(browser.value("foo").await, "null");
    }
    browser.set("foo", "43").await;
    assert_eq!(browser.value("foo").await, "43");
}

#[tokio::test]
async fn a_database_without_the_table_is_named_in_the_error() {
    let database = Database::with(Users::Nothing).await;
    let error = sessions(&database).create(&mut record(json!(1))).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("qsessions.session"), "{error}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_an_error_without_the_key() {
    let database = Database::new().await;
    let mut config = tokio_postgres::Config::new();
    let nowhere = database.server().folder().join("nowhere");
    config.host_path(nowhere).user("app");
    let sessions = QsessionsStore::new(Store::new(pool(&config)));
    let id = Id::default();
    let error = sessions.load(&id).await.unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.contains("No such file or directory"), "{text}");
        assert!(!text.contains(&id.to_string()), "{text}");
    }
    let mut browser = Browser::of(routes().layer(an_hour(sessions)));
    let reply = browser.get("/clear").await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn neither_the_store_nor_its_errors_show_keys_or_data() {
    let database = Database::new().await;
    let sessions = sessions(&database);
    let printed = format!("{sessions:?}");
    assert_eq!(printed, "QsessionsStore { store: Store { .. }, .. }");
    let mut secret = record(json!("secret"));
    secret.data.insert("user".to_owned(), json!(77));
    let error = sessions.create(&mut secret).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("23503"), "{text}");
    assert!(!text.contains("secret") && !text.contains(&secret.id.to_string()));
}
