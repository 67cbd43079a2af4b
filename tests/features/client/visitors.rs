//! What requests bring along: client hints, visits that were gathered, keys in their grace.

use super::{HOUR, address, store};
use qsessions::{ClientHints, Error, Key, Store, Uuid, Visit};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tokio_postgres::Client;

fn hints(model: &str) -> ClientHints {
    [("Sec-CH-UA-Model", model), ("Cookie", "id=secret")]
        .into_iter()
        .collect()
}

async fn kept_hints(client: &Client, id: Uuid) -> Option<Value> {
    let sql = "SELECT client_hints FROM qsessions.session WHERE id = $1";
    client.query_one(sql, &[&id]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_database_keeps_the_client_hints_of_all_calls() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let kept = async |id| kept_hints(&client, id).await;
    let model = |model: &str| Some(json!({ "sec-ch-ua-model": model }));
    let created = store.create().client_hints(&hints("one")).await.unwrap();
    assert_eq!(kept(created.id).await, model("one"));
    let resume = |name| {
        let hints = hints(name);
        let (store, key) = (store.clone(), created.key.clone());
        async move { store.resume(&key).client_hints(&hints).await.unwrap() }
    };
    assert!(resume("two").await.is_some());
    assert_eq!(kept(created.id).await, model("two"));
    let none = ClientHints::default();
    store
        .resume(&created.key)
        .client_hints(&none)
        .await
        .unwrap();
    assert_eq!(kept(created.id).await, model("two"));
    let three = hints("three");
    let login = store.login(1).key(&created.key).client_hints(&three);
    let login = login.await.unwrap();
    assert_eq!(
        (login.id, kept(login.id).await),
        (created.id, model("three"))
    );
    let key = Key::from("a key of another framework");
    assert!(
        store
            .import(&key)
            .client_hints(&hints("four"))
            .await
            .unwrap()
    );
    assert_eq!(kept(key.id().unwrap()).await, model("four"));
    let bare = store.create().client_hints(None).await.unwrap();
    assert_eq!(kept(bare.id).await, None);
}

#[tokio::test]
async fn client_hints_name_the_device() {
    const ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                           Chrome/130.0.0.0 Mobile Safari/537.36";
    let (_database, store) = store().await;
    let hints: ClientHints = [
        ("Sec-CH-UA-Platform", "\"Android\""),
        ("Sec-CH-UA-Platform-Version", "\"14.0.0\""),
        ("Sec-CH-UA-Model", "\"Pixel 8\""),
    ]
    .into_iter()
    .collect();
    let bare = store.parse_user_agent(ANDROID).await.unwrap();
    let told = store.parse_user_agent(ANDROID).client_hints(&hints);
    let told = told.await.unwrap();
    assert_ne!(bare.device.as_deref(), Some("Pixel 8"));
    assert_eq!(told.device.as_deref(), Some("Pixel 8"));
    assert_eq!(told.os_version.as_deref(), Some("14"));
    let line = store.device(ANDROID).client_hints(&hints).await.unwrap();
    assert!(line.contains("Pixel 8"), "{line}");
    assert_ne!(store.device(ANDROID).await.unwrap(), line);
    let login = store.login(1).user_agent(ANDROID).client_hints(&hints);
    login.await.unwrap();
    let listed = store.user_sessions(1).await.unwrap();
    assert_eq!(listed[0].device.as_ref(), Some(&line));
}

#[tokio::test]
async fn a_login_says_nothing_of_devices_without_a_table_of_events() {
    let (_database, store) = store().await;
    let login = store.login(1).user_agent("curl/8.5.0").await.unwrap();
    assert_eq!((login.is_new_device, login.is_new_place), (None, None));
}

#[tokio::test]
async fn visits_that_were_gathered_are_recorded_at_once() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let begun = async || store.create().idle_timeout(HOUR).await.unwrap();
    let (one, other, ended, rotated) = (begun().await, begun().await, begun().await, begun().await);
    store.logout(&ended.key).await.unwrap();
    store.rotate_key(&rotated.key).await.unwrap();
    let visit = |key| Visit::new(key).unwrap().seen_at(SystemTime::now() + HOUR);
    let visits = [
        visit(&one.key)
            .ip(address("192.0.2.1"))
            .user_agent("curl/8.5.0"),
        visit(&other.key).client_hints(hints("Pixel 8")),
        visit(&ended.key).ip(address("192.0.2.1")),
        visit(&rotated.key).ip(address("192.0.2.1")),
    ];
    assert_eq!(store.record_visits(&visits).await.unwrap(), 2);
    let seen = store.load(&one.key).await.unwrap().unwrap();
    assert_eq!(seen.ip, Some(address("192.0.2.1")));
    assert_eq!(seen.user_agent.as_deref(), Some("curl/8.5.0"));
    let model = json!({ "sec-ch-ua-model": "Pixel 8" });
    assert_eq!(kept_hints(&client, other.id).await, Some(model));
    assert_eq!(store.record_visits(&[]).await.unwrap(), 0);
    let shown = format!("{:?}", visits[0]);
    assert!(
        !shown.contains("digest") && !shown.contains("192.0.2.1"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_former_key_opens_its_session_and_cannot_be_rotated() {
    let (_database, store) = store().await;
    let former = store.create().await.unwrap().key;
    let grace = Duration::from_secs(60);
    let present = store.rotate_key(&former).grace(grace).await.unwrap();
    assert_eq!(
        store.load(&former).await.unwrap(),
        store.load(&present).await.unwrap()
    );
    assert!(store.resume(&former).await.unwrap().is_some());
    assert!(store.is_present_key(&present).await.unwrap());
    assert!(!store.is_present_key(&former).await.unwrap());
    assert!(!store.is_present_key(&Key::from("no\0key")).await.unwrap());
    assert_eq!(store.save(&former, json!({"n": 1})).await.unwrap(), 2);
    let again = store.rotate_key(&former).grace(grace).await;
    assert!(matches!(again, Err(Error::SessionNotFound)), "{again:?}");
    assert!(store.logout(&former).await.unwrap());
    assert!(!store.exists(&present).await.unwrap());
    for grace in [Duration::ZERO, 2 * grace] {
        let key = store.create().await.unwrap().key;
        let refused = store.rotate_key(&key).grace(grace).await;
        assert!(
            matches!(refused, Err(Error::InvalidArgument { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_save_makes_an_anonymous_session_that_of_a_user() {
    let (_database, store) = store().await;
    let key = store.create().await.unwrap().key;
    let save = |user: i64| {
        let store: &Store = &store;
        store.save(&key, json!({"n": user})).user(user)
    };
    assert_eq!(save(1).await.unwrap(), 2);
    let session = store.load(&key).await.unwrap().unwrap();
    assert_eq!(session.user_id.as_deref(), Some("1"));
    assert!(session.authenticated_at.is_some());
    let other = save(2).await;
    assert!(
        matches!(other, Err(Error::InvalidArgument { .. })),
        "{other:?}"
    );
    assert_eq!(save(1).await.unwrap(), 3);
}
