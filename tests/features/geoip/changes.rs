//! GeoIP files that change under running queries: the worker imports them, every answer is from the
//! old or the new file, every backend notices, and none crashes.

use crate::common::mmdb::{self, Ground, KNOWN, location, reload, until, until_location};
use qsessions_testkit::{Installation, Server};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::Client;

/// The number of networks in large databases: enough that a copy takes several writes.
const NETWORKS: u32 = 1000;

/// Looks up addresses in all networks, and returns the first characters of the names.
const MANY: &str = "SELECT array_agg(DISTINCT coalesce(split_part(qsessions.location(
        '1.0.0.0'::inet + (n * 7919) % 256000), ' ', 1), 'null'))
    FROM generate_series(1, $1::int) AS n";

/// A pause between queries, so that many backends get their turn on a small machine.
const PAUSE: Duration = Duration::from_millis(100);

/// Queries that run until they are stopped, and their results.
struct Running {
    stop: Arc<AtomicBool>,
    /// The number of finished queries, and the result of the last one.
    finished: watch::Receiver<(usize, Vec<String>)>,
    task: tokio::task::JoinHandle<BTreeSet<String>>,
    process: i32,
}

impl Running {
    async fn on(client: Client, addresses: i32, pause: Duration) -> Self {
        let process = client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        let stop = Arc::new(AtomicBool::new(false));
        let (count, finished) = watch::channel((0, Vec::new()));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut found = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                let row = client.query_one(MANY, &[&addresses]).await.unwrap();
                let names: Vec<String> = row.get(0);
                found.extend(names.clone());
                count.send_modify(|(count, latest)| (*count, *latest) = (*count + 1, names));
                tokio::time::sleep(pause).await;
            }
            found
        });
        Self {
            stop,
            finished,
            task,
            process,
        }
    }

    /// Returns while a query is running.
    async fn is_active(&self, admin: &Client) {
        let active = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1";
        while !admin
            .query_one(active, &[&self.process])
            .await
            .unwrap()
            .get::<_, bool>(0)
        {
            tokio::task::yield_now().await;
        }
    }

    /// Returns when a query that began after this call has ended.
    async fn next_query(&mut self) {
        let count = self.finished.borrow().0;
        self.finished
            .wait_for(|(now, _)| *now >= count + 2)
            .await
            .unwrap();
    }

    /// Returns when a query has found this name.
    async fn finds(&mut self, name: &str) {
        self.finished
            .wait_for(|(_, latest)| latest.iter().any(|found| found == name))
            .await
            .unwrap();
    }

    async fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

fn only(found: &BTreeSet<String>, allowed: &[&str]) {
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert!(found.iter().all(|name| allowed.contains(name)), "{found:?}");
}

#[tokio::test]
async fn overwriting_and_truncating_a_file_does_not_affect_running_queries() {
    const ROUNDS: usize = 10;
    let ground = Ground::with_worker().await;
    let names = ["Old", "New"];
    let versions = names.map(|name| {
        let path = ground.server.folder().join(name);
        fs::write(&path, mmdb::cities(name, NETWORKS)).unwrap();
        path
    });
    let file = ground.files.join("city.mmdb");
    fs::copy(&versions[0], &file).unwrap();
    let admin = ground.client().await;
    assert_eq!(reload(&admin).await, [None]);
    let mut running = Running::on(ground.client().await, 1000, Duration::ZERO).await;
    running.finds("Old").await;
    let mut faults = 0;
    for round in 0..ROUNDS {
        running.is_active(&admin).await;
        let version = (round + 1) % 2;
        let copied = Command::new("cp")
            .args([&versions[version], &file])
            .status();
        assert!(copied.unwrap().success());
        running.finds(names[version]).await;
        running.is_active(&admin).await;
        let cut = fs::OpenOptions::new().write(true).open(&file).unwrap();
        cut.set_len(0).unwrap();
        running.next_query().await;
        faults += 2;
    }
    only(&running.stop().await, &["Old", "New"]);
    ground
        .survived("cp in place, then cut to nothing", faults)
        .await;
}

#[tokio::test]
async fn a_file_replaced_by_renaming_is_used_by_the_next_query() {
    const SWAPS: usize = 10;
    let ground = Ground::with_worker().await;
    let (old, new) = (mmdb::cities("Old", NETWORKS), mmdb::cities("New", NETWORKS));
    ground.swap("city.mmdb", &old);
    let admin = ground.client().await;
    assert_eq!(reload(&admin).await, [None]);
    let mut running = Running::on(ground.client().await, 1000, Duration::ZERO).await;
    running.finds("Old").await;
    for swap in 0..SWAPS {
        running.is_active(&admin).await;
        ground.swap("city.mmdb", [&new, &old][swap % 2]);
        running.finds(["New", "Old"][swap % 2]).await;
    }
    only(&running.stop().await, &["Old", "New"]);
    until("only the copy of the last file is left", async || {
        ground.copy_names().len() == 1
    })
    .await;
    ground.survived("swapped by rename", SWAPS).await;
}

