//! Damaged and malicious GeoIP files: none is used, none crashes a backend or the worker, and the
//! copy of the last good file stays in use.

use crate::common::mmdb::{self, Ground, KNOWN, location, reload, until, until_location};
use crate::common::{Listening, row};
use mmdb_writer::Writer;
use nix::unistd::{Uid, geteuid};
use qsessions_geoip::Reader;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const OLD: &str = "Linköping, Sweden";

/// The answer of a file for the known address, if the file can be read at all.
fn told_by(bytes: &[u8]) -> Option<Option<String>> {
    let reader = Reader::from_source(bytes, Path::new("broken.mmdb")).ok()?;
    match reader.look_up(KNOWN.parse().unwrap()).ok()? {
        Some(place) => place.location("en").ok(),
        None => Some(None),
    }
}

#[tokio::test]
async fn a_truncated_file_is_never_used() {
    let ground = Ground::new().await;
    let good = mmdb::city("Linköping");
    ground.write("city.mmdb", &good);
    let client = ground.client().await;
    assert_eq!(reload(&client).await, [None]);
    assert_eq!(location(&client, KNOWN).await.as_deref(), Some(OLD));
    let mut faults = 0;
    for length in (0..good.len()).step_by(64) {
        ground.write("city.mmdb", &good[..length]);
        let errors = reload(&client).await;
        assert!(errors.len() == 1 && errors[0].is_some(), "{length} bytes");
        assert_eq!(location(&client, KNOWN).await.as_deref(), Some(OLD));
        faults += 1;
    }
    // A new connection gets the old copy too.
    let other = ground.client().await;
    assert_eq!(location(&other, KNOWN).await.as_deref(), Some(OLD));
    ground.survived("cut off at every 64th byte", faults).await;
}

#[tokio::test]
async fn flipped_bits_give_the_answers_of_the_old_file_or_the_new_file() {
    const FLIPS: usize = 10_000;
    let ground = Ground::new().await;
    let good = mmdb::city("Linköping");
    ground.write("city.mmdb", &good);
    let client = ground.client().await;
    assert_eq!(reload(&client).await, [None]);
    let mut before = location(&client, KNOWN).await;
    let (mut served, mut refused) = (0, 0);
    for flip in 0..FLIPS {
        // The bits are spread over the whole file, and none repeats before all were flipped.
        let bit = flip.wrapping_mul(2_654_435_761) % (good.len() * 8);
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        ground.write("city.mmdb", &bytes);
        let errors = reload(&client).await;
        let answer = location(&client, KNOWN).await;
        if errors[0].is_some() {
            refused += 1;
            assert_eq!(answer, before, "bit {bit}: {errors:?}");
        } else {
            served += 1;
            assert_eq!(Some(&answer), told_by(&bytes).as_ref(), "bit {bit}");
            before = answer;
        }
    }
    assert!(served > 0 && refused > 0);
    let what = format!("flipped bits ({refused} files refused, {served} served)");
    ground.survived(&what, FLIPS).await;
}

/// A database whose search tree leads from its root back to it.
fn circle() -> Vec<u8> {
    let mut bytes = mmdb::city("Linköping");
    bytes[..6].fill(0);
    bytes
}

/// A city with 10,000 nested maps.
fn deep() -> Vec<u8> {
    let mut nested = [0xe1, 0x41, b'n'].repeat(10_000);
    nested.push(0xe0);
    let filling = "x".repeat(nested.len());
    let mut bytes = mmdb::database(
        "GeoLite2-City",
        &[("89.160.20.0/24", json!({"city": filling}))],
    );
    let filling = filling.as_bytes();
    let start = bytes
        .windows(filling.len())
        .position(|part| part == filling);
    let start = start.unwrap();
    bytes[start..start + filling.len()].copy_from_slice(&nested);
    // This replaces the length of the text.
    bytes[start - 3..start].copy_from_slice(&[0xe1, 0x41, b'n']);
    bytes
}

/// Two maps that point to each other.
fn circular_pointers() -> Vec<u8> {
    let filling = "x".repeat(64);
    let mut bytes = mmdb::database(
        "GeoLite2-City",
        &[("89.160.20.0/24", json!({"city": {"names": filling}}))],
    );
    let at = bytes
        .windows(64)
        .position(|part| part == filling.as_bytes());
    let at = at.unwrap();
    let separator = bytes.windows(16).position(|part| part == [0; 16]).unwrap();
    let offset = at - 2 - (separator + 16);
    // This replaces the text with a map of one member `en`, whose value is a pointer back to this
    // map.
    let pointer = [0x20 | u8::try_from(offset >> 8).unwrap(), offset as u8];
    let map = [&[0xe1, 0x42, b'e', b'n'][..], &pointer].concat();
    bytes[at - 2..at - 2 + map.len()].copy_from_slice(&map);
    bytes
}

