//! A library of another version than the SQL of the database.

use super::{UPGRADE, old};
use crate::common::roles::calls;
use crate::common::{Failure, Listening, begin, failure, row};
use qsessions_testkit::Database;
use std::fs;
use std::path::PathBuf;

/// Between the installation of the new files and the update, the database has the old functions.
#[tokio::test]
async fn each_function_of_an_old_version_works_with_the_new_library() {
    let database = old().await;
    let client = database.connect().await;
    // What starts background workers is tested with pg_cron; triggers are called by the table.
    let condition = "proname !~ 'schedule_purge' AND prorettype <> 'trigger'::regtype";
    let calls = calls(&client, condition).await;
    assert!(calls.len() > 80, "{calls:?}");
    for call in calls {
        let nulls = call.split_once('(').map(|(name, arguments)| {
            let count = if arguments == ")" {
                0
            } else {
                arguments.split(", ").count()
            };
            format!("{name}({})", vec!["NULL"; count].join(", "))
        });
        for call in [Some(call), nulls].into_iter().flatten() {
            if let Err(error) = client.simple_query(&call).await {
                let error = Failure::of(&error);
                // A library without the function has 42883, a panic XX000.
                let is_expected = !matches!(error.code.as_str(), "42883" | "XX000");
                assert!(is_expected, "{call}: {error:?}");
            }
        }
    }
    // The connection has survived all of it.
    begin(&client, "").await;
}

#[tokio::test]
async fn sql_that_is_newer_than_the_library_is_refused() {
    let database = Database::new().await;
    let client = database.connect().await;
    let schema = include_str!("../../../sql/schema.sql");
    let check = schema
        .split("DO $$")
        .find(|part| part.contains("_library_version"))
        .and_then(|part| part.split("$$;").next())
        .unwrap();
    let check = |library: &str| format!("DO $${}$$", check.replace("MODULE_PATHNAME", library));
    client
        .batch_execute(&check("$libdir/qsessions"))
        .await
        .unwrap();
    // A library that lacks the function, as that of 0.1.0 does.
    let refused = failure(&client, &check("$libdir/plpgsql"), &[]).await;
    assert_eq!(refused.code, "55000", "{refused:?}");
    assert!(refused.message.contains("0.1.0"), "{refused:?}");
    assert!(refused.hint.contains("restart"), "{refused:?}");

    client
        .batch_execute(
            "BEGIN; UPDATE pg_extension SET extversion = '0.10.0' WHERE extname = 'qsessions'",
        )
        .await
        .unwrap();
    let refused = failure(&client, &check("$libdir/qsessions"), &[]).await;
    assert_eq!(refused.code, "55000", "{refused:?}");
    assert!(
        refused.message.contains(env!("CARGO_PKG_VERSION")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_update_warns_of_connections_that_may_have_loaded_the_former_library() {
    let database = old().await;
    let former = database.connect().await;
    let folder: String = row(
        &former,
        "SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'",
        &[],
    )
    .await
    .get(0);
    let library = PathBuf::from(folder).join("qsessions.so");
    let is_replaced =
        "SELECT l.change > a.backend_start FROM pg_stat_file($1) AS l, pg_stat_activity AS a
                       WHERE a.pid = pg_backend_pid()";
    // The clock of files has coarse ticks.
    loop {
        fs::set_permissions(&library, fs::metadata(&library).unwrap().permissions()).unwrap();
        if row(&former, is_replaced, &[&library.to_str()]).await.get(0) {
            break;
        }
    }
    let admin = Listening::to(&database.config()).await;
    admin
        .client
        .batch_execute(&format!("BEGIN; {UPGRADE}; ROLLBACK"))
        .await
        .unwrap();
    let notices = admin.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].ends_with(": 1"), "{notices:?}");
    drop(former);
}
