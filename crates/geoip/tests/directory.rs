//! Files and folders of them, good and bad.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::{flat_city, ip, nested_city, nested_country};
use mmdb_writer::IpVersion;
use qsessions_geoip::{DEFAULT_MAX_BYTES, Directory, Kind, Monitor, Options, Store, Unwatched};
use serde_json::json;
use tempfile::TempDir;

use common::networks;

/// A folder of databases, and one for copies.
struct Place {
    files: TempDir,
    copies: TempDir,
}

impl Place {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let place = Self {
            files: tempfile::tempdir().unwrap(),
            copies: tempfile::tempdir().unwrap(),
        };
        for (name, bytes) in files {
            place.write(name, bytes);
        }
        place
    }

    fn path(&self) -> &Path {
        self.files.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    fn options(&self) -> Options {
        Options {
            store: Store::new(self.copies.path().join("pgsql_tmp_x"), true),
            max_bytes: DEFAULT_MAX_BYTES,
        }
    }

    fn open(&self) -> Directory {
        self.open_at(self.path())
    }

    fn open_at(&self, path: &Path) -> Directory {
        Directory::open(path, self.options(), &mut Unwatched)
    }

    /// The copies that are kept.
    fn copies(&self) -> Vec<String> {
        let entries = fs::read_dir(self.copies.path().join("pgsql_tmp_x")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".mmdb")).collect();
        names.sort();
        names
    }
}

fn location(directory: &Directory, address: &str) -> Option<String> {
    directory.location(ip(address), "en").unwrap()
}

fn messages(directory: &Directory) -> Vec<&str> {
    let problems = directory.problems().iter();
    problems.map(|problem| problem.message.as_str()).collect()
}

/// Another city in the same network.
fn other_city() -> Vec<u8> {
    flat_city(IpVersion::V4, "81.16.0.0/16", "Graz")
}

const OLD: Option<&str> = Some("Vienna, Austria");
const NEW: Option<&str> = Some("Graz, Austria");
const KNOWN: &str = "81.16.1.2";

#[test]
fn cities_are_asked_before_countries_and_networks_apart() {
    let place = Place::new(&[
        ("a-asn.mmdb", &networks()),
        ("b-country.mmdb", &nested_country()),
        ("c-city.mmdb", &nested_city()),
        ("readme.txt", b"no database"),
    ]);
    let directory = place.open();
    assert_eq!(directory.problems(), []);
    let kinds: Vec<Kind> = directory
        .databases()
        .iter()
        .map(|one| one.reader.kind())
        .collect();
    assert_eq!(kinds, [Kind::City, Kind::Country, Kind::Asn]);
    assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
    assert_eq!(location(&directory, "82.1.2.3").as_deref(), Some("Germany"));
    assert_eq!(directory.country_code(ip("82.1.2.3")).unwrap(), Some("DE"));
    let network = directory.autonomous_system(ip(KNOWN)).unwrap().unwrap();
    assert_eq!(network.number, Some(64496));
    assert_eq!(network.organization.as_deref(), Some("Example Net"));
    assert_eq!(directory.autonomous_system(ip("82.1.2.3")).unwrap(), None);
    assert!(directory.knows_autonomous_systems());
    let info = directory.location_info(ip(KNOWN), "en").unwrap().unwrap();
    let json: serde_json::Value = serde_json::from_str(&info.to_json_with(Some(&network))).unwrap();
    assert_eq!(json.as_object().unwrap().len(), 18);
    assert_eq!(json["autonomous_system_organization"], "Example Net");
    assert_eq!(json["city"], "Vienna");
}

