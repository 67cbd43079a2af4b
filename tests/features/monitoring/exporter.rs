//! The queries for postgres_exporter, run by the real program.

use crate::common::mmdb::{Ground, city};
use crate::common::{add_expired, begin};
use qsessions_testkit::Exporter;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn queries() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../integrations/monitoring/postgres_exporter.yaml")
        .canonicalize()
        .unwrap()
}

/// The metrics that the file declares, with the type that Prometheus gives them.
fn declared() -> BTreeMap<String, String> {
    let mut metrics = BTreeMap::new();
    let (mut namespace, mut column) = (String::new(), String::new());
    for line in fs::read_to_string(queries()).unwrap().lines() {
        if let Some(name) = line.strip_prefix("    - ") {
            column = name.trim_end_matches(':').to_owned();
        } else if let Some(usage) = line.trim_start().strip_prefix("usage: ") {
            if usage != "LABEL" {
                metrics.insert(format!("{namespace}_{column}"), usage.to_lowercase());
            }
        } else if line.starts_with(char::is_alphabetic) {
            namespace = line.trim_end_matches(':').to_owned();
        }
    }
    metrics
}

#[tokio::test]
async fn the_exporter_reads_every_metric_as_a_role_that_may_only_monitor() {
    let ground = Ground::with_worker().await;
    ground.write("city.mmdb", &city("Linköping"));
    let admin = ground.client().await;
    admin
        .batch_execute(
            "CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users VALUES (1);
             SELECT qsessions.create_session_table('users');
             CREATE ROLE monitor LOGIN; SELECT qsessions.grant_monitoring('monitor');
             SELECT qsessions.geoip_reload()",
        )
        .await
        .unwrap();
    begin(&admin, "user_id => 1").await;
    begin(&admin, "").await;
    add_expired(&admin, 3).await;

    let exporter = Exporter::of(&ground.server, "postgres", "monitor", &queries())
        .await
        .unwrap();
    let page = exporter.scrape().await.unwrap();
    let types: BTreeMap<_, _> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE qsessions_")?.split_once(' '))
        .map(|(name, kind)| (format!("qsessions_{name}"), kind.to_owned()))
        .collect();
    assert_eq!(types, declared(), "{}", exporter.log());
    for (name, expected) in [
        ("pg_exporter_last_scrape_error", "0"),
        ("qsessions_sessions_created_total", "2"),
        ("qsessions_sessions_active", "2"),
        ("qsessions_sessions_expired", "3"),
        ("qsessions_sessions_users", "1"),
        ("qsessions_invalidation_has_problem", "0"),
        ("qsessions_geoip_has_error", "0"),
    ] {
        let sample = page.lines().find(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        let value = sample.and_then(|sample| sample.rsplit(' ').next());
        assert_eq!(value, Some(expected), "{name} in {page}");
    }
}
