//! What is found in databases of every layout.

mod common;

use common::{database, flat_city, flat_country, ip, nested_city, nested_country, reader};
use mmdb_writer::IpVersion;
use qsessions_geoip::{Kind, Reader};
use serde_json::{Value, json};

fn info(reader: &Reader, address: &str, locale: &str) -> Value {
    match reader.look_up(ip(address)).unwrap() {
        Some(place) => {
            let info = place.location_info(locale).unwrap();
            serde_json::from_str(&info.to_json()).unwrap()
        }
        None => Value::Null,
    }
}

fn location(reader: &Reader, address: &str, locale: &str) -> Option<String> {
    let place = reader.look_up(ip(address)).unwrap()?;
    place.location(locale).unwrap()
}

fn country_code<'a>(reader: &'a Reader, address: &str) -> Option<&'a str> {
    let place = reader.look_up(ip(address)).unwrap()?;
    place.country_code().unwrap()
}

#[test]
fn a_city_has_sixteen_members() {
    let expected = json!({
        "accuracy_radius": 20, "city": "Vienna", "continent_code": "EU",
        "continent_name": "Europe", "country_code": "AT", "country_name": "Austria",
        "is_in_european_union": true, "latitude": 48.2049, "longitude": 16.3662,
        "metro_code": null, "postal_code": "1010", "region_code": "9", "region_name": "Vienna",
        "time_zone": "Europe/Vienna", "dma_code": null, "region": "9",
    });
    let reader = reader(nested_city());
    for address in [
        "81.16.1.2",
        "::ffff:81.16.1.2",
        "2a01:100::1",
        "2002:5110:102::1",
    ] {
        assert_eq!(info(&reader, address, "en"), expected, "{address}");
        assert_eq!(
            location(&reader, address, "en").as_deref(),
            Some("Vienna, Austria")
        );
    }
    assert_eq!(country_code(&reader, "81.16.1.2"), Some("AT"));
}

#[test]
fn what_is_not_known_is_null() {
    let reader = reader(nested_city());
    let info = info(&reader, "216.1.2.3", "en");
    assert_eq!(info.as_object().unwrap().len(), 16);
    assert_eq!(info["city"], Value::Null);
    assert_eq!(
        (&info["metro_code"], &info["dma_code"]),
        (&json!(501), &json!(501))
    );
    assert_eq!(info["is_in_european_union"], json!(false));
    assert_eq!(
        location(&reader, "216.1.2.3", "en").as_deref(),
        Some("United States")
    );

    let empty = self::info(&reader, "217.1.2.3", "en");
    assert!(
        empty
            .as_object()
            .unwrap()
            .values()
            .all(|value| value.is_null() || value == false)
    );
    assert_eq!(location(&reader, "217.1.2.3", "en"), None);
    assert_eq!(country_code(&reader, "217.1.2.3"), None);
}

#[test]
fn an_address_that_is_not_there_is_none() {
    for bytes in [nested_city(), nested_country(), flat_country()] {
        let reader = reader(bytes);
        for address in [
            "10.0.0.1",
            "127.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "::",
        ] {
            assert_eq!(info(&reader, address, "en"), Value::Null, "{address}");
            assert_eq!(location(&reader, address, "en"), None);
            assert_eq!(country_code(&reader, address), None);
        }
    }
}

#[test]
fn names_follow_the_locale() {
    let reader = reader(nested_city());
    for (locale, name) in [
        ("de", "Wien, Österreich"),
        ("de-CH", "Wien, Österreich"),
        ("pt_BR", "Viena, Áustria"),
        ("pt", "Viena, Áustria"),
        ("fa", "Vienna, Austria"),
        ("", "Vienna, Austria"),
    ] {
        assert_eq!(
            location(&reader, "81.16.1.2", locale).as_deref(),
            Some(name),
            "{locale}"
        );
        let info = info(&reader, "81.16.1.2", locale);
        assert_eq!(
            name,
            format!("{}, {}", info["city"], info["country_name"]).replace('"', "")
        );
    }
}

