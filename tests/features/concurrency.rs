//! Concurrent calls: no change is lost, no ended session comes back, limits hold.

use crate::common::waiting::{backend, blocked, second_waits_for_first};
use crate::common::{Failure, alive, begin, begun, failure, row, sessions};
use futures_util::future::join_all;
use qsessions_testkit::{Database, Users};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn concurrent_patches_of_different_members_are_all_applied() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "").await;
    let patches = (0..20).map(|n| {
        let (database, key) = (&database, &session.key);
        async move {
            let client = database.connect().await;
            for m in 0..5 {
                let changes = json!({ format!("{n}/{m}"): m });
                row(
                    &client,
                    "SELECT qsessions.patch_session($1, $2)",
                    &[key, &changes],
                )
                .await;
            }
        }
    });
    join_all(patches).await;
    let found = row(
        &admin,
        "SELECT data, version FROM qsessions.load_session($1)",
        &[&session.key],
    )
    .await;
    assert_eq!(found.get::<_, Value>(0).as_object().unwrap().len(), 100);
    assert_eq!(found.get::<_, i64>(1), 101);
}

#[tokio::test]
async fn a_concurrent_save_does_not_undo_a_logout() {
    let database = Database::new().await;
    let admin = database.connect().await;
    for write in [
        "SELECT qsessions.save_session($1, '{}')",
        "SELECT qsessions.patch_session($1)",
        "SELECT qsessions.rotate_key($1)",
        "SELECT qsessions.set_expiry($1, ttl => '1 h')",
    ] {
        let session = begin(&admin, "").await;
        let logout = "SELECT qsessions.logout($1)";
        let outcome = second_waits_for_first(&database, &session, logout, write).await;
        assert_eq!(outcome.unwrap_err().code, "QS001", "{write}");
        assert!(!alive(&admin, &session.key).await);
    }
}

#[tokio::test]
async fn a_concurrent_save_with_a_rotated_key_fails() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "").await;
    let outcome = second_waits_for_first(
        &database,
        &session,
        "SELECT qsessions.rotate_key($1)",
        "SELECT qsessions.save_session($1, '{}')",
    )
    .await;
    assert_eq!(outcome.unwrap_err().code, "QS001");
}

#[tokio::test]
async fn one_of_two_saves_that_expect_the_same_version_fails() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "").await;
    let save = "SELECT qsessions.save_session($1, '{}', 1)";
    let outcome = second_waits_for_first(&database, &session, save, save).await;
    assert_eq!(outcome.unwrap_err().code, "QS002");
}

#[tokio::test]
async fn a_resume_that_waited_for_a_logout_finds_nothing() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "").await;
    let resume = "SELECT id FROM qsessions.resume_session($1, ip => '192.0.2.1')";
    second_waits_for_first(&database, &session, "SELECT qsessions.logout($1)", resume)
        .await
        .unwrap();
    assert!(!alive(&admin, &session.key).await);
}

#[tokio::test]
async fn fifty_concurrent_logins_leave_exactly_the_limit() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let before = begin(&admin, "user_id => 1").await;
    let logins = (0..50).map(|n| {
        let database = &database;
        async move {
            let client = database.connect().await;
            // Some logins continue an anonymous session, the others begin one.
            let key = if n % 2 == 0 {
                Some(begin(&client, "").await.key)
            } else {
                None
            };
            begun(
                &row(
                    &client,
                    "SELECT * FROM qsessions.login($1, 1, max_sessions => 3)",
                    &[&key],
                )
                .await,
            )
        }
    });
    let sessions = join_all(logins).await;
    let mut living = 0;
    for session in &sessions {
        living += usize::from(alive(&admin, &session.key).await);
    }
    let rows: i64 = row(
        &admin,
        "SELECT count(*) FROM qsessions.session WHERE user_id = 1",
        &[],
    )
    .await
    .get(0);
    assert_eq!((living, rows), (3, 3));
    assert!(!alive(&admin, &before.key).await);
}

