//! What the page answers.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use qsessions::{
    Category, Error as StoreError, EventKind, Executor, Key, SessionInfo, Store, Uuid,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::csrf::{CsrfForm, CsrfToken};
use crate::devices::page::{Device, Done, Page, SignIn};
use crate::devices::texts::Texts;
use crate::error::Error;
use crate::session::Session;
use crate::store::on_store;
use crate::user::CurrentUser;

/// Why a template has failed.
type TemplateError = Box<dyn StdError + Send + Sync>;
type Choose = Box<dyn Fn(&HeaderMap) -> Arc<Texts> + Send + Sync>;
type Render = Box<dyn Fn(&Page) -> Result<String, TemplateError> + Send + Sync>;

pub(crate) struct Settings {
    pub(crate) texts: Choose,
    pub(crate) template: Render,
    pub(crate) stylesheet: Option<String>,
    pub(crate) signed_out_page: String,
    pub(crate) sign_ins: u32,
    /// The database has no table of events, and is asked again after this, in seconds since 1970.
    pub(crate) no_events_until: AtomicU64,
}

const STYLE: &str = include_str!("../../templates/devices.css");
const STYLE_ROUTE: &str = "/style.css";
const SIGN_OUT: &str = "/sign-out";
const SIGN_OUT_OTHERS: &str = "/sign-out-others";

/// The most sessions that the page shows.
const MOST_LISTED: u32 = 100;

/// Nothing but the stylesheet of this host, and forms that are posted to it.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

pub(crate) fn router<S: Clone + Send + Sync + 'static>(settings: Settings) -> Router<S> {
    Router::new()
        .route("/", get(show))
        .route(STYLE_ROUTE, get(style))
        .route(SIGN_OUT, post(sign_out))
        .route(SIGN_OUT_OTHERS, post(sign_out_others))
        .with_state(Arc::new(settings))
}

async fn style() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=86400"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, STYLE)
}

/// The address of the page, as the browser sees it, from that of one of its routes.
fn address<'a>(uri: &'a OriginalUri, route: &str) -> &'a str {
    let path = uri.path();
    let page = path.strip_suffix(route).unwrap_or(path);
    page.trim_end_matches('/')
}

async fn show(
    State(settings): State<Arc<Settings>>,
    uri: OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    user: CurrentUser,
    session: Session,
    csrf: CsrfToken,
) -> Result<Response, Error> {
    let texts = (settings.texts)(&headers);
    let store = &session.shared.config().store;
    let (sessions, sign_ins) = on_store!(store, store => {
        let key = session.shared.key();
        let sessions = last_seen(store, &user, key.as_ref()).await?;
        let sessions = with_kinds(store, sessions).await?;
        (sessions, sign_ins(store, &settings, &user, &texts).await?)
    });
    let mut this_device = None;
    let mut other_devices = Vec::new();
    for (session, kind) in sessions {
        let is_current = session.is_current;
        let device = Device::new(session, kind, &texts);
        match is_current {
            true => this_device = Some(device),
            false => other_devices.push(device),
        }
    }
    let address = address(&uri, "/");
    let own_style = || format!("{address}{STYLE_ROUTE}?{}", env!("CARGO_PKG_VERSION"));
    let page = Page {
        texts,
        stylesheet: settings.stylesheet.clone().unwrap_or_else(own_style),
        csrf_field: csrf.field(),
        sign_out: format!("{address}{SIGN_OUT}"),
        sign_out_others: format!("{address}{SIGN_OUT_OTHERS}"),
        done: Done::from_query(query.as_deref()),
        this_device,
        other_devices,
        sign_ins,
    };
    Ok(answer((settings.template)(&page)))
}

