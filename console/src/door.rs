//! The door of the program: a link that works once, and a cookie that lasts for a day's work.

use crate::csrf::{Csrf, cookie};
use crate::headers::protect;
use crate::pairs::Pairs;
use crate::{Options, assets, random, router};
use askama::Template;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use qsessions::deadpool_postgres::Pool;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How long a link works if it is not opened.
const LINK_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a browser may use the console after that.
const COOKIE_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// Opens the console to the person who has started it, as the program `qsessions-console` does. It is
/// for a console that is served on its own, at the root of an address.
///
/// A [link](Self::new_link) works once, and gives the browser a cookie that expires after twelve
/// hours. Requests whose `Host` is a name that was not given are refused, so that a page of another
/// site cannot reach the console by a name that resolves to this machine.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    cookie_name: String,
    hosts: Vec<String>,
    secret: [u8; 32],
    csrf: Csrf,
    link: Mutex<Option<Pass>>,
    cookies: Mutex<Vec<Pass>>,
}

/// A secret that is good until it expires.
struct Pass {
    secret: String,
    expires: Instant,
}

impl Pass {
    fn new(lifetime: Duration) -> Self {
        Self {
            secret: random::as_text(&random::secret()),
            expires: Instant::now() + lifetime,
        }
    }

    fn is_live(&self) -> bool {
        Instant::now() < self.expires
    }

    /// Compares in a time that does not depend on where the texts differ.
    fn accepts(&self, secret: &str) -> bool {
        let is_equal = self.secret.as_bytes().ct_eq(secret.as_bytes());
        self.is_live() && is_equal.into()
    }
}

impl Door {
    /// A door that has no link yet. The port distinguishes the cookie from that of another console on
    /// the same machine, because cookies are shared by all ports. Addresses and `localhost` are
    /// always accepted as hosts; `hosts` are further names.
    #[must_use]
    pub fn new(port: u16, hosts: impl IntoIterator<Item = String>) -> Self {
        let secret = random::secret();
        Self(Arc::new(Inner {
            cookie_name: format!("qsessions-console-{port}"),
            hosts: hosts
                .into_iter()
                .map(|host| host.to_ascii_lowercase())
                .collect(),
            secret,
            csrf: Csrf::new(Some(secret), false),
            link: Mutex::new(None),
            cookies: Mutex::new(Vec::new()),
        }))
    }

    /// The path of a link that works once, within fifteen minutes. The former link stops to work.
    #[must_use]
    pub fn new_link(&self) -> String {
        let pass = Pass::new(LINK_LIFETIME);
        let path = format!("/open/{}", pass.secret);
        *locked(&self.0.link) = Some(pass);
        path
    }

    /// The console behind this door.
    pub fn router(&self, pool: Pool, options: Options) -> Router {
        let options = options
            .secret(self.0.secret)
            .secure_cookie(false)
            .sign_out("/sign-out");
        let door = Router::new()
            .route("/open/{token}", get(open))
            .route("/sign-out", post(sign_out))
            .with_state(self.clone());
        router(pool, options)
            .merge(door)
            .layer(middleware::from_fn_with_state(self.clone(), watch))
    }

    fn knows_host(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            // An IPv6 address in brackets.
            Some(rest) => {
                return rest
                    .split(']')
                    .next()
                    .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
            }
            None => host.split(':').next().unwrap_or_default(),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        // A name can be made to resolve to any address, but an address is the machine that was meant.
        name.parse::<IpAddr>().is_ok() || name == "localhost" || self.0.hosts.contains(&name)
    }

    fn is_open_to(&self, headers: &HeaderMap) -> bool {
        let Some(secret) = cookie(headers, &self.0.cookie_name) else {
            return false;
        };
        let mut cookies = locked(&self.0.cookies);
        cookies.retain(Pass::is_live);
        // Each of them is compared.
        cookies.iter().filter(|pass| pass.accepts(secret)).count() > 0
    }

    fn set_cookie(&self, value: &str, seconds: u64) -> String {
        format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}",
            self.0.cookie_name
        )
    }
}

/// A panic while the lock was held has left nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Template)]
#[template(path = "door.html")]
struct DoorPage {
    title: &'static str,
    sentences: &'static str,
    /// The page leads on by itself.
    is_open: bool,
}

impl DoorPage {
    fn response(&self, status: StatusCode) -> Response {
        match self.render() {
            Ok(html) => protect((status, Html(html)).into_response()),
            Err(_) => status.into_response(),
        }
    }
}