#[tokio::test]
async fn max_sessions_is_exact_for_sessions_that_are_created_at_the_same_time() {
    let database = Database::new().await;
    let begun = (0..30).map(|n| {
        let database = &database;
        async move {
            let client = database.connect().await;
            let key = format!("key => 'key of a framework {n}'");
            begin(&client, &format!("user_id => 1, max_sessions => 3, {key}")).await
        }
    });
    join_all(begun).await;
    assert_eq!(sessions(&database.connect().await).await, 3);
}

#[tokio::test]
async fn concurrent_logins_from_sessions_of_one_user_do_not_deadlock() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(begin(&admin, "user_id => 1").await);
    }
    let logins = sessions.iter().map(|session| {
        let database = &database;
        async move {
            let client = database.connect().await;
            row(
                &client,
                "SELECT id FROM qsessions.login($1, 1, max_sessions => 2)",
                &[&session.key],
            )
            .await
        }
    });
    join_all(logins).await;
    let rows: i64 = row(
        &admin,
        "SELECT count(*) FROM qsessions.session WHERE user_id = 1",
        &[],
    )
    .await
    .get(0);
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn serializable_transactions_of_different_sessions_can_fail_and_be_retried() {
    let database = Database::new().await;
    let (one, two) = (database.connect().await, database.connect().await);
    let keys = [begin(&one, "").await.key, begin(&one, "").await.key];
    for (client, key) in [(&one, &keys[0]), (&two, &keys[1])] {
        client
            .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
            .await
            .unwrap();
        let load = "SELECT FROM qsessions.load_session($1)";
        row(client, load, &[key]).await;
    }
    for client in [&one, &two] {
        begin(client, "").await;
    }
    one.batch_execute("COMMIT").await.unwrap();
    let error = two.batch_execute("COMMIT").await.unwrap_err();
    assert_eq!(Failure::of(&error).code, "40001");
    // A second attempt succeeds.
    two.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        .await
        .unwrap();
    begin(&two, "").await;
    two.batch_execute("COMMIT").await.unwrap();
    assert_eq!(sessions(&two).await, 4);
}

#[tokio::test]
async fn max_sessions_holds_in_serializable_transactions() {
    let database = Database::new().await;
    let (one, two) = (database.connect().await, database.connect().await);
    let login = "SELECT id FROM qsessions.login(NULL, 1, max_sessions => 1)";
    for client in [&one, &two] {
        client
            .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
            .await
            .unwrap();
        // Takes the snapshot.
        client
            .query("SELECT FROM qsessions.session", &[])
            .await
            .unwrap();
    }
    row(&one, login, &[]).await;
    let pid = backend(&two).await;
    let observer = database.connect().await;
    let (outcome, ()) = tokio::join!(async { two.query(login, &[]).await }, async {
        blocked(&observer, pid).await;
        one.batch_execute("COMMIT").await.unwrap();
    });
    let ended = match outcome {
        Ok(_) => two.batch_execute("COMMIT").await,
        Err(error) => Err(error),
    };
    assert_eq!(Failure::of(&ended.unwrap_err()).code, "40001");
}

#[tokio::test]
async fn loads_during_rotations_find_the_old_or_the_new_key() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "data => '{\"n\": 1}'").await;
    let rotations = 200;
    let done = Arc::new(AtomicBool::new(false));
    let current = tokio::sync::watch::channel(session.key.clone());
    let readers = (0..4).map(|_| {
        let (database, done, keys) = (&database, done.clone(), current.1.clone());
        async move {
            let client = database.connect().await;
            let load = client
                .prepare("SELECT data FROM qsessions.load_session($1)")
                .await
                .unwrap();
            let (mut found, mut missed) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                let key = keys.borrow().clone();
                match client.query(&load, &[&key]).await.unwrap().as_slice() {
                    [row] => {
                        assert_eq!(row.get::<_, Value>(0), json!({"n": 1}));
                        found += 1;
                    }
                    // If the key was rotated between the two lines above, it has changed by now.
                    _ => {
                        assert!(keys.has_changed().is_ok());
                        missed += 1;
                    }
                }
            }
            (found, missed)
        }
    });
    let writer = async {
        let client = database.connect().await;
        let mut key = session.key.clone();
        for _ in 0..rotations {
            let next: String = row(&client, "SELECT qsessions.rotate_key($1)", &[&key])
                .await
                .get(0);
            assert!(!alive(&client, &key).await);
            assert!(alive(&client, &next).await);
            current.0.send(next.clone()).unwrap();
            key = next;
        }
        done.store(true, Ordering::Relaxed);
    };
    let (counts, ()) = tokio::join!(join_all(readers), writer);
    assert!(counts.iter().all(|(found, _)| *found > 0), "{counts:?}");
}

