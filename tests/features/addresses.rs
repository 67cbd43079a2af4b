//! Addresses: each is stored in one form, regardless of how a server or proxy writes it.

use crate::common::{begin, row, texts};
use qsessions_testkit::{Database, Users};

const MAPPED: &str = "::ffff:198.51.100.7";
const PLAIN: &str = "198.51.100.7";

#[tokio::test]
async fn an_ipv4_mapped_address_is_stored_as_ipv4() {
    let client = Database::new().await.connect().await;
    let kept = "SELECT ip::text || CASE family(ip) WHEN 4 THEN '' ELSE ' of IPv6' END
                FROM qsessions.session";
    for given in [
        MAPPED,
        "::ffff:c633:6407",
        "::ffff:198.51.100.7/120",
        "198.51.100.7/24",
    ] {
        let session = begin(&client, &format!("ip => '{given}'")).await;
        assert_eq!(
            texts(&client, kept).await,
            [format!("{PLAIN}/32")],
            "create {given}"
        );
        row(
            &client,
            "SELECT FROM qsessions.resume_session($1, ip => '192.0.2.1')",
            &[&session.key],
        )
        .await;
        row(
            &client,
            &format!("SELECT FROM qsessions.resume_session($1, ip => '{given}')"),
            &[&session.key],
        )
        .await;
        assert_eq!(
            texts(&client, kept).await,
            [format!("{PLAIN}/32")],
            "resume {given}"
        );
        row(
            &client,
            "SELECT FROM qsessions.resume_session($1, ip => '192.0.2.1')",
            &[&session.key],
        )
        .await;
        for key in [Some(&session.key), None] {
            row(
                &client,
                &format!("SELECT FROM qsessions.login($1, 1, ip => '{given}')"),
                &[&key],
            )
            .await;
        }
        let twice = [format!("{PLAIN}/32"), format!("{PLAIN}/32")];
        assert_eq!(texts(&client, kept).await, twice, "login {given}");
        client
            .batch_execute("TRUNCATE qsessions.session")
            .await
            .unwrap();
    }
    begin(&client, "ip => '2001:db8::7/64'").await;
    assert_eq!(texts(&client, kept).await, ["2001:db8::7/128 of IPv6"]);
}

#[tokio::test]
async fn another_form_of_the_same_address_is_not_a_new_visit() {
    let client = Database::new().await.connect().await;
    let session = begin(&client, &format!("ip => '{PLAIN}'")).await;
    let place = "SELECT ctid::text FROM qsessions.session";
    let before = texts(&client, place).await;
    let resume = format!("SELECT host(ip) FROM qsessions.resume_session($1, ip => '{MAPPED}')");
    let shown: String = row(&client, &resume, &[&session.key]).await.get(0);
    assert_eq!(shown, PLAIN);
    assert_eq!(texts(&client, place).await, before);
}

#[tokio::test]
async fn searches_match_ipv4_mapped_and_plain_addresses() {
    let client = Database::new().await.connect().await;
    begin(&client, &format!("ip => '{MAPPED}'")).await;
    begin(&client, "ip => '203.0.113.1'").await;
    for (network, found) in [
        (PLAIN, 1),
        (MAPPED, 1),
        ("198.51.100.0/24", 1),
        ("::ffff:198.51.100.0/120", 1),
        ("::ffff:0:0/96", 2),
        ("203.0.113.0/24", 1),
        ("2001:db8::/32", 0),
    ] {
        let list = format!("SELECT count(*) FROM qsessions.list_sessions(ip => '{network}')");
        assert_eq!(
            row(&client, &list, &[]).await.get::<_, i64>(0),
            found,
            "{network}"
        );
    }
}

#[tokio::test]
async fn address_parses_what_servers_and_proxies_write() {
    let client = Database::with(Users::Nothing).await.connect().await;
    for (written, address) in [
        ("192.0.2.7", Some("192.0.2.7")),
        (" 192.0.2.7\t", Some("192.0.2.7")),
        ("192.0.2.7:54321", Some("192.0.2.7")),
        ("2001:db8::7", Some("2001:db8::7")),
        ("[2001:db8::7]", Some("2001:db8::7")),
        ("[2001:db8::7]:54321", Some("2001:db8::7")),
        ("fe80::1%eth0", Some("fe80::1")),
        ("[fe80::1%eth0]:443", Some("fe80::1")),
        ("fe80::1%3", Some("fe80::1")),
        ("::ffff:192.0.2.7", Some("192.0.2.7")),
        ("[::ffff:192.0.2.7]:80", Some("192.0.2.7")),
        ("::1", Some("::1")),
        ("", None),
        (" ", None),
        ("-", None),
        ("unknown", None),
        ("_hidden", None),
        ("localhost", None),
        ("/run/app.sock", None),
        ("unix:", None),
        ("@", None),
        ("192.0.2.7, 198.51.100.1", None),
        ("192.0.2.7 198.51.100.1", None),
        ("192.0.2.7:", None),
        ("192.0.2.7:port", None),
        ("192.0.2.7:65536", None),
        ("192.0.2.7%eth0", None),
        ("192.0.2", None),
        ("192.0.2.256", None),
        ("[2001:db8::7", None),
        ("2001:db8::7]", None),
        ("[2001:db8::7]x", None),
        ("[]", None),
        ("192.0.2.0/24", None),
        ("'; DROP TABLE session; --", None),
    ] {
        let found: Option<String> = row(&client, "SELECT host(qsessions.address($1))", &[&written])
            .await
            .get(0);
        assert_eq!(found.as_deref(), address, "{written:?}");
    }
    let of_null: Option<String> = row(&client, "SELECT host(qsessions.address(NULL))", &[])
        .await
        .get(0);
    assert_eq!(of_null, None);
}