#[test]
fn both_kinds_of_addresses_may_be_in_files_of_their_own() {
    let place = Place::new(&[
        ("city-ipv4.mmdb", &other_city()),
        (
            "city-ipv6.mmdb",
            &flat_city(IpVersion::V6, "2a01:100::/32", "Linz"),
        ),
    ]);
    let directory = place.open();
    assert_eq!(location(&directory, KNOWN).as_deref(), NEW);
    let linz = location(&directory, "2a01:100::1");
    assert_eq!(linz.as_deref(), Some("Linz, Austria"));
    assert_eq!(location(&directory, "::ffff:81.16.1.2").as_deref(), NEW);
    assert_eq!(location(&directory, "9.9.9.9"), None);
}

#[test]
fn bad_files_are_problems_and_the_others_serve() {
    let good = nested_city();
    let place = Place::new(&[
        ("good.mmdb", &good),
        ("cut.mmdb", &good[..good.len() / 2]),
        ("empty.mmdb", b""),
        ("garbage.mmdb", &[7; 5000]),
    ]);
    fs::create_dir(place.path().join("folder.mmdb")).unwrap();
    symlink("nowhere", place.path().join("link.mmdb")).unwrap();
    let fifo = place.path().join("pipe.mmdb");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );

    let mut directory = place.open();
    assert_eq!(directory.databases().len(), 1);
    assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
    let said: Vec<String> = directory
        .problems()
        .iter()
        .map(|problem| {
            assert!(!problem.hint.is_empty());
            assert!(problem.message.contains(&*problem.path.to_string_lossy()));
            problem
                .message
                .replace(&*place.path().to_string_lossy(), "")
        })
        .collect();
    let expected = [
        "\"/cut.mmdb\" is not a usable MaxMind DB file",
        "\"/empty.mmdb\" is empty",
        "\"/folder.mmdb\" is not a regular file",
        "\"/garbage.mmdb\" is not a usable MaxMind DB file",
        "could not read \"/link.mmdb\"",
        "\"/pipe.mmdb\" is not a regular file",
    ];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    assert_eq!(directory.new_problems().len(), 6);
    directory.reload(&mut Unwatched);
    assert_eq!(directory.new_problems(), []);
    // Only what passed the check was kept.
    assert_eq!(place.copies().len(), 1);
}

#[test]
fn a_path_that_leads_nowhere_is_a_problem_until_there_is_something() {
    let place = Place::new(&[]);
    let mut missing = place.open_at(&place.path().join("missing"));
    let mut empty = place.open();
    assert_eq!(messages(&missing).len(), 1);
    assert!(messages(&empty)[0].starts_with("no .mmdb file in"));
    assert_eq!(location(&missing, KNOWN), None);

    place.write("missing", &nested_city());
    missing.refresh(&mut Unwatched);
    assert_eq!(location(&missing, KNOWN).as_deref(), OLD);
    assert_eq!(messages(&missing), [""; 0]);
    place.write("new.mmdb", &nested_city());
    empty.refresh(&mut Unwatched);
    assert_eq!(location(&empty, KNOWN).as_deref(), OLD);
}

#[test]
fn a_change_is_noticed_however_it_is_made() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let file = place.path().join("city.mmdb");
    for path in [place.path(), &file] {
        place.write("city.mmdb", &nested_city());
        let mut directory = place.open_at(path);
        assert_eq!(location(&directory, KNOWN).as_deref(), OLD);

        // In place, as `cp` does it.
        place.write("city.mmdb", &other_city());
        assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
        directory.refresh(&mut Unwatched);
        assert_eq!(location(&directory, KNOWN).as_deref(), NEW);

        // By renaming.
        place.write("next", &nested_city());
        fs::rename(place.path().join("next"), &file).unwrap();
        directory.refresh(&mut Unwatched);
        assert_eq!(location(&directory, KNOWN).as_deref(), OLD);

        // Same size, same modification time, another file.
        let mut bytes = nested_city();
        let at = bytes.windows(6).position(|part| part == b"Vienna").unwrap();
        bytes[at] = b'W';
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        place.write("next", &bytes);
        let next = fs::File::options()
            .write(true)
            .open(place.path().join("next"));
        next.unwrap().set_modified(time).unwrap();
        fs::rename(place.path().join("next"), &file).unwrap();
        directory.refresh(&mut Unwatched);
        let renamed = location(&directory, KNOWN);
        assert_eq!(renamed.as_deref(), Some("Wienna, Austria"));
        // The copies of before have gone.
        assert_eq!(place.copies().len(), 1);
    }
}