#[tokio::test]
async fn one_of_two_rotations_of_the_same_key_fails() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "").await;
    let rotate = "SELECT qsessions.rotate_key($1)";
    let outcome = second_waits_for_first(&database, &session, rotate, rotate).await;
    assert_eq!(outcome.unwrap_err().code, "QS001");
}

#[tokio::test]
async fn concurrent_revoke_user_sessions_do_not_deadlock() {
    let database = Database::new().await;
    let admin = database.connect().await;
    admin
        .batch_execute("SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 500)")
        .await
        .unwrap();
    let calls = (0..4).map(|_| async {
        let client = database.connect().await;
        row(&client, "SELECT qsessions.revoke_user_sessions(1)", &[])
            .await
            .get::<_, i64>(0)
    });
    let ended: i64 = join_all(calls).await.into_iter().sum();
    assert_eq!(ended, 500);
}

#[tokio::test]
async fn a_save_that_fails_changes_nothing() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "data => '{\"a\": 1}'").await;
    client
        .batch_execute("SET qsessions.max_data_bytes = 100")
        .await
        .unwrap();
    let large = json!({ "b": "x".repeat(200) });
    for call in ["save_session($1, $2)", "patch_session($1, $2)"] {
        let refused = failure(
            &client,
            &format!("SELECT qsessions.{call}"),
            &[&session.key, &large],
        )
        .await;
        assert_eq!(refused.code, "QS004", "{call}");
    }
    let found = row(
        &client,
        "SELECT data, version FROM qsessions.load_session($1)",
        &[&session.key],
    )
    .await;
    assert_eq!(found.get::<_, Value>(0), json!({"a": 1}));
    assert_eq!(found.get::<_, i64>(1), 1);
}

#[tokio::test]
async fn revoke_user_sessions_and_logins_do_not_deadlock() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(begin(&admin, "user_id => 1").await);
    }
    let calls = sessions.iter().map(|session| {
        let database = &database;
        async move {
            let client = database.connect().await;
            for _ in 0..20 {
                row(
                    &client,
                    "SELECT id FROM qsessions.login($1, 1, max_sessions => 3)",
                    &[&session.key],
                )
                .await;
                row(&client, "SELECT qsessions.revoke_user_sessions(1)", &[]).await;
            }
        }
    });
    join_all(calls).await;
}

#[tokio::test]
async fn revoke_user_sessions_ends_a_login_in_progress() {
    let database = Database::new().await;
    let admin = database.connect().await;
    for begin_one in [
        "SELECT key, id FROM qsessions.login(NULL, 1)",
        "SELECT key, id FROM qsessions.login(NULL, 1, max_sessions => 5)",
        "SELECT key, id FROM qsessions.create_session(1)",
        "SELECT key, id FROM qsessions.create_session(user_id => '01')",
        "SELECT key, id FROM qsessions.login((SELECT key FROM qsessions.create_session()), 1)",
    ] {
        let (one, two) = (database.connect().await, database.connect().await);
        one.batch_execute("BEGIN").await.unwrap();
        let session = begun(&row(&one, begin_one, &[]).await);
        let pid = backend(&two).await;
        let revoke = "SELECT qsessions.revoke_user_sessions(1)";
        let (ended, ()) = tokio::join!(row(&two, revoke, &[]), async {
            blocked(&admin, pid).await;
            one.batch_execute("COMMIT").await.unwrap();
        });
        assert_eq!(ended.get::<_, i64>(0), 1, "{begin_one}");
        assert!(!alive(&admin, &session.key).await, "{begin_one}");
    }
}