fn absurd_metadata() -> Vec<u8> {
    let year_10000 = std::time::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_800);
    let mut writer = Writer::builder("GeoLite2-City")
        .build_epoch(year_10000)
        .build();
    let record = mmdb::nested_city("Linköping");
    let network: ipnet::IpNet = "89.160.20.0/24".parse().unwrap();
    writer.insert(network, &record).unwrap();
    writer.to_bytes().unwrap()
}

/// More nodes than the file has bytes.
fn absurd_node_count() -> Vec<u8> {
    let mut bytes = mmdb::city("Linköping");
    let name = b"node_count";
    let at = bytes.windows(name.len()).rposition(|part| part == name);
    let value = at.unwrap() + name.len();
    // The number keeps its size of 32 bits; only its bytes change.
    let size = usize::from(bytes[value] & 0x1f);
    bytes[value + 1..=value + size].fill(0xff);
    bytes
}

#[tokio::test]
async fn invalid_databases_are_refused_with_a_warning_and_a_hint() {
    let ground = Ground::with_worker().await;
    let good = mmdb::city("Linköping");
    ground.write("city.mmdb", &good);
    let client = ground.client().await;
    let long_open = ground.client().await;
    until_location(&long_open, KNOWN, OLD).await;
    let processes = [process_of(&client).await, process_of(&long_open).await];
    let wrong = json!({"country": {"iso_code": "SE", "names": {"en": 4711}}});
    let bad = [
        ("empty", vec![]),
        ("garbage", b"no database ".repeat(10_000)),
        ("zeros", vec![0; 100_000]),
        ("another kind", mmdb::networks()),
        (
            "wrong types",
            mmdb::database("GeoLite2-City", &[("89.160.20.0/24", wrong)]),
        ),
        ("no network", mmdb::database("GeoLite2-City", &[])),
        ("absurd metadata", absurd_metadata()),
        ("absurd count of nodes", absurd_node_count()),
        ("deep nesting", deep()),
        ("circular tree", circle()),
        ("circular pointers", circular_pointers()),
    ];
    for (what, bytes) in &bad {
        let before = processes.map(|process| warnings(&ground, process).len());
        ground.swap("city.mmdb", bytes);
        assert_refused(&client, what).await;
        // The other connection warns too, without a call of geoip_reload, and only once.
        for _ in 0..3 {
            assert_eq!(
                location(&long_open, KNOWN).await.as_deref(),
                Some(OLD),
                "{what}"
            );
        }
        for (process, before) in processes.into_iter().zip(before) {
            let warnings = warnings(&ground, process);
            assert_eq!(warnings.len(), before + 1, "{what}: {warnings:?}");
        }
        assert!(ground.log().contains("HINT:  "), "{what}");
    }
    ground.swap("city.mmdb", &good);
    assert_eq!(reload(&client).await, [None]);
    ground.survived("bad files", bad.len()).await;
}

async fn process_of(client: &tokio_postgres::Client) -> i32 {
    row(client, "SELECT pg_backend_pid()", &[]).await.get(0)
}

/// The warnings of a backend.
fn warnings(ground: &Ground, process: i32) -> Vec<String> {
    let marks = [format!("[{process}]"), "WARNING".to_owned()];
    let log = ground.log();
    let lines = log.lines();
    lines
        .filter(|line| marks.iter().all(|mark| line.contains(mark)))
        .map(str::to_owned)
        .collect()
}

/// Asserts that the error of the file is shown with its time, beside the old copy, which is in use.
async fn assert_refused(client: &tokio_postgres::Client, what: &str) {
    let state = row(
        client,
        "SELECT error, error_at BETWEEN statement_timestamp() - interval '1 min' AND clock_timestamp(),
                database_type, path
         FROM qsessions.geoip_reload()",
        &[],
    )
    .await;
    let error: Option<String> = state.get(0);
    assert!(
        error.is_some_and(|error| error.contains(state.get::<_, &str>(3))),
        "{what}"
    );
    assert!(state.get::<_, bool>(1), "{what}");
    assert_eq!(state.get::<_, &str>(2), "GeoLite2-City", "{what}");
    assert_eq!(
        location(client, KNOWN).await.as_deref(),
        Some(OLD),
        "{what}"
    );
}

