//! A database, a console on it, and a browser without a screen.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use qsessions::Uuid;
use qsessions::deadpool_postgres::{Manager, ManagerConfig, Pool, Runtime};
use qsessions_console::Options;
use qsessions_testkit::{Database, Users};
use std::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls};
use tower::ServiceExt;

pub(crate) const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 \
    (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1";
pub(crate) const FIREFOX: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";

/// The SQL of the documentation that gives a role its privileges.
pub(crate) fn grants(role: &str) -> String {
    let page = include_str!("../../../docs/console.md");
    let mut blocks = page.split("```sql\n");
    let block = blocks
        .find(|block| block.starts_with("CREATE ROLE"))
        .unwrap();
    let sql = block.split("```").next().unwrap();
    sql.replace("shop_console", role)
}

/// A pool of connections.
pub(crate) fn pool(config: Config) -> Pool {
    let manager = Manager::from_config(config, NoTls, ManagerConfig::default());
    Pool::builder(manager)
        .max_size(4)
        .runtime(Runtime::Tokio1)
        .build()
        .unwrap()
}

/// A page as the browser has received it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Page {
    #[track_caller]
    pub(crate) fn has(&self, part: &str) -> &Self {
        assert!(self.body.contains(part), "no {part:?} in\n{}", self.main());
        self
    }

    #[track_caller]
    pub(crate) fn has_not(&self, part: &str) -> &Self {
        assert!(!self.body.contains(part), "{part:?} in\n{}", self.main());
        self
    }

    /// The beginning of its content, for the message of a test that fails.
    fn main(&self) -> String {
        let main = self.body.split("<main").last().unwrap_or_default();
        main.chars().take(5_000).collect()
    }

    /// The ids of the sessions in its lists.
    pub(crate) fn ids(&self) -> Vec<Uuid> {
        let links = self.body.split("<th scope=\"row\"><a href=\"").skip(1);
        let ids = links.filter_map(|rest| rest.split("session/").nth(1)?.get(..36)?.parse().ok());
        ids.collect()
    }

    /// Where a link with this text leads.
    #[track_caller]
    pub(crate) fn link(&self, text: &str) -> String {
        let end = self.body.find(&format!(">{text}</a>"));
        let end = end.unwrap_or_else(|| panic!("no link {text:?} in\n{}", self.body));
        let start = self.body[..end].rfind("href=\"").unwrap() + 6;
        self.body[start..end]
            .trim_end_matches('"')
            .replace("&#38;", "&")
    }

    /// A field of a form.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let start = self
            .body
            .find(&start)
            .unwrap_or_else(|| panic!("no field {name}"))
            + start.len();
        self.body[start..].split('"').next().unwrap().to_owned()
    }

    pub(crate) fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().unwrap()
    }
}

/// A browser that keeps cookies.
pub(crate) struct Browser {
    pub(crate) router: Router,
    pub(crate) cookies: Mutex<Vec<(String, String)>>,
}

impl Browser {
    pub(crate) fn new(router: Router) -> Self {
        Self {
            router,
            cookies: Mutex::default(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect::<Vec<_>>()
            .join("&");
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap();
        self.send(request).await
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Page {
        let headers = request.headers_mut();
        headers
            .entry(header::HOST)
            .or_insert("localhost".parse().unwrap());
        let cookies = self.cookies.lock().unwrap().clone();
        let cookies: Vec<_> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            headers.insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let mut cookies = self.cookies.lock().unwrap();
            cookies.retain(|(found, _)| found != name);
            if !value.is_empty() {
                cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Page {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

/// As in a query.
pub(crate) fn encoded(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A database with a table of events, and a console on it.
pub(crate) struct Console {
    pub(crate) database: Database,
    pub(crate) admin: Client,
    pub(crate) role: String,
    pub(crate) browser: Browser,
}

impl Console {
    pub(crate) async fn new() -> Self {
        Self::with(Options::new()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let database = Database::with(Users::Keyed("bigint", &["1", "2", "3"])).await;
        let admin = database.connect().await;
        admin
            .batch_execute("SELECT qsessions.create_event_table()")
            .await
            .unwrap();
        let role = format!("console_{}", database.name());
        admin.batch_execute(&grants(&role)).await.unwrap();
        let pool = pool(database.config().user(&role).clone());
        let browser = Browser::new(qsessions_console::router(pool, options));
        Self {
            database,
            admin,
            role,
            browser,
        }
    }

    /// Begins a session with the arguments in `call`, as SQL text.
    pub(crate) async fn begin(&self, call: &str) -> (String, Uuid) {
        let sql = format!("SELECT key, id FROM qsessions.create_session({call})");
        let row = self.admin.query_one(&sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// Adds sessions, all of them with the same `created_at`.
    pub(crate) async fn add(&self, count: i32, user: &str, ip: &str) {
        let sql = format!(
            "INSERT INTO qsessions.session (id, digest, user_id, ip, user_agent, expires_at)
             SELECT qsessions.session_id(k), sha256(k::bytea), {user}, {ip}, '{FIREFOX}', now() + '1 day'
             FROM (SELECT qsessions.generate_key() FROM generate_series(1, {count})) AS g (k)"
        );
        self.admin.batch_execute(&sql).await.unwrap();
    }

    pub(crate) async fn sessions(&self) -> i64 {
        let row = self
            .admin
            .query_one("SELECT count(*) FROM qsessions.session", &[])
            .await;
        row.unwrap().get(0)
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        self.browser.get(path).await
    }
}
