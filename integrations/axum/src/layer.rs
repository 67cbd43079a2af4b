//! The layer that gives each request its session, and saves it when the response is ready.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::Request;
use axum::response::{IntoResponse, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::builder::SessionLayerBuilder;
use crate::error::BuildError;
use crate::future::ResponseFuture;
use crate::shared::{Handle, LayerState, Shared};
use crate::store::SessionStore;

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
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let shared = Arc::new(Shared::new(Arc::clone(&self.state)));
        request.extensions_mut().insert(Handle(Arc::clone(&shared)));
        ResponseFuture::new(self.inner.call(request), shared)
    }
}
