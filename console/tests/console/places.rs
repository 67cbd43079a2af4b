//! Places and countries, with a GeoIP database.

use crate::common::Console;
use axum::http::StatusCode;
use mmdb_writer::Writer;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

fn city(country: &str, name: &str, city: &str) -> Value {
    json!({
        "city": {"names": {"en": city}},
        "country": {"iso_code": country, "names": {"en": name}},
    })
}

/// A console on a database that knows two networks. The folder is removed when it is dropped.
async fn console() -> (Console, TempDir) {
    let mut writer = Writer::new("GeoLite2-City");
    for (network, record) in [
        ("89.160.20.0/24", city("SE", "Sweden", "Linköping")),
        ("81.2.69.0/24", city("GB", "United Kingdom", "<London>")),
    ] {
        writer
            .insert(network.parse::<ipnet::IpNet>().unwrap(), &record)
            .unwrap();
    }
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("city.mmdb"), writer.to_bytes().unwrap()).unwrap();
    let console = Console::new().await;
    let name = console.database.name();
    let path = folder.path().display();
    let set = format!("ALTER DATABASE {name} SET qsessions.geoip_path = '{path}'");
    console.admin.batch_execute(&set).await.unwrap();
    let client = console.database.connect().await;
    let reload = "SELECT FROM qsessions.geoip_reload()";
    client.batch_execute(reload).await.unwrap();
    (console, folder)
}

#[tokio::test]
async fn countries_are_counted_and_found_and_places_are_shown() {
    let (console, _folder) = console().await;
    let (_, one) = console.begin("1, ip => '89.160.20.112'").await;
    let (_, two) = console.begin("1, ip => '89.160.20.113'").await;
    let (_, london) = console.begin("2, ip => '81.2.69.160'").await;
    console.begin("3, ip => '192.0.2.1'").await;

    let page = console.get("/").await;
    page.has("<th scope=\"row\">Sweden (SE)</th><td class=\"number\">2</td>")
        .has("<th scope=\"row\">United Kingdom (GB)</th><td class=\"number\">1</td>")
        .has("<th scope=\"row\">Unknown</th><td class=\"number\">1</td>")
        .has_not("No GeoIP database knows");
    assert_eq!(console.get("/sessions?country=se").await.ids(), [two, one]);
    let page = console.get("/sessions?country=GB").await;
    assert_eq!(page.ids(), [london]);
    page.has("&#60;London&#62;, United Kingdom")
        .has_not("<London>");
    let page = console.get(&format!("/session/{one}")).await;
    page.has("<dd>Linköping, Sweden</dd>");
    assert_eq!(console.get("/user?id=2").await.status, StatusCode::OK);

    let page = console.get("/end?country=SE").await;
    page.has("This ends 2 sessions");
    let fields = ["csrf", "counted_at", "country"].map(|name| (name, page.field(name)));
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let ended = console.browser.post("/end", &fields).await;
    assert_eq!(ended.location(), "./ended?count=2");
    assert_eq!(console.sessions().await, 2);

    let page = console.get("/health").await;
    page.has("city.mmdb").has("GeoLite2-City").has("just now");
}
