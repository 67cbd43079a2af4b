//! Calls of administrators: imports, revocation by filters, lists, numbers.

use super::{HOUR, address, pool, store};
use qsessions::ipnet::IpNet;
use qsessions::{Error, EventKind, Key, RevokedBy};
use serde_json::json;
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn an_imported_session_keeps_its_key_and_its_times() {
    let (_database, store) = store().await;
    let key = Key::from("a key of another framework");
    // PostgreSQL keeps microseconds.
    let hours_ago =
        |hours| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) - hours * HOUR;
    let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let import = || {
        store
            .import(&key)
            .user(1)
            .data(json!({"cart": [7]}))
            .ip(address("192.0.2.1"))
            .user_agent("curl/8.5.0")
            .created_at(hours_ago(3))
            .authenticated_at(hours_ago(2))
            .last_seen_at(hours_ago(1))
            .expires_at(expires_at)
    };
    assert!(import().await.unwrap());
    assert!(!import().await.unwrap());
    let session = store.load(&key).await.unwrap().unwrap();
    assert_eq!(session.user_id.as_deref(), Some("1"));
    assert_eq!(session.data, json!({"cart": [7]}));
    assert_eq!(session.ip, Some(address("192.0.2.1")));
    assert_eq!(session.user_agent.as_deref(), Some("curl/8.5.0"));
    assert_eq!(session.created_at, hours_ago(3));
    assert_eq!(session.authenticated_at, Some(hours_ago(2)));
    assert_eq!(session.last_seen_at, hours_ago(1));
    assert_eq!(session.expires_at, Some(expires_at));

    let expired = Key::from("a key that is no longer used");
    assert!(
        !store
            .import(&expired)
            .expires_at(hours_ago(1))
            .await
            .unwrap()
    );
    assert!(store.load(&expired).await.unwrap().is_none());
    let short = store.import(&Key::from("short")).await;
    assert!(matches!(short, Err(Error::InvalidKey)), "{short:?}");
}

#[tokio::test]
async fn sessions_are_revoked_by_filters_in_batches() {
    let (database, store) = store().await;
    let agent = async |user: i64, ip: &str, agent: &str| {
        let login = store.login(user).ip(address(ip)).user_agent(agent);
        login.await.unwrap().key
    };
    let mut bots = vec![];
    for _ in 0..7 {
        bots.push(agent(1, "192.0.2.1", "python-requests/2.31").await);
    }
    let person = agent(1, "192.0.2.2", "Mozilla/5.0").await;
    let other = agent(2, "198.51.100.1", "python-requests/2.31").await;

    let network: IpNet = "192.0.2.0/24".parse().unwrap();
    let revoke = store.revoke_sessions().network(network).user(1);
    let revoke = revoke.user_agent("python%").batch_size(3);
    assert_eq!(revoke.await.unwrap(), 7);
    for key in &bots {
        assert!(!store.exists(key).await.unwrap());
    }
    assert!(store.exists(&person).await.unwrap() && store.exists(&other).await.unwrap());

    let now = SystemTime::now();
    let old = store.revoke_sessions().created_before(now - HOUR);
    assert_eq!(old.await.unwrap(), 0);
    let mut connection = pool(&database).get().await.unwrap();
    let transaction = connection.transaction().await.unwrap();
    let on = store.on(&transaction);
    let unseen = on
        .revoke_sessions()
        .last_seen_before(now + HOUR)
        .batch_size(1);
    assert_eq!(unseen.await.unwrap(), 2);
    transaction.rollback().await.unwrap();
    assert_eq!(store.revoke_sessions().user(2).await.unwrap(), 1);

    let everybody = store.revoke_sessions().await;
    assert!(
        matches!(everybody, Err(Error::InvalidArgument { .. })),
        "{everybody:?}"
    );
    let none = store.revoke_sessions().user(1).batch_size(0).await;
    assert!(
        matches!(none, Err(Error::InvalidArgument { .. })),
        "{none:?}"
    );
    assert!(store.exists(&person).await.unwrap());
}

#[tokio::test]
async fn sessions_are_listed_by_device_country_and_last_visit() {
    let (_database, store) = store().await;
    let curl = store.create().user_agent("curl/8.5.0").await.unwrap();
    store.create().user_agent("Wget/1.21").await.unwrap();
    let page = store.list_sessions().device("CURL").await.unwrap();
    assert_eq!(
        page.iter().map(|session| session.id).collect::<Vec<_>>(),
        [curl.id]
    );
    let now = SystemTime::now();
    for (instant, count) in [(now - HOUR, 2), (now + HOUR, 0)] {
        let page = store.list_sessions().last_seen_after(instant).max_rows(10);
        assert_eq!(page.await.unwrap().len(), count);
    }
    assert_eq!(store.list_sessions().country("DE").await.unwrap(), []);
    let no_code = store.list_sessions().country("Germany").await;
    assert!(
        matches!(no_code, Err(Error::InvalidArgument { .. })),
        "{no_code:?}"
    );
}

#[tokio::test]
async fn the_numbers_of_a_small_table_are_exact_in_both_ways() {
    let (_database, store) = store().await;
    store.create().await.unwrap();
    store.login(1).await.unwrap();
    let exact = store.stats().await.unwrap();
    assert_eq!((exact.total, exact.anonymous, exact.users), (2, 1, 1));
    assert_eq!(store.stats().exact(false).await.unwrap(), exact);
}

#[tokio::test]
async fn a_user_sees_what_has_happened_to_their_sessions() {
    let (_database, store) = store().await;
    let without = store.user_events(1).await;
    assert!(matches!(without, Err(Error::Database(_))), "{without:?}");
    store
        .create_event_table()
        .retention(1000 * HOUR)
        .await
        .unwrap();
    let log_in = || {
        store
            .login(1)
            .user_agent("curl/8.5.0")
            .ip(address("192.0.2.1"))
    };
    let first = log_in().await.unwrap();
    assert_eq!(first.is_new_device, Some(true));
    let second = log_in().max_sessions(1).await.unwrap();
    assert_eq!(second.is_new_device, Some(false));
    let key = store.rotate_key(&second.key).await.unwrap();
    store.logout(&key).await.unwrap();

    let events = store.user_events(1).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.event).collect();
    for kind in [
        EventKind::Login,
        EventKind::Rotated,
        EventKind::Revoked,
        EventKind::Logout,
    ] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert_eq!(kinds[0], EventKind::Logout);
    let revoked = events
        .iter()
        .find(|event| event.event == EventKind::Revoked)
        .unwrap();
    assert_eq!(revoked.revoked_by, Some(RevokedBy::Limit));
    assert_eq!(revoked.session_id, first.id);
    let logins = || {
        events
            .iter()
            .filter(|event| event.event == EventKind::Login)
    };
    let new: Vec<_> = logins().map(|event| event.is_new_device).collect();
    assert_eq!(new, [Some(false), Some(true)]);
    assert!(logins().all(|login| {
        login
            .device
            .as_deref()
            .is_some_and(|line| line.contains("curl"))
    }));
    assert_eq!(json!(revoked)["revoked_by"], "limit");
    assert_eq!(store.user_events(1).max_rows(1).await.unwrap(), events[..1]);
    assert_eq!(store.user_events(2).await.unwrap(), []);
    let none = store.user_events(1).max_rows(0).await;
    assert!(
        matches!(none, Err(Error::InvalidArgument { .. })),
        "{none:?}"
    );
}