#[test]
fn a_bad_file_leaves_the_copy_of_the_good_one_in_service() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let file = place.path().join("city.mmdb");
    let mut directory = place.open();
    let good = nested_city();
    let mut bad: Vec<Vec<u8>> = (0..good.len())
        .step_by(64)
        .map(|n| good[..n].to_vec())
        .collect();
    bad.push(vec![7; 5000]);
    bad.push(networks());
    bad.push(database_of_wrong_types());
    for bytes in bad {
        place.write("city.mmdb", &bytes);
        directory.reload(&mut Unwatched);
        assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
        assert_eq!(messages(&directory).len(), 1, "{} bytes", bytes.len());
        // Who comes new gets the copy too, and the same problem, met at the same time.
        let fresh = place.open();
        assert_eq!(location(&fresh, KNOWN).as_deref(), OLD);
        assert_eq!(fresh.problems(), directory.problems());
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    directory.reload(&mut Unwatched);
    assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
    fs::remove_dir(&file).unwrap();
    directory.reload(&mut Unwatched);
    assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
    assert!(messages(&directory)[0].starts_with("no .mmdb file"));
    assert_eq!(location(&place.open(), KNOWN).as_deref(), OLD);

    place.write("city.mmdb", &other_city());
    directory.refresh(&mut Unwatched);
    assert_eq!(location(&directory, KNOWN).as_deref(), NEW);
    assert_eq!(messages(&directory), [""; 0]);
    assert_eq!(place.copies().len(), 1);
}

fn database_of_wrong_types() -> Vec<u8> {
    let good = json!({"country": {"iso_code": "AT", "names": {"en": "Austria"}}});
    let bad = json!({"country": {"iso_code": "AT", "names": {"en": 43}}});
    // The first one alone would pass.
    common::database(
        "GeoLite2-City",
        IpVersion::V6,
        &[("80.0.0.0/8", good), ("81.0.0.0/8", bad)],
    )
}

#[test]
fn a_file_that_goes_goes_if_others_stay() {
    let place = Place::new(&[
        ("city.mmdb", &nested_city()),
        ("country.mmdb", &nested_country()),
    ]);
    let mut directory = place.open();
    fs::remove_file(place.path().join("city.mmdb")).unwrap();
    directory.refresh(&mut Unwatched);
    assert_eq!(location(&directory, KNOWN).as_deref(), Some("Austria"));
    assert_eq!(place.copies().len(), 1);
}

#[test]
fn a_file_over_the_cap_is_refused_and_the_old_copy_goes_on() {
    let bytes = nested_city();
    let size = bytes.len() as u64;
    let place = Place::new(&[("city.mmdb", &bytes)]);
    let mut directory = place.open();
    place.write("city.mmdb", &[bytes, vec![0]].concat());
    directory.options_mut().max_bytes = size;
    directory.refresh(&mut Unwatched);
    assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
    let expected = format!("has {} bytes, more than the {size} allowed", size + 1);
    assert!(messages(&directory)[0].contains(&expected));
}

#[test]
fn copies_that_somebody_removed_are_made_anew() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let mut directory = place.open();
    fs::remove_dir_all(place.copies.path().join("pgsql_tmp_x")).unwrap();
    // What is open stays open.
    assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
    directory.refresh(&mut Unwatched);
    assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
    let fresh = place.open();
    assert_eq!(location(&fresh, KNOWN).as_deref(), OLD);
    assert_eq!(fresh.problems(), []);
    // The copy alone, though the index has it.
    let copy = place.copies().remove(0);
    fs::remove_file(place.copies.path().join("pgsql_tmp_x").join(copy)).unwrap();
    assert_eq!(location(&place.open(), KNOWN).as_deref(), OLD);
    assert_eq!(place.copies().len(), 1);
}

