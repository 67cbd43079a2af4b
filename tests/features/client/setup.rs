//! Setting up a database with the client; User-Agents and locations.

use super::{address, pool, store};
use crate::common::{is_missing, mmdb};
use deadpool_postgres::{Manager, Pool};
use qsessions::{Error, ErrorKind, Store};
use qsessions_testkit::{Database, Users};
use serde_json::Value;
use tokio_postgres::NoTls;

#[tokio::test]
async fn user_agents_and_addresses_can_be_looked_up() {
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
    assert_eq!(store.location(ip).locale("de").await.unwrap(), None);
    assert_eq!(store.location_info(ip).await.unwrap(), None::<Value>);
    assert_eq!(store.country_code(ip).await.unwrap(), None);
    assert_eq!(store.asn(ip).await.unwrap(), None);
    assert!(store.geoip_databases().await.unwrap().is_empty());
    assert!(store.geoip_reload().await.unwrap().is_empty());
}

#[tokio::test]
async fn location_info_returns_the_fields_of_the_database() {
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
async fn the_client_can_set_up_a_database() {
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
    store.create_session_table().await.unwrap();
    store.link_users("people").user_key("mail").await.unwrap();
    store.grant_access(&role).await.unwrap();
    let application = Store::new(
        Pool::builder(Manager::new(database.config().user(&role).clone(), NoTls))
            .build()
            .unwrap(),
    );
    application.login("ann@example.com").await.unwrap();
    store.revoke_access(&role).await.unwrap();
    let refused = application.login("ann@example.com").await.unwrap_err();
    assert!(matches!(refused, Error::Database(_)), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Setup);
}

#[tokio::test]
async fn the_client_schedules_purges() {
    if is_missing("pg_cron") {
        return;
    }
    let database = Database::new().await;
    let store = Store::new(pool(&database));
    assert!(!store.unschedule_purge().await.unwrap());
    assert!(store.schedule_purge("0 3 * * *").await.unwrap() > 0);
    assert!(store.unschedule_purge().await.unwrap());
}
