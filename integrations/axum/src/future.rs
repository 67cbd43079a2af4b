//! The response of a request, whose session is saved before it is sent.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pin_project_lite::pin_project;

use crate::finish::{finish, finish_at_once};
use crate::shared::Shared;

pin_project! {
    /// The future of a [`SessionService`](crate::SessionService).
    ///
    /// It is the future of the service inside, without an allocation. Only a response that has to
    /// wait for the database, such as that of a request that has changed its session, needs one.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct ResponseFuture<F> {
        // `None`: it has ended.
        #[pin]
        inner: Option<F>,
        shared: Arc<Shared>,
        finishing: Option<Finishing>,
    }
}

type Finishing = Pin<Box<dyn Future<Output = Response> + Send>>;

impl<F> ResponseFuture<F> {
    pub(crate) fn new(inner: F, shared: Arc<Shared>) -> Self {
        Self {
            inner: Some(inner),
            shared,
            finishing: None,
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(inner) = this.inner.as_mut().as_pin_mut() {
            let ended = ready!(poll_unless_it_panics(inner, context));
            // A handler that was given up ends before its session is saved.
            this.inner.set(None);
            let mut response = match ended {
                Ok(response) => response?.into_response(),
                Err(_) if this.shared.state().cookie.is_new() => {
                    this.shared.state().take_changes();
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
                Err(panic) => resume_unwind(panic),
            };
            if !this.shared.is_loaded() {
                return Poll::Ready(Ok(response));
            }
            if finish_at_once(this.shared, &mut response) {
                return Poll::Ready(Ok(response));
            }
            let shared = Arc::clone(this.shared);
            let finishing = async move { finish(&shared, response).await };
            *this.finishing = Some(Box::pin(finishing));
        }
        let finishing = this.finishing.as_mut();
        let finishing = finishing.expect("a future is not polled after its end");
        finishing.as_mut().poll(context).map(Ok)
    }
}

/// The output of a future, or its panic. After a panic, the future is only dropped.
fn poll_unless_it_panics<F: Future>(
    future: Pin<&mut F>,
    context: &mut Context<'_>,
) -> Poll<Result<F::Output, Box<dyn Any + Send>>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
