//! Who is signed in, and what only they may see.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, OptionalFromRequestParts, OriginalUri};
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::error::Error;
use crate::next::{NEXT, safe_path};
use crate::shared::Shared;

/// The user who is signed in, by an id of your type.
///
/// Visitors who are not signed in are [redirected or refused](NotSignedIn).
/// `Option<CurrentUser<…>>` is `None` for them.
///
/// ```
/// use qsessions_axum::CurrentUser;
///
/// async fn orders(CurrentUser(user): CurrentUser<i64>) -> String {
///     format!("the orders of user {user}")
/// }
///
/// async fn home(user: Option<CurrentUser<i64>>) -> &'static str {
///     if user.is_some() { "Welcome back!" } else { "Please sign in." }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CurrentUser<Id = String>(pub Id);

impl<Id> Deref for CurrentUser<Id> {
    type Target = Id;

    fn deref(&self) -> &Id {
        &self.0
    }
}

impl<Id: FromStr, S: Sync> FromRequestParts<S> for CurrentUser<Id> {
    type Rejection = NotSignedIn;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotSignedIn> {
        let shared = Shared::of(parts)?;
        match current_user(&shared).await? {
            Some(user) => Ok(user),
            None => Err(NotSignedIn::at(
                &shared,
                &destination(parts),
                &parts.headers,
            )),
        }
    }
}

impl<Id: FromStr, S: Sync> OptionalFromRequestParts<S> for CurrentUser<Id> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        let shared = Shared::of(parts)?;
        current_user(&shared).await
    }
}

async fn current_user<Id: FromStr>(shared: &Shared) -> Result<Option<CurrentUser<Id>>, Error> {
    shared.load().await?;
    // Code of the application must not run under the lock.
    let user = shared.state().user_id().map(str::to_owned);
    let user = user.map(|id| id.parse().map_err(|_| Error::UserId));
    Ok(user.transpose()?.map(CurrentUser))
}

/// What a visitor gets who is not signed in.
///
/// If the layer has a [sign-in page](crate::SessionLayerBuilder::sign_in_page) and the browser
/// wants a page, it is redirected there. A request that only reads brings its path along as the
/// parameter `next`, for [`Next`](crate::Next). Other requests, such as those of scripts, get the
/// status 401.
#[derive(Debug)]
pub struct NotSignedIn(Box<Answer>);

#[derive(Debug)]
enum Answer {
    Redirect(String),
    Refuse,
    Fail(Error),
}

impl NotSignedIn {
    fn at(shared: &Shared, destination: &Destination, headers: &HeaderMap) -> Self {
        let page = shared.config().sign_in_page.as_deref();
        let answer = match page.filter(|_| wants_a_page(headers)) {
            Some(page) => Answer::Redirect(destination.after_login_at(page)),
            None => Answer::Refuse,
        };
        Self(Box::new(answer))
    }
}

impl From<Error> for NotSignedIn {
    fn from(error: Error) -> Self {
        Self(Box::new(Answer::Fail(error)))
    }
}

impl IntoResponse for NotSignedIn {
    fn into_response(self) -> Response {
        match *self.0 {
            Answer::Redirect(to) => Redirect::to(&to).into_response(),
            Answer::Refuse => (StatusCode::UNAUTHORIZED, "Please sign in.").into_response(),
            Answer::Fail(error) => error.into_response(),
        }
    }
}

/// Browsers that navigate or submit a form accept HTML. Scripts accept anything, or JSON.
fn wants_a_page(headers: &HeaderMap) -> bool {
    let mut accept = headers.get_all(ACCEPT).iter();
    accept.any(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.contains("text/html"))
    })
}

/// The page that was asked for, if it can be shown after a login.
struct Destination(Option<String>);

fn destination(parts: &Parts) -> Destination {
    Destination::new(&parts.method, parts.extensions.get(), &parts.uri)
}

impl Destination {
    fn new(method: &Method, original: Option<&OriginalUri>, uri: &axum::http::Uri) -> Self {
        // A router that is nested sees a part of the path only.
        let uri = original.map_or(uri, |original| &original.0);
        let path = uri.path_and_query().map(|path| path.as_str());
        let can_be_shown = matches!(*method, Method::GET | Method::HEAD);
        let path = path.filter(|_| can_be_shown).and_then(safe_path);
        Self(path.map(str::to_owned))
    }

    fn after_login_at(&self, page: &str) -> String {
        let Some(path) = &self.0 else {
            return page.to_owned();
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair(NEXT, path);
        format!("{page}?{}", query.finish())
    }
}

/// A layer for routes that only users who are signed in may see. Others are [redirected or
/// refused](NotSignedIn). Put it inside of the [`SessionLayer`](crate::SessionLayer).
///
/// ```
/// use axum::{Router, routing::get};
/// use qsessions_axum::{RequireLogin, SessionLayer};
///
/// # fn example(sessions: SessionLayer) -> Router {
/// Router::new()
///     .route("/orders", get("your orders"))
///     .route_layer(RequireLogin)
///     .route("/", get("for everybody"))
///     .layer(sessions)
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct RequireLogin;

impl<S> Layer<S> for RequireLogin {
    type Service = RequireLoginService<S>;

    fn layer(&self, inner: S) -> RequireLoginService<S> {
        RequireLoginService { inner }
    }
}

/// A service with [`RequireLogin`] around it.
#[derive(Clone)]
pub struct RequireLoginService<S> {
    inner: S,
}

impl<S> fmt::Debug for RequireLoginService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireLoginService")
            .finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<B>> for RequireLoginService<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was asked whether it is ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            match check(&parts).await {
                Ok(()) => {
                    let request = Request::from_parts(parts, body);
                    Ok(inner.call(request).await?.into_response())
                }
                Err(answer) => Ok(answer.into_response()),
            }
        })
    }
}

async fn check(parts: &Parts) -> Result<(), NotSignedIn> {
    let shared = Shared::of(parts)?;
    shared.load().await?;
    let is_signed_in = shared.state().user_id().is_some();
    match is_signed_in {
        true => Ok(()),
        false => Err(NotSignedIn::at(
            &shared,
            &destination(parts),
            &parts.headers,
        )),
    }
}
