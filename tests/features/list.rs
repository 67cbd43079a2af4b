//! Listing sessions: a user's own, pages for administrators.

use crate::common::mmdb::{Ground, KNOWN, city, reload};
use crate::common::{begin, failure, row};
use qsessions_testkit::Database;
use uuid::Uuid;

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1";

#[tokio::test]
async fn user_sessions_lists_live_sessions_last_seen_first() {
    let database = Database::new().await;
    let client = database.connect().await;
    let old = begin(
        &client,
        &format!("user_id => 1, ip => '192.0.2.1', user_agent => '{IPHONE}'"),
    )
    .await;
    let current = begin(&client, "user_id => 1").await;
    let dead = begin(&client, "user_id => 1").await;
    begin(&client, "user_id => 2").await;
    begin(&client, "").await;
    for (id, change) in [
        (old.id, "last_seen_at = now() - interval '1 h'"),
        (dead.id, "expires_at = now()"),
    ] {
        client
            .execute(
                &format!("UPDATE qsessions.session SET {change} WHERE id = $1"),
                &[&id],
            )
            .await
            .unwrap();
    }
    let rows = client
        .query(
            "SELECT * FROM qsessions.user_sessions(1, $1)",
            &[&current.key],
        )
        .await
        .unwrap();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get("id")).collect();
    assert_eq!(ids, [current.id, old.id]);
    assert!(rows[0].get::<_, bool>("is_current"));
    assert!(!rows[1].get::<_, bool>("is_current"));
    assert!(rows.iter().all(|row| row.get::<_, bool>("is_active")));
    assert_eq!(rows[1].get::<_, String>("user_id"), "1");
    assert_eq!(
        rows[1].get::<_, String>("device"),
        "iPhone / iOS 17.1 / Safari 17.1"
    );
    assert_eq!(rows[0].get::<_, Option<String>>("device"), None);
    assert_eq!(rows[1].get::<_, Option<String>>("location"), None);

    // Without a key, or with one of no session, no session is the current one.
    for key in [None, Some("x"), Some("no session has this key")] {
        let rows = client
            .query("SELECT * FROM qsessions.user_sessions(1, $1)", &[&key])
            .await
            .unwrap();
        assert!(rows.iter().all(|row| !row.get::<_, bool>("is_current")));
    }
    for (max_rows, expected) in [("NULL", 2), ("5", 2), ("1", 1), ("0", 0)] {
        let rows = client
            .query(
                &format!("SELECT id FROM qsessions.user_sessions(1, max_rows => {max_rows})"),
                &[],
            )
            .await
            .unwrap();
        let listed: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(listed, ids[..expected], "{max_rows}");
    }
    let nobody = client
        .query("SELECT * FROM qsessions.user_sessions(NULL)", &[])
        .await
        .unwrap();
    assert!(nobody.is_empty());
}