#[tokio::test]
async fn logins_of_one_user_do_not_wait_for_each_other() {
    let database = Database::new().await;
    let (one, two) = (database.connect().await, database.connect().await);
    one.batch_execute("BEGIN; SELECT qsessions.login(NULL, 1)")
        .await
        .unwrap();
    two.batch_execute("SET lock_timeout = '10 s'; SELECT qsessions.login(NULL, 1); SELECT qsessions.create_session(1)")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_role_that_can_only_connect_cannot_delay_a_revocation() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let mallory = crate::common::roles::new_role(&database, &admin, "mallory").await;
    let attacker = database.connect_as(&mallory).await;
    begin(&admin, "user_id => 7").await;
    // Locks that such a role can take, and attempts at the others.
    attacker
        .batch_execute("SELECT pg_advisory_lock(hashtextextended('qsessions.login 7', 0))")
        .await
        .unwrap();
    let hash = "hash_record_extended(ROW(bigint '7'), 0)";
    for lock in [
        format!("SELECT qsessions._lock_user_hash('qsessions.session'::regclass, {hash}, true)"),
        "SELECT qsessions.login(NULL, 7, max_sessions => 1)".to_owned(),
        "SELECT FROM qsessions.session FOR UPDATE".to_owned(),
    ] {
        assert_eq!(failure(&attacker, &lock, &[]).await.code, "42501", "{lock}");
    }
    admin
        .batch_execute("SET lock_timeout = '10 s'")
        .await
        .unwrap();
    let ended: i64 = row(&admin, "SELECT qsessions.revoke_user_sessions(7)", &[])
        .await
        .get(0);
    assert_eq!(ended, 1);
}

#[tokio::test]
async fn revoke_user_sessions_and_a_delete_of_the_user_do_not_deadlock() {
    let database = Database::new().await;
    let admin = database.connect().await;
    // The older row has the higher id, so that the order of ids differs from the order of a
    // cascade.
    admin
        .batch_execute(
            "INSERT INTO qsessions.session (id, digest, user_id, expires_at)
             SELECT id, '', 1, now() + interval '1 h'
             FROM unnest('{ffffffff-0000-7000-8000-000000000000,00000000-0000-7000-8000-000000000000}'::uuid[]) AS id",
        )
        .await
        .unwrap();
    let (holder, cascade, revoke) = (
        database.connect().await,
        database.connect().await,
        database.connect().await,
    );
    holder
        .batch_execute("BEGIN; SELECT FROM qsessions.session WHERE id > '80000000-0000-7000-8000-000000000000' FOR UPDATE")
        .await
        .unwrap();
    let (cascades, revokes) = (backend(&cascade).await, backend(&revoke).await);
    let (deleted, ended, ()) = tokio::join!(
        cascade.batch_execute("DELETE FROM users WHERE id = 1"),
        async {
            blocked(&admin, cascades).await;
            revoke
                .query_one("SELECT qsessions.revoke_user_sessions(1)", &[])
                .await
        },
        async {
            blocked(&admin, revokes).await;
            holder.batch_execute("COMMIT").await.unwrap();
        }
    );
    deleted.unwrap();
    assert_eq!(ended.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn one_transaction_can_create_sessions_for_many_users() {
    // The server's lock table has room for about 13,000 locks.
    let database = Database::with(Users::Unlinked).await;
    let client = database.connect().await;
    let begun: i64 = row(
        &client,
        "SELECT count(qsessions.create_session(user_id => n)) FROM generate_series(1, 50000) AS n",
        &[],
    )
    .await
    .get(0);
    assert_eq!(begun, 50_000);
}
