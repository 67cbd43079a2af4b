//! Files that are cut off, broken or made to do harm: every call ends in an answer or an error.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::LazyLock;

use common::{database, flat_city, flat_country, ip, nested_city, nested_country, reader};
use mmdb_writer::ipnet::IpNet;
use mmdb_writer::{IpVersion, Value, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use qsessions_geoip::{Error, Reader};
use serde_json::json;

static DATABASES: LazyLock<[Vec<u8>; 5]> = LazyLock::new(|| {
    [
        nested_city(),
        nested_country(),
        flat_city(IpVersion::V4, "81.16.0.0/16", "Wien"),
        flat_city(IpVersion::V6, "2a01:100::/32", "Graz"),
        flat_country(),
    ]
});

/// 50 addresses: those in the databases, and others from all over.
fn addresses() -> Vec<IpAddr> {
    let known = [
        "81.16.1.2",
        "216.1.2.3",
        "217.1.2.3",
        "82.1.2.3",
        "92.0.1.2",
        "2a01:100::1",
    ];
    let known = known.into_iter().map(ip);
    let v4 = (0..22_u32).map(|n| Ipv4Addr::from(n.wrapping_mul(2_654_435_769)).into());
    let v6 = (0..22_u128)
        .map(|n| Ipv6Addr::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).into());
    known.chain(v4).chain(v6).collect()
}

/// Asks everything of whatever can be opened; panics and endless loops are what must not be.
fn ask(bytes: Vec<u8>) {
    let Ok(reader) = Reader::from_source(bytes, Path::new("broken.mmdb")) else {
        return;
    };
    for address in addresses() {
        let Ok(Some(place)) = reader.look_up(address) else {
            continue;
        };
        for locale in ["en", "de-AT"] {
            if let Ok(info) = place.location_info(locale) {
                let json = info.to_json();
                assert!(!json.contains("\\u0000"));
                serde_json::from_str::<serde_json::Value>(&json).unwrap();
            }
            if let Ok(Some(location)) = place.location(locale) {
                assert!(!location.contains('\0'));
            }
        }
        let _ = place.country_code();
        let _ = place.autonomous_system();
    }
}

#[test]
fn a_file_cut_off_anywhere() {
    for bytes in &*DATABASES {
        for length in (0..bytes.len()).step_by(7) {
            ask(bytes[..length].to_vec());
        }
        // The end of the file, with the metadata, is the more delicate part.
        for length in bytes.len() - 300..bytes.len() {
            ask(bytes[..length].to_vec());
            ask(bytes[bytes.len() - length..].to_vec());
        }
    }
}

