//! The dashboard for Grafana: each of its queries runs, as the role that the documentation makes.

use super::{database_of, server_with_metrics};
use crate::common::row;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tokio_postgres::Client;

fn dashboard() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../integrations/monitoring/grafana-dashboard.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A query as Grafana sends it: it replaces its macros before.
fn as_sent(query: &str) -> String {
    let mut sent = query
        .replace(
            "$__timeFilter(e.at)",
            "e.at BETWEEN '2000-01-01T00:00:00Z' AND '2100-01-01T00:00:00Z'",
        )
        .replace(
            "$__timeGroupAlias(e.at, '1h')",
            "floor(extract(epoch from e.at)/3600)*3600 AS \"time\"",
        );
    sent.push(';');
    assert!(!sent.contains('$'), "unknown macro in {query}");
    sent
}

struct Query {
    title: String,
    format: String,
    sql: String,
}

/// The queries of all panels.
fn queries(dashboard: &Value) -> Vec<Query> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            queries.push(Query {
                title: text(&panel["title"]),
                format: text(&target["format"]),
                sql: as_sent(target["rawSql"].as_str().unwrap()),
            });
        }
    }
    queries
}

/// A database with sessions and events, and a connection of the role that Grafana uses.
async fn prepare(admin: &Client) {
    admin
        .batch_execute(
            "SELECT qsessions.create_event_table();
             CREATE ROLE grafana LOGIN;
             SELECT qsessions.grant_monitoring('grafana');
             GRANT SELECT (at, event, revoked_by, ip, user_agent, client_hints, is_new_device, is_new_place)
                 ON qsessions.session_event TO grafana;
             GRANT EXECUTE ON FUNCTION qsessions.country_code TO grafana;
             SELECT qsessions.login(NULL, 1, '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0');
             SELECT qsessions.login(NULL, 2);
             SELECT qsessions.revoke_user_sessions(1)",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn every_query_of_the_dashboard_runs() {
    let server = server_with_metrics().await;
    let admin = database_of(&server, "shop").await;
    prepare(&admin).await;
    let config = server.config("shop").user("grafana").clone();
    let client = qsessions_testkit::connect(&config).await.unwrap();
    let queries = queries(&dashboard());
    assert!(queries.len() > 10);
    for Query { title, format, sql } in queries {
        let rows = client.query(sql.trim_end_matches(';'), &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{title}: {error:?}"));
        // There is no GeoIP database.
        assert_eq!(rows.is_empty(), title == "GeoIP databases", "{title}");
        if format == "time_series" {
            assert_eq!(rows[0].columns()[0].name(), "time", "{title}");
        }
    }
    let begun = "SELECT count(*) FROM qsessions.session_event WHERE event = 'login'";
    assert_eq!(row(&admin, begun, &[]).await.get::<_, i64>(0), 2);
}

#[test]
fn panels_of_the_dashboard_do_not_overlap() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_i64().unwrap()), "{panel}");
        let part = |name: &str| panel["gridPos"][name].as_i64().unwrap();
        assert!(part("x") + part("w") <= 24, "{panel}");
        for x in part("x")..part("x") + part("w") {
            for y in part("y")..part("y") + part("h") {
                assert!(cells.insert((x, y)), "{panel}");
            }
        }
    }
}
