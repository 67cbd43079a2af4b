//! Imports that wait for each other, that are stopped, and that are killed.

use std::fs::{self, File};

use mmdb_writer::IpVersion;
use qsessions_geoip::{Databases, Error, NoProgress, Progress, import};
use serde_json::json;

use super::common::{self, nested_city, nested_country};
use super::{KNOWN, LATER, OLD, Place, location};

impl Place {
    /// Has imports wait until it is dropped.
    fn lock(&self) -> File {
        let path = self.copies.path().join("pgsql_tmp_x/pgsql_tmp_lock");
        let lock = File::open(path).unwrap();
        lock.lock().unwrap();
        lock
    }
}

/// Stops when it is asked for the `countdown`th time, and keeps what it is told.
struct Stopper {
    countdown: usize,
    notes: Vec<String>,
}

impl Stopper {
    fn after(countdown: usize) -> Self {
        let notes = Vec::new();
        Self { countdown, notes }
    }
}

impl Progress for Stopper {
    fn should_stop(&mut self) -> bool {
        self.countdown = self.countdown.saturating_sub(1);
        self.countdown == 0
    }

    fn note(&mut self, line: &str) {
        self.notes.push(line.to_owned());
    }
}

#[test]
fn an_import_can_be_stopped_at_any_time_and_leaves_nothing_behind() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    let databases = place.open();
    let large: Vec<(String, serde_json::Value)> = (0..5000)
        .map(|n| {
            let network = format!("{}.{}.{}.0/24", 20 + n / 65536, n / 256 % 256, n % 256);
            (network, json!({"country": {"iso_code": "AT"}, "n": n}))
        })
        .collect();
    let large: Vec<_> = large
        .iter()
        .map(|(network, record)| (network.as_str(), record.clone()))
        .collect();
    place.write(
        "city.mmdb",
        &common::database("GeoLite2-City", IpVersion::V6, &large),
    );
    let mut stops = 0;
    loop {
        let mut progress = Stopper::after(stops + 1);
        match import(place.path(), &place.store(), LATER, &mut progress) {
            Err(Error::Stopped) => stops += 1,
            other => {
                assert_eq!(other.unwrap().unwrap(), []);
                assert_eq!(progress.notes.len(), 1);
                break;
            }
        }
        assert_eq!(progress.notes, [""; 0]);
        let entries = fs::read_dir(place.copies.path().join("pgsql_tmp_x")).unwrap();
        assert_eq!(entries.count(), 3, "the index, the lock and the old copy");
        assert!(databases.is_current());
        assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    }
    // While it is copied, and while it is checked.
    assert!(stops > 2, "{stops}");
}

#[test]
fn others_open_the_old_copy_while_one_process_imports() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    drop(place.open());
    let lock = place.lock();
    place.write("country.mmdb", &nested_country());
    // Opening never waits. Importing does, until it is told to stop.
    let mut databases = Databases::open(place.path(), place.store());
    assert_eq!(location(&databases, KNOWN).as_deref(), OLD);
    let stopped = import(place.path(), &place.store(), LATER, &mut Stopper::after(3));
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    drop(lock);
    place.keep_up(&mut databases);
    assert_eq!(databases.databases().len(), 2);
}

/// Lets another process replace the file and import it, while the import waits.
struct Overtaken<'a> {
    place: &'a Place,
    lock: Option<File>,
}

impl Progress for Overtaken<'_> {
    fn should_stop(&mut self) -> bool {
        if self.lock.take().is_some() {
            self.place.write("city.mmdb", b"worse than bad");
            let problems = import(
                self.place.path(),
                &self.place.store(),
                LATER,
                &mut NoProgress,
            );
            assert_eq!(problems.unwrap().unwrap().len(), 1);
        }
        false
    }

    fn note(&mut self, _: &str) {}
}

#[test]
fn what_another_process_has_imported_meanwhile_is_not_looked_at_again() {
    let place = Place::new(&[("city.mmdb", &nested_city())]);
    drop(place.open());
    place.write("city.mmdb", b"bad");
    let mut progress = Overtaken {
        place: &place,
        lock: Some(place.lock()),
    };
    let problems = import(place.path(), &place.store(), LATER, &mut progress).unwrap();
    assert!(progress.lock.is_none());
    assert_eq!(problems.unwrap(), []);
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
