//! The client crate against a real server: every method, every error, and a transaction of the caller's.

use crate::mmdb;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use qsessions::{Error, Expiry, Key, Login, NewSession, Save, SessionFilter, Store};
use qsessions_testkit::{Database, Users};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::NoTls;

const HOUR: Duration = Duration::from_secs(3600);

fn pool(database: &Database) -> Pool {
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(database.config(), NoTls, recycling);
    Pool::builder(manager).max_size(4).build().unwrap()
}

async fn store() -> (Database, Store) {
    let database = Database::new().await;
    let store = Store::new(pool(&database));
    (database, store)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_session_lives_from_create_to_logout() {
    let (_database, store) = store().await;
    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Cart {
        items: Vec<u32>,
    }
    let new = NewSession::new()
        .data(Cart { items: vec![7] })
        .ip(address("2001:db8::1"))
        .user_agent("curl/8.5.0")
        .idle_timeout(HOUR)
        .max_age(24 * HOUR);
    let created = store.create(new).await.unwrap();
    let key = created.key;
    assert!(store.exists(&key).await.unwrap());
    assert_eq!(store.session_id(&key).await.unwrap(), created.id);

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
        .resume(&key, Some(address("192.0.2.1")), None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(resumed.ip, Some(address("192.0.2.1")));
    assert_eq!(store.save(&key, json!({"a": 1, "b": 2})).await.unwrap(), 2);
    let save = Save::new().expected_version(2).ttl(2 * HOUR);
    assert_eq!(
        store
            .save_with(&key, json!({"a": 1, "b": 2}), save)
            .await
            .unwrap(),
        3
    );
    assert_eq!(store.patch(&key, json!({"c": 3}), &["a"]).await.unwrap(), 4);
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
    let login = Login::user(1)
        .key(rotated.clone())
        .ip(address("192.0.2.2"))
        .max_sessions(3);
    let logged_in = store.login(login).await.unwrap();
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
    assert!(
        store
            .resume(&logged_in.key, None, None)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn sessions_are_seen_and_revoked() {
    let (_database, store) = store().await;
    let one = store
        .login(Login::user(1_i64).user_agent("curl/8.5.0"))
        .await
        .unwrap();
    let two = store
        .login(Login::user("1").data(json!({"x": 1})))
        .await
        .unwrap();
    let other = store
        .login(Login::user(2_i64).ip(address("192.0.2.9")))
        .await
        .unwrap();

    let sessions = store.user_sessions(1, Some(&two.key)).await.unwrap();
    assert_eq!(sessions.len(), 2);
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

    let all = store.list_sessions(&SessionFilter::new()).await.unwrap();
    assert_eq!(all.len(), 3);
    let page = SessionFilter::new().after(all[0].id).max_rows(1);
    assert_eq!(store.list_sessions(&page).await.unwrap()[0].id, all[1].id);
    let network = SessionFilter::new().active(true).network("192.0.2.0/24");
    assert_eq!(store.list_sessions(&network).await.unwrap()[0].id, other.id);
    assert_eq!(
        store
            .list_sessions(&SessionFilter::new().user(2))
            .await
            .unwrap()
            .len(),
        1
    );
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
        store.revoke_user_sessions(1, Some(&two.key)).await.unwrap(),
        1
    );
    assert_eq!(store.revoke_user_sessions(1, None).await.unwrap(), 1);
}

#[tokio::test]
async fn every_sqlstate_of_the_contract_is_a_typed_error() {
    let (_database, store) = store().await;
    let session = store.create(NewSession::new()).await.unwrap();
    let gone = Key::from("there is no such session");
    assert!(matches!(
        store.save(&gone, json!({})).await,
        Err(Error::SessionNotFound)
    ));
    let late = Save::new().expected_version(9);
    assert!(matches!(
        store.save_with(&session.key, json!({}), late).await,
        Err(Error::VersionConflict)
    ));
    assert!(matches!(
        store.rotate_key(&Key::from("short")).await,
        Err(Error::InvalidKey)
    ));
    assert!(matches!(
        store.save(&session.key, "x".repeat(2 << 20)).await,
        Err(Error::DataTooLarge { .. })
    ));
    let taken = NewSession::new().key(session.key.clone());
    assert!(matches!(store.create(taken).await, Err(Error::KeyExists)));
    for new in [
        NewSession::new().ttl(Duration::ZERO),
        NewSession::new().ttl(HOUR).idle_timeout(HOUR),
        NewSession::new().ttl(Duration::MAX),
        NewSession::new().user("not a number"),
    ] {
        assert!(matches!(
            store.create(new).await,
            Err(Error::InvalidArgument { .. })
        ));
    }
    let stranger = store.create(NewSession::new().user(404)).await.unwrap_err();
    assert!(matches!(stranger, Error::Database(_)));
    assert!(stranger.to_string().contains("23503"), "{stranger}");
    let conflicting = SessionFilter::new().network("no network");
    assert!(matches!(
        store.list_sessions(&conflicting).await,
        Err(Error::InvalidArgument { .. })
    ));
}

/// So many arrays in each other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test]
async fn what_this_client_saves_it_loads() {
    let (_database, store) = store().await;
    let deep = |levels: usize| json!({"a": nested(levels - 1)});
    for data in [
        json!({"n": f64::MAX, "m": f64::MIN, "least": 5e-324, "sum": 0.1 + 0.2, "third": 1.0 / 3.0}),
        json!([u64::MAX, i64::MIN, 1e23, -0.5]),
        deep(130),
        deep(1000),
    ] {
        let session = store.create(NewSession::new().data(&data)).await.unwrap();
        assert_eq!(store.load(&session.key).await.unwrap().unwrap().data, data);
        store.save(&session.key, &data).await.unwrap();
        let resumed = store.resume(&session.key, None, None).await.unwrap();
        assert_eq!(resumed.unwrap().data, data);
        let by_id = store.get_session(session.id).await.unwrap().unwrap();
        assert_eq!(by_id.data_as::<Value>().unwrap(), data);
    }
    // What could not be loaded is not saved either.
    let session = store.create(NewSession::new()).await.unwrap();
    let too_deep = deep(1001);
    for refused in [
        store
            .create(NewSession::new().data(&too_deep))
            .await
            .map(drop),
        store.login(Login::user(1).data(&too_deep)).await.map(drop),
        store.save(&session.key, &too_deep).await.map(drop),
        store.patch(&session.key, &too_deep, &[]).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Data(_))), "{refused:?}");
    }
    assert_eq!(store.stats().await.unwrap().total, 5);
}

