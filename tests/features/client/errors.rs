//! Errors: their types, and that they contain no key.

use super::{HOUR, store};
use qsessions::{Error, ErrorKind, Expiry, Key};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn every_documented_sqlstate_is_a_typed_error() {
    let (_database, store) = store().await;
    let session = store.create().await.unwrap();
    let gone = Key::from("there is no such session");
    assert!(matches!(
        store.save(&gone, json!({})).await,
        Err(Error::SessionNotFound)
    ));
    let late = store.save(&session.key, json!({})).expected_version(9);
    assert!(matches!(late.await, Err(Error::VersionConflict)));
    assert!(matches!(
        store.rotate_key(&Key::from("short")).await,
        Err(Error::InvalidKey)
    ));
    assert!(matches!(
        store.save(&session.key, "x".repeat(2 << 20)).await,
        Err(Error::DataTooLarge { .. })
    ));
    let taken = store.create().key(&session.key);
    assert!(matches!(taken.await, Err(Error::KeyExists)));
    for new in [
        store.create().ttl(Duration::ZERO),
        store.create().ttl(HOUR).idle_timeout(HOUR),
        store.create().ttl(Duration::MAX),
        store.create().user("not a number"),
    ] {
        let error = new.await.unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
        assert!(error.is_caller_error());
    }
    for rows in [0, u32::MAX] {
        let error = store.list_sessions().max_rows(rows).await.unwrap_err();
        assert!(error.to_string().contains("max_rows"), "{error}");
    }
    let stranger = store.create().user(404).await.unwrap_err();
    assert!(matches!(stranger, Error::Database(_)));
    assert!(stranger.to_string().contains("23503"), "{stranger}");
    assert_eq!(stranger.kind(), ErrorKind::Caller);
    let debug = format!("{stranger:?}");
    assert!(
        debug.starts_with("Database") && debug.contains("23503"),
        "{debug}"
    );
}

#[tokio::test]
async fn no_error_shows_a_key() {
    let (_database, store) = store().await;
    let session = store.create().await.unwrap();
    let secret = session.key.expose().to_owned();
    store.logout(&session.key).await.unwrap();
    let mut shown = format!("{:?} {session:?}", session.key);
    for error in [
        store.save(&session.key, json!({})).await.unwrap_err(),
        store.patch(&session.key, json!({})).await.unwrap_err(),
        store.patch(&session.key, json!([])).await.unwrap_err(),
        store.rotate_key(&session.key).await.unwrap_err(),
        store
            .set_expiry(&session.key, Expiry::ttl(HOUR))
            .await
            .unwrap_err(),
        store.login(404).key(&session.key).await.unwrap_err(),
    ] {
        shown += &format!("{error} {error:?}");
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            shown += &inner.to_string();
            cause = inner.source();
        }
    }
    assert!(!shown.contains(&secret), "{shown}");
}
