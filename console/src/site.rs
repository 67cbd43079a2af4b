//! What all pages share: the database, the frame around each page, and its headers.

use crate::cached::Cached;
use crate::csrf::{Csrf, FormToken};
use crate::data::live::Live;
use crate::data::overview::Overview;
use crate::data::timeline::Range;
use crate::database::Database;
use crate::options::Options;
use crate::problem::Problem;
use askama::Template;
use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use qsessions::deadpool_postgres::Pool;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// How long an overview is shown before it is read again.
const OVERVIEW_LIFETIME: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    pub(crate) database: Database,
    pub(crate) csrf: Csrf,
    pub(crate) options: Options,
    pub(crate) live: Cached<Live>,
    overviews: [Cached<Arc<Overview>>; 3],
}

impl Site {
    pub(crate) fn new(pool: Pool, options: Options) -> Self {
        Self {
            database: Database::new(pool, &options),
            csrf: Csrf::new(options.secret, options.secure_cookie),
            live: Cached::new(options.live_interval),
            overviews: Range::ALL.map(|_| Cached::new(OVERVIEW_LIFETIME)),
            options,
        }
    }

    pub(crate) fn overview(&self, range: Range) -> &Cached<Arc<Overview>> {
        &self.overviews[range as usize]
    }
}

/// Where a page is, from which its links start. All links are relative, so that they hold below any
/// path, and behind a proxy that takes a part of the path away.
#[derive(Clone, Debug)]
pub(crate) struct Base(pub(crate) String);

impl Base {
    fn new(inner: &Uri, original: &Uri) -> Self {
        let depth = inner.path().matches('/').count();
        if depth > 1 {
            return Self("../".repeat(depth - 1));
        }
        let outer = original.path();
        if inner.path() == "/" && !outer.ends_with('/') {
            // The console is mounted at a path without a slash at its end.
            let name = outer.rsplit('/').next().unwrap_or_default();
            return Self(format!("./{name}/"));
        }
        Self("./".to_owned())
    }
}

impl<S: Sync> FromRequestParts<S> for Base {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let original = parts.extensions.get::<OriginalUri>();
        let original = original.map_or(&parts.uri, |OriginalUri(uri)| uri);
        Ok(Self::new(&parts.uri, original))
    }
}

/// What stands around each page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The page of the navigation that is open.
    pub(crate) here: &'static str,
    /// What links start with.
    pub(crate) base: String,
    /// The token for forms.
    pub(crate) token: String,
    /// Where the button "Sign out" posts to.
    pub(crate) sign_out: Option<String>,
    set_cookie: Option<String>,
}

impl Frame {
    pub(crate) fn new(
        site: &Site,
        Base(base): Base,
        headers: &HeaderMap,
        here: &'static str,
    ) -> Self {
        let FormToken { token, set_cookie } = site.csrf.token(headers);
        Self {
            here,
            base,
            token,
            sign_out: site.options.sign_out.clone(),
            set_cookie,
        }
    }

    /// A page in this frame.
    pub(crate) fn page(&self, status: StatusCode, template: &impl Template) -> Response {
        let Ok(html) = template.render() else {
            return (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The page cannot be made.\n",
            )
                .into_response();
        };
        let mut response = (status, Html(html)).into_response();
        if let Some(cookie) = &self.set_cookie
            && let Ok(cookie) = HeaderValue::from_str(cookie)
        {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }

    /// A page that says what has gone wrong.
    pub(crate) fn problem(&self, problem: &Problem) -> Response {
        self.page(
            problem.status,
            &ProblemPage {
                frame: self,
                problem,
            },
        )
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: &'a Frame,
    problem: &'a Problem,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_hold_below_any_path() {
        for (inner, original, base) in [
            ("/", "/", "./"),
            ("/", "/admin/sessions", "./sessions/"),
            ("/", "/admin/sessions/", "./"),
            ("/health", "/health", "./"),
            ("/health", "/admin/health", "./"),
            ("/session/1", "/session/1", "../"),
            ("/session/1/end", "/a/b/session/1/end", "../../"),
        ] {
            let uri = |path: &str| path.parse::<Uri>().unwrap();
            assert_eq!(
                Base::new(&uri(inner), &uri(original)).0,
                base,
                "{inner} {original}"
            );
        }
    }
}
