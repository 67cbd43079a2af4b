//! Calls: sessions from `create` to `logout`, lists, and transactions of the caller.

use super::{HOUR, address, pool, store};
use qsessions::ipnet::IpNet;
use qsessions::{Expiry, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[tokio::test]
async fn a_session_works_from_create_to_logout() {
    let (_database, store) = store().await;
    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Cart {
        items: Vec<u32>,
    }
    let new = store
        .create()
        .data(Cart { items: vec![7] })
        .ip(address("2001:db8::1"))
        .user_agent("curl/8.5.0")
        .idle_timeout(HOUR)
        .max_age(24 * HOUR);
    let created = new.await.unwrap();
    let key = created.key;
    assert!(store.exists(&key).await.unwrap());
    assert_eq!(key.id(), Some(created.id));

    let session = store.load(&key).await.unwrap().unwrap();
    assert_eq!((session.id, session.version), (created.id, 1));
    assert_eq!(session.data_as::<Cart>().unwrap(), Cart { items: vec![7] });
    assert_eq!(session.ip, Some(address("2001:db8::1")));
    assert_eq!(session.user_agent.as_deref(), Some("curl/8.5.0"));
    assert_eq!(session.user_id, None);
    assert_eq!(
        session
            .expires_at
            .unwrap()
            .duration_since(session.created_at)
            .unwrap(),
        HOUR
    );

    let resumed = store
        .resume(&key)
        .ip(address("192.0.2.1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(resumed.ip, Some(address("192.0.2.1")));
    assert_eq!(store.save(&key, json!({"a": 1, "b": 2})).await.unwrap(), 2);
    let save = store.save(&key, json!({"a": 1, "b": 2}));
    let save = save.expected_version(2).ttl(2 * HOUR);
    assert_eq!(save.await.unwrap(), 3);
    assert_eq!(
        store
            .patch(&key, json!({"c": 3}))
            .remove(&["a"])
            .await
            .unwrap(),
        4
    );
    let data = store.load(&key).await.unwrap().unwrap().data.clone();
    assert_eq!(data, json!({"b": 2, "c": 3}));
    assert!(
        store
            .set_expiry(&key, Expiry::ttl(HOUR))
            .await
            .unwrap()
            .is_some()
    );

    let rotated = store.rotate_key(&key).await.unwrap();
    assert!(!store.exists(&key).await.unwrap());
    let login = store.login(1).key(&rotated).ip(address("192.0.2.2"));
    let logged_in = login.max_sessions(3).await.unwrap();
    assert_eq!(logged_in.id, created.id);
    assert!(store.load(&rotated).await.unwrap().is_none());
    assert_eq!(
        store
            .load(&logged_in.key)
            .await
            .unwrap()
            .unwrap()
            .user_id
            .as_deref(),
        Some("1")
    );
    assert!(store.logout(&logged_in.key).await.unwrap());
    assert!(!store.logout(&logged_in.key).await.unwrap());
    assert!(store.resume(&logged_in.key).await.unwrap().is_none());
}

#[tokio::test]
async fn sessions_are_listed_and_revoked() {
    let (_database, store) = store().await;
    let one = store.login(1_i64).user_agent("curl/8.5.0").await.unwrap();
    let two = store.login("1").data(json!({"x": 1})).await.unwrap();
    let other = store.login(2_i64).ip(address("192.0.2.9")).await.unwrap();

    let sessions = store.user_sessions(1).current(&two.key).await.unwrap();
    assert_eq!(sessions.len(), 2);
    let first = store.user_sessions(1).max_rows(1).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].id, sessions[0].id);
    let current: Vec<_> = sessions
        .iter()
        .filter(|session| session.is_current)
        .collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0].id, two.id);
    let with_agent = sessions
        .iter()
        .find(|session| session.id == one.id)
        .unwrap();
    assert!(
        with_agent
            .device
            .as_deref()
            .unwrap()
            .ends_with("curl 8.5.0")
    );

    let all = store.list_sessions().await.unwrap();
    assert_eq!(all.len(), 3);
    let page = store.list_sessions().after(all[0].id).max_rows(1);
    assert_eq!(page.await.unwrap()[0].id, all[1].id);
    let network: IpNet = "192.0.2.0/24".parse().unwrap();
    let of_network = store.list_sessions().active(true).network(network);
    assert_eq!(of_network.await.unwrap()[0].id, other.id);
    let of_address = store.list_sessions().network(address("192.0.2.9"));
    assert_eq!(of_address.await.unwrap()[0].id, other.id);
    assert_eq!(store.list_sessions().user(2).await.unwrap().len(), 1);
    assert_eq!(
        store.get_session(two.id).await.unwrap().unwrap().data,
        json!({"x": 1})
    );

    let stats = store.stats().await.unwrap();
    assert_eq!((stats.total, stats.active, stats.users), (3, 3, 2));
    assert!(!store.revoke_for_user(other.id, 1).await.unwrap());
    assert!(store.revoke_for_user(other.id, 2).await.unwrap());
    assert!(!store.revoke(other.id).await.unwrap());
    assert_eq!(
        store
            .revoke_user_sessions(1)
            .except(&two.key)
            .await
            .unwrap(),
        1
    );
    assert_eq!(store.revoke_user_sessions(1).await.unwrap(), 1);
}

