//! Locations: City, Country; the keys of Django's GeoIP2; nested and flat databases; nothing
//! configured.

mod bad_files;
mod changes;
mod copies;
mod worker;

use crate::common::mmdb::{self, location, nested_city, use_path};
use crate::common::row;
use mmdb_writer::{Ipv4Aliasing, Writer};
use qsessions_testkit::{Database, Users};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tokio_postgres::Client;

const UNKNOWN: &str = "10.0.0.1";

fn write(path: &Path, database_type: &str, networks: &[(&str, Value)]) {
    fs::write(path, mmdb::database(database_type, networks)).unwrap();
}

fn nested_country() -> Value {
    json!({
        "continent": {"code": "AS", "names": {"en": "Asia"}},
        "country": {"iso_code": "BT", "names": {"en": "Bhutan"}},
    })
}

fn flat_city() -> Value {
    json!({
        "city": "Berlin", "country_code": "DE", "latitude": 52.5, "longitude": 13.25,
        "postcode": "", "state1": "Berlin", "state2": "", "timezone": "",
    })
}

/// A folder that the server can read, and a connection that uses it.
async fn with_folder() -> (Database, Client, PathBuf) {
    let database = Database::with(Users::Nothing).await;
    let folder = database
        .server()
        .folder()
        .join(format!("geoip-{}", database.name()));
    fs::create_dir(&folder).unwrap();
    database.server().installation().hand_over(&folder).unwrap();
    let client = database.connect().await;
    (database, client, folder)
}

