//! The layers that are compared.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, request::Parts};
use axum::routing::get;
use qsessions::deadpool_postgres::tokio_postgres::{Config, NoTls};
use qsessions::deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use qsessions::{CacheConfig, CachedStore, Store};
use qsessions_axum::{SessionLayer, SessionStore};
use qsessions_tower_sessions::{QsessionsStore, VisitorLayer};
use tower_sessions::{CachingSessionStore, Expiry, SessionManagerLayer};
use tower_sessions_moka_store::MokaStore;
use tower_sessions_sqlx_store::PostgresStore;
use tower_sessions_sqlx_store::sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{MEMBER, Result, answer, setting};

pub(crate) const COOKIE: &str = "id";
/// Twice the number of sessions, so that no cache drops any.
const CAPACITY: u64 = 20_000;
const CONNECTIONS: u32 = 8;

/// The handler behind the layer of this name.
pub(crate) async fn app(layer: &str) -> Result<Router> {
    Ok(match layer {
        "none" => Router::new().route("/", get(without_session)),
        "qsessions-cached" => of_qsessions(cached_store().await?)?,
        "qsessions" => of_qsessions(Store::new(pool()?))?,
        "tower-cached" => {
            let cache = MokaStore::new(Some(CAPACITY));
            of_tower(CachingSessionStore::new(cache, tower_store().await?))
        }
        "tower" => of_tower(tower_store().await?),
        "qsessions-tower-cached" => {
            of_tower(QsessionsStore::new(cached_store().await?)).layer(VisitorLayer::new(peer))
        }
        "qsessions-tower" => {
            of_tower(QsessionsStore::new(Store::new(pool()?))).layer(VisitorLayer::new(peer))
        }
        other => return Err(format!("there is no layer {other:?}").into()),
    })
}

type Answer = std::result::Result<String, StatusCode>;

async fn without_session() -> Answer {
    answer(Some("dark".to_owned()))
}

fn of_qsessions(store: impl Into<SessionStore>) -> Result<Router> {
    async fn handler(session: qsessions_axum::Session) -> Answer {
        answer(session.get(MEMBER).ok().flatten())
    }
    let layer = SessionLayer::builder(store)
        .cookie_name(COOKIE)
        .secure(false)
        .build()?;
    Ok(Router::new().route("/", get(handler)).layer(layer))
}

fn of_tower(store: impl tower_sessions::SessionStore + Clone) -> Router {
    async fn handler(session: tower_sessions::Session) -> Answer {
        answer(session.get(MEMBER).await.ok().flatten())
    }
    let layer = SessionManagerLayer::new(store)
        .with_name(COOKIE)
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::weeks(2)));
    Router::new().route("/", get(handler)).layer(layer)
}

fn peer(request: &Parts) -> Option<IpAddr> {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map(|peer| peer.0.ip())
}

/// Neither this pool nor that of tower-sessions asks a connection whether it works before it is
/// used.
pub(crate) fn pool() -> Result<Pool> {
    let trusting = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(postgres()?, NoTls, trusting);
    Ok(Pool::builder(manager)
        .max_size(CONNECTIONS as usize)
        .build()?)
}

fn postgres() -> Result<Config> {
    Ok(setting("BENCH_POSTGRES")?.parse()?)
}

async fn cached_store() -> Result<CachedStore> {
    let store = Store::builder(pool()?)
        .cached(postgres()?, NoTls)
        .config(CacheConfig::new().capacity(CAPACITY))
        .build()?;
    store.ready().await?;
    Ok(store)
}

pub(crate) async fn tower_store() -> Result<PostgresStore> {
    let options = PgConnectOptions::new()
        .socket(setting("BENCH_SOCKET_FOLDER")?)
        .username(&setting("BENCH_USER")?)
        .database(&setting("BENCH_DATABASE")?);
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    Ok(PostgresStore::new(pool))
}