#[tokio::test]
async fn thirty_two_backends_follow_ten_changes() {
    const BACKENDS: usize = 32;
    const CHANGES: usize = 10;
    let ground = Ground::with_worker().await;
    ground.swap("city.mmdb", &mmdb::cities("City0", NETWORKS));
    assert_eq!(reload(&ground.client().await).await, [None]);
    let mut backends = Vec::new();
    for _ in 0..BACKENDS {
        backends.push(Running::on(ground.client().await, 10, PAUSE).await);
    }
    let admin = ground.client().await;
    let names: Vec<String> = (0..=CHANGES)
        .map(|number| format!("City{number}"))
        .collect();
    for name in &names[1..] {
        ground.swap("city.mmdb", &mmdb::cities(name, NETWORKS));
        assert_eq!(reload(&admin).await, [None]);
        // Every backend notices the change by itself.
        for backend in &mut backends {
            backend.next_query().await;
        }
    }
    let mut latest = 0;
    for backend in backends {
        let found = backend.stop().await;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        only(&found, &names);
        latest += usize::from(found.contains("City10"));
    }
    assert_eq!(latest, BACKENDS);
    let log = ground.log();
    // Each file was imported once for all backends.
    assert_eq!(log.matches("imported GeoIP database").count(), CHANGES + 1);
    assert_eq!(ground.copy_names().len(), 1);
    ground.survived("changed under 32 backends", CHANGES).await;
}

#[tokio::test]
async fn a_reload_is_noticed_at_once_by_every_connection_of_a_server_with_the_worker() {
    let server = mmdb::worker().setting("qsessions.geoip_check_interval", "1d");
    let ground = Ground::on(server).await;
    let (admin, client) = (ground.client().await, ground.client().await);
    for name in ["Linköping", "Stockholm", "Malmö"] {
        ground.swap("city.mmdb", &mmdb::city(name));
        assert_eq!(reload(&admin).await, [None]);
        let expected = format!("{name}, Sweden");
        assert_eq!(location(&client, KNOWN).await, Some(expected));
    }
}

#[tokio::test]
async fn without_the_worker_a_reload_is_noticed_within_the_interval_and_at_once_where_it_was_called()
 {
    let server = Server::builder().setting("qsessions.geoip_check_interval", "1d");
    let ground = Ground::on(server).await;
    let (admin, client) = (ground.client().await, ground.client().await);
    let old = Some("Linköping, Sweden");
    ground.swap("city.mmdb", &mmdb::city("Linköping"));
    assert_eq!(reload(&client).await, [None]);
    assert_eq!(location(&client, KNOWN).await.as_deref(), old);

    ground.swap("city.mmdb", &mmdb::city("Stockholm"));
    assert_eq!(reload(&admin).await, [None]);
    let new = Some("Stockholm, Sweden");
    assert_eq!(location(&admin, KNOWN).await.as_deref(), new);
    assert_eq!(location(&client, KNOWN).await.as_deref(), old);
    assert_eq!(reload(&client).await, [None]);
    assert_eq!(location(&client, KNOWN).await.as_deref(), new);

    set_interval(&admin, "20ms").await;
    ground.swap("city.mmdb", &mmdb::city("Malmö"));
    assert_eq!(reload(&admin).await, [None]);
    until_location(&client, KNOWN, "Malmö, Sweden").await;
}

async fn set_interval(admin: &Client, interval: &str) {
    let alter = format!("ALTER SYSTEM SET qsessions.geoip_check_interval = '{interval}'");
    admin.batch_execute(&alter).await.unwrap();
    admin
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_parallel_worker_opens_the_databases_too() {
    let force_parallel = if Installation::find().unwrap().major() < 16 {
        "force_parallel_mode"
    } else {
        "debug_parallel_query"
    };
    let server = mmdb::worker().setting(force_parallel, "on");
    let ground = Ground::with(server).await;
    ground.swap("city.mmdb", &mmdb::city("Linköping"));
    let client = ground.client().await;
    // The parallel worker is the first process that uses the path.
    let call = "SELECT qsessions.location('89.160.20.112')";
    let plan = client.query(&format!("EXPLAIN {call}"), &[]).await.unwrap();
    assert!(plan[0].get::<_, &str>(0).contains("Gather"));
    let asks = async || -> Option<String> { client.query_one(call, &[]).await.unwrap().get(0) };
    until("it is served", async || {
        asks().await.as_deref() == Some("Linköping, Sweden")
    })
    .await;
    ground.swap("city.mmdb", b"bad");
    until("it is refused", async || {
        assert_eq!(asks().await.as_deref(), Some("Linköping, Sweden"));
        ground.log().contains("not a usable MaxMind DB file")
    })
    .await;

    client
        .batch_execute(&format!(
            "CREATE TABLE visits AS SELECT '89.160.20.0'::inet + n % 256 AS ip FROM generate_series(1, 300000) AS n;
             ANALYZE visits; SET {force_parallel} = off",
        ))
        .await
        .unwrap();
    let labels: i64 = client
        .query_one(
            "SELECT count(*) FROM pg_proc
             WHERE pronamespace = 'qsessions'::regnamespace
               AND proname IN ('location', 'location_info', 'country_code', 'asn')
               AND provolatile = 's' AND proparallel = 's' AND procost >= 100",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(labels, 4);
    for function in [
        "location(ip)",
        "location_info(ip)",
        "country_code(ip)",
        "asn(ip)",
    ] {
        let plan = format!("EXPLAIN SELECT count(qsessions.{function}) FROM visits");
        let plan = client.query(&plan, &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Workers Planned"), "{plan}");
    }
    ground
        .survived("a bad file met by a parallel worker", 1)
        .await;
}
