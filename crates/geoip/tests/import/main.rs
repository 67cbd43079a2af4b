//! Files and folders of them, good and bad.

#[path = "../common/mod.rs"]
mod common;
mod waiting;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{flat_city, ip, nested_city, nested_country};
use mmdb_writer::IpVersion;
use qsessions_geoip::{
    DEFAULT_MAX_BYTES, Databases, Kind, NoProgress, Options, Problem, Store, import,
};
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

    fn store(&self) -> Store {
        Store::new(self.copies.path().join("pgsql_tmp_x"), true)
    }

    /// Takes what is new, and opens what there is then.
    fn open(&self) -> Databases {
        self.open_at(self.path())
    }

    fn open_at(&self, path: &Path) -> Databases {
        import(path, &self.store(), LATER, &mut NoProgress).unwrap();
        Databases::open(path, self.store())
    }

    /// Takes what is new, as the background worker does. The problems that were met for the first
    /// time.
    fn keep_up(&self, databases: &mut Databases) -> Vec<Problem> {
        self.take(databases, LATER)
    }

    /// The same, as `geoip_reload` does it.
    fn reload(&self, databases: &mut Databases) -> Vec<Problem> {
        self.take(databases, NOW)
    }

    fn take(&self, databases: &mut Databases, options: Options) -> Vec<Problem> {
        let problems = import(self.path(), &self.store(), options, &mut NoProgress).unwrap();
        databases.refresh();
        problems.unwrap_or_default()
    }

    /// The copies that are kept.
    fn copies(&self) -> Vec<String> {
        let entries = fs::read_dir(self.copies.path().join("pgsql_tmp_x")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".mmdb")).collect();
        names.sort();
        names
    }

    fn only_copy(&self) -> PathBuf {
        let copies = self.copies();
        assert_eq!(copies.len(), 1);
        self.copies.path().join("pgsql_tmp_x").join(&copies[0])
    }
}

const LATER: Options = Options {
    max_bytes: DEFAULT_MAX_BYTES,
    force: false,
};
const NOW: Options = Options {
    force: true,
    ..LATER
};

fn location(databases: &Databases, address: &str) -> Option<String> {
    let place = databases.look_up(ip(address)).unwrap()?;
    place.location("en").unwrap()
}

fn messages(databases: &Databases) -> Vec<&str> {
    let problems = databases.problems().iter();
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
    let databases = place.open();
    assert_eq!(databases.problems(), []);
    let kinds: Vec<Kind> = databases
        .databases()
        .iter()
        .map(|one| one.reader.kind())
        .collect();
    assert_eq!(kinds, [Kind::City, Kind::Country, Kind::Asn]);
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    assert_eq!(location(&databases, "82.1.2.3").as_deref(), Some("Germany"));
    let germany = databases.look_up(ip("82.1.2.3")).unwrap().unwrap();
    assert_eq!(germany.country_code().unwrap(), Some("DE"));
    let network = databases.look_up_network(ip(KNOWN)).unwrap().unwrap();
    let network = network.autonomous_system().unwrap();
    assert_eq!(network.number, Some(64496));
    assert_eq!(network.organization.as_deref(), Some("Example Net"));
    let unknown = databases.look_up_network(ip("82.1.2.3")).unwrap();
    assert!(unknown.is_none());
    assert!(databases.know_networks());
    let known = databases.look_up(ip(KNOWN)).unwrap().unwrap();
    let info = known.location_info("en").unwrap();
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
    let databases = place.open();
    assert_eq!(location(&databases, KNOWN).as_deref(), NEW);
    let linz = location(&databases, "2a01:100::1");
    assert_eq!(linz.as_deref(), Some("Linz, Austria"));
    assert_eq!(location(&databases, "::ffff:81.16.1.2").as_deref(), NEW);
    assert_eq!(location(&databases, "9.9.9.9"), None);
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

    let mut databases = place.open();
    assert_eq!(databases.databases().len(), 1);
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    let said: Vec<String> = databases
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
    assert_eq!(databases.new_problems().len(), 6);
    assert_eq!(place.reload(&mut databases), []);
    assert_eq!(databases.new_problems(), []);
    // Only what passed the check was kept.
    assert_eq!(place.copies().len(), 1);
}

