//! Signs in, shows the devices of the user, and signs out.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Form};
use axum::http::{StatusCode, request::Parts};
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Extension, Router};
use qsessions::deadpool_postgres::{Config, Runtime, tokio_postgres::NoTls};
use qsessions::{Key, Store};
use qsessions_tower_sessions::{QsessionsStore, VisitorLayer};
use time::Duration;
use tower_sessions::{Expiry, Session, SessionManagerLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = Some("postgres://shop_app@localhost/shop".to_owned());
    let pool = Config {
        url,
        ..Config::default()
    }
    .create_pool(Some(Runtime::Tokio1), NoTls)?;
    let app = app(Store::new(pool)).into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}

pub(crate) fn app(store: Store) -> Router {
    let sessions =
        QsessionsStore::new(store.clone()).user_id(|data| Some(data.get("user")?.as_i64()?.into()));
    let two_weeks = Expiry::OnInactivity(Duration::weeks(2));
    Router::new()
        .route("/sign-in", post(sign_in))
        .route("/devices", get(devices))
        .route("/sign-out", post(sign_out))
        .layer(SessionManagerLayer::new(sessions).with_expiry(two_weeks))
        .layer(VisitorLayer::new(peer))
        .layer(Extension(store))
}

fn peer(request: &Parts) -> Option<IpAddr> {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map(|peer| peer.0.ip())
}

async fn sign_in(session: Session, Form(user): Form<SignIn>) -> Result<Redirect, StatusCode> {
    // Check the password here.
    session.cycle_id().await.map_err(internal)?;
    session.insert("user", user.id).await.map_err(internal)?;
    Ok(Redirect::to("/devices"))
}

async fn devices(session: Session, store: Extension<Store>) -> Result<String, StatusCode> {
    let user = session.get::<i64>("user").await.map_err(internal)?;
    let user = user.ok_or(StatusCode::UNAUTHORIZED)?;
    let key = Key::new(session.id().ok_or(StatusCode::UNAUTHORIZED)?.to_string());
    let devices = store
        .user_sessions(user)
        .current(&key)
        .await
        .map_err(internal)?;
    let lines = devices.iter().map(|session| {
        let this_one = if session.is_current {
            " (this one)"
        } else {
            ""
        };
        format!("{:?} at {:?}{this_one}\n", session.device, session.ip)
    });
    Ok(lines.collect())
}

async fn sign_out(session: Session) -> Result<(), StatusCode> {
    session.flush().await.map_err(internal)
}

#[derive(serde::Deserialize)]
struct SignIn {
    id: i64,
}

fn internal(_: impl std::error::Error) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}