#[tokio::test]
async fn what_sql_saves_is_loaded() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let session = store.create(NewSession::new()).await.unwrap();
    let save = async |data: &str| {
        let sql = "SELECT qsessions.save_session($1, $2::text::jsonb)";
        client
            .execute(sql, &[&session.key.expose(), &data])
            .await
            .unwrap();
        store.load(&session.key).await.unwrap().unwrap()
    };
    // A numeric is the nearest number that there is, and its digits can be had.
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
    // All of it goes back as it came.
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
async fn a_session_whose_data_cannot_be_read_can_be_used_otherwise() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let cached = Store::builder(pool(&database))
        .cache(qsessions::CacheConfig::default())
        .listener(database.config(), NoTls)
        .build()
        .unwrap();
    cached.ready().await.unwrap();
    for store in [&store, &cached] {
        let session = store.login(Login::user(1)).await.unwrap();
        let spoil =
            "UPDATE qsessions.session SET data = (repeat('[', 5000) || repeat(']', 5000))::jsonb";
        client.batch_execute(spoil).await.unwrap();
        store.catch_up().await;
        let key = &session.key;
        let ip = address("192.0.2.1");
        for unreadable in [
            store.load(key).await.map(drop),
            store.resume(key, Some(ip), None).await.map(drop),
            store.get_session(session.id).await.map(drop),
        ] {
            assert!(matches!(unreadable, Err(Error::Data(_))), "{unreadable:?}");
        }
        assert!(store.exists(key).await.unwrap());
        let seen = store.user_sessions(1, Some(key)).await.unwrap();
        assert!(seen[0].is_current);
        // The visit was recorded.
        assert_eq!(seen[0].ip, Some(ip));
        store.set_expiry(key, Expiry::ttl(HOUR)).await.unwrap();
        let key = store.rotate_key(key).await.unwrap();
        store.save(&key, json!({"n": 1})).await.unwrap();
        let repaired = store.load(&key).await.unwrap().unwrap();
        assert_eq!(repaired.data, json!({"n": 1}));
        client.batch_execute(spoil).await.unwrap();
        assert!(store.logout(&key).await.unwrap());
        let other = store.login(Login::user(1)).await.unwrap();
        client.batch_execute(spoil).await.unwrap();
        assert!(store.revoke_for_user(other.id, 1).await.unwrap());
    }
}

#[tokio::test]
async fn whatever_is_in_the_other_columns_the_session_is_loaded() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let session = store.create(NewSession::new()).await.unwrap();
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
        let listed = store.list_sessions(&SessionFilter::new()).await.unwrap();
        assert_eq!(listed.len(), 1, "{set}");
    }
}

