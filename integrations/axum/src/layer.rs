//! The layer that gives each request its session, and saves it when the response is ready.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::header::{SET_COOKIE, VARY};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::builder::SessionLayerBuilder;
use crate::calls::{self, is_persistent};
use crate::error::{BuildError, Error, Interrupted};
use crate::shared::{Handle, LayerState, Shared};
use crate::state::CookieChange;
use crate::store::{SessionStore, on_store};

/// Gives each request its [`Session`](crate::Session).
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use qsessions_axum::{Error, Session, SessionLayer};
///
/// async fn count(session: Session) -> Result<String, Error> {
///     let visits = session.get("visits")?.unwrap_or(0_u64) + 1;
///     session.insert("visits", visits)?;
///     Ok(format!("visit {visits}"))
/// }
///
/// # fn example(store: qsessions::Store) {
/// let app: Router = Router::new()
///     .route("/", get(count))
///     .layer(SessionLayer::new(store));
/// # }
/// ```
///
/// # What it does with a response
///
/// - **It saves when the head of the response is ready.** What a streaming body or a WebSocket
///   changes later needs a [`save`](crate::Session::save).
/// - **Status 500 to 599:** changes are dropped, unless the builder says
///   [otherwise](SessionLayerBuilder::save_on_server_errors). Logins, rotations and logouts were
///   done at once, and their cookie is set.
/// - **A panic:** changes are dropped. If there is a cookie to set, the response is an empty 500
///   with that cookie. Otherwise the panic goes on to what is around the layer.
/// - **The session has ended meanwhile** by a logout or a revocation: nothing is saved, the cookie
///   is removed, and the response is [that of the
///   builder](SessionLayerBuilder::when_interrupted), by default with the status 401. A request
///   that has changed nothing is answered as usual.
/// - **The database fails while the session is saved:** the response is 503, or 500.
/// - **A timeout** inside of the layer answers in place of the handler: a login or a rotation that
///   is under way is done, and its cookie is set. Outside of the layer, a timeout would lose the
///   cookie: put the layer around it.
///
/// If a handler has asked for the session, the response gets `Vary: Cookie`. If it sets a cookie, it
/// gets `Cache-Control: private`, unless it has this or `no-store` already: a cache that visitors
/// share would give the cookie to all who come without one.
#[derive(Clone)]
pub struct SessionLayer {
    state: Arc<LayerState>,
}

impl SessionLayer {
    /// A layer with a persistent `__Host-session` cookie for HTTPS, and the expiry that the
    /// database has by default.
    ///
    /// # Panics
    ///
    /// Never: these settings fit together.
    #[must_use]
    pub fn new(store: impl Into<SessionStore>) -> Self {
        let layer = Self::builder(store).build();
        layer.expect("the settings that a builder begins with fit together")
    }

    /// A layer with settings of its own.
    pub fn builder(store: impl Into<SessionStore>) -> SessionLayerBuilder {
        SessionLayerBuilder::new(store.into())
    }
}

impl SessionLayerBuilder {
    /// The layer.
    ///
    /// # Errors
    ///
    /// If browsers would refuse the cookie, the grace is out of range, the number of sessions is
    /// zero, or the sign-in page is not a path of this site.
    pub fn build(self) -> Result<SessionLayer, BuildError> {
        let state = LayerState::new(self.into_config()?);
        Ok(SessionLayer {
            state: Arc::new(state),
        })
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService {
            inner,
            state: Arc::clone(&self.state),
        }
    }
}

/// A service with a [`SessionLayer`] around it.
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    state: Arc<LayerState>,
}

impl<S> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let shared = Arc::new(Shared::new(Arc::clone(&self.state)));
        request.extensions_mut().insert(Handle(Arc::clone(&shared)));
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = match unless_it_panics(response).await {
                Ok(response) => response?.into_response(),
                Err(_) if shared.state().cookie.is_new() => {
                    shared.state().take_changes();
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
                Err(panic) => resume_unwind(panic),
            };
            Ok(match shared.is_loaded() {
                true => finish(&shared, response).await,
                false => response,
            })
        })
    }
}

