//! Heartbeats: an id that is sent once for all who wait for it, after everything that was committed
//! before they asked.

use super::ring::notifier;
use super::{Listener, prepare, server_with, server_with_ring, status};
use crate::common::roles::{DENIED, new_role};
use crate::common::{begin, failure, row};
use nix::sys::signal::{Signal, kill};
use qsessions_testkit::{Database, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Long enough for a busy machine. A longer wait means that the heartbeat is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests a heartbeat; returns the digest of its id.
pub(super) async fn request(client: &Client) -> Vec<u8> {
    row(client, "SELECT qsessions.request_heartbeat()", &[])
        .await
        .get(0)
}

/// The ids that are received before the heartbeat with this digest.
pub(super) async fn received_until_heartbeat(
    listener: &mut Listener,
    digest: &[u8],
) -> Vec<String> {
    let receiving = async {
        let mut received = Vec::new();
        loop {
            let payload = listener.payloads.recv().await.unwrap();
            if qsessions_key::digest(&payload) == *digest {
                return received;
            }
            received.extend(payload.split(',').map(str::to_owned));
        }
    };
    timeout(PATIENCE, receiving)
        .await
        .expect("the heartbeat comes")
}

async fn clients(server: &Server, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(server.connect("postgres").await.unwrap());
    }
    clients
}

#[tokio::test]
async fn all_who_ask_before_it_is_sent_get_one_heartbeat_after_all_earlier_changes() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let clients = clients(&server, 3).await;
    let pid = notifier(&mut listener).await;
    kill(pid, Signal::SIGSTOP).unwrap();
    let session = begin(&clients[0], "").await;
    let logout = "SELECT qsessions.logout($1)";
    row(&clients[0], logout, &[&session.key]).await;

    let digest = request(&clients[0]).await;
    assert_eq!(request(&clients[1]).await, digest);
    // It needs no transaction id, and no entry in the ring.
    clients[2].batch_execute("BEGIN").await.unwrap();
    assert_eq!(request(&clients[2]).await, digest);
    let xid = "SELECT pg_current_xact_id_if_assigned() IS NULL";
    assert!(row(&clients[2], xid, &[]).await.get::<_, bool>(0));
    clients[2].batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(status(&clients[0], "backlog").await, Some(1));
    kill(pid, Signal::SIGCONT).unwrap();
    let before = received_until_heartbeat(&mut listener, &digest).await;
    assert_eq!(before, [session.id.to_string()]);

    // The next one is another one, and each is sent once.
    let next = request(&clients[0]).await;
    assert_ne!(next, digest);
    let before = received_until_heartbeat(&mut listener, &next).await;
    assert_eq!(before, [""; 0]);
}

#[tokio::test]
async fn one_server_answers_for_all_where_sessions_are_not_distributed() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let clients = clients(&server, 1).await;
    let client = &clients[0];
    notifier(&mut listener).await;
    for probe in [None, Some(uuid::Uuid::from_u128(7))] {
        let session = begin(client, "").await;
        row(client, "SELECT qsessions.logout($1)", &[&session.key]).await;
        let rows = client
            .query(
                "SELECT digest, server, has_sessions, layout, placements,
                        server_started_at = pg_postmaster_start_time() AND database = current_database()
                        AND channel = qsessions.invalidation_channel()
                        AND clock BETWEEN statement_timestamp() AND clock_timestamp()
                 FROM qsessions.request_heartbeats($1)",
                &[&probe],
            )
            .await
            .unwrap();
        let [answer] = &rows[..] else {
            panic!("{rows:?}");
        };
        let nothing = [1, 3, 4].map(|column| answer.get::<_, Option<String>>(column));
        assert_eq!(nothing, [None, None, None]);
        assert!(answer.get::<_, bool>(2) && answer.get::<_, bool>(5));
        let digest: Vec<u8> = answer.get(0);
        let Some(probe) = probe else {
            let before = received_until_heartbeat(&mut listener, &digest).await;
            assert_eq!(before, [session.id.to_string()]);
            continue;
        };
        assert_eq!(digest, qsessions_key::digest(&probe.to_string()));
        // One notification can have both ids.
        let mut received = String::new();
        while !received.contains(&probe.to_string()) {
            received += &timeout(PATIENCE, listener.payloads.recv())
                .await
                .unwrap()
                .unwrap();
        }
        assert!(received.starts_with(&session.id.to_string()), "{received}");
    }
}

/// A backlog that takes a while to send, so that changes and requests come meanwhile.
async fn write_much(client: Client) {
    loop {
        client
            .batch_execute(
                "SELECT count(qsessions.invalidate(gen_random_uuid())) FROM generate_series(1, 3000)",
            )
            .await
            .unwrap();
    }
}

/// Ends a session and requests a heartbeat, without a round trip between the commit and the request.
async fn end_and_request(client: &Client, key: &str) -> Vec<u8> {
    let statements = format!(
        "BEGIN; SELECT qsessions.logout('{key}'); COMMIT;
         SELECT encode(qsessions.request_heartbeat(), 'hex') AS digest"
    );
    let answers = client.simple_query(&statements).await.unwrap();
    let digest = answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.try_get("digest").ok().flatten(),
        _ => None,
    });
    let digest = halves(digest.expect("the request has an answer"));
    digest.concat()
}