#[test]
fn what_was_not_imported_is_a_problem_once() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let mut databases = Databases::open(place.path(), place.store());
    assert!(!databases.is_imported());
    assert_eq!(location(&databases, KNOWN), None);
    assert!(messages(&databases)[0].starts_with("nothing was imported from"));
    assert_eq!(databases.new_problems().len(), 1);
    databases.refresh();
    assert_eq!(databases.new_problems(), []);
    place.keep_up(&mut databases);
    assert!(databases.is_imported());
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    assert_eq!(messages(&databases), [""; 0]);
}

#[test]
fn a_path_that_leads_nowhere_is_a_problem_until_there_is_something() {
    let place = Place::new(&[]);
    let missing = place.open_at(&place.path().join("missing"));
    let mut empty = place.open();
    assert_eq!(messages(&missing).len(), 1);
    assert!(messages(&empty)[0].starts_with("no .mmdb file in"));
    assert_eq!(location(&missing, KNOWN), None);

    place.write("missing", &nested_city());
    let missing = place.open_at(&place.path().join("missing"));
    assert_eq!(location(&missing, KNOWN).as_deref(), OLD);
    assert_eq!(messages(&missing), [""; 0]);
    place.write("new.mmdb", &nested_city());
    place.keep_up(&mut empty);
    assert_eq!(location(&empty, KNOWN).as_deref(), OLD);
}

#[test]
fn a_change_is_noticed_however_it_is_made() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let file = place.path().join("city.mmdb");
    for path in [place.path(), &file] {
        place.write("city.mmdb", &nested_city());
        let mut databases = place.open_at(path);
        assert_eq!(location(&databases, KNOWN).as_deref(), OLD);

        // In place, as `cp` does it.
        place.write("city.mmdb", &other_city());
        assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
        place.keep_up(&mut databases);
        assert_eq!(location(&databases, KNOWN).as_deref(), NEW);

        // By renaming.
        place.write("next", &nested_city());
        fs::rename(place.path().join("next"), &file).unwrap();
        place.keep_up(&mut databases);
        assert_eq!(location(&databases, KNOWN).as_deref(), OLD);

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
        place.keep_up(&mut databases);
        let renamed = location(&databases, KNOWN);
        assert_eq!(renamed.as_deref(), Some("Wienna, Austria"));
        // The copies of before have gone.
        assert_eq!(place.copies().len(), 1);
    }
}

#[test]
fn a_bad_file_leaves_the_copy_of_the_good_one_in_service() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let file = place.path().join("city.mmdb");
    let mut databases = place.open();
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
        place.reload(&mut databases);
        assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
        assert_eq!(messages(&databases).len(), 1, "{} bytes", bytes.len());
        // Who comes new gets the copy too, and the same problem, met at the same time.
        let fresh = place.open();
        assert_eq!(location(&fresh, KNOWN).as_deref(), OLD);
        assert_eq!(fresh.problems(), databases.problems());
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    place.reload(&mut databases);
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    fs::remove_dir(&file).unwrap();
    place.reload(&mut databases);
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    assert!(messages(&databases)[0].starts_with("no .mmdb file"));
    assert_eq!(location(&place.open(), KNOWN).as_deref(), OLD);

    place.write("city.mmdb", &other_city());
    place.keep_up(&mut databases);
    assert_eq!(location(&databases, KNOWN).as_deref(), NEW);
    assert_eq!(messages(&databases), [""; 0]);
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
    let mut databases = place.open();
    fs::remove_file(place.path().join("city.mmdb")).unwrap();
    place.keep_up(&mut databases);
    assert_eq!(location(&databases, KNOWN).as_deref(), Some("Austria"));
    assert_eq!(place.copies().len(), 1);
}

#[test]
fn a_file_over_the_cap_is_refused_and_the_old_copy_goes_on() {
    let bytes = nested_city();
    let size = bytes.len() as u64;
    let place = Place::new(&[("city.mmdb", &bytes)]);
    let mut databases = place.open();
    place.write("city.mmdb", &[bytes, vec![0]].concat());
    let small = Options {
        max_bytes: size,
        ..LATER
    };
    place.take(&mut databases, small);
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    let expected = format!("has {} bytes, more than the {size} allowed", size + 1);
    assert!(messages(&databases)[0].contains(&expected));
}

