//! Users sign in, see their devices and sign out.

use axum::{Router, response::Html, response::Redirect, routing::get};
use qsessions::deadpool_postgres::{Config, Runtime, tokio_postgres::NoTls};
use qsessions_axum::{CsrfForm, CsrfToken, Devices, Error, Next, Session, SessionLayer};
use std::{error::Error as StdError, net::SocketAddr};

#[derive(serde::Deserialize)]
struct SignIn {
    user: i64, // and a password, which your application checks
    next: Next,
}

async fn form(csrf: CsrfToken, next: Next) -> Html<String> {
    const FORM: &str = "<form method=post><input name=user><button>Sign in</button>";
    Html([FORM, &csrf.field(), &next.field(), "</form>"].concat())
}

async fn sign_in(session: Session, form: CsrfForm<SignIn>) -> Result<Redirect, Error> {
    session.login(form.user).await?;
    Ok(Redirect::to(form.next.or("/devices")))
}

pub(crate) fn app(store: qsessions::Store) -> Result<Router, Box<dyn StdError>> {
    let sessions = SessionLayer::builder(store)
        .sign_in_page("/sign-in")
        .build()?;
    let devices = Devices::new().signed_out_page("/sign-in").router();
    Ok(Router::new()
        .route("/sign-in", get(form).post(sign_in))
        .nest("/devices", devices)
        .layer(sessions))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let mut pool = Config::new();
    pool.url = Some(std::env::var("DATABASE_URL")?);
    let store = qsessions::Store::new(pool.create_pool(Some(Runtime::Tokio1), NoTls)?);
    let app = app(store)?.into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}