#[tokio::test]
async fn without_geoip_path_locations_are_null() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    let found = row(
        &client,
        "SELECT qsessions.location('192.0.2.1'), qsessions.location_info('192.0.2.1'), qsessions.country_code('192.0.2.1')",
        &[],
    )
    .await;
    assert_eq!(found.get::<_, Option<String>>(0), None);
    assert_eq!(found.get::<_, Option<Value>>(1), None);
    assert_eq!(found.get::<_, Option<String>>(2), None);
    assert!(
        client
            .query("SELECT * FROM qsessions.geoip_databases()", &[])
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_country_without_a_name_in_the_file_gets_one() {
    let (_database, client, folder) = with_folder().await;
    let code = json!({"country": {"iso_code": "SE"}, "continent": {"code": "EU"}});
    let mut city = code.clone();
    city["city"] = json!({"names": {"en": "Linköping"}});
    write(
        &folder.join("codes.mmdb"),
        "Some-City",
        &[("89.160.20.0/24", city), ("67.43.156.0/24", code)],
    );
    use_path(&client, &folder).await;
    for (ip, locale, place, country) in [
        ("89.160.20.112", "en", "Linköping, Sweden", "Sweden"),
        ("89.160.20.112", "de", "Linköping, Schweden", "Schweden"),
        ("67.43.156.1", "de", "Schweden", "Schweden"),
    ] {
        let found = row(
            &client,
            "SELECT qsessions.location(text($1)::inet, $2), qsessions.location_info(text($1)::inet, $2),
                    qsessions.country_code(text($1)::inet)",
            &[&ip, &locale],
        )
        .await;
        assert_eq!(found.get::<_, Option<String>>(0).as_deref(), Some(place));
        let info: Value = found.get(1);
        assert_eq!(info["country_name"], country);
        assert_eq!(found.get::<_, Option<String>>(2).as_deref(), Some("SE"));
    }
}

#[tokio::test]
async fn city_databases_are_asked_before_country_databases() {
    let (_database, client, folder) = with_folder().await;
    write(
        &folder.join("b-city.mmdb"),
        "GeoLite2-City",
        &[
            ("89.160.20.0/24", nested_city("Linköping")),
            ("2001:db8::/32", nested_city("Stockholm")),
        ],
    );
    write(
        &folder.join("a-country.mmdb"),
        "GeoLite2-Country",
        &[
            ("89.160.20.0/24", nested_country()),
            ("67.43.156.0/24", nested_country()),
        ],
    );
    fs::write(folder.join("README.txt"), "not a database").unwrap();
    use_path(&client, &folder).await;
    for (ip, place) in [
        ("89.160.20.112", Some("Linköping, Sweden")),
        ("89.160.20.0/24", Some("Linköping, Sweden")),
        ("::ffff:89.160.20.112", Some("Linköping, Sweden")),
        ("2001:db8::1", Some("Stockholm, Sweden")),
        ("67.43.156.1", Some("Bhutan")),
        (UNKNOWN, None),
        ("::1", None),
    ] {
        assert_eq!(location(&client, ip).await.as_deref(), place, "{ip}");
    }
    let german: String = row(
        &client,
        "SELECT qsessions.location('89.160.20.112', 'de')",
        &[],
    )
    .await
    .get(0);
    assert_eq!(german, "Linköping (deutsch), Schweden");
    client
        .batch_execute("SET qsessions.locale = 'de'")
        .await
        .unwrap();
    assert_eq!(location(&client, "89.160.20.112").await.unwrap(), german);
    let fallback: String = row(
        &client,
        "SELECT qsessions.location('89.160.20.112', locale => 'tlh')",
        &[],
    )
    .await
    .get(0);
    assert_eq!(fallback, "Linköping, Sweden");
    let code: String = row(&client, "SELECT qsessions.country_code('67.43.156.1')", &[])
        .await
        .get(0);
    assert_eq!(code, "BT");

    let open = client
        .query(
            "SELECT path, database_type, node_count, bytes FROM qsessions.geoip_databases()",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(open.len(), 2);
    assert_eq!(open[0].get::<_, String>(1), "GeoLite2-City");
    assert!(
        open.iter()
            .all(|row| row.get::<_, i64>(2) > 0 && row.get::<_, i64>(3) > 0)
    );
}

#[tokio::test]
async fn location_info_has_the_keys_of_django() {
    let (_database, client, folder) = with_folder().await;
    write(
        &folder.join("city.mmdb"),
        "GeoLite2-City",
        &[("89.160.20.0/24", nested_city("Linköping"))],
    );
    write(
        &folder.join("country.mmdb"),
        "GeoLite2-Country",
        &[("67.43.156.0/24", nested_country())],
    );
    use_path(&client, &folder).await;
    let info = async |ip: &str| -> Option<Value> {
        row(
            &client,
            "SELECT qsessions.location_info($1::text::inet)",
            &[&ip],
        )
        .await
        .get(0)
    };
    assert_eq!(
        info("89.160.20.112").await.unwrap(),
        json!({
            "accuracy_radius": 76, "city": "Linköping", "continent_code": "EU", "continent_name": "Europe",
            "country_code": "SE", "country_name": "Sweden", "is_in_european_union": true,
            "latitude": 58.4167, "longitude": 15.6167, "metro_code": null, "postal_code": "582 22",
            "region_code": "E", "region_name": "Östergötland County", "time_zone": "Europe/Stockholm",
            "dma_code": null, "region": "E",
        })
    );
    assert_eq!(
        info("67.43.156.1").await.unwrap(),
        json!({
            "continent_code": "AS", "continent_name": "Asia", "country_code": "BT",
            "country_name": "Bhutan", "is_in_european_union": false,
        })
    );
    assert_eq!(info(UNKNOWN).await, None);
}

#[tokio::test]
async fn flat_databases_work_and_their_countries_get_names() {
    let (_database, client, folder) = with_folder().await;
    let file = folder.join("dbip-city.mmdb");
    write(&file, "dbip city", &[("192.0.2.0/24", flat_city())]);
    use_path(&client, &file).await;
    assert_eq!(
        location(&client, "192.0.2.7").await.as_deref(),
        Some("Berlin, Germany")
    );
    let info: Value = row(&client, "SELECT qsessions.location_info('192.0.2.7')", &[])
        .await
        .get(0);
    for (key, value) in [
        ("city", json!("Berlin")),
        ("country_code", json!("DE")),
        ("country_name", json!("Germany")),
        ("latitude", json!(52.5)),
        ("longitude", json!(13.25)),
        ("postal_code", json!(null)),
        ("time_zone", json!(null)),
    ] {
        assert_eq!(info[key], value, "{key}");
    }
    assert_eq!(info.as_object().unwrap().len(), 16);
}

#[tokio::test]
async fn a_session_shows_its_location() {
    let database = Database::new().await;
    let folder = database
        .server()
        .folder()
        .join(format!("geoip-{}", database.name()));
    fs::create_dir(&folder).unwrap();
    write(
        &folder.join("city.mmdb"),
        "GeoLite2-City",
        &[("89.160.20.0/24", nested_city("Linköping"))],
    );
    database.server().installation().hand_over(&folder).unwrap();
    let client = database.connect().await;
    use_path(&client, &folder).await;
    crate::common::begin(&client, "user_id => 1, ip => '89.160.20.112'").await;
    for list in ["user_sessions(1)", "list_sessions()"] {
        let place: String = row(
            &client,
            &format!("SELECT location FROM qsessions.{list}"),
            &[],
        )
        .await
        .get(0);
        assert_eq!(place, "Linköping, Sweden");
    }
}

#[tokio::test]
async fn invalid_files_are_warnings_and_the_other_files_are_used() {
    let (database, client, folder) = with_folder().await;
    let good = folder.join("good.mmdb");
    write(
        &good,
        "GeoLite2-City",
        &[("89.160.20.0/24", nested_city("Linköping"))],
    );
    let bytes = fs::read(&good).unwrap();
    fs::write(folder.join("empty.mmdb"), "").unwrap();
    fs::write(folder.join("garbage.mmdb"), "x".repeat(100_000)).unwrap();
    fs::write(folder.join("cut.mmdb"), &bytes[..bytes.len() / 2]).unwrap();
    fs::create_dir(folder.join("folder.mmdb")).unwrap();
    use_path(&client, &folder).await;
    assert_eq!(
        location(&client, "89.160.20.112").await.as_deref(),
        Some("Linköping, Sweden")
    );
    let open = client
        .query(
            "SELECT FROM qsessions.geoip_databases()
             WHERE database_type IS NOT NULL AND error IS NULL",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(open.len(), 1);
    let bad = client
        .query(
            "SELECT FROM qsessions.geoip_databases()
             WHERE database_type IS NULL AND error LIKE '%' || path || '%' AND error_at <= now()",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(bad.len(), 4);
    let log = fs::read_to_string(database.server().log_path()).unwrap();
    for name in ["empty.mmdb", "garbage.mmdb", "cut.mmdb", "folder.mmdb"] {
        assert!(
            log.lines()
                .any(|line| line.contains("WARNING") && line.contains(name)),
            "{name}"
        );
    }

    let missing = folder.join("missing");
    use_path(&client, &missing).await;
    assert_eq!(location(&client, "89.160.20.112").await, None);
}

#[tokio::test]
async fn asn_uses_a_database_of_networks() {
    let (_database, client, folder) = with_folder().await;
    fs::write(folder.join("city.mmdb"), mmdb::city("Linköping")).unwrap();
    use_path(&client, &folder).await;
    let asn = "SELECT (qsessions.asn($1::text::inet)).*";
    let info = "SELECT qsessions.location_info($1::text::inet)";
    let before = row(&client, asn, &[&mmdb::KNOWN]).await;
    assert_eq!(before.get::<_, Option<i64>>(0), None);
    let keys: Value = row(&client, info, &[&mmdb::KNOWN]).await.get(0);
    assert_eq!(keys.as_object().unwrap().len(), 16);

    fs::write(folder.join("asn.mmdb"), mmdb::networks()).unwrap();
    let anonymous = json!({"is_anonymous": true, "is_tor_exit_node": true});
    write(
        &folder.join("anonymous.mmdb"),
        "GeoIP2-Anonymous-IP",
        &[("89.160.20.0/24", anonymous)],
    );
    row(
        &client,
        "SELECT count(*) FROM qsessions.geoip_reload()",
        &[],
    )
    .await;
    let network = row(&client, asn, &[&mmdb::KNOWN]).await;
    assert_eq!(network.get::<_, i64>(0), 64496);
    assert_eq!(network.get::<_, &str>(1), "Example Net");
    assert_eq!(
        row(&client, asn, &[&UNKNOWN])
            .await
            .get::<_, Option<i64>>(0),
        None
    );
    let found: Value = row(&client, info, &[&mmdb::KNOWN]).await.get(0);
    assert_eq!(found.as_object().unwrap().len(), 18);
    assert_eq!(found["autonomous_system_number"], json!(64496));
    assert_eq!(
        found["autonomous_system_organization"],
        json!("Example Net")
    );
    for (key, value) in keys.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key}");
    }
    let unknown: Option<Value> = row(&client, info, &[&UNKNOWN]).await.get(0);
    assert_eq!(unknown, None);
}

#[tokio::test]
async fn names_are_in_the_locale_or_a_related_one() {
    let (_database, client, folder) = with_folder().await;
    fs::write(folder.join("nested.mmdb"), mmdb::city("Linköping")).unwrap();
    write(
        &folder.join("flat.mmdb"),
        "dbip city",
        &[("192.0.2.0/24", flat_city())],
    );
    use_path(&client, &folder).await;
    for (ip, locale, place) in [
        (mmdb::KNOWN, "de", "Linköping (deutsch), Schweden"),
        (mmdb::KNOWN, "de-AT", "Linköping (deutsch), Schweden"),
        (mmdb::KNOWN, "de_DE.UTF-8", "Linköping (deutsch), Schweden"),
        (mmdb::KNOWN, "pt_BR", "Linköping (português), Sweden"),
        (mmdb::KNOWN, "pt", "Linköping (português), Sweden"),
        (mmdb::KNOWN, "fa", "Linköping, Sweden"),
        (mmdb::KNOWN, "", "Linköping, Sweden"),
        ("192.0.2.7", "fa", "Berlin, آلمان"),
        ("192.0.2.7", "zh_CN", "Berlin, 德国"),
        ("192.0.2.7", "pt-BR", "Berlin, Alemanha"),
        ("192.0.2.7", "no locale at all", "Berlin, Germany"),
    ] {
        let found: String = row(
            &client,
            "SELECT qsessions.location($1::text::inet, locale => $2)",
            &[&ip, &locale],
        )
        .await
        .get(0);
        assert_eq!(found, place, "{ip} {locale}");
    }
}

#[tokio::test]
async fn ipv4_addresses_in_ipv6_form_are_found() {
    let (_database, client, folder) = with_folder().await;
    // 6to4 and Teredo carry 89.160.20.112; so does the mapped form.
    let forms = [
        ("::ffff:89.160.20.112", true, true),
        ("2002:59a0:1470::1", true, false),
        ("2001:0:59a0:1470::1", true, false),
        ("89.160.20.0/24", true, true),
        ("2001:db8::/48", true, true),
        ("10.0.0.1", false, false),
        ("192.168.1.1", false, false),
        ("fe80::1", false, false),
        ("::1", false, false),
    ];
    for aliasing in [Ipv4Aliasing::Enabled, Ipv4Aliasing::Disabled] {
        let mut writer = Writer::builder("GeoLite2-City")
            .ipv4_aliasing(aliasing)
            .build();
        for network in ["89.160.20.0/24", "2001:db8::/32"] {
            let network: ipnet::IpNet = network.parse().unwrap();
            writer.insert(network, &nested_city("Linköping")).unwrap();
        }
        let file = folder.join(format!("{aliasing:?}.mmdb"));
        fs::write(&file, writer.to_bytes().unwrap()).unwrap();
        use_path(&client, &file).await;
        for (ip, aliased, plain) in forms {
            let expected = match aliasing {
                Ipv4Aliasing::Enabled => aliased,
                _ => plain,
            };
            let found = location(&client, ip).await;
            assert_eq!(found.is_some(), expected, "{ip} with {aliasing:?}");
        }
    }
}
