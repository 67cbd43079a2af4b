//! axum-login: the flow of its examples with logins and permissions, on a table of users.

use crate::suite::{Browser, count, pool, visitors};
use axum::extract::Form;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum_login::{
    AuthManagerLayerBuilder, AuthUser, AuthnBackend, AuthzBackend, UserId, permission_required,
};
use qsessions::deadpool_postgres::{Pool, PoolError, tokio_postgres};
use qsessions::{Key, Store};
use qsessions_testkit::Database;
use qsessions_tower_sessions::QsessionsStore;
use serde::Deserialize;
use std::collections::HashSet;
use time::Duration;
use tower_sessions::{Expiry, Session, SessionManagerLayer};

const USERS: &str = "
    ALTER TABLE users ADD name text UNIQUE, ADD password text;
    UPDATE users SET name = 'ada', password = 'lovelace' WHERE id = 1;
    UPDATE users SET name = 'grace', password = 'hopper' WHERE id = 2;
    CREATE TABLE permissions (user_id bigint REFERENCES users ON DELETE CASCADE, name text);
    INSERT INTO permissions VALUES
        (1, 'protected.read'), (1, 'restricted.read'), (2, 'protected.read');
    SELECT qsessions.create_event_table();
";

#[derive(Debug, Clone)]
struct User {
    id: i64,
    name: String,
    password: String,
}

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> i64 {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Credentials {
    name: String,
    password: String,
    next: Option<String>,
}

#[derive(Clone)]
struct Backend(Pool);

#[derive(Debug)]
struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl From<PoolError> for Failed {
    fn from(error: PoolError) -> Self {
        Self(error.to_string())
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error.to_string())
    }
}

impl Backend {
    async fn user(&self, column: &str, value: &str) -> Result<Option<User>, Failed> {
        let sql = format!(
            "SELECT id, name, password FROM users WHERE {column}::text = $1 AND name <> ''"
        );
        let row = self.0.get().await?.query_opt(&sql, &[&value]).await?;
        Ok(row.map(|row| User {
            id: row.get(0),
            name: row.get(1),
            password: row.get(2),
        }))
    }
}

impl AuthnBackend for Backend {
    type User = User;
    type Credentials = Credentials;
    type Error = Failed;

    async fn authenticate(&self, given: Credentials) -> Result<Option<User>, Failed> {
        let user = self.user("name", &given.name).await?;
        Ok(user.filter(|user| user.password == given.password))
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, Failed> {
        self.user("id", &id.to_string()).await
    }
}

impl AuthzBackend for Backend {
    type Permission = String;