#[test]
fn a_country_has_five_members() {
    let reader = reader(nested_country());
    assert_eq!(reader.kind(), Kind::Country);
    let expected = json!({
        "continent_code": "EU", "continent_name": "Europe", "country_code": "DE",
        "country_name": "Germany", "is_in_european_union": true,
    });
    assert_eq!(info(&reader, "82.1.2.3", "en"), expected);
    assert_eq!(
        location(&reader, "82.1.2.3", "en").as_deref(),
        Some("Germany")
    );
}

/// MaxMind's layout as a file of codes has it, and a few records that have some of the names.
fn codes(database_type: &str) -> Reader {
    let country = |code: &str| json!({"country": {"iso_code": code}, "continent": {"code": "EU"}});
    reader(database(
        database_type,
        IpVersion::V6,
        &[
            ("81.0.0.0/16", country("AT")),
            (
                "82.0.0.0/16",
                json!({"country": {"iso_code": "AT"}, "city": {"names": {"en": "Vienna", "de": "Wien"}}}),
            ),
            (
                "83.0.0.0/16",
                json!({"country": {"iso_code": "AT", "names": {"en": ""}}, "continent": {"code": "EU", "names": {}}}),
            ),
            (
                "84.0.0.0/16",
                json!({"country": {"iso_code": "AT", "names": {"en": "The Republic"}},
                       "continent": {"code": "EU", "names": {"en": "The Continent"}}}),
            ),
            ("85.0.0.0/16", country("ZZ")),
            (
                "86.0.0.0/16",
                json!({"registered_country": {"iso_code": "AT"}}),
            ),
            (
                "87.0.0.0/16",
                json!({"country": {"iso_code": "AQ"}, "continent": {"code": "AN"}}),
            ),
        ],
    ))
}

#[test]
fn a_code_without_a_name_gets_it() {
    for (kind, database_type) in [(Kind::City, "Some-City"), (Kind::Country, "Some-Country")] {
        let reader = codes(database_type);
        assert_eq!(reader.kind(), kind);
        for (address, locale, country, continent) in [
            ("81.0.0.1", "en", "Austria", "Europe"),
            ("81.0.0.1", "de-AT", "Österreich", "Europa"),
            ("81.0.0.1", "ja", "オーストリア", "ヨーロッパ"),
            ("83.0.0.1", "fr", "Autriche", "Europe"),
            // What the file says comes first, in whatever language it is.
            ("84.0.0.1", "de", "The Republic", "The Continent"),
            ("87.0.0.1", "en", "Antarctica", "Antarctica"),
        ] {
            assert_eq!(
                location(&reader, address, locale).as_deref(),
                Some(country),
                "{address} {locale}"
            );
            let info = info(&reader, address, locale);
            assert_eq!(info["country_name"], country, "{address} {locale}");
            assert_eq!(info["continent_name"], continent, "{address} {locale}");
        }
    }
}

#[test]
fn a_city_with_a_name_has_its_country_beside_it() {
    let reader = codes("Some-City");
    for (locale, name) in [("en", "Vienna, Austria"), ("de", "Wien, Österreich")] {
        assert_eq!(location(&reader, "82.0.0.1", locale).as_deref(), Some(name));
    }
}

#[test]
fn a_code_of_no_country_gets_no_name() {
    let reader = codes("Some-City");
    assert_eq!(location(&reader, "85.0.0.1", "en"), None);
    let info_of = |address| info(&reader, address, "en");
    assert_eq!(info_of("85.0.0.1")["country_code"], "ZZ");
    assert_eq!(info_of("85.0.0.1")["country_name"], Value::Null);
    assert_eq!(info_of("85.0.0.1")["continent_name"], "Europe");
    // Where a network is registered says nothing of where it is.
    assert_eq!(location(&reader, "86.0.0.1", "en"), None);
    assert_eq!(info_of("86.0.0.1")["country_code"], Value::Null);
}

