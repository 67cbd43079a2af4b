//! Visits: the cache records them when they are due, and only then. Here, requests wait for their
//! own visits; [`background_visits`](super::background_visits) has the others.

use super::{Cached, one, unhurried};
use futures_util::future::join_all;
use qsessions::{CacheConfig, ClientHints, Key};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

async fn waiting() -> Cached {
    Cached::with(unhurried().background_visits(false)).await
}

async fn begun(cached: &Cached) -> Key {
    let visitor = cached.other.create().data(one()).ip(HOME);
    let visitor = visitor.user_agent("curl/8.5.0");
    let session = visitor.idle_timeout(Duration::from_secs(3600)).await;
    session.unwrap().key
}

async fn resumed(cached: &Cached, key: &Key, ip: IpAddr, agent: &str) -> (qsessions::Session, u64) {
    let (session, statements) = cached
        .statements(cached.store.resume(key).ip(ip).user_agent(agent))
        .await;
    (session.unwrap().expect("it is alive"), statements)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_from_the_same_address_and_user_agent_is_not_recorded() {
    let cached = waiting().await;
    let key = begun(&cached).await;
    let (first, statements) = resumed(&cached, &key, HOME, "curl/8.5.0").await;
    assert_eq!(statements, 1);
    let (second, statements) = resumed(&cached, &key, HOME, "curl/8.5.0").await;
    assert_eq!(statements, 0);
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_form_of_the_same_address_is_not_a_new_address() {
    let cached = waiting().await;
    let key = begun(&cached).await;
    resumed(&cached, &key, HOME, "curl/8.5.0").await;
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V6(_) => unreachable!("both are of version 4"),
    };
    let (_, statements) = resumed(&cached, &key, mapped(HOME), "curl/8.5.0").await;
    assert_eq!(statements, 0);
    let (_, statements) = resumed(&cached, &key, mapped(AWAY), "curl/8.5.0").await;
    assert_eq!(statements, 1);
    cached.store.catch_up().await;
    cached.store.load(&key).await.unwrap();
    let (_, statements) = resumed(&cached, &key, AWAY, "curl/8.5.0").await;
    assert_eq!(statements, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_from_another_address_is_recorded_at_once() {
    let cached = waiting().await;
    let key = begun(&cached).await;
    resumed(&cached, &key, HOME, "curl/8.5.0").await;
    let (moved, statements) = resumed(&cached, &key, AWAY, "curl/8.5.0").await;
    assert_eq!((moved.ip, statements), (Some(AWAY), 1));
    let (agent, _) = resumed(&cached, &key, AWAY, "curl/8.6.0").await;
    assert_eq!(agent.user_agent.as_deref(), Some("curl/8.6.0"));
    let stored = cached.other.load(&key).await.unwrap().unwrap();
    assert_eq!(*stored, *agent);
    cached.store.catch_up().await;
    cached.store.load(&key).await.unwrap();
    let (again, statements) = resumed(&cached, &key, AWAY, "curl/8.6.0").await;
    assert_eq!((again, statements), (agent, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_visit_is_recorded_once_and_moves_the_expiry() {
    let cached = waiting().await;
    let key = begun(&cached).await;
    let client = cached.client().await;
    client
        .batch_execute(
            "UPDATE qsessions.session
             SET last_seen_at = now() - interval '10 minutes', expires_at = now() + interval '50 minutes'",
        )
        .await
        .unwrap();
    cached.store.catch_up().await;
    let before = cached.store.load(&key).await.unwrap().unwrap();
    let visit = || cached.store.resume(&key).ip(HOME).user_agent("curl/8.5.0");
    let (visits, statements) = cached
        .statements(join_all((0..20).map(|_| visit().into_future())))
        .await;
    assert_eq!(statements, 1);
    assert!(visits.into_iter().all(|visit| visit.unwrap().is_some()));
    let after = cached.store.load(&key).await.unwrap().unwrap();
    assert!(after.last_seen_at > before.last_seen_at);
    assert!(after.expires_at > before.expires_at);
    assert_eq!(*after, *cached.other.load(&key).await.unwrap().unwrap());
    let (_, statements) = resumed(&cached, &key, HOME, "curl/8.5.0").await;
    assert_eq!(statements, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_agent_that_the_server_truncates_is_the_same() {
    let cached = waiting().await;
    let long = "x".repeat(600);
    let key = cached
        .other
        .create()
        .data(one())
        .ip(HOME)
        .user_agent(long.as_str())
        .await
        .unwrap()
        .key;
    resumed(&cached, &key, HOME, &long).await;
    let (session, statements) = resumed(&cached, &key, HOME, &long).await;
    assert_eq!(session.user_agent.as_deref(), Some(&long[..512]));
    assert_eq!(statements, 0);
    // A shorter User-Agent was not truncated, so it differs.
    let (session, statements) = resumed(&cached, &key, HOME, &long[..511]).await;
    assert_eq!(session.user_agent.as_deref(), Some(&long[..511]));
    assert_eq!(statements, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_visit_to_an_ended_session_finds_none() {
    let cached = waiting().await;
    let key = begun(&cached).await;
    resumed(&cached, &key, HOME, "curl/8.5.0").await;
    cached.listener.keep_answers();
    assert!(cached.other.logout(&key).await.unwrap());
    // The visit is due, so the store queries the database.
    let visit = cached.store.resume(&key).ip(AWAY).await.unwrap();
    assert!(visit.is_none());
    assert!(cached.store.load(&key).await.unwrap().is_none());
    cached.listener.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_replaces_an_older_entry() {
    let cached = Cached::with(
        CacheConfig::new()
            .max_data_bytes(1000)
            .background_visits(false),
    )
    .await;
    let key = begun(&cached).await;
    resumed(&cached, &key, HOME, "curl/8.5.0").await;
    cached.listener.keep_answers();
    let large = json!({"text": "x".repeat(1000)});
    cached.other.save(&key, &large).await.unwrap();
    let (visit, _) = resumed(&cached, &key, AWAY, "curl/8.5.0").await;
    assert_eq!(visit.data, large);
    // The new state is too large to be cached, so the older entry must be dropped.
    let session = cached.store.load(&key).await.unwrap().unwrap();
    assert_eq!((session.ip, &session.data), (Some(AWAY), &large));
    cached.listener.release();
}

fn hints(headers: &[(&str, &str)]) -> ClientHints {
    headers.iter().copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn client_hints_are_recorded_if_the_session_does_not_have_them() {
    let cached = waiting().await;
    let low = hints(&[("Sec-CH-UA-Platform", "\"Android\"")]);
    let model = hints(&[("Sec-CH-UA-Model", "\"Pixel 8\"")]);
    let other = hints(&[("Sec-CH-UA-Model", "\"Pixel 9\"")]);
    let key = cached.other.create().data(one()).client_hints(&low).await;
    let key = key.unwrap().key;
    let visit = async |hints: &ClientHints| {
        cached.store.load(&key).await.unwrap();
        let visit = cached.store.resume(&key).client_hints(hints);
        let (session, statements) = cached.statements(visit).await;
        assert!(session.unwrap().is_some());
        cached.store.catch_up().await;
        statements
    };
    for (hints, statements) in [
        (&low, 0),
        (&ClientHints::default(), 0),
        (&model, 1),
        (&model, 0),
        (&low, 0),
        (&other, 1),
        (&model, 1),
    ] {
        assert_eq!(visit(hints).await, statements, "{hints:?}");
    }
}

/// What the client keeps of the headers is what the server keeps.
#[tokio::test(flavor = "multi_thread")]
async fn odd_client_hints_are_recorded_once() {
    let cached = waiting().await;
    let key = cached.begin().await.key;
    let (quoted, longest, longer) = ("\"".repeat(255), "ä".repeat(256), "ä".repeat(257));
    let headers = [
        ("SEC-CH-UA", "\u{7f}"),
        ("sec-ch-ua", "\\ \"🦊\" / ?1;v=\"99\""),
        ("Sec-CH-UA-Arch", &quoted),
        ("Sec-CH-UA-Model", &longest),
        ("Sec-CH-UA-Bitness", &longer),
        ("Sec-CH-UA-Form-Factors", ""),
        ("Sec-CH-UA-Full-Version", "\0"),
        ("Sec-CH-UA-Mobile", "a\tb"),
        ("Sec-CH-UA-Platform", "\u{85}"),
        ("Sec-CH-UA-Other", "?1"),
        ("Sec-CH-UA-İ", "?1"),
    ];
    let odd = hints(&headers);
    let visit = || cached.store.resume(&key).client_hints(&odd);
    assert!(visit().await.unwrap().is_some());
    cached.store.catch_up().await;
    cached.store.load(&key).await.unwrap();
    let (_, statements) = cached.statements(visit()).await;
    assert_eq!(statements, 0);
    let client = cached.client().await;
    let sql = "SELECT client_hints FROM qsessions.session WHERE id = $1";
    let row = client.query_one(sql, &[&key.id()]).await.unwrap();
    assert_eq!(row.get::<_, serde_json::Value>(0), json!(odd));
    assert_eq!(odd.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_hints_that_another_program_has_spoiled_stop_no_load() {
    let cached = waiting().await;
    let key = cached.begin().await.key;
    let client = cached.client().await;
    for spoiled in ["[1]", "7", "{\"sec-ch-ua\": {}}", "null"] {
        let sql = "UPDATE qsessions.session SET client_hints = $1::text::jsonb WHERE id = $2";
        client.execute(sql, &[&spoiled, &key.id()]).await.unwrap();
        cached.store.catch_up().await;
        let hints = hints(&[("Sec-CH-UA", "x")]);
        let visit = cached.store.resume(&key).client_hints(&hints).await;
        assert!(visit.unwrap().is_some(), "{spoiled}");
    }
}
