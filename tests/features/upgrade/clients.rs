//! The client of this version with a database of an older one, and with none. What the client of an
//! older version sends is in `load.rs`.

use super::{UPGRADE, old};
use crate::client::pool;
use crate::common::begin;
use qsessions::{Error, ErrorKind, Key, Store};
use qsessions_testkit::{Database, Users};
use serde_json::json;
use tokio_postgres::NoTls;

#[tokio::test]
async fn the_client_names_the_version_that_it_needs() {
    let database = old().await;
    let key = Key::from(begin(&database.connect().await, "user_id => 1").await.key);
    let store = Store::new(pool(&database));
    let cached = Store::builder(pool(&database))
        .cached(database.config(), NoTls)
        .build()
        .unwrap();
    let errors = [
        store.create().await.unwrap_err(),
        store.resume(&key).await.unwrap_err(),
        store.save(&key, json!({})).await.unwrap_err(),
        store.login(1).key(&key).await.unwrap_err(),
        cached.load(&key).await.unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(
            matches!(&error, Error::ExtensionVersion { found, .. } if found.as_deref() == Some("0.1.0")),
            "{error:?}"
        );
        assert!(text.contains("ALTER EXTENSION qsessions UPDATE"), "{text}");
        assert_eq!(error.kind(), ErrorKind::Setup);
    }
    // What has not changed works.
    assert!(store.load(&key).await.unwrap().is_some());

    database
        .connect()
        .await
        .batch_execute(UPGRADE)
        .await
        .unwrap();
    store.create().await.unwrap();
    store.resume(&key).await.unwrap().unwrap();
    assert!(cached.load(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn in_a_transaction_the_error_has_a_hint() {
    let database = old().await;
    let mut client = database.connect().await;
    let transaction = client.transaction().await.unwrap();
    let error = Store::new(pool(&database))
        .on(&transaction)
        .create()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("42883") && text.contains("0.2.0"), "{text}");
}

#[tokio::test]
async fn without_the_extension_the_client_says_so() {
    let database = Database::with(Users::Nothing).await;
    database
        .connect()
        .await
        .batch_execute("DROP EXTENSION qsessions")
        .await
        .unwrap();
    let error = Store::new(pool(&database)).create().await.unwrap_err();
    assert!(
        matches!(error, Error::ExtensionVersion { found: None, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("CREATE EXTENSION"), "{error}");
}

#[tokio::test]
async fn an_error_of_the_users_own_stays_what_it_is() {
    let database = Database::new().await;
    let admin = database.connect().await;
    admin
        .batch_execute(
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM missing(); RETURN NEW; END';
             CREATE TRIGGER broken BEFORE INSERT ON qsessions.session FOR EACH ROW EXECUTE FUNCTION broken()",
        )
        .await
        .unwrap();
    let error = Store::new(pool(&database)).create().await.unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
}
