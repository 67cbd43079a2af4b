//! Files and folders of them, good and bad.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::{database, flat_city, ip, nested_city, nested_country};
use mmdb_writer::IpVersion;
use qsessions_places::{DEFAULT_MAX_BYTES, Directory, Error, Kind, Reader};
use serde_json::json;
use tempfile::TempDir;

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn open(path: &Path) -> Directory {
    Directory::open(path, DEFAULT_MAX_BYTES)
}

fn location(directory: &Directory, address: &str) -> Option<String> {
    directory.location(ip(address), "en").unwrap()
}

#[test]
fn cities_are_asked_before_countries() {
    let asn = database(
        "GeoLite2-ASN",
        IpVersion::V6,
        &[("1.0.0.0/8", json!({"x": 1}))],
    );
    let folder = folder(&[
        ("a-asn.mmdb", &asn),
        ("b-country.mmdb", &nested_country()),
        ("c-city.mmdb", &nested_city()),
        ("readme.txt", b"no database"),
    ]);
    let directory = open(folder.path());
    assert!(directory.failures().is_empty());
    let kinds: Vec<Kind> = directory
        .databases()
        .iter()
        .map(|one| one.reader.kind())
        .collect();
    assert_eq!(kinds, [Kind::City, Kind::Country, Kind::Asn]);
    assert_eq!(
        location(&directory, "81.16.1.2").as_deref(),
        Some("Vienna, Austria")
    );
    assert_eq!(location(&directory, "82.1.2.3").as_deref(), Some("Germany"));
    assert_eq!(directory.country_code(ip("82.1.2.3")).unwrap(), Some("DE"));
    // Only the database of networks has it, and that one knows no places.
    assert_eq!(location(&directory, "1.2.3.4"), None);
    assert!(
        directory
            .location_info(ip("1.2.3.4"), "en")
            .unwrap()
            .is_none()
    );
}

#[test]
fn both_kinds_of_addresses_may_be_in_files_of_their_own() {
    let folder = folder(&[
        (
            "city-ipv4.mmdb",
            &flat_city(IpVersion::V4, "81.16.0.0/16", "Wien"),
        ),
        (
            "city-ipv6.mmdb",
            &flat_city(IpVersion::V6, "2a01:100::/32", "Graz"),
        ),
    ]);
    let directory = open(folder.path());
    assert_eq!(
        location(&directory, "81.16.1.2").as_deref(),
        Some("Wien, Austria")
    );
    assert_eq!(
        location(&directory, "2a01:100::1").as_deref(),
        Some("Graz, Austria")
    );
    assert_eq!(
        location(&directory, "::ffff:81.16.1.2").as_deref(),
        Some("Wien, Austria")
    );
    assert_eq!(location(&directory, "9.9.9.9"), None);
}

#[test]
fn bad_files_are_kept_with_their_errors_and_the_others_serve() {
    let folder = folder(&[
        ("good.mmdb", &nested_city()),
        ("empty.mmdb", b""),
        ("garbage.mmdb", &[7; 5000]),
    ]);
    fs::create_dir(folder.path().join("folder.mmdb")).unwrap();
    symlink("nowhere", folder.path().join("link.mmdb")).unwrap();
    let fifo = folder.path().join("pipe.mmdb");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );

    let directory = open(folder.path());
    assert_eq!(directory.databases().len(), 1);
    assert_eq!(
        location(&directory, "81.16.1.2").as_deref(),
        Some("Vienna, Austria")
    );
    let failures: Vec<String> = directory
        .failures()
        .iter()
        .map(|failure| {
            assert!(
                failure
                    .error
                    .to_string()
                    .contains(&*failure.path.to_string_lossy())
            );
            let kind = match failure.error {
                Error::Io { .. } => "io",
                Error::NotAFile { .. } => "not a file",
                Error::Empty { .. } => "empty",
                Error::Invalid { .. } => "invalid",
                _ => "other",
            };
            format!(
                "{} {kind}",
                failure.path.file_name().unwrap().to_string_lossy()
            )
        })
        .collect();
    assert_eq!(
        failures,
        [
            "empty.mmdb empty",
            "folder.mmdb not a file",
            "garbage.mmdb invalid",
            "link.mmdb io",
            "pipe.mmdb not a file",
        ]
    );
    assert!(!directory.changed());
}

#[test]
fn a_path_that_leads_nowhere_is_a_failure() {
    let folder = folder(&[]);
    let missing = open(&folder.path().join("missing"));
    assert!(matches!(missing.failures()[0].error, Error::Io { .. }));
    assert_eq!(location(&missing, "81.16.1.2"), None);
    let empty = open(folder.path());
    assert!(matches!(
        empty.failures()[0].error,
        Error::NoDatabases { .. }
    ));
    assert!(!empty.changed() && !missing.changed());

    fs::write(folder.path().join("missing"), nested_city()).unwrap();
    assert!(missing.changed() && !empty.changed());
    fs::write(folder.path().join("new.mmdb"), nested_city()).unwrap();
    assert!(empty.changed());
}

#[test]
fn a_change_is_noticed() {
    let folder = folder(&[("city.mmdb", &nested_city())]);
    let file = folder.path().join("city.mmdb");
    for path in [folder.path(), &file] {
        let fresh = || {
            fs::write(&file, nested_city()).unwrap();
            open(path)
        };
        assert!(!fresh().changed());

        let written = fresh();
        fs::write(&file, nested_country()).unwrap();
        assert!(written.changed());
        assert_eq!(
            location(&written, "81.16.1.2").as_deref(),
            Some("Vienna, Austria")
        );

        // Same size, same modification time, another file.
        let renamed = fresh();
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        let other = folder.path().join("other");
        fs::copy(&file, &other).unwrap();
        fs::File::options()
            .write(true)
            .open(&other)
            .unwrap()
            .set_modified(time)
            .unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(renamed.changed());

        let removed = fresh();
        fs::remove_file(&file).unwrap();
        assert!(removed.changed());
    }
    let more = {
        fs::write(&file, nested_city()).unwrap();
        open(folder.path())
    };
    fs::write(folder.path().join("more.MMDB"), nested_country()).unwrap();
    assert!(more.changed());
}

#[test]
fn a_file_over_the_cap_is_refused() {
    let bytes = nested_city();
    let folder = folder(&[("city.mmdb", &bytes)]);
    let file = folder.path().join("city.mmdb");
    let size = bytes.len() as u64;
    assert!(Reader::open(&file, size).is_ok());
    let error = Reader::open(&file, size - 1).unwrap_err();
    assert!(matches!(error, Error::TooLarge { bytes, max_bytes, .. }
        if (bytes, max_bytes) == (size, size - 1)));
}
