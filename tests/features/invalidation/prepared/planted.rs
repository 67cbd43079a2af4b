//! Relations that have the name of one of the tables, and are none, or hold what no PREPARE
//! TRANSACTION has written.

use super::{before_a_probe, commit, prepare_transaction, waiting};
use crate::common::listener::Listener;
use crate::common::row;
use crate::invalidation::{everything, server_with_ring};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Statements that write to the log without an id of a transaction, after which the table is looked
/// at.
pub(super) async fn commit_vacuum_and_prune(client: &Client) {
    client
        .batch_execute(
            "CREATE TABLE t AS SELECT generate_series(1, 2000) AS a; CREATE TABLE u (a int)",
        )
        .await
        .unwrap();
    prepare_transaction(client, "p", "INSERT INTO u VALUES (1)").await;
    commit(client, "p").await;
    client
        .batch_execute("DELETE FROM t WHERE a % 2 = 0")
        .await
        .unwrap();
    for statement in ["SELECT count(*) FROM t", "VACUUM t", "DROP TABLE t, u"] {
        client.batch_execute(statement).await.unwrap();
    }
}

#[tokio::test]
async fn a_relation_of_the_same_name_that_is_not_the_extensions_is_not_touched() {
    let server = server_with_ring().await;
    let admin = server.connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE DATABASE planted")
        .await
        .unwrap();
    let client = server.connect("planted").await.unwrap();
    client
        .batch_execute(
            "CREATE SCHEMA qsessions; CREATE TABLE elsewhere (ids bytea NOT NULL);
             CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nothing FOREIGN DATA WRAPPER nothing",
        )
        .await
        .unwrap();
    let state = "CREATE VIEW qsessions.invalidation_state AS SELECT 'x'::name AS channel, false AS is_behind";
    for (kind, columns) in [
        ("VIEW", "AS SELECT ''::bytea AS ids"),
        ("MATERIALIZED VIEW", "AS SELECT ''::bytea AS ids"),
        ("TYPE", "AS (ids bytea)"),
        ("TABLE", "(ids bytea NOT NULL)"),
        ("TABLE", "(ids bytea NOT NULL) PARTITION BY LIST (ids)"),
        ("TABLE", "PARTITION OF elsewhere DEFAULT"),
        ("FOREIGN TABLE", "(ids bytea NOT NULL) SERVER nothing"),
        ("SEQUENCE", ""),
    ] {
        let partitioned = if columns.contains("elsewhere") {
            "DROP TABLE elsewhere; CREATE TABLE elsewhere (ids bytea) PARTITION BY LIST (ids);"
        } else {
            ""
        };
        client
            .batch_execute(&format!(
                "{partitioned} CREATE {kind} qsessions.invalidation_prepared {columns}"
            ))
            .await
            .unwrap();
        let is_table = kind == "TABLE" && !columns.contains("BY");
        if is_table {
            let fill = "INSERT INTO qsessions.invalidation_prepared VALUES (decode(repeat('ab', 16), 'hex'))";
            client.batch_execute(fill).await.unwrap();
        }
        commit_vacuum_and_prune(&client).await;
        client.batch_execute(state).await.unwrap();
        commit_vacuum_and_prune(&client).await;
        if is_table {
            // The rows were not taken, nor announced.
            assert_eq!(waiting(&client).await, 1);
        }
        client
            .batch_execute(&format!(
                "DROP {kind} qsessions.invalidation_prepared; DROP VIEW qsessions.invalidation_state"
            ))
            .await
            .unwrap();
    }
    client
        .batch_execute(
            "DROP TABLE elsewhere; CREATE TABLE elsewhere (ids bytea);
             CREATE TABLE qsessions.indexed (ids bytea);
             CREATE INDEX invalidation_prepared ON qsessions.indexed (ids)",
        )
        .await
        .unwrap();
    commit_vacuum_and_prune(&client).await;
    let notifiers =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'qsessions notifier'";
    assert_eq!(row(&admin, notifiers, &[]).await.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_view_in_place_of_a_table_of_the_dropped_extension_is_not_touched() {
    let server = server_with_ring().await;
    let client = server.connect("postgres").await.unwrap();
    // The process has known the real table.
    commit_vacuum_and_prune(&client).await;
    client
        .batch_execute(
            "DROP EXTENSION qsessions CASCADE; CREATE SCHEMA IF NOT EXISTS qsessions;
             CREATE VIEW qsessions.invalidation_prepared AS SELECT ''::bytea AS ids;
             CREATE VIEW qsessions.invalidation_state AS SELECT 'x'::name AS channel, false AS is_behind",
        )
        .await
        .unwrap();
    commit_vacuum_and_prune(&client).await;
}

#[tokio::test]
async fn rows_that_somebody_else_has_written_stand_for_all_sessions() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    listener
        .run(
            "ALTER TABLE qsessions.invalidation_prepared ALTER ids DROP NOT NULL;
             ALTER TABLE qsessions.invalidation_state ALTER channel DROP NOT NULL, ALTER is_behind DROP NOT NULL",
        )
        .await;
    for (storage, value) in [
        ("PLAIN", "NULL"),
        ("PLAIN", "'\\x0123'"),
        ("EXTENDED", "decode(repeat('ab', 6400), 'hex')"),
        ("EXTERNAL", "decode(repeat('ab', 6400), 'hex')"),
    ] {
        // The rows get other places, which the server has to look for.
        listener
            .run(&format!(
                "ALTER TABLE qsessions.invalidation_prepared ALTER ids SET STORAGE {storage};
                 INSERT INTO qsessions.invalidation_prepared VALUES ({value})"
            ))
            .await;
        listener
            .run("VACUUM FULL qsessions.invalidation_prepared")
            .await;
        commit_vacuum_and_prune(&listener.client).await;
        let before = before_a_probe(&mut listener).await;
        assert_eq!(before, everything(), "{storage} {value}");
        assert_eq!(waiting(&listener.client).await, 0);
    }
    assert_eq!(before_a_probe(&mut listener).await, BTreeSet::new());
    listener
        .run("INSERT INTO qsessions.invalidation_state VALUES (NULL, NULL)")
        .await;
    assert_eq!(before_a_probe(&mut listener).await, everything());
    assert_eq!(before_a_probe(&mut listener).await, BTreeSet::new());
}