#[test]
fn single_bytes_of_a_file_set_to_their_extremes() {
    for bytes in &*DATABASES {
        // Every seventh: all of them take half a minute in a debug build.
        for index in (0..bytes.len()).step_by(7) {
            for value in [0, 0xff, bytes[index] ^ 0x20] {
                let mut bytes = bytes.clone();
                bytes[index] = value;
                ask(bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn flipped_bytes(
        database in 0_usize..5,
        flips in vec((any::<prop::sample::Index>(), 1_u8..), 1..20),
    ) {
        let mut bytes = DATABASES[database].clone();
        for (index, mask) in flips {
            let index = index.index(bytes.len());
            bytes[index] ^= mask;
        }
        ask(bytes);
    }
}

/// A database with another search tree: pairs of records of 24 bits each.
fn with_tree(nodes: &[(u32, u32)]) -> Vec<u8> {
    let made = Writer::builder("Tree-City")
        .record_size(mmdb_writer::RecordSize::Bits24)
        .ipv4_aliasing(mmdb_writer::Ipv4Aliasing::Disabled)
        .build();
    let made = {
        let mut made = made;
        // A tree of as many nodes as wanted, to have the right number in the metadata.
        let depth = u8::try_from(nodes.len()).unwrap();
        let network = IpNet::new(Ipv6Addr::from(1_u128 << 127).into(), depth).unwrap();
        made.insert(network, &json!({"country": {"iso_code": "AT"}}))
            .unwrap();
        made.to_bytes().unwrap()
    };
    let mut bytes = Vec::new();
    for (left, right) in nodes {
        bytes.extend_from_slice(&left.to_be_bytes()[1..]);
        bytes.extend_from_slice(&right.to_be_bytes()[1..]);
    }
    bytes.extend_from_slice(&made[nodes.len() * 6..]);
    bytes
}

#[test]
fn a_tree_that_leads_back_to_its_root() {
    ask(with_tree(&[(0, 0); 32]));
}

#[test]
fn a_tree_of_which_every_path_is_long_and_empty() {
    // 2^100 ways to the same nothing: who walks them all does not come back.
    let nodes: Vec<(u32, u32)> = (1..=100).map(|next| (next, next)).collect();
    ask(with_tree(&nodes));
}

/// A record whose `section` holds 10,000 levels of maps or arrays: more than a recursive writer
/// can make, so they are put in place of other bytes of the same length.
fn deep(section: &str, level: &[u8]) -> Vec<u8> {
    // A map of one member 'n', in place of the three bytes before the others.
    let outermost = [0xe1, 0x41, b'n'];
    let mut nested = level.repeat(10_000);
    // In the end, an empty map.
    nested.push(0xe0);
    let filling = vec![0xaa; nested.len()];
    let mut writer = Writer::new("Deep-City");
    let record = Value::map([(section, Value::Bytes(filling.clone()))]);
    writer
        .insert_value("81.0.0.0/8".parse::<IpNet>().unwrap(), record)
        .unwrap();
    let mut bytes = writer.to_bytes().unwrap();
    let start = bytes
        .windows(filling.len())
        .position(|window| window == filling)
        .unwrap();
    bytes[start..start + nested.len()].copy_from_slice(&nested);
    bytes[start - 3..start].copy_from_slice(&outermost);
    bytes
}

#[test]
fn a_record_of_deep_nesting() {
    let map_level = [0xe1, 0x41, b'n'];
    let array_level = [0x01, 0x04];
    for section in ["city", "country", "subdivisions", "unknown"] {
        for level in [map_level.as_slice(), &array_level] {
            let bytes = deep(section, level);
            let error = Reader::from_source(bytes.clone(), Path::new("deep.mmdb")).map(drop);
            assert!(matches!(error, Err(Error::Invalid { .. })), "{error:?}");
            ask(bytes);
        }
    }
}

#[test]
fn members_of_other_types_are_errors() {
    for record in [
        json!({"country": "AT"}),
        json!({"country": {"names": ["Austria"]}}),
        json!({"country": {"names": {"en": 1}}}),
        json!({"country": {"iso_code": 40}}),
        json!({"country": {"names": {"en": "Aus\0tria"}}}),
        json!({"country_code": "A\0"}),
    ] {
        let reader = reader(database(
            "Odd-Country",
            IpVersion::V6,
            &[("81.0.0.0/8", record)],
        ));
        let place = reader.look_up(ip("81.1.2.3")).unwrap().unwrap();
        let result = place.location_info("en").map(drop);
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    }
}

#[test]
fn a_file_that_says_nonsense_of_itself_is_refused() {
    let epoch = |seconds| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        Writer::builder("Time-City")
            .build_epoch(time)
            .build()
            .to_bytes()
            .unwrap()
    };
    let open = |bytes| Reader::from_source(bytes, Path::new("odd.mmdb"));
    assert!(open(epoch(253_402_300_799)).is_ok());
    assert!(matches!(
        open(epoch(253_402_300_800)),
        Err(Error::Invalid { .. })
    ));
    let nul = Writer::new("City\0").to_bytes().unwrap();
    assert!(matches!(open(nul), Err(Error::Invalid { .. })));
}