#[test]
fn copies_that_somebody_removed_are_made_anew() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let mut databases = place.open();
    fs::remove_dir_all(place.copies.path().join("pgsql_tmp_x")).unwrap();
    // What is open stays open.
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    place.keep_up(&mut databases);
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    let fresh = place.open();
    assert_eq!(location(&fresh, KNOWN).as_deref(), OLD);
    assert_eq!(fresh.problems(), []);
    // The copy alone, though the index has it.
    let copy = place.copies().remove(0);
    fs::remove_file(place.copies.path().join("pgsql_tmp_x").join(copy)).unwrap();
    assert_eq!(location(&place.open(), KNOWN).as_deref(), OLD);
    assert_eq!(place.copies().len(), 1);
}

/// As a disk does that fails.
fn damage(copy: &Path, from: usize) {
    let mut bytes = fs::read(copy).unwrap();
    let end = (from + 40).min(bytes.len());
    bytes[from..end].fill(0xff);
    // Written to another file, since a mapped file must not be written to.
    fs::remove_file(copy).unwrap();
    fs::write(copy, bytes).unwrap();
}

#[test]
fn a_copy_that_cannot_be_opened_any_more_is_made_anew() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    drop(place.open());
    let copy = place.only_copy();
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
    let copy = place.only_copy();
    let bytes = fs::read(&copy).unwrap();
    damage(&copy, bytes.len() / 3);
    // Whoever has it open changes to the new one, though it is of the same name.
    let mut databases = place.open();
    place.write("city.mmdb", &nested_city());
    place.reload(&mut databases);
    assert_eq!(fs::read(&copy).unwrap(), bytes);
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
}

#[test]
fn nothing_is_done_where_nothing_has_changed() {
    let place = Place::new(&[("city.mmdb", &nested_city()), ("bad.mmdb", b"bad")]);
    let mut databases = place.open();
    // A file that was new is looked at once more when it no longer is, and then no more.
    let is_idle = |_| {
        import(place.path(), &place.store(), LATER, &mut NoProgress)
            .unwrap()
            .is_none()
    };
    assert!((0..2).any(is_idle));
    databases.refresh();
    import(place.path(), &place.store(), LATER, &mut NoProgress).unwrap();
    assert!(databases.is_current());
}

#[test]
fn two_paths_share_a_store() {
    let first = Place::new(&[("city.mmdb", &nested_city())]);
    let mut second = Place::new(&[("city.mmdb", &other_city())]);
    second.copies = tempfile::tempdir().unwrap();
    let store = first.store();
    for path in [first.path(), second.path()] {
        import(path, &store, LATER, &mut NoProgress).unwrap();
    }
    let open = |path| location(&Databases::open(path, store.clone()), KNOWN);
    assert_eq!(open(first.path()).as_deref(), OLD);
    assert_eq!(open(second.path()).as_deref(), NEW);
    assert_eq!(first.copies().len(), 2);
    // A file that goes takes its own copy along.
    fs::remove_file(second.path().join("city.mmdb")).unwrap();
    second.write("country.mmdb", &nested_country());
    import(second.path(), &store, LATER, &mut NoProgress).unwrap();
    assert_eq!(open(first.path()).as_deref(), OLD);
    assert_eq!(open(second.path()).as_deref(), Some("Austria"));
    assert_eq!(first.copies().len(), 2);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    fs::write(place.copies.path().join("pgsql_tmp_x"), "in the way").unwrap();
    let failed = import(place.path(), &place.store(), LATER, &mut NoProgress).unwrap_err();
    assert!(failed.to_string().starts_with("could not keep a copy"));
    let mut databases = Databases::open(place.path(), place.store());
    assert_eq!(location(&databases, KNOWN), None);
    databases.add_problem(Problem::now(place.path(), &failed));
    assert_eq!(databases.new_problems().len(), 1);
}
