//! GeoIP databases that tests make, and a server to break them under.

use crate::common::row;
use ipnet::IpNet;
use mmdb_writer::Writer;
use qsessions_testkit::{Server, ServerBuilder};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::Client;

/// The longest time that a test waits for a condition.
const PATIENCE: Duration = Duration::from_secs(120);

/// An address in the databases of [`city`].
pub(crate) const KNOWN: &str = "89.160.20.112";

/// A database of the given networks.
pub(crate) fn database(database_type: &str, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut writer = Writer::new(database_type);
    for (network, record) in networks {
        writer
            .insert(network.parse::<IpNet>().unwrap(), record)
            .unwrap();
    }
    writer.to_bytes().unwrap()
}

/// The record of a city in Sweden in MaxMind's layout.
pub(crate) fn nested_city(name: &str) -> Value {
    json!({
        "city": {"names": {"en": name, "de": format!("{name} (deutsch)"), "pt-BR": format!("{name} (português)")}},
        "continent": {"code": "EU", "names": {"en": "Europe"}},
        "country": {"iso_code": "SE", "is_in_european_union": true, "names": {"en": "Sweden", "de": "Schweden"}},
        "location": {"accuracy_radius": 76, "latitude": 58.4167, "longitude": 15.6167, "time_zone": "Europe/Stockholm"},
        "postal": {"code": "582 22"},
        "subdivisions": [{"iso_code": "E", "names": {"en": "Östergötland County"}}],
    })
}

/// One city.
pub(crate) fn city(name: &str) -> Vec<u8> {
    database("GeoLite2-City", &[("89.160.20.0/24", nested_city(name))])
}

/// A database of `count` cities, in networks of 256 addresses from 1.0.0.0 on, so that an import
/// takes a while.
pub(crate) fn cities(name: &str, count: u32) -> Vec<u8> {
    let mut writer = Writer::new("GeoLite2-City");
    for number in 0..count {
        let first = std::net::Ipv4Addr::from((1 << 24) + (number << 8));
        let network = IpNet::new(first.into(), 24).unwrap();
        let record = nested_city(&format!("{name} {number}"));
        writer.insert(network, &record).unwrap();
    }
    writer.to_bytes().unwrap()
}

/// A database of networks and their operators.
pub(crate) fn networks() -> Vec<u8> {
    let record = json!({
        "autonomous_system_number": 64496, "autonomous_system_organization": "Example Net",
    });
    database("GeoLite2-ASN", &[("89.160.0.0/16", record)])
}

/// A separate server with a folder of databases, and a connection that a crash of any backend would
/// close.
pub(crate) struct Ground {
    pub(crate) server: Server,
    pub(crate) files: PathBuf,
    canary: Client,
    started: String,
    crashes: usize,
}

impl Ground {
    /// Without the background worker: `geoip_reload` imports.
    pub(crate) async fn new() -> Self {
        Self::with(Server::builder()).await
    }

    /// With the background worker, which looks at the files all the time.
    pub(crate) async fn with_worker() -> Self {
        Self::with(worker()).await
    }

    pub(crate) async fn with(builder: ServerBuilder) -> Self {
        Self::on(builder.setting("qsessions.geoip_check_interval", "10ms")).await
    }

    /// With the usual interval, or the one that the builder has.
    pub(crate) async fn on(builder: ServerBuilder) -> Self {
        let server = builder.start().await.unwrap();
        let files = server.folder().join("files");
        fs::create_dir(&files).unwrap();
        server.installation().hand_over(&files).unwrap();
        let canary = server.connect("postgres").await.unwrap();
        let set_up = format!(
            "CREATE EXTENSION qsessions;
             ALTER DATABASE postgres SET qsessions.geoip_path = '{}';
             ALTER DATABASE postgres SET client_min_messages = error",
            files.display()
        );
        canary.batch_execute(&set_up).await.unwrap();
        let started = start_time(&canary).await;
        Self {
            server,
            files,
            canary,
            started,
            crashes: 0,
        }
    }