#[tokio::test]
async fn no_error_shows_a_key() {
    let (_database, store) = store().await;
    let session = store.create(NewSession::new()).await.unwrap();
    let secret = session.key.expose().to_owned();
    store.logout(&session.key).await.unwrap();
    let mut shown = format!("{:?} {session:?}", session.key);
    for error in [
        store.save(&session.key, json!({})).await.unwrap_err(),
        store.patch(&session.key, json!({}), &[]).await.unwrap_err(),
        store.patch(&session.key, json!([]), &[]).await.unwrap_err(),
        store.rotate_key(&session.key).await.unwrap_err(),
        store
            .set_expiry(&session.key, Expiry::ttl(HOUR))
            .await
            .unwrap_err(),
        store
            .login(Login::user(404).key(session.key.clone()))
            .await
            .unwrap_err(),
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

#[tokio::test]
async fn a_session_changes_with_the_callers_transaction_or_not_at_all() {
    let (database, store) = store().await;
    let mut connection = pool(&database).get().await.unwrap();
    let key = {
        let transaction = connection.transaction().await.unwrap();
        let session = store
            .on(&transaction)
            .create(NewSession::new())
            .await
            .unwrap();
        assert!(store.on(&transaction).exists(&session.key).await.unwrap());
        assert!(!store.exists(&session.key).await.unwrap());
        transaction.rollback().await.unwrap();
        session.key
    };
    assert!(!store.exists(&key).await.unwrap());
    let transaction = connection.transaction().await.unwrap();
    let session = store.on(&transaction).login(Login::user(1)).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(store.exists(&session.key).await.unwrap());
}

#[tokio::test]
async fn sessions_that_never_expire_and_those_that_did_are_read_and_purged() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let forever = store.create(NewSession::new()).await.unwrap();
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = 'infinity'")
        .await
        .unwrap();
    assert_eq!(
        store.load(&forever.key).await.unwrap().unwrap().expires_at,
        None
    );
    for _ in 0..25 {
        store.create(NewSession::new()).await.unwrap();
    }
    client
        .execute(
            "UPDATE qsessions.session SET expires_at = '-infinity' WHERE id <> $1",
            &[&forever.id],
        )
        .await
        .unwrap();
    assert_eq!(store.purge_expired(Some(5)).await.unwrap(), 5);
    store.purge(Some(5), Some(2)).await.unwrap();
    assert_eq!(store.stats().await.unwrap().total, 11);
    store.purge(None, None).await.unwrap();
    assert_eq!(store.stats().await.unwrap().total, 1);
}

#[tokio::test]
async fn devices_and_places_are_functions_too() {
    let (_database, store) = store().await;
    let agent = store.parse_user_agent("curl/8.5.0").await.unwrap();
    assert_eq!(agent.browser.as_deref(), Some("curl"));
    assert!(
        store
            .device("curl/8.5.0")
            .await
            .unwrap()
            .ends_with("curl 8.5.0")
    );
    let ip = address("192.0.2.1");
    assert_eq!(store.location(ip, Some("de")).await.unwrap(), None);
    assert_eq!(store.location_info(ip, None).await.unwrap(), None::<Value>);
    assert_eq!(store.country_code(ip).await.unwrap(), None);
    assert_eq!(store.asn(ip).await.unwrap(), None);
    assert!(store.geoip_databases().await.unwrap().is_empty());
    assert!(store.geoip_reload().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_databases_of_places_know_comes_as_it_is() {
    let database = Database::with(Users::Nothing).await;
    let folder = database.server().folder().join(database.name());
    std::fs::create_dir(&folder).unwrap();
    database.server().installation().hand_over(&folder).unwrap();
    let write = |name, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write("city.mmdb", &mmdb::city("Linköping"));
    write("asn.mmdb", &mmdb::networks());
    write("bad.mmdb", b"bad");
    let set = format!(
        "ALTER DATABASE {} SET qsessions.geoip_path = '{}'",
        database.name(),
        folder.display()
    );
    database.connect().await.batch_execute(&set).await.unwrap();
    let store = Store::new(pool(&database));
    store.geoip_reload().await.unwrap();
    let network = store.asn(mmdb::KNOWN.parse().unwrap()).await.unwrap();
    let network = network.unwrap();
    assert_eq!(network.number, Some(64496));
    assert_eq!(network.organization.as_deref(), Some("Example Net"));
    for open in [store.geoip_databases().await, store.geoip_reload().await] {
        let open = open.unwrap();
        assert_eq!(open.len(), 3);
        assert_eq!(open[0].database_type.as_deref(), Some("GeoLite2-City"));
        assert!(open[0].error.is_none() && open[0].bytes > Some(0));
        assert!(open[2].error.is_some() && open[2].error_at.is_some() && open[2].bytes.is_none());
    }
}

#[tokio::test]
async fn a_database_is_set_up_by_the_client() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    let role = format!("client_{}", database.name());
    client
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN; CREATE TABLE people (id text PRIMARY KEY, mail text UNIQUE);
             INSERT INTO people VALUES ('ann', 'ann@example.com')"
        ))
        .await
        .unwrap();
    let store = Store::new(pool(&database));
    store.create_session_table(None, None).await.unwrap();
    store.link_users("people", Some("mail")).await.unwrap();
    store.grant_access(&role).await.unwrap();
    let application = Store::new(
        Pool::builder(Manager::new(database.config().user(&role).clone(), NoTls))
            .build()
            .unwrap(),
    );
    application
        .login(Login::user("ann@example.com"))
        .await
        .unwrap();
    store.revoke_access(&role).await.unwrap();
    assert!(matches!(
        application.login(Login::user("ann@example.com")).await,
        Err(Error::Database(_))
    ));
    assert!(!store.unschedule_purge().await.unwrap());
    assert!(store.schedule_purge("0 3 * * *", None).await.unwrap() > 0);
    assert!(store.unschedule_purge().await.unwrap());
}
