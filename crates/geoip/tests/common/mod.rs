//! Databases made for the tests.

#![allow(dead_code, reason = "each test uses some")]

use std::net::IpAddr;
use std::path::Path;

use mmdb_writer::ipnet::IpNet;
use mmdb_writer::{IpVersion, Value, Writer};
use qsessions_geoip::Reader;
use serde_json::json;

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

pub(crate) fn reader(bytes: Vec<u8>) -> Reader<Vec<u8>> {
    Reader::from_source(bytes, Path::new("made.mmdb")).unwrap()
}

/// A database of the given records.
pub(crate) fn database(
    database_type: &str,
    ip_version: IpVersion,
    records: &[(&str, serde_json::Value)],
) -> Vec<u8> {
    let mut writer = Writer::builder(database_type)
        .ip_version(ip_version)
        .languages(["en", "de", "pt-BR"])
        .build();
    for (network, record) in records {
        writer
            .insert(network.parse::<IpNet>().unwrap(), record)
            .unwrap();
    }
    writer.to_bytes().unwrap()
}

/// MaxMind's layout, names in three locales.
pub(crate) fn nested_city() -> Vec<u8> {
    let mut writer = Writer::builder("GeoLite2-City")
        .languages(["en", "de", "pt-BR"])
        .build();
    let names = |en: &str, de: &str, pt: &str| Value::map([("en", en), ("de", de), ("pt-BR", pt)]);
    let vienna = Value::map([
        (
            "city",
            Value::map([("names", names("Vienna", "Wien", "Viena"))]),
        ),
        (
            "continent",
            Value::map([
                ("code", Value::from("EU")),
                ("names", names("Europe", "Europa", "Europa")),
            ]),
        ),
        (
            "country",
            Value::map([
                ("iso_code", Value::from("AT")),
                ("is_in_european_union", Value::from(true)),
                ("names", names("Austria", "Österreich", "Áustria")),
            ]),
        ),
        (
            "location",
            Value::map([
                // 16 bits, as MaxMind has it.
                ("accuracy_radius", Value::from(20_u16)),
                ("latitude", Value::from(48.2049_f64)),
                ("longitude", Value::from(16.3662_f64)),
                ("time_zone", Value::from("Europe/Vienna")),
            ]),
        ),
        ("postal", Value::map([("code", "1010")])),
        (
            "subdivisions",
            Value::array([
                Value::map([
                    ("iso_code", Value::from("9")),
                    ("names", names("Vienna", "Wien", "Viena")),
                ]),
                Value::map([("iso_code", Value::from("901"))]),
            ]),
        ),
    ]);
    let insert = |writer: &mut Writer, network: &str, value: Value| {
        writer
            .insert_value(network.parse::<IpNet>().unwrap(), value)
            .unwrap();
    };
    insert(&mut writer, "81.16.0.0/16", vienna.clone());
    insert(&mut writer, "2a01:100::/32", vienna);
    insert(
        &mut writer,
        "216.0.0.0/8",
        Value::map([
            (
                "country",
                Value::map([
                    ("iso_code", Value::from("US")),
                    ("names", Value::map([("en", "United States")])),
                ]),
            ),
            ("location", Value::map([("metro_code", 501_u16)])),
        ]),
    );
    insert(&mut writer, "217.0.0.0/8", Value::map::<&str, Value, _>([]));
    writer.to_bytes().unwrap()
}

/// MaxMind's layout, countries only.
pub(crate) fn nested_country() -> Vec<u8> {
    let country = |code: &str, name: &str| {
        json!({
            "continent": {"code": "EU", "names": {"en": "Europe"}},
            "country": {"iso_code": code, "is_in_european_union": true, "names": {"en": name}},
        })
    };
    database(
        "GeoLite2-Country",
        IpVersion::V6,
        &[
            ("81.0.0.0/8", country("AT", "Austria")),
            ("82.0.0.0/8", country("DE", "Germany")),
        ],
    )
}

/// ip-location-db's layout.
pub(crate) fn flat_city(ip_version: IpVersion, network: &str, city: &str) -> Vec<u8> {
    let mut writer = Writer::builder("city ipv4")
        .ip_version(ip_version)
        .languages([""; 0])
        .build();
    let record = Value::map([
        ("city", Value::from(city)),
        ("country_code", Value::from("AT")),
        // 32 bits: 48.2049 is not among them.
        ("latitude", Value::from(48.2049_f32)),
        ("longitude", Value::from("16.3662")),
        ("postcode", Value::from(1010_u32)),
        ("state1", Value::from("Vienna")),
        ("state2", Value::from("")),
        ("timezone", Value::from("")),
    ]);
    writer
        .insert_value(network.parse::<IpNet>().unwrap(), record)
        .unwrap();
    writer.to_bytes().unwrap()
}

/// ip-location-db's layout, countries only.
pub(crate) fn flat_country() -> Vec<u8> {
    database(
        "country ipvAll",
        IpVersion::V6,
        &[
            ("81.16.0.0/16", json!({"country_code": "AT"})),
            ("92.0.0.0/16", json!({"country_code": "XK"})),
            ("93.0.0.0/16", json!({"country_code": "ZZ"})),
            ("94.0.0.0/16", json!({"country_code": ""})),
        ],
    )
}

/// Networks and who runs them.
pub(crate) fn networks() -> Vec<u8> {
    let record = json!({
        "autonomous_system_number": 64496, "autonomous_system_organization": "Example Net",
    });
    database("GeoLite2-ASN", IpVersion::V6, &[("81.16.0.0/16", record)])
}
