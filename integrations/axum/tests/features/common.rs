//! A database, and browsers that keep cookies.

use axum::Router;
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, Request, StatusCode};
use cookie::Cookie;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use http_body_util::BodyExt;
use qsessions::{Key, Session, Store};
use qsessions_axum::{BuildError, SessionLayer, SessionLayerBuilder};
use qsessions_testkit::Database;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{Config, NoTls};
use tower::ServiceExt;

pub(crate) const SESSION: &str = "__Host-session";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A database with users 1 to 9, and a store on it.
pub(crate) struct Site {
    pub(crate) database: Database,
    pool: Pool,
    pub(crate) store: Store,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(4, |_| {}).await
    }

    /// A site whose only connection counts the [calls](Self::calls) of functions.
    pub(crate) async fn counting() -> Self {
        Self::with(1, |config| {
            config.options("-c track_functions=all");
        })
        .await
    }

    async fn with(connections: usize, settings: impl FnOnce(&mut Config)) -> Self {
        let database = Database::new().await;
        let mut config = database.config();
        settings(&mut config);
        let pool = pool(&config, connections);
        let store = Store::new(pool.clone());
        Self {
            database,
            pool,
            store,
        }
    }

    /// How often a function was called.
    pub(crate) async fn calls(&self, function: &str) -> i64 {
        let client = self.pool.get().await.unwrap();
        let flush = "SELECT pg_catalog.pg_stat_force_next_flush()";
        client.batch_execute(flush).await.unwrap();
        let calls = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_user_functions \
                     WHERE schemaname = 'qsessions' AND funcname = $1";
        client.query_one(calls, &[&function]).await.unwrap().get(0)
    }

    pub(crate) fn layer(&self) -> SessionLayer {
        self.layer_with(|layer| layer).unwrap()
    }

    pub(crate) fn layer_with(
        &self,
        settings: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder,
    ) -> Result<SessionLayer, BuildError> {
        settings(SessionLayer::builder(self.store.clone())).build()
    }

    pub(crate) async fn sessions(&self) -> i64 {
        let client = self.database.connect().await;
        let count = "SELECT count(*) FROM qsessions.session";
        client.query_one(count, &[]).await.unwrap().get(0)
    }

    /// The session that the cookie of a browser opens.
    pub(crate) async fn session(&self, browser: &Browser) -> Option<Session> {
        let key = browser.cookie(SESSION).map(Key::from)?;
        self.store.load(&key).await.unwrap()
    }
}

pub(crate) fn pool(config: &Config, connections: usize) -> Pool {
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(config.clone(), NoTls, recycling);
    Pool::builder(manager)
        .max_size(connections)
        .build()
        .unwrap()
}

/// A browser that visits one application.
#[derive(Clone)]
pub(crate) struct Browser {
    app: Router,
    cookies: BTreeMap<String, String>,
    headers: Vec<(String, String)>,
}

impl Browser {
    pub(crate) fn of(app: &Router) -> Self {
        Self {
            app: app.clone(),
            cookies: BTreeMap::new(),
            headers: vec![(ACCEPT.to_string(), "text/html".to_owned())],
        }
    }

    /// Sends this header with all requests, in place of one of the same name.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    pub(crate) fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(Request::get(path), Body::empty()).await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &str) -> Page {
        let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, Body::from(form.to_owned())).await
    }

    pub(crate) async fn send(&mut self, request: axum::http::request::Builder, body: Body) -> Page {
        let mut request = request;
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !self.cookies.is_empty() {
            let cookies = self.cookies.iter();
            let pairs: Vec<_> = cookies
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        let request = request.body(body).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let page = Page {
            status: parts.status,
            headers: parts.headers,
            extensions: parts.extensions,
            text: String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap(),
        };
        for cookie in page.cookies() {
            let is_gone = cookie.max_age().is_some_and(|age| age.is_zero());
            match is_gone {
                true => self.cookies.remove(cookie.name()),
                false => self
                    .cookies
                    .insert(cookie.name().into(), cookie.value().into()),
            };
        }
        page
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: axum::http::Extensions,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The cookies that the response sets or removes.
    pub(crate) fn cookies(&self) -> Vec<Cookie<'static>> {
        let cookies = self.headers.get_all(SET_COOKIE).iter();
        let texts = cookies.map(|cookie| cookie.to_str().unwrap().to_owned());
        texts.map(|text| Cookie::parse(text).unwrap()).collect()
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<Cookie<'static>> {
        self.cookies()
            .into_iter()
            .find(|cookie| cookie.name() == name)
    }
}

/// What a real server answers to the bytes of a request.
pub(crate) async fn http(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The text between two marks, for each time that they occur.
pub(crate) fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let parts = text.split(start).skip(1);
    parts.map(|part| part.split(end).next().unwrap()).collect()
}