#[tokio::test]
async fn list_sessions_returns_pages_of_all_sessions_newest_first() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "SELECT qsessions.create_session(user_id => n % 3 + 1) FROM generate_series(1, 250) n",
        )
        .await
        .unwrap();
    let (mut after, mut seen) = (None::<Uuid>, Vec::new());
    loop {
        let page = client
            .query(
                "SELECT id FROM qsessions.list_sessions(after => $1)",
                &[&after],
            )
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 100);
        after = Some(last.get(0));
        seen.extend(page.iter().map(|row| row.get::<_, Uuid>(0)));
    }
    assert_eq!(seen.len(), 250);
    seen.dedup();
    assert_eq!(seen.len(), 250);

    let count = async |arguments: &str| {
        let statement = format!("SELECT count(*) FROM qsessions.list_sessions({arguments})");
        row(&client, &statement, &[]).await.get::<_, i64>(0)
    };
    assert_eq!(count("user_id => 1, max_rows => NULL").await, 83);
    assert_eq!(count("'1', max_rows => 10").await, 10);
    for limit in ["0", "-1"] {
        let statement = format!("SELECT qsessions.list_sessions(max_rows => {limit})");
        let refused = failure(&client, &statement, &[]).await;
        assert_eq!(refused.code, "22023");
        assert!(
            refused.message.starts_with("argument \"max_rows\""),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn list_sessions_filters_by_state_and_network() {
    let database = Database::new().await;
    let client = database.connect().await;
    for ip in ["192.0.2.1", "192.0.2.200", "198.51.100.1", "2001:db8::1"] {
        begin(&client, &format!("ip => '{ip}'")).await;
    }
    begin(&client, "user_id => 1").await;
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now() WHERE ip = '192.0.2.200'")
        .await
        .unwrap();
    for (arguments, expected) in [
        ("", 5),
        ("active => true", 4),
        ("active => false", 1),
        ("ip => '192.0.2.1'", 1),
        ("ip => '192.0.2.0/24'", 2),
        ("ip => '192.0.2.0/24', active => true", 1),
        ("ip => '2001:db8::/32'", 1),
        ("ip => '0.0.0.0/0'", 3),
        ("1", 1),
        ("2", 0),
    ] {
        let statement =
            format!("SELECT is_active, is_current FROM qsessions.list_sessions({arguments})");
        let rows = client.query(&statement, &[]).await.unwrap();
        assert_eq!(rows.len(), expected, "{arguments}");
        assert!(rows.iter().all(|row| !row.get::<_, bool>(1)));
        if arguments == "active => false" {
            assert!(!rows[0].get::<_, bool>(0));
        }
    }
}

#[tokio::test]
async fn list_sessions_filters_by_device_and_last_visit() {
    let database = Database::new().await;
    let client = database.connect().await;
    for (user_agent, hours) in [(IPHONE, 0), (IPHONE, 5), ("curl/8.5.0", 1), ("", 2)] {
        let session = begin(&client, &format!("user_agent => '{user_agent}'")).await;
        client
            .execute(
                "UPDATE qsessions.session SET last_seen_at = now() - make_interval(hours => $2) WHERE id = $1",
                &[&session.id, &hours],
            )
            .await
            .unwrap();
    }
    begin(&client, "").await;
    for (arguments, expected) in [
        ("device => 'iPhone'", 2),
        ("device => 'IPHONE / ios'", 2),
        (
            "device => 'safari', last_seen_after => now() - interval '3 hours'",
            1,
        ),
        ("device => 'curl'", 1),
        ("device => '%'", 0),
        ("device => ''", 4),
        ("device => NULL", 5),
        ("last_seen_after => now() - interval '90 minutes'", 3),
        ("last_seen_after => 'infinity'", 0),
        (
            "last_seen_after => '-infinity', active => true, ip => NULL",
            5,
        ),
    ] {
        let statement = format!("SELECT count(*) FROM qsessions.list_sessions({arguments})");
        let count: i64 = row(&client, &statement, &[]).await.get(0);
        assert_eq!(count, expected, "{arguments}");
    }
}

#[tokio::test]
async fn pages_of_filtered_sessions_have_each_of_them_once() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute(&format!(
            "SELECT qsessions.create_session(user_agent => CASE WHEN n % 3 = 0 THEN '{IPHONE}' ELSE 'curl/8.5.0' END)
             FROM generate_series(1, 60) AS n"
        ))
        .await
        .unwrap();
    let page = "SELECT id FROM qsessions.list_sessions(after => $1, max_rows => 7, device => 'iphone',
                                                       last_seen_after => now() - interval '1 hour')";
    let (mut after, mut seen) = (None::<Uuid>, Vec::new());
    loop {
        let rows = client.query(page, &[&after]).await.unwrap();
        let Some(last) = rows.last() else { break };
        after = Some(last.get(0));
        seen.extend(rows.iter().map(|row| row.get::<_, Uuid>(0)));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 20);
}

#[tokio::test]
async fn list_sessions_filters_by_country() {
    let ground = Ground::new().await;
    ground.write("city.mmdb", &city("Linköping"));
    let client = ground.client().await;
    reload(&client).await;
    client
        .batch_execute("SELECT qsessions.create_session_table()")
        .await
        .unwrap();
    for ip in [KNOWN, "89.160.20.200", "192.0.2.1"] {
        begin(&client, &format!("ip => '{ip}'")).await;
    }
    begin(&client, "").await;
    for (country, expected) in [("SE", 2), ("se", 2), ("DE", 0)] {
        let list = "SELECT location FROM qsessions.list_sessions(country => $1)";
        let rows = client.query(list, &[&country]).await.unwrap();
        assert_eq!(rows.len(), expected, "{country}");
        for row in rows {
            assert_eq!(row.get::<_, String>(0), "Linköping, Sweden");
        }
    }
    for country in ["", "S", "SWE", "Sweden", "1S", "S "] {
        let list = "SELECT FROM qsessions.list_sessions(country => $1)";
        let refused = failure(&client, list, &[&country]).await;
        assert_eq!(refused.code, "22023");
        assert!(refused.message.starts_with("argument \"country\"") && !refused.hint.is_empty());
    }
}