    async fn get_user_permissions(&self, user: &User) -> Result<HashSet<String>, Failed> {
        let sql = "SELECT name FROM permissions WHERE user_id = $1";
        let rows = self.0.get().await?.query(sql, &[&user.id]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

type AuthSession = axum_login::AuthSession<Backend>;

async fn hello(auth: AuthSession) -> String {
    format!("hello {}", auth.user.unwrap().name)
}

async fn log_in(mut auth: AuthSession, Form(credentials): Form<Credentials>) -> Response {
    let next = credentials.next.clone().unwrap_or_else(|| "/".to_owned());
    match auth.authenticate(credentials).await {
        Ok(Some(user)) => match auth.login(&user).await {
            Ok(()) => Redirect::to(&next).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        Ok(None) => "wrong name or password".into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn log_out(mut auth: AuthSession) -> Redirect {
    auth.logout().await.unwrap();
    Redirect::to("/login")
}

struct Site {
    database: Database,
    store: Store,
    browser: Browser,
}

impl Site {
    async fn new() -> Self {
        let database = Database::new().await;
        database.connect().await.batch_execute(USERS).await.unwrap();
        let pool = pool(&database.config());
        let store = Store::new(pool.clone());
        let sessions = SessionManagerLayer::new(QsessionsStore::new(store.clone()).max_sessions(3))
            .with_secure(false)
            .with_expiry(Expiry::OnInactivity(Duration::days(1)));
        let auth = AuthManagerLayerBuilder::new(Backend(pool), sessions).build();
        let router = axum::Router::new;
        let app = router()
            .route("/restricted", get(hello))
            .route_layer(permission_required!(
                Backend,
                login_url = "/login",
                "restricted.read".to_owned()
            ))
            .merge(
                router()
                    .route("/", get(hello))
                    .route_layer(permission_required!(
                        Backend,
                        login_url = "/login",
                        "protected.read".to_owned()
                    )),
            )
            .route("/login", post(log_in).get(async || "who are you?"))
            .route("/logout", get(log_out))
            .route(
                "/cart",
                post(async |session: Session| session.insert("cart", [7]).await.unwrap()).get(
                    async |session: Session| {
                        let cart = session.get_value("cart").await.unwrap();
                        cart.unwrap_or_default().to_string()
                    },
                ),
            )
            .layer(auth)
            .layer(visitors());
        let mut browser = Browser::of(app);
        browser.address = Some("192.0.2.7".parse().unwrap());
        Self {
            database,
            store,
            browser,
        }
    }

    async fn sessions_of(&self, user: i64) -> usize {
        self.store.user_sessions(user).await.unwrap().len()
    }
}

async fn log_in_as_ada(browser: &mut Browser) {
    let reply = browser.post("/login", "name=ada&password=lovelace").await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/").await.body, "hello ada");
}

async fn is_sent_to_login(browser: &mut Browser) -> bool {
    let location = browser.get("/").await.location;
    location.is_some_and(|location| location == "/login?next=%2F")
}

#[tokio::test]
async fn a_visitor_logs_in_sees_protected_pages_and_logs_out() {
    let Site { mut browser, .. } = Site::new().await;
    assert!(is_sent_to_login(&mut browser).await);
    let reply = browser.post("/login", "name=ada&password=wrong").await;
    assert_eq!(reply.body, "wrong name or password");
    assert!(is_sent_to_login(&mut browser).await);
    let form = "name=ada&password=lovelace&next=%2Frestricted";
    let reply = browser.post("/login", form).await;
    assert_eq!(reply.location.as_deref(), Some("/restricted"));
    assert_eq!(browser.get("/restricted").await.body, "hello ada");
    assert_eq!(browser.get("/").await.body, "hello ada");
    let reply = browser.get("/logout").await;
    assert_eq!(reply.location.as_deref(), Some("/login"));
    assert!(browser.cookie.is_none());
    assert!(is_sent_to_login(&mut browser).await);
}

#[tokio::test]
async fn a_user_without_the_permission_does_not_see_the_page() {
    let Site { mut browser, .. } = Site::new().await;
    browser.post("/login", "name=grace&password=hopper").await;
    assert_eq!(browser.get("/").await.body, "hello grace");
    let reply = browser.get("/restricted").await;
    assert_ne!(reply.body, "hello grace");
    assert_ne!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn a_login_keeps_the_data_of_the_visitor_and_changes_the_id() {
    let Site { mut browser, .. } = Site::new().await;
    browser.post("/cart", "").await;
    let mut thief = browser.clone();
    log_in_as_ada(&mut browser).await;
    assert_ne!(browser.cookie, thief.cookie);
    assert_eq!(browser.get("/cart").await.body, "[7]");
    assert!(is_sent_to_login(&mut thief).await);
    assert_eq!(thief.get("/cart").await.body, "null");
}

#[tokio::test]
async fn a_login_is_listed_and_recorded_with_its_address() {
    let mut site = Site::new().await;
    log_in_as_ada(&mut site.browser).await;
    let key = Key::from(site.browser.cookie.as_deref().unwrap());
    let listed = site.store.user_sessions(1).current(&key).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].is_current);
    assert_eq!(listed[0].ip, site.browser.address);
    let events = site.store.user_events(1).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event.as_str(), "login");
    assert_eq!(events[0].ip, site.browser.address);
}

#[tokio::test]
async fn revoking_a_session_sends_its_browser_to_the_login() {
    let mut site = Site::new().await;
    log_in_as_ada(&mut site.browser).await;
    let mut other = site.browser.clone();
    other.cookie = None;
    log_in_as_ada(&mut other).await;
    let key = Key::from(other.cookie.as_deref().unwrap());
    let id = key.id().unwrap();
    assert!(site.store.revoke_for_user(id, 1).await.unwrap());
    assert!(is_sent_to_login(&mut other).await);
    assert_eq!(site.browser.get("/").await.body, "hello ada");
    assert_eq!(site.sessions_of(1).await, 1);
}

#[tokio::test]
async fn a_login_beyond_the_limit_ends_the_session_that_was_unseen_longest() {
    let site = Site::new().await;
    let mut browsers = vec![site.browser.clone(); 4];
    for browser in &mut browsers {
        log_in_as_ada(browser).await;
    }
    assert_eq!(site.sessions_of(1).await, 3);
    assert!(is_sent_to_login(&mut browsers[0]).await);
    for browser in &mut browsers[1..] {
        assert_eq!(browser.get("/").await.body, "hello ada");
    }
}

#[tokio::test]
async fn deleting_a_user_logs_the_user_out() {
    let mut site = Site::new().await;
    log_in_as_ada(&mut site.browser).await;
    let client = site.database.connect().await;
    let sql = "DELETE FROM users WHERE id = 1";
    client.execute(sql, &[]).await.unwrap();
    assert_eq!(count(&client).await, 0);
    assert!(is_sent_to_login(&mut site.browser).await);
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_the_old_one() {
    let mut site = Site::new().await;
    log_in_as_ada(&mut site.browser).await;
    let client = site.database.connect().await;
    let sql = "UPDATE users SET password = 'new' WHERE id = 1";
    client.execute(sql, &[]).await.unwrap();
    assert!(is_sent_to_login(&mut site.browser).await);
    assert_eq!(count(&client).await, 0);
}

#[tokio::test]
async fn another_user_cannot_log_in_to_a_session_without_a_new_id() {
    let mut site = Site::new().await;
    log_in_as_ada(&mut site.browser).await;
    let mut ada = site.browser.clone();
    let grace = "name=grace&password=hopper";
    let reply = site.browser.post("/login", grace).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(ada.get("/").await.body, "hello ada");
    assert_eq!(site.sessions_of(2).await, 0);
    // After a logout it works.
    site.browser.get("/logout").await;
    site.browser.post("/login", grace).await;
    assert_eq!(site.browser.get("/").await.body, "hello grace");
    assert!(is_sent_to_login(&mut ada).await);
}
