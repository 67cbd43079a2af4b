//! What an application with tower-sessions relies on. Each version of tower-sessions runs it.

mod concurrent;
mod cookies;
mod ended;
mod expiry;
mod ids;
mod problems;
mod users;
mod visitors;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path};
use axum::http::{Request, StatusCode, header, request::Parts};
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use qsessions::Store;
use qsessions::deadpool_postgres::{Manager, Pool};
use qsessions_testkit::Database;
use qsessions_tower_sessions::{QsessionsStore, VisitorLayer};
use serde_json::Value;
use time::Duration;
use tokio::sync::Semaphore;
use tokio_postgres::{Client, Config, NoTls};
use tower::ServiceExt as _;
use tower_sessions::cookie::Cookie;
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

/// The manager that most tests use.
pub(crate) type Layer<S = QsessionsStore> = SessionManagerLayer<S>;

pub(crate) fn pool(config: &Config) -> Pool {
    let manager = Manager::new(config.clone(), NoTls);
    Pool::builder(manager).max_size(4).build().unwrap()
}

pub(crate) fn store(database: &Database) -> Store {
    Store::new(pool(&database.config()))
}

/// The sessions of a database, whose users are in the member `user`.
pub(crate) fn sessions(database: &Database) -> QsessionsStore {
    QsessionsStore::new(store(database)).user_id(|data| Some(data.get("user")?.as_i64()?.into()))
}

/// A database, and a browser that uses an application with sessions of an hour.
pub(crate) async fn visit() -> (Database, Browser) {
    let database = Database::new().await;
    let browser = Browser::of(routes().layer(an_hour(sessions(&database))));
    (database, browser)
}

pub(crate) fn an_hour<S: SessionStore + Clone>(sessions: S) -> Layer<S> {
    SessionManagerLayer::new(sessions).with_expiry(Expiry::OnInactivity(Duration::hours(1)))
}

/// A layer that takes the address from the extensions, where a server puts that of the connection.
pub(crate) fn visitors() -> VisitorLayer<impl Fn(&Parts) -> Option<IpAddr> + Clone> {
    VisitorLayer::new(|request| request.extensions.get().copied())
}

/// Holds a request between its load and its save.
#[derive(Clone)]
pub(crate) struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let closed = || Arc::new(Semaphore::new(0));
        Self {
            arrived: closed(),
            open: closed(),
        }
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }

    pub(crate) async fn wait_for(&self, requests: u32) {
        self.arrived.acquire_many(requests).await.unwrap().forget();
    }

    pub(crate) fn let_through(&self, requests: usize) {
        self.open.add_permits(requests);
    }
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/", get(async |_: Session| "unused"))
        .route(
            "/get/{name}",
            get(async |session: Session, Path(name): Path<String>| {
                let value = session.get_value(&name).await.unwrap();
                value.unwrap_or_default().to_string()
            }),
        )
        .route("/set/{name}/{value}", get(set))
        .route(
            "/set-held/{name}/{value}",
            get(
                async |session: Session, gate: Extension<Gate>, member: Path<(String, String)>| {
                    session.load().await.unwrap();
                    gate.pass().await;
                    set(session, member).await;
                },
            ),
        )
        .route(
            "/remove/{name}",
            get(async |session: Session, Path(name): Path<String>| {
                session.remove_value(&name).await.unwrap();
            }),
        )
        .route(
            "/cycle",
            get(async |session: Session| session.cycle_id().await.unwrap()),
        )
        .route(
            "/flush",
            get(async |session: Session| session.flush().await.unwrap()),
        )
        .route(
            "/clear",
            get(async |session: Session| session.clear().await),
        )
        .route(
            "/expire/{seconds}",
            get(async |session: Session, Path(seconds): Path<i64>| {
                let expiry = time::OffsetDateTime::now_utc() + Duration::seconds(seconds);
                session.set_expiry(Some(Expiry::AtDateTime(expiry)));
            }),
        )
        .route(
            "/expire-with-browser",
            get(async |session: Session| {
                session.set_expiry(Some(Expiry::OnSessionEnd));
            }),
        )
}

/// A value is a number if it reads as one.
async fn set(session: Session, Path((name, value)): Path<(String, String)>) {
    let value = value.parse().map_or(Value::String(value), Value::Number);
    session.insert_value(&name, value).await.unwrap();
}

/// A browser. It keeps the cookie that the application sets.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) app: Router,
    pub(crate) cookie: Option<String>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) address: Option<IpAddr>,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
    pub(crate) cookie: Option<Cookie<'static>>,
}

impl Browser {
    pub(crate) fn of(app: Router) -> Self {
        Self {
            app,
            cookie: None,
            headers: Vec::new(),
            address: None,
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Reply {
        for (name, value) in &self.headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        if let Some(value) = &self.cookie {
            let cookie = format!("other=1; id={value}").parse().unwrap();
            request.headers_mut().insert(header::COOKIE, cookie);
        }
        if let Some(address) = self.address {
            request.extensions_mut().insert(address);
            let peer = ConnectInfo(SocketAddr::new(address, 1234));
            request.extensions_mut().insert(peer);
        }
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let text = |name| {
            let value = head.headers.get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let cookie = text(header::SET_COOKIE).map(|text| Cookie::parse(text).unwrap());
        if let Some(cookie) = &cookie {
            let is_removed = cookie.max_age() == Some(Duration::ZERO);
            self.cookie = (!is_removed).then(|| cookie.value().to_owned());
        }
        Reply {
            status: head.status,
            location: text(header::LOCATION),
            cookie,
            body: {
                let body = body.collect().await.unwrap().to_bytes();
                String::from_utf8(body.to_vec()).unwrap()
            },
        }
    }

    pub(crate) async fn post(&mut self, path: &str, form: &str) -> Reply {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()));
        self.send(request.unwrap()).await
    }

    /// The value of a member, as JSON.
    pub(crate) async fn value(&mut self, name: &str) -> String {
        let reply = self.get(&format!("/get/{name}")).await;
        assert_eq!(reply.status, StatusCode::OK);
        reply.body
    }

    /// Sets a member, and returns the id that the cookie has then.
    pub(crate) async fn set(&mut self, name: &str, value: &str) -> String {
        let reply = self.get(&format!("/set/{name}/{value}")).await;
        assert_eq!(reply.status, StatusCode::OK);
        self.cookie.clone().unwrap()
    }
}

/// The first column of the single row of a query.
pub(crate) async fn one<T>(client: &Client, query: &str) -> T
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    client.query_one(query, &[]).await.unwrap().get(0)
}

pub(crate) async fn count(client: &Client) -> i64 {
    one(client, "SELECT count(*) FROM qsessions.session").await
}
