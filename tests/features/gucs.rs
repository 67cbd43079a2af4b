//! Settings: defaults, accepted values, and their use in a new connection.

use crate::common::{begin, failure, row};
use qsessions_testkit::{Database, Users};

#[tokio::test]
async fn settings_have_their_defaults() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    row(&client, "SELECT qsessions.generate_key()", &[]).await;
    for (name, value) in [
        ("default_ttl", "14 days"),
        ("touch_interval", "60 s"),
        ("user_agent_max_length", "512"),
        ("max_data_bytes", "1MB"),
        ("purge_pause", "0.25"),
        ("geoip_path", ""),
        ("geoip_check_interval", "5s"),
        ("geoip_max_bytes", "512MB"),
        ("locale", "en"),
        ("invalidation_channel", "qsessions"),
        ("notify_queue_limit", "0.9"),
    ] {
        let shown: String = row(&client, &format!("SHOW qsessions.{name}"), &[])
            .await
            .get(0);
        assert_eq!(shown, value, "{name}");
    }
}

#[tokio::test]
async fn a_setting_can_be_set_before_the_library_is_loaded() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute("SET qsessions.default_ttl = '1 hour'; SET qsessions.max_data_bytes = '2kB'")
        .await
        .unwrap();
    begin(&client, "").await;
    let hours: f64 = row(
        &client,
        "SELECT extract(epoch FROM expires_at - created_at)::float8 / 3600 FROM qsessions.session",
        &[],
    )
    .await
    .get(0);
    assert_eq!(hours, 1.0);
    let large = "SELECT qsessions.create_session(data => to_jsonb(repeat('x', 3000)))";
    assert_eq!(failure(&client, large, &[]).await.code, "QS004");
}

#[tokio::test]
async fn invalid_values_are_refused() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    row(&client, "SELECT qsessions.generate_key()", &[]).await;
    for (name, value) in [
        ("default_ttl", "soon"),
        ("default_ttl", "0"),
        ("default_ttl", "-1 day"),
        ("default_ttl", ""),
        ("touch_interval", "never"),
        ("touch_interval", "-1 s"),
        ("user_agent_max_length", "0"),
        ("max_data_bytes", "-1"),
        ("purge_pause", "-1"),
    ] {
        let refused = failure(&client, &format!("SET qsessions.{name} = '{value}'"), &[]).await;
        assert_eq!(refused.code, "22023", "{name} = {value}");
        assert!(refused.message.contains(name), "{refused:?}");
        if name.ends_with("l") {
            assert!(!refused.detail.is_empty(), "{name} = {value}: {refused:?}");
        }
    }
    for (name, value) in [
        ("touch_interval", "0"),
        ("touch_interval", "1 minute"),
        ("default_ttl", "P1D"),
    ] {
        client
            .batch_execute(&format!("SET qsessions.{name} = '{value}'"))
            .await
            .unwrap();
    }
    let unknown = failure(&client, "SET qsessions.no_such_setting = 1", &[]).await;
    assert_eq!(unknown.code, "42602");
}

#[tokio::test]
async fn only_a_superuser_can_set_geoip_path() {
    let database = Database::with(Users::Nothing).await;
    let admin = database.connect().await;
    let role = format!("plain_{}", database.name());
    admin
        .batch_execute(&format!("CREATE ROLE {role} LOGIN"))
        .await
        .unwrap();
    let client = database.connect_as(&role).await;
    row(&client, "SELECT qsessions.generate_key()", &[]).await;
    for name in ["geoip_path", "geoip_max_bytes"] {
        let refused = failure(&client, &format!("SET qsessions.{name} = '4711'"), &[]).await;
        assert_eq!(refused.code, "42501", "{name}");
    }
    client
        .batch_execute("SET qsessions.locale = 'de'")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_touch_interval_of_zero_records_every_visit() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    client
        .batch_execute("SET qsessions.touch_interval = '0'")
        .await
        .unwrap();
    for _ in 0..2 {
        let before: String = row(&client, "SELECT ctid::text FROM qsessions.session", &[])
            .await
            .get(0);
        row(
            &client,
            "SELECT id FROM qsessions.resume_session($1)",
            &[&session.key],
        )
        .await;
        let after: String = row(&client, "SELECT ctid::text FROM qsessions.session", &[])
            .await
            .get(0);
        assert_ne!(before, after);
    }
}

#[tokio::test]
async fn the_settings_of_notifications_apply_to_the_whole_server() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    row(&client, "SELECT qsessions.generate_key()", &[]).await;
    for setting in [
        "qsessions.invalidation_channel = 'mine'",
        "qsessions.notify_queue_limit = 0.5",
    ] {
        for statement in [
            format!("SET {setting}"),
            format!("ALTER DATABASE {} SET {setting}", database.name()),
            format!("ALTER ROLE postgres SET {setting}"),
        ] {
            let refused = failure(&client, &statement, &[]).await;
            assert_eq!(refused.code, "55P02", "{statement}");
        }
    }
    // The same before the library is loaded, when PostgreSQL does not know the setting yet.
    let client = database.connect().await;
    client
        .batch_execute("SET qsessions.invalidation_channel = 'mine'")
        .await
        .unwrap();
    let channel: String = row(&client, "SELECT qsessions.invalidation_channel()", &[])
        .await
        .get(0);
    assert_eq!(channel, "qsessions");
}