#[tokio::test]
async fn changes_are_part_of_the_callers_transaction() {
    let (database, store) = store().await;
    let mut connection = pool(&database).get().await.unwrap();
    let key = {
        let transaction = connection.transaction().await.unwrap();
        let session = store.on(&transaction).create().await.unwrap();
        assert!(store.on(&transaction).exists(&session.key).await.unwrap());
        assert!(!store.exists(&session.key).await.unwrap());
        transaction.rollback().await.unwrap();
        session.key
    };
    assert!(!store.exists(&key).await.unwrap());
    let transaction = connection.transaction().await.unwrap();
    let session = store.on(&transaction).login(1).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(store.exists(&session.key).await.unwrap());
}

#[tokio::test]
async fn sessions_that_never_expire_are_read_and_expired_ones_are_purged() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let forever = store.create().await.unwrap();
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = 'infinity'")
        .await
        .unwrap();
    assert_eq!(
        store.load(&forever.key).await.unwrap().unwrap().expires_at,
        None
    );
    for _ in 0..25 {
        store.create().await.unwrap();
    }
    client
        .execute(
            "UPDATE qsessions.session SET expires_at = '-infinity' WHERE id <> $1",
            &[&forever.id],
        )
        .await
        .unwrap();
    assert_eq!(store.purge_expired().batch_size(5).await.unwrap(), 5);
    store.purge().batch_size(5).max_batches(2).await.unwrap();
    assert_eq!(store.stats().await.unwrap().total, 11);
    store.purge().await.unwrap();
    assert_eq!(store.stats().await.unwrap().total, 1);
}

#[tokio::test]
async fn results_serialize_without_the_key() {
    let (database, store) = store().await;
    let created = store.login(1).ip(address("192.0.2.9")).await.unwrap();
    let session = store.load(&created.key).await.unwrap().unwrap();
    let info = store.user_sessions(1).current(&created.key).await.unwrap();
    let stats = store.stats().await.unwrap();
    let agent = store.parse_user_agent("curl/8.5.0").await.unwrap();
    let json = json!([session, info, stats, agent]);
    assert_eq!(json[0]["id"], json!(created.id));
    assert_eq!(json[0]["ip"], "192.0.2.9");
    assert_eq!(json[0]["expires_at"], json[1][0]["expires_at"]);
    assert_eq!(json[1][0]["is_current"], true);
    assert_eq!(json[2]["users"], 1);
    assert_eq!(json[3]["category"], "tool");
    assert!(!json.to_string().contains(created.key.expose()));
    // PostgreSQL reads a serialized time as the same time.
    let connection = pool(&database).get().await.unwrap();
    let sql = "SELECT created_at = $1::text::timestamptz FROM qsessions.session";
    let created_at = json[0]["created_at"].as_str().unwrap();
    let row = connection.query_one(sql, &[&created_at]).await.unwrap();
    assert!(row.get::<_, bool>(0), "{created_at}");
}

#[tokio::test]
async fn clones_of_a_session_share_its_data() {
    let (_database, store) = store().await;
    let created = store.create().await.unwrap();
    let session = store.load(&created.key).await.unwrap().unwrap();
    assert!(std::ptr::eq(&session.data, &session.clone().data));
    let by_id: Option<qsessions::Session> = store.get_session(created.id).await.unwrap();
    assert_eq!(by_id, Some(session));
    assert_eq!(store.get_session(Uuid::nil()).await.unwrap(), None);
}