#[tokio::test]
async fn get_session_finds_live_and_expired_sessions() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 1").await;
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now()")
        .await
        .unwrap();
    let found = row(
        &client,
        "SELECT * FROM qsessions.get_session($1)",
        &[&session.id],
    )
    .await;
    assert_eq!(found.get::<_, String>("user_id"), "1");
    for id in [Some(Uuid::nil()), None] {
        let rows = client
            .query("SELECT * FROM qsessions.get_session($1)", &[&id])
            .await
            .unwrap();
        assert!(rows.is_empty());
    }
}

#[tokio::test]
async fn sessions_with_imported_keys_are_listed_by_created_at() {
    let database = Database::new().await;
    let client = database.connect().await;
    let mut begun = Vec::new();
    for n in 0..20 {
        // Their ids are derived from hashes, except for every third session, which has a native
        // key.
        let arguments = if n % 3 == 0 {
            String::new()
        } else {
            format!("key => 'brought along {n}'")
        };
        begun.push(begin(&client, &arguments).await.id);
    }
    begun.reverse();
    let page = "SELECT id FROM qsessions.list_sessions(after => $1, max_rows => 7)";
    let (mut after, mut seen) = (None::<Uuid>, Vec::new());
    loop {
        let ids: Vec<Uuid> = client
            .query(page, &[&after])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let Some(last) = ids.last() else { break };
        after = Some(*last);
        seen.extend(ids);
    }
    assert_eq!(seen, begun);
}

#[tokio::test]
async fn a_page_can_follow_a_session_that_has_ended() {
    let database = Database::new().await;
    let client = database.connect().await;
    let mut begun = Vec::new();
    for _ in 0..5 {
        begun.push(begin(&client, "").await.id);
    }
    row(&client, "SELECT qsessions.revoke_session($1)", &[&begun[2]]).await;
    let page = "SELECT id FROM qsessions.list_sessions(after => $1)";
    let rows = client.query(page, &[&begun[2]]).await.unwrap();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    // No session is missing. One that began within the same millisecond may be listed again.
    assert!(ids.ends_with(&[begun[1], begun[0]]), "{ids:?}");

    let brought = begin(&client, "key => 'brought along'").await;
    row(&client, "SELECT qsessions.logout('brought along')", &[]).await;
    let refused = failure(&client, page, &[&brought.id]).await;
    assert_eq!(refused.code, "22023");
    assert!(refused.message.starts_with("argument \"after\"") && !refused.hint.is_empty());
}

/// Few expired sessions are listed in another way than many.
#[tokio::test]
async fn expired_sessions_are_listed_newest_first_however_many_there_are() {
    let database = Database::new().await;
    let client = database.connect().await;
    begin(&client, "user_id => 1").await;
    for more in [40, 10_000] {
        client
            .execute(
                "INSERT INTO qsessions.session (id, digest, user_id, created_at, expires_at)
                 SELECT gen_random_uuid(), '', 1, now() - random() * interval '9 days',
                        now() - random() * interval '9 days'
                 FROM generate_series(1, $1::int)",
                &[&more],
            )
            .await
            .unwrap();
        let wanted = "SELECT array_agg(id ORDER BY created_at DESC, id DESC)
                      FROM qsessions.session WHERE expires_at <= now()";
        let wanted: Vec<Uuid> = row(&client, wanted, &[]).await.get(0);
        for user in ["", "user_id => 1, "] {
            let listed = format!(
                "SELECT array_agg(id) FROM qsessions.list_sessions({user}active => false, max_rows => NULL)"
            );
            let listed: Vec<Uuid> = row(&client, &listed, &[]).await.get(0);
            assert_eq!(listed, wanted, "{more}");
            let page = format!(
                "SELECT array_agg(id) FROM qsessions.list_sessions({user}active => false, max_rows => 7, after => $1)"
            );
            let page: Vec<Uuid> = row(&client, &page, &[&wanted[9]]).await.get(0);
            assert_eq!(page, wanted[10..17], "{more}");
        }
    }
}
