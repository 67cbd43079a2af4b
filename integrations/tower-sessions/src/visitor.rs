//! A layer that passes on where a request comes from.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use tokio::task::futures::TaskLocalFuture;
use tower_layer::Layer;
use tower_service::Service;

use crate::request::Request;

/// A layer that tells a [`QsessionsStore`](crate::QsessionsStore) which address and which browser
/// a request comes from, and lets requests that save one session at the same time keep each other's
/// changes.
///
/// It has to be around the layer of tower-sessions: in axum, add it after that one. Without it,
/// sessions have no address and no browser, and the last save of a session replaces all data.
///
/// The browser is what the headers `User-Agent` and `Sec-CH-UA-*` say. The address comes from a
/// function of the application. It decides which proxies are trusted, and reads no header by itself.
///
/// ```
/// use std::net::{IpAddr, SocketAddr};
///
/// use axum::extract::ConnectInfo;
/// use http::request::Parts;
/// use qsessions_tower_sessions::VisitorLayer;
///
/// /// The address of the connection, for an application that browsers connect to.
/// fn peer(request: &Parts) -> Option<IpAddr> {
///     let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
///     peer.map(|peer| peer.0.ip())
/// }
///
/// let layer = VisitorLayer::new(peer);
/// ```
///
/// Behind a proxy, read the header that this proxy sets, and make sure that no request reaches the
/// application on another way: anyone can send an `X-Forwarded-For`.
#[derive(Clone)]
pub struct VisitorLayer<F> {
    address: F,
}

impl<F> VisitorLayer<F>
where
    F: Fn(&Parts) -> Option<IpAddr> + Clone,
{
    /// A layer that asks this function for the address of the client. `None`: it is unknown.
    pub fn new(address: F) -> Self {
        Self { address }
    }
}

impl<S, F: Clone> Layer<S> for VisitorLayer<F> {
    type Service = Visitor<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Visitor {
            inner,
            address: self.address.clone(),
        }
    }
}

impl<F> fmt::Debug for VisitorLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisitorLayer").finish_non_exhaustive()
    }
}

/// The service of a [`VisitorLayer`].
#[derive(Clone)]
pub struct Visitor<S, F> {
    inner: S,
    address: F,
}

impl<S, F, B> Service<http::Request<B>> for Visitor<S, F>
where
    S: Service<http::Request<B>>,
    F: Fn(&Parts) -> Option<IpAddr>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Arc<Request>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let visit = Request::new((self.address)(&parts), &parts.headers);
        visit.scope(self.inner.call(http::Request::from_parts(parts, body)))
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Visitor<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
