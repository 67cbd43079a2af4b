//! Keys and ids: the format of keys, and how a session's id is derived.

use qsessions_testkit::{Database, Users};
use std::collections::HashSet;
use uuid::Uuid;

#[tokio::test]
async fn native_keys_are_48_unique_characters_of_base64url() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    let rows = client
        .query(
            "SELECT qsessions.generate_key() FROM generate_series(1, 1000)",
            &[],
        )
        .await
        .unwrap();
    let keys: HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(keys.len(), 1000);
    for key in &keys {
        assert_eq!(key.len(), 48, "{key}");
        assert!(
            key.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "{key}"
        );
    }
}

#[tokio::test]
async fn ids_of_native_keys_are_ordered_uuids_of_version_7() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    let rows = client
        .query(
            "SELECT qsessions.session_id(qsessions.generate_key()) FROM generate_series(1, 5000)",
            &[],
        )
        .await
        .unwrap();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    assert!(ids.iter().all(|id| id.get_version_num() == 7));
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn other_texts_of_8_to_512_characters_have_a_derived_id() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    for key in [
        "12345678".to_owned(),
        "quote'\"\\;--".to_owned(),
        "ключ-😀-key".to_owned(),
        "é".repeat(512),
    ] {
        let row = client
            .query_one(
                "SELECT qsessions.session_id($1), sha256(convert_to($1, 'UTF8'))",
                &[&key],
            )
            .await
            .unwrap();
        let (id, digest): (Uuid, Vec<u8>) = (row.get(0), row.get(1));
        assert_eq!(id.get_version_num(), 8, "{key}");
        assert_eq!(id.as_bytes()[..6], digest[..6], "{key}");
        assert_eq!(id.as_bytes()[9..], digest[9..16], "{key}");
    }
}

#[tokio::test]
async fn session_id_raises_invalid_key_for_texts_that_cannot_be_keys() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    for key in [
        String::new(),
        "1234567".to_owned(),
        "x".repeat(513),
        "x".repeat(1 << 20),
    ] {
        let error = client
            .query_one("SELECT qsessions.session_id($1)", &[&key])
            .await
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "QS003");
        assert!(
            error.message().starts_with("argument \"key\""),
            "{}",
            error.message()
        );
        assert!(error.hint().is_some());
    }
    let id: Option<Uuid> = client
        .query_one("SELECT qsessions.session_id(NULL)", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(id, None);
}