/// Of one that must not wait.
struct NoWait;

impl Monitor for NoWait {
    fn tick(&mut self) {}

    fn wait(&mut self) {
        panic!("it waits");
    }

    fn note(&mut self, _line: &str) {}
}

/// As a disk does that fails.
fn damage(copy: &Path, from: usize) {
    let mut bytes = fs::read(copy).unwrap();
    let end = (from + 40).min(bytes.len());
    bytes[from..end].fill(0xff);
    // Written to another file, since nobody may write to one that is mapped.
    fs::remove_file(copy).unwrap();
    fs::write(copy, bytes).unwrap();
}

#[test]
fn a_copy_that_cannot_be_opened_any_more_is_made_anew() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    drop(place.open());
    let copy = place
        .copies
        .path()
        .join("pgsql_tmp_x")
        .join(&place.copies()[0]);
    let bytes = fs::read(&copy).unwrap();
    let metadata = bytes.windows(11).position(|part| part == b"MaxMind.com");
    damage(&copy, metadata.unwrap());
    assert_eq!(location(&place.open(), KNOWN).as_deref(), OLD);
    assert_eq!(fs::read(&copy).unwrap(), bytes);
}

#[test]
fn a_damaged_copy_is_made_anew_when_the_same_file_is_put_in_place_again() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    drop(place.open());
    let copy = place
        .copies
        .path()
        .join("pgsql_tmp_x")
        .join(&place.copies()[0]);
    let bytes = fs::read(&copy).unwrap();
    damage(&copy, bytes.len() / 3);
    // Whoever has it open changes to the new one, though it is of the same name.
    let mut directory = place.open();
    place.write("city.mmdb", &nested_city());
    directory.reload(&mut Unwatched);
    assert_eq!(fs::read(&copy).unwrap(), bytes);
    assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
}

#[test]
fn who_has_a_copy_to_answer_from_does_not_wait_for_that_of_another_file() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let mut directory = place.open();
    let lock = fs::File::open(place.copies.path().join("pgsql_tmp_x/pgsql_tmp_lock")).unwrap();
    lock.lock().unwrap();
    place.write("country.mmdb", &nested_country());
    // While the lock is held, this would wait for half a minute, and complain.
    directory.refresh(&mut NoWait);
    assert_eq!(location(&directory, KNOWN).as_deref(), OLD);
    assert_eq!(directory.problems(), []);
    let other = Directory::open(place.path(), place.options(), &mut NoWait);
    assert_eq!(location(&other, KNOWN).as_deref(), OLD);
    drop(lock);
    directory.refresh(&mut NoWait);
    assert_eq!(directory.databases().len(), 2);
}

#[test]
fn a_folder_that_cannot_be_made_is_a_problem() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    fs::write(place.copies.path().join("pgsql_tmp_x"), "in the way").unwrap();
    let directory = place.open();
    assert_eq!(location(&directory, KNOWN), None);
    assert!(messages(&directory)[0].starts_with("could not keep a copy"));
}

#[test]
fn what_a_killed_process_left_is_cleared_away() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let copies = place.copies.path().join("pgsql_tmp_x");
    fs::create_dir(&copies).unwrap();
    for name in [
        "pgsql_tmp_new_1.mmdb",
        "pgsql_tmp_0a.mmdb",
        "pgsql_tmp_new_1.json",
    ] {
        fs::write(copies.join(name), "half of something").unwrap();
    }
    fs::write(
        copies.join("pgsql_tmp_index.json"),
        "{\"format\": 1, \"entr",
    )
    .unwrap();
    assert_eq!(location(&place.open(), KNOWN).as_deref(), OLD);
    assert_eq!(place.copies().len(), 1);
    assert!(!copies.join("pgsql_tmp_new_1.json").exists());
}