#[tokio::test]
async fn directories_fifos_and_unreadable_files_are_refused() {
    let ground = Ground::new().await;
    let file = ground.files.join("city.mmdb");
    ground.write("city.mmdb", &mmdb::city("Linköping"));
    let client = ground.client().await;
    assert_eq!(reload(&client).await, [None]);
    assert_eq!(location(&client, KNOWN).await.as_deref(), Some(OLD));

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_refused(&client, "a directory").await;
    fs::remove_dir(&file).unwrap();

    assert!(
        Command::new("mkfifo")
            .arg(&file)
            .status()
            .unwrap()
            .success()
    );
    assert_refused(&client, "a FIFO").await;
    fs::remove_file(&file).unwrap();

    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    assert_refused(&client, "a link to nowhere").await;
    fs::remove_file(&file).unwrap();

    ground.write("city.mmdb", &mmdb::city("Stockholm"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    // If the tests run as root, the file belongs to root, and the server runs as another user.
    assert!(!geteuid().is_root() || fs::metadata(&file).is_ok_and(|it| owner(&it).is_root()));
    assert_refused(&client, "no permission").await;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(reload(&client).await, [None]);
    assert_eq!(
        location(&client, KNOWN).await.as_deref(),
        Some("Stockholm, Sweden")
    );

    let size = fs::metadata(&file).unwrap().len();
    let cap = format!("SET qsessions.geoip_max_bytes = '{}'", size + 100);
    client.batch_execute(&cap).await.unwrap();
    ground.write("city.mmdb", &mmdb::city(&"long ".repeat(100)));
    let errors = reload(&client).await;
    assert!(
        errors[0].as_ref().unwrap().contains("more than the"),
        "{errors:?}"
    );
    assert_eq!(
        location(&client, KNOWN).await.as_deref(),
        Some("Stockholm, Sweden")
    );

    fs::remove_file(&file).unwrap();
    let errors = reload(&client).await;
    assert!(
        errors
            .iter()
            .flatten()
            .any(|error| error.contains("no .mmdb file")),
        "{errors:?}"
    );
    assert_eq!(
        location(&client, KNOWN).await.as_deref(),
        Some("Stockholm, Sweden")
    );
    ground.survived("what is no file", 6).await;
}

fn owner(metadata: &fs::Metadata) -> Uid {
    use std::os::unix::fs::MetadataExt;
    Uid::from_raw(metadata.uid())
}

#[tokio::test]
async fn a_client_gets_one_warning_for_each_change() {
    let ground = Ground::with_worker().await;
    ground.write("city.mmdb", &mmdb::city("Linköping"));
    let listening = Listening::to(&ground.server.config("postgres")).await;
    let client = &listening.client;
    client
        .batch_execute("SET client_min_messages = warning")
        .await
        .unwrap();
    until_location(client, KNOWN, OLD).await;
    assert_eq!(listening.notices(), [""; 0]);
    for change in 0..2 {
        ground.swap("city.mmdb", format!("bad {change}").as_bytes());
        let mut notices = Vec::new();
        until("there is a warning", async || {
            assert_eq!(location(client, KNOWN).await.as_deref(), Some(OLD));
            notices = listening.notices();
            !notices.is_empty()
        })
        .await;
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains("city.mmdb"), "{notices:?}");
        for _ in 0..3 {
            assert_eq!(location(client, KNOWN).await.as_deref(), Some(OLD));
        }
        assert_eq!(listening.notices(), [""; 0]);
    }
}

#[tokio::test]
async fn every_connection_sees_the_errors_of_the_worker() {
    let ground = Ground::with_worker().await;
    ground.swap("city.mmdb", b"bad");
    ground.swap("country.mmdb", &mmdb::city("Linköping"));
    until_location(&ground.client().await, KNOWN, OLD).await;
    for client in [ground.client().await, ground.client().await] {
        let bad = row(
            &client,
            "SELECT error, error_at IS NOT NULL FROM qsessions.geoip_databases() WHERE path LIKE '%city.mmdb'",
            &[],
        )
        .await;
        let error: String = bad.get(0);
        assert!(error.contains("is not a usable MaxMind DB file"), "{error}");
        assert!(bad.get::<_, bool>(1));
    }
    // The worker has logged the error too, because there may be no connection that logs it.
    let log = ground.log();
    let is_workers = |line: &&str| line.contains("WARNING") && !line.contains("] postgres WARNING");
    assert!(log.lines().any(|line| is_workers(&line)), "{log}");
    ground.survived("a bad file that the worker meets", 1).await;
}

/// PostgreSQL raises an error for a warning with a character that the client's encoding lacks.
#[tokio::test]
async fn a_name_that_the_client_cannot_show_does_not_stop_look_ups() {
    let ground = Ground::new().await;
    ground.write("city.mmdb", &mmdb::city("Linköping"));
    ground.write("Жуть.mmdb", b"no database");
    let client = ground.client().await;
    assert_eq!(reload(&client).await.iter().flatten().count(), 1);

    // Latin-1 has the letters of the answer, but not those of the file's name.
    let latin = ground.client().await;
    latin
        .batch_execute("SET client_encoding = 'LATIN1'; SET client_min_messages = 'log'")
        .await
        .unwrap();
    for _ in 0..2 {
        let statement = "SELECT qsessions.country_code('89.160.20.112')";
        assert_eq!(row(&latin, statement, &[]).await.get::<_, &str>(0), "SE");
    }
    ground.write("Ж.mmdb", &mmdb::city("Linköping"));
    latin
        .batch_execute("SELECT count(*) FROM qsessions.geoip_reload()")
        .await
        .unwrap();
    assert_eq!(reload(&client).await.iter().flatten().count(), 1);
    ground
        .survived("names that the client cannot show", 1)
        .await;
}