#[test]
fn a_flat_city_is_told_as_the_others() {
    let reader = reader(flat_city(IpVersion::V4, "81.16.0.0/16", "Wien"));
    assert_eq!(reader.kind(), Kind::City);
    let expected = json!({
        "accuracy_radius": null, "city": "Wien", "continent_code": "EU",
        "continent_name": "Europa", "country_code": "AT", "country_name": "Österreich",
        "is_in_european_union": true, "latitude": 48.2049, "longitude": 16.3662,
        "metro_code": null, "postal_code": "1010", "region_code": null, "region_name": "Vienna",
        "time_zone": null, "dma_code": null, "region": null,
    });
    assert_eq!(info(&reader, "81.16.1.2", "de"), expected);
    assert_eq!(
        location(&reader, "81.16.1.2", "en").as_deref(),
        Some("Wien, Austria")
    );
    assert_eq!(
        location(&reader, "::ffff:81.16.1.2", "en").as_deref(),
        Some("Wien, Austria")
    );
    assert_eq!(location(&reader, "2a01:100::1", "en"), None);
}

#[test]
fn a_flat_city_without_a_name_is_its_country() {
    let reader = reader(flat_city(IpVersion::V4, "81.16.0.0/16", ""));
    assert_eq!(
        location(&reader, "81.16.1.2", "en").as_deref(),
        Some("Austria")
    );
}

#[test]
fn a_flat_country_gets_its_names() {
    let reader = reader(flat_country());
    assert_eq!(reader.kind(), Kind::Country);
    assert_eq!(
        location(&reader, "81.16.1.2", "en").as_deref(),
        Some("Austria")
    );
    assert_eq!(
        location(&reader, "92.0.1.2", "en").as_deref(),
        Some("Kosovo")
    );
    assert_eq!(info(&reader, "92.0.1.2", "en")["continent_code"], "EU");
    // A code that no country has stays as it is, without a name.
    assert_eq!(location(&reader, "93.0.1.2", "en"), None);
    assert_eq!(info(&reader, "93.0.1.2", "en")["country_code"], "ZZ");
    assert_eq!(info(&reader, "94.0.1.2", "en")["country_code"], Value::Null);
}

#[test]
fn the_kind_is_seen_in_the_records_if_not_in_the_name() {
    let kind =
        |name, record| reader(database(name, IpVersion::V6, &[("81.0.0.0/8", record)])).kind();
    let at = json!({"country": {"iso_code": "AT"}});
    assert_eq!(kind("Mine", at.clone()), Kind::Country);
    assert_eq!(kind("DBIP-Location (compat=City)", at.clone()), Kind::City);
    assert_eq!(kind("GeoIP2-Enterprise", at), Kind::City);
    assert_eq!(
        kind(
            "Mine",
            json!({"country": {}, "location": {"latitude": 1.5}})
        ),
        Kind::City
    );
    assert_eq!(
        kind("Mine", json!({"country_code": "AT", "city": "Wien"})),
        Kind::City
    );
    assert_eq!(kind("Mine", json!({"country_code": "AT"})), Kind::Country);
    assert_eq!(
        kind("GeoLite2-ASN", json!({"autonomous_system_number": 1})),
        Kind::Asn
    );
    assert_eq!(
        kind("Mine", json!({"autonomous_system_number": 1})),
        Kind::Asn
    );
    assert_eq!(
        kind("GeoIP2-Anonymous-IP", json!({"is_anonymous": true})),
        Kind::Other
    );
    assert_eq!(
        reader(database("Empty", IpVersion::V6, &[])).kind(),
        Kind::Other
    );
}

#[test]
fn a_file_tells_of_itself() {
    let bytes = nested_city();
    let size = bytes.len() as u64;
    let reader = reader(bytes);
    let metadata = reader.metadata();
    assert_eq!(metadata.database_type, "GeoLite2-City");
    assert_eq!(metadata.ip_version, 6);
    assert_eq!(metadata.languages, ["en", "de", "pt-BR"]);
    assert_eq!(metadata.bytes, size);
    assert!(metadata.node_count > 0 && metadata.build_epoch > 1_700_000_000);
}
