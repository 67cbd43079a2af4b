use axum::{Router, response::Html, response::Redirect, routing::get, routing::post};
use qsessions::deadpool_postgres::{Config, Runtime, tokio_postgres::NoTls};
use qsessions_axum::{CsrfForm, CsrfToken, CurrentUser, Devices, Error, Next, Session, SessionLayer};
use std::{error::Error as StdError, net::SocketAddr};

#[derive(serde::Deserialize)]
struct SignIn {
    user: i64, // and a password, in your application
    next: Next,
}

async fn form(csrf: CsrfToken, next: Next) -> Html<String> {
    let (csrf, next) = (csrf.field(), next.field());
    Html(format!(r#"<form method="post">{csrf}{next}<input name="user"><button>Sign in</button></form>"#))
}

async fn sign_in(session: Session, form: CsrfForm<SignIn>) -> Result<Redirect, Error> {
    session.login(form.user).await?;
    Ok(Redirect::to(form.next.as_str()))
}

async fn home(CurrentUser(user): CurrentUser<i64>) -> Html<String> {
    Html(format!(r#"Hello, user {user}! These are <a href="/devices">your devices</a>."#))
}

pub fn app(store: qsessions::Store) -> Result<Router, Box<dyn StdError>> {
    let sessions = SessionLayer::builder(store).sign_in_page("/sign-in").build()?;
    Ok(Router::new()
        .route("/", get(home))
        .route("/sign-in", get(form).post(sign_in))
        .nest("/devices", Devices::new().signed_out_page("/sign-in").router())
        .layer(sessions))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let pool = Config { url: std::env::var("DATABASE_URL").ok(), ..Config::default() };
    let store = qsessions::Store::new(pool.create_pool(Some(Runtime::Tokio1), NoTls)?);
    let app = app(store)?.into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}