fn answer(html: Result<String, TemplateError>) -> Response {
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    match html {
        Ok(html) => (headers, Html(html)).into_response(),
        Err(_error) => {
            #[cfg(feature = "tracing")]
            tracing::error!(error = &*_error as &dyn StdError, "template of devices");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The sessions that were last seen, this one among them. A user with thousands does not need a longer
/// page.
async fn last_seen<E: Executor>(
    store: &Store<E>,
    user: &str,
    key: Option<&Key>,
) -> Result<Vec<SessionInfo>, StoreError> {
    let list = || store.user_sessions(user).current(key);
    let sessions = list().max_rows(MOST_LISTED).await?;
    let is_whole = sessions.len() < MOST_LISTED as usize;
    if is_whole || sessions.iter().any(|session| session.is_current) {
        return Ok(sessions);
    }
    // The others were all seen after the last visit of this one was recorded.
    let mut sessions = list().await?;
    if let Some(current) = sessions.iter().position(|session| session.is_current) {
        sessions[..=current].rotate_right(1);
    }
    sessions.truncate(MOST_LISTED as usize);
    Ok(sessions)
}

/// The kind of each device. Most users have few browsers, so that few calls are made. A user who signs
/// in again and again under other names of browsers must not multiply them.
async fn with_kinds<E: Executor>(
    store: &Store<E>,
    sessions: Vec<SessionInfo>,
) -> Result<Vec<(SessionInfo, Category)>, StoreError> {
    const MOST: usize = 50;
    let mut known: Vec<(String, Category)> = Vec::new();
    let mut with_kinds = Vec::with_capacity(sessions.len());
    for session in sessions {
        let kind = match session.user_agent.as_deref() {
            None => Category::Other,
            Some(agent) => match known.iter().find(|(known, _)| known == agent) {
                Some((_, kind)) => *kind,
                None if known.len() == MOST => Category::Other,
                None => {
                    let kind = store.parse_user_agent(agent).await?.category;
                    known.push((agent.to_owned(), kind));
                    kind
                }
            },
        };
        with_kinds.push((session, kind));
    }
    Ok(with_kinds)
}

/// The last sign-ins. Without a table of events there are none, and the database is not asked again
/// for some minutes, because it logs an error each time.
async fn sign_ins<E: Executor>(
    store: &Store<E>,
    settings: &Settings,
    user: &str,
    texts: &Texts,
) -> Result<Vec<SignIn>, StoreError> {
    const PAUSE: Duration = Duration::from_secs(300);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let until = &settings.no_events_until;
    if settings.sign_ins == 0 || now.as_secs() < until.load(Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let events = match store.user_events(user).await {
        Err(error) if is_undefined_table(&error) => {
            until.store((now + PAUSE).as_secs(), Ordering::Relaxed);
            return Ok(Vec::new());
        }
        events => events?,
    };
    let logins = events
        .into_iter()
        .filter(|event| event.event == EventKind::Login);
    let shown = logins.take(settings.sign_ins as usize);
    Ok(shown.map(|event| SignIn::new(event, texts)).collect())
}

fn is_undefined_table(error: &StoreError) -> bool {
    matches!(error, StoreError::Database(error)
        if error.code().is_some_and(|code| code.code() == "42P01"))
}

#[derive(Debug, Deserialize)]
struct Which {
    id: Uuid,
}

async fn sign_out(
    State(settings): State<Arc<Settings>>,
    uri: OriginalUri,
    user: CurrentUser,
    session: Session,
    form: CsrfForm<Which>,
) -> Result<Redirect, Error> {
    if session.id() == Some(form.id) {
        session.logout().await?;
        return Ok(Redirect::to(&settings.signed_out_page));
    }
    let store = &session.shared.config().store;
    // Another browser tab may have done it already.
    let _was_there = on_store!(store, store => store.revoke_for_user(form.id, &*user).await)?;
    Ok(back(&uri, SIGN_OUT, Done::SignedOut))
}

async fn sign_out_others(
    uri: OriginalUri,
    user: CurrentUser,
    session: Session,
    _: CsrfForm<IgnoredAny>,
) -> Result<Redirect, Error> {
    let store = &session.shared.config().store;
    let key = session.shared.key();
    let others = on_store!(store, store => {
        store.revoke_user_sessions(&*user).except(key.as_ref()).await
    });
    others?;
    Ok(back(&uri, SIGN_OUT_OTHERS, Done::SignedOutOthers))
}

fn back(uri: &OriginalUri, route: &str, done: Done) -> Redirect {
    Redirect::to(&format!(
        "{}?{}",
        page_or_root(address(uri, route)),
        done.as_str()
    ))
}

fn page_or_root(address: &str) -> &str {
    if address.is_empty() { "/" } else { address }
}