/// The output of a future, or its panic.
async fn unless_it_panics<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // After a panic, the future is only dropped.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// Saves the session, and sets the cookies.
async fn finish(shared: &Shared, mut response: Response) -> Response {
    let config = shared.config();
    if response.status().is_server_error() && !config.saves_on_server_errors {
        shared.state().take_changes();
    }
    match calls::save(shared).await {
        Ok(()) => {}
        Err(Error::Interrupted) => {
            response = (config.when_interrupted)();
            response.extensions_mut().insert(Interrupted);
        }
        Err(error) => response = error.into_response(),
    }
    let is_page = is_page(response.headers());
    let headers = response.headers_mut();
    add_vary(headers);
    if is_page && config.asks_for_client_hints {
        headers.entry(ACCEPT_CH).or_insert(HINTS);
    }
    let cookies = cookies(shared).await;
    if !cookies.is_empty() && !is_private(headers) {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

/// The headers that set or remove cookies. No other can follow.
async fn cookies(shared: &Shared) -> Vec<HeaderValue> {
    let config = shared.config();
    let must_ask = {
        let mut state = shared.state();
        // The data is looked at only if the cookie may be set: reading a session is the most
        // frequent request.
        if state.cookie == CookieChange::Prolong && !is_persistent(&state, config.is_persistent) {
            state.cookie = CookieChange::None;
        }
        (state.cookie == CookieChange::Prolong).then(|| state.key.clone())
    };
    if let Some(Some(key)) = must_ask {
        // Another request may have rotated the key, and set the cookie, while this one ran. In a
        // box, so that the future of each request is small.
        let asked = async { on_store!(config.store, store => store.is_present_key(&key).await) };
        if !matches!(Box::pin(asked).await, Ok(true)) {
            shared.state().cookie = CookieChange::None;
        }
    }
    let mut state = shared.state();
    state.is_head_sent = true;
    let session = match (state.cookie, &state.key) {
        (CookieChange::Set | CookieChange::Prolong, Some(key)) => {
            let is_persistent = is_persistent(&state, config.is_persistent);
            let expires_at = is_persistent.then_some(state.expires_at);
            if let Some(id) = state.id {
                shared.layer.told.note(id, state.expires_at);
            }
            Some(config.cookies.set(key, expires_at))
        }
        (CookieChange::Remove, _) => Some(config.cookies.remove()),
        _ => None,
    };
    let csrf = state.new_csrf_secret.take();
    let csrf = csrf.map(|secret| config.cookies.set_csrf(&secret));
    session.into_iter().chain(csrf).collect()
}

const ACCEPT_CH: HeaderName = HeaderName::from_static("accept-ch");
/// Those that browsers do not send unasked, and that tell a device.
const HINTS: HeaderValue = HeaderValue::from_static(
    "Sec-CH-UA-Full-Version-List, Sec-CH-UA-Model, Sec-CH-UA-Platform-Version",
);

fn is_page(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

/// Says that the response depends on the cookie, unless it does already.
fn add_vary(headers: &mut HeaderMap) {
    if !has_one_of(headers, &VARY, &["*", "cookie"]) {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}

/// Whether no cache that visitors share keeps the response. `private` wins over `public`.
fn is_private(headers: &HeaderMap) -> bool {
    has_one_of(headers, &CACHE_CONTROL, &["private", "no-store"])
}

/// Whether the list in a header has one of these members.
fn has_one_of(headers: &HeaderMap, name: &HeaderName, members: &[&str]) -> bool {
    let values = headers.get_all(name).iter();
    let mut found = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    found.any(|found| {
        let found = found.trim();
        members
            .iter()
            .any(|member| found.eq_ignore_ascii_case(member))
    })
}