/// The bytes of 64 hexadecimal digits.
fn halves(digits: &str) -> [[u8; 16]; 2] {
    let (high, low) = digits.split_at(32);
    [high, low].map(|half| u128::from_str_radix(half, 16).unwrap().to_be_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_heartbeat_overtakes_a_change() {
    const HEARTBEATS: usize = 40;

    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    notifier(&mut listener).await;
    let busy = tokio::spawn(write_much(server.connect("postgres").await.unwrap()));
    let mut writers = JoinSet::new();
    for client in clients(&server, 4).await {
        writers.spawn(async move {
            let (mut asked, mut digests) = (Vec::new(), BTreeSet::new());
            while digests.len() < HEARTBEATS {
                let session = begin(&client, "").await;
                let digest = end_and_request(&client, &session.key).await;
                asked.push((session.id.to_string(), digest.clone()));
                digests.insert(digest);
            }
            asked
        });
    }
    let asked = writers.join_all().await.concat();
    let last = request(&listener.client).await;
    busy.abort();

    // Where each id, each `*` and each heartbeat was received.
    let digests: BTreeSet<_> = asked.iter().map(|(_, digest)| digest.clone()).collect();
    let (mut ids, mut heartbeats) = (BTreeMap::new(), BTreeMap::new());
    let mut everything = Vec::new();
    for (place, id) in received_until_heartbeat(&mut listener, &last)
        .await
        .into_iter()
        .enumerate()
    {
        let digest = qsessions_key::digest(&id).to_vec();
        if id == "*" {
            everything.push(place);
        } else if digests.contains(&digest) {
            heartbeats.insert(digest, place);
        } else {
            ids.entry(id).or_insert(place);
        }
    }
    let mut checked = 0;
    for (id, digest) in asked {
        let Some(heartbeat) = heartbeats.get(&digest) else {
            // The last one was received at the end.
            assert_eq!(digest, last);
            continue;
        };
        if everything.iter().any(|place| place < heartbeat) {
            // It may stand for the id.
            continue;
        }
        checked += 1;
        assert!(ids[&id] < *heartbeat, "{id} comes after the heartbeat");
    }
    assert!(checked > 0, "the ring was overrun at once");
}

#[tokio::test]
async fn a_heartbeat_is_sent_although_its_notifier_has_ended() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let pid = notifier(&mut listener).await;
    kill(pid, Signal::SIGSTOP).unwrap();
    let digest = request(&listener.client).await;
    kill(pid, Signal::SIGTERM).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    received_until_heartbeat(&mut listener, &digest).await;
}

#[tokio::test]
async fn without_a_notifier_the_transaction_sends_the_heartbeat() {
    let unloaded = server_with(&[]).await;
    // The only worker is the launcher of logical replication.
    let without_worker = server_with(&[
        ("shared_preload_libraries", "qsessions"),
        ("max_worker_processes", "1"),
    ])
    .await;
    for server in [unloaded, without_worker] {
        let mut listener = Listener::new(server.config("postgres")).await;
        let client = server.connect("postgres").await.unwrap();
        client.batch_execute("BEGIN").await.unwrap();
        let undone = request(&client).await;
        client.batch_execute("ROLLBACK").await.unwrap();
        client.batch_execute("BEGIN").await.unwrap();
        let digest = request(&client).await;
        assert_ne!(digest, undone);
        let session = begin(&listener.client, "").await;
        listener.touch(&session).await;
        client.batch_execute("COMMIT").await.unwrap();
        let before = received_until_heartbeat(&mut listener, &digest).await;
        assert_eq!(before, [session.id.to_string()]);
    }
}

#[tokio::test]
async fn a_request_starts_a_notifier_that_ends_when_it_is_idle() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let client = server.connect("postgres").await.unwrap();
    assert_eq!(status(&client, "notifier_pid").await, None);
    let digest = request(&client).await;
    received_until_heartbeat(&mut listener, &digest).await;
    while status(&client, "notifier_pid").await.is_none() {}
    let digest = request(&client).await;
    received_until_heartbeat(&mut listener, &digest).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while status(&client, "notifier_pid").await.is_some() {
        ticks.tick().await;
    }
    let digest = request(&client).await;
    received_until_heartbeat(&mut listener, &digest).await;
}

#[tokio::test]
async fn each_database_has_its_own_heartbeats() {
    let server = server_with_ring().await;
    let mut first = Listener::new(server.config("postgres")).await;
    first.run("CREATE DATABASE second").await;
    prepare(&server.connect("second").await.unwrap()).await;
    let mut second = Listener::new(server.config("second")).await;
    let processes = [notifier(&mut first).await, notifier(&mut second).await];
    for pid in processes {
        kill(pid, Signal::SIGSTOP).unwrap();
    }
    let digests = [request(&first.client).await, request(&second.client).await];
    assert_ne!(digests[0], digests[1]);
    for pid in processes {
        kill(pid, Signal::SIGCONT).unwrap();
    }
    for (listener, digest) in [(&mut first, &digests[0]), (&mut second, &digests[1])] {
        received_until_heartbeat(listener, digest).await;
        // Nothing of the other database.
        assert_eq!(listener.notified().await, BTreeSet::new());
    }
}

#[tokio::test]
async fn a_role_that_may_not_send_ids_may_not_request_heartbeats() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "heartbeats").await;
    let client = database.connect_as(&role).await;
    let refused = failure(&client, "SELECT qsessions.request_heartbeat()", &[]).await;
    assert_eq!(refused.code, DENIED);
    let grant = format!("GRANT EXECUTE ON FUNCTION qsessions.invalidate TO {role}");
    admin.batch_execute(&grant).await.unwrap();
    request(&client).await;
}