    /// A connection that uses the folder.
    pub(crate) async fn client(&self) -> Client {
        self.server.connect("postgres").await.unwrap()
    }

    /// The folder of private copies.
    pub(crate) fn copies(&self) -> PathBuf {
        self.server.data().join("pgsql_tmp_qsessions")
    }

    /// The private copies that are finished.
    pub(crate) fn copy_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.copies()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_copy = |name: &String| name.ends_with(".mmdb") && !name.contains("_new_");
        names.filter(is_copy).collect()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.server.log_path()).unwrap()
    }

    /// Writes a file in place, as `cp` does.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.files.join(name), bytes).unwrap();
    }

    /// Puts a file in place by renaming.
    pub(crate) fn swap(&self, name: &str, bytes: &[u8]) {
        let new = self.files.join(format!("{name}.new"));
        fs::write(&new, bytes).unwrap();
        fs::rename(new, self.files.join(name)).unwrap();
    }

    /// Waits until the server has recovered from a crash that the test has caused, and watches it
    /// from then on.
    pub(crate) async fn expect_crash(&mut self) {
        self.crashes += 1;
        // The server closes all connections when it notices the crash, including those that were
        // opened before that.
        while !self.canary.is_closed() {
            tokio::task::yield_now().await;
        }
        self.canary = loop {
            // Only an attempt to connect shows that it is ready.
            match self.server.connect("postgres").await {
                Ok(client) => break client,
                Err(_) => tokio::task::yield_now().await,
            }
        };
    }

    /// Asserts that no backend has crashed except those that the test has killed, and that the
    /// first connection still works. Prints a summary.
    pub(crate) async fn survived(&self, what: &str, faults: usize) {
        assert_eq!(start_time(&self.canary).await, self.started, "{what}");
        let log = self.log();
        let is_crash = |line: &&str| {
            line.contains("was terminated by signal")
                || line.contains("exited with exit code") && !line.contains("qsessions geoip")
        };
        let crashes: Vec<&str> = log.lines().filter(is_crash).collect();
        assert_eq!(crashes.len(), self.crashes, "{what}: {crashes:?}");
        let restarts = log.matches("all server processes terminated").count();
        assert_eq!(restarts, self.crashes, "{what}");
        // Writes to the standard error itself, because the test harness captures macros such as
        // println.
        let _ = writeln!(
            std::io::stderr(),
            "{what}: {faults} faults, 0 backend crashes, 0 restarts of the server{}",
            if self.crashes > 0 {
                " but that which a SIGKILL by this test has caused"
            } else {
                ""
            }
        );
    }
}

async fn start_time(client: &Client) -> String {
    row(client, "SELECT pg_postmaster_start_time()::text", &[])
        .await
        .get(0)
}

/// A server that has the background worker.
pub(crate) fn worker() -> ServerBuilder {
    Server::builder().setting("shared_preload_libraries", "qsessions")
}

pub(crate) async fn location(client: &Client, ip: &str) -> Option<String> {
    row(client, "SELECT qsessions.location($1::text::inet)", &[&ip])
        .await
        .get(0)
}

/// Waits until a condition holds, by asking again and again.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

/// Waits until an address has this location.
pub(crate) async fn until_location(client: &Client, ip: &str, expected: &str) {
    until(expected, async || {
        location(client, ip).await.as_deref() == Some(expected)
    })
    .await;
}

/// Imports changed files, and returns the errors of the files.
pub(crate) async fn reload(client: &Client) -> Vec<Option<String>> {
    let rows = client
        .query("SELECT error FROM qsessions.geoip_reload()", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Sets the path of a connection, and imports its files.
pub(crate) async fn use_path(client: &Client, path: &Path) {
    set_path(client, path).await;
    reload(client).await;
}

/// Sets the path of a connection.
pub(crate) async fn set_path(client: &Client, path: &Path) {
    client
        .batch_execute(&format!("SET qsessions.geoip_path = '{}'", path.display()))
        .await
        .unwrap();
}