async fn watch(State(door): State<Door>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| door.knows_host(host)) {
        return DoorPage {
            title: "This name is not known",
            sentences: "The console does not answer under this name. Use the address that the program has \
                        printed, or start the program with --host and the name.",
            is_open: false,
        }
        .response(StatusCode::MISDIRECTED_REQUEST);
    }
    if is_public(request.uri().path()) || door.is_open_to(headers) {
        return next.run(request).await;
    }
    DoorPage {
        title: "The console is closed",
        sentences: "Open the link that the program has printed. A link works once. If you have used it, or if \
                    you have been here for twelve hours, the terminal in which the program runs says how to get \
                    another one.",
        is_open: false,
    }
    .response(StatusCode::UNAUTHORIZED)
}

/// Whether a path leads to a file or a link. Any other leads to a page, which has a token for forms:
/// not even the page that says that there is no such page is for everyone.
fn is_public(path: &str) -> bool {
    let is_link = |token: &str| !token.is_empty() && !token.contains('/');
    assets::PATHS.contains(&path) || path.strip_prefix("/open/").is_some_and(is_link)
}

async fn open(State(door): State<Door>, method: Method, Path(token): Path<String>) -> Response {
    // A program that only looks at the headers must not use the link up.
    if method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let is_right = {
        let mut link = locked(&door.0.link);
        let is_right = link.as_ref().is_some_and(|pass| pass.accepts(&token));
        if is_right {
            *link = None;
        }
        is_right
    };
    if !is_right {
        return DoorPage {
            title: "The link does not work",
            sentences: "A link works once, and for fifteen minutes. The terminal in which the program runs says \
                        how to get another one.",
            is_open: false,
        }
        .response(StatusCode::FORBIDDEN);
    }
    let pass = Pass::new(COOKIE_LIFETIME);
    let cookie = door.set_cookie(&pass.secret, COOKIE_LIFETIME.as_secs());
    locked(&door.0.cookies).push(pass);
    // A page and no redirect: where the link was opened from another site, the browser would not send
    // the cookie with a redirect.
    let page = DoorPage {
        title: "The console is open",
        sentences: "It stays open in this browser for twelve hours.",
        is_open: true,
    };
    (
        [(header::SET_COOKIE, cookie)],
        page.response(StatusCode::OK),
    )
        .into_response()
}

async fn sign_out(State(door): State<Door>, headers: HeaderMap, body: String) -> Response {
    if !door
        .0
        .csrf
        .accepts(&headers, Pairs::parse(&body).get("csrf"))
    {
        return DoorPage {
            title: "The form was refused",
            sentences: "The form does not come from a page of this console. You are still signed in.",
            is_open: false,
        }
        .response(StatusCode::FORBIDDEN);
    }
    if let Some(secret) = cookie(&headers, &door.0.cookie_name) {
        locked(&door.0.cookies).retain(|pass| !pass.accepts(secret));
    }
    let page = DoorPage {
        title: "You are signed out",
        sentences: "The terminal in which the program runs says how to get another link.",
        is_open: false,
    };
    (
        [(header::SET_COOKIE, door.set_cookie("", 0))],
        page.response(StatusCode::OK),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_not_given_are_no_hosts() {
        let door = Door::new(80, ["Console.example".to_owned()]);
        for host in [
            "localhost",
            "localhost:7650",
            "LOCALHOST.",
            "127.0.0.1:80",
            "192.0.2.1",
            "[::1]:7650",
            "[::1]",
            "console.example",
            "CONSOLE.EXAMPLE:443",
        ] {
            assert!(door.knows_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:127.0.0.1",
            "[evil.example]",
            "console.example.evil.example",
        ] {
            assert!(!door.knows_host(host), "{host}");
        }
    }

    #[test]
    fn only_files_and_links_are_public() {
        for path in ["/assets/console.css", "/assets/live.js", "/open/a"] {
            assert!(is_public(path), "{path}");
        }
        for path in [
            "/",
            "/assets/",
            "/assets/a",
            "/assets/console.css/",
            "/assets/../sessions",
            "/open/",
            "/open/a/",
            "/open/a/b",
        ] {
            assert!(!is_public(path), "{path}");
        }
    }

    #[test]
    fn a_pass_is_good_until_it_expires() {
        let pass = Pass::new(Duration::from_secs(60));
        assert!(pass.accepts(&pass.secret));
        assert!(!pass.accepts(""));
        assert!(!pass.accepts(&pass.secret[1..]));
        let expired = Pass::new(Duration::ZERO);
        assert!(!expired.accepts(&expired.secret));
    }
}
