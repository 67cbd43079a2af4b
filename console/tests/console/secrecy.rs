use crate::common::{Console, FIREFOX};

/// The pages that show a session.
#[tokio::test]
async fn no_page_shows_a_key_or_a_digest() {
    let console = Console::new().await;
    let call = format!("1, ip => '192.0.2.7', user_agent => '{FIREFOX}'");
    let (key, id) = console.begin(&call).await;
    let rotated = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    let new: String = console
        .admin
        .query_one(rotated, &[&key])
        .await
        .unwrap()
        .get(0);
    let sql = "SELECT encode(digest, 'hex'), encode(former_digest, 'hex'), encode(digest, 'base64')
               FROM qsessions.session";
    let digests = console.admin.query_one(sql, &[]).await.unwrap();
    let end = console.get("/end?user=1").await;
    for path in [
        "/",
        "/sessions",
        "/user?id=1",
        "/health",
        "/end?user=1",
        &format!("/session/{id}"),
    ] {
        let page = console.get(path).await;
        page.has_not(&key).has_not(&new);
        for column in 0..3 {
            page.has_not(digests.get::<_, &str>(column));
        }
    }
    // A key in the address, by mistake, is not repeated.
    for path in [
        format!("/session/{key}"),
        format!("/{key}"),
        format!("/session/{key}/end"),
    ] {
        let token = end.field("csrf");
        console.get(&path).await.has_not(&key);
        console
            .browser
            .post(&path, &[("csrf", &token)])
            .await
            .has_not(&key);
    }
}
