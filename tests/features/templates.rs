//! Databases for tests, which a role that is no superuser copies from a template.

use crate::common::{alive, begin, failure, row};
use qsessions_testkit::{Database, Users, connect};

#[tokio::test]
async fn a_role_without_superuser_privileges_migrates_a_copy_of_a_template() {
    let template = Database::with(Users::Unlinked).await;
    let admin = template.connect().await;
    let (name, server) = (template.name(), template.server());
    let (migrations, app) = (format!("migrations_{name}"), format!("app_{name}"));
    admin
        .batch_execute(&format!(
            "CREATE ROLE {migrations} LOGIN CREATEDB;
             CREATE ROLE {app} LOGIN;
             ALTER TABLE qsessions.session OWNER TO {migrations};
             SELECT qsessions.grant_access('{app}');
             ALTER DATABASE {name} IS_TEMPLATE true"
        ))
        .await
        .unwrap();
    drop(admin);

    let to = |database: &str, role: &str| {
        let mut config = server.config(database);
        config.user(role);
        config
    };
    let owner = connect(&to("postgres", &migrations)).await.unwrap();
    let copy = format!("{name}_copy");
    let create = format!("CREATE DATABASE {copy} TEMPLATE {name}");
    // The connection that has prepared the template is closed soon.
    while let Err(error) = owner.batch_execute(&create).await {
        assert_eq!(
            error.code().map(|code| code.code()),
            Some("55006"),
            "{error}"
        );
    }
    let owner = connect(&to(&copy, &migrations)).await.unwrap();
    owner
        .batch_execute(
            "CREATE EXTENSION IF NOT EXISTS qsessions;
             CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
             INSERT INTO users (name) VALUES ('Ada');
             SELECT qsessions.link_users('users');
             ALTER TABLE qsessions.session ADD COLUMN label text",
        )
        .await
        .unwrap();

    let application = connect(&to(&copy, &app)).await.unwrap();
    let visitor = begin(&application, "").await;
    let login = "SELECT key FROM qsessions.login($1, 1)";
    let key: String = row(&application, login, &[&visitor.key]).await.get(0);
    assert!(alive(&application, &key).await);
    let stranger = failure(&application, "SELECT qsessions.login(NULL, 2)", &[]).await;
    assert_eq!(stranger.code, "23503");
}
