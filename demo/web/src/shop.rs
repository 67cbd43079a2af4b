//! A shop with a cart.

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use qsessions_axum::{CsrfForm, CsrfToken, CurrentUser, Error, Next, Session};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::pages::{self, Frame, Item, ShopPage, SignInPage};
use crate::people;
use crate::products::{PRODUCTS, Product};

/// Each product is a member of the session of its own. Requests that add different products at the
/// same time keep each other's changes, because a session saves only the members that have changed.
fn member(product: &Product) -> String {
    format!("cart.{}", product.id)
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/", get(shop))
        .route("/cart/add", post(add))
        .route("/cart/remove", post(remove))
        .route("/sign-in", get(sign_in_form).post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/shop.css", get(pages::style))
}

async fn shop(
    user: Option<CurrentUser<i64>>,
    session: Session,
    csrf: CsrfToken,
) -> Result<Response, Error> {
    let mut items = Vec::new();
    for product in &PRODUCTS {
        if let Some(quantity) = session.get(&member(product))? {
            items.push(Item { product, quantity });
        }
    }
    let frame = Frame::new(user.as_deref().copied(), &csrf);
    Ok(pages::show(&ShopPage { frame, items }))
}

#[derive(Deserialize)]
struct Choice {
    product: String,
}

impl Choice {
    fn member(&self) -> Option<String> {
        let product = PRODUCTS.iter().find(|product| product.id == self.product);
        product.map(member)
    }
}

async fn add(session: Session, choice: CsrfForm<Choice>) -> Result<Response, Error> {
    let Some(member) = choice.member() else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let quantity: u32 = session.get(&member)?.unwrap_or_default();
    session.insert(member, quantity.saturating_add(1))?;
    Ok(Redirect::to("/").into_response())
}

async fn remove(session: Session, choice: CsrfForm<Choice>) -> Response {
    let Some(member) = choice.member() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    session.remove(&member);
    Redirect::to("/").into_response()
}

async fn sign_in_form(user: Option<CurrentUser<i64>>, csrf: CsrfToken, next: Next) -> Response {
    pages::show(&SignInPage {
        frame: Frame::new(user.as_deref().copied(), &csrf),
        next,
        name: String::new(),
        has_failed: false,
    })
}

#[derive(Deserialize)]
struct SignIn {
    name: String,
    password: String,
    #[serde(default)]
    next: Next,
}

async fn sign_in(
    user: Option<CurrentUser<i64>>,
    session: Session,
    csrf: CsrfToken,
    CsrfForm(form): CsrfForm<SignIn>,
) -> Result<Response, Error> {
    if let Some(account) = people::check(&form.name, &form.password) {
        session.login(account.id).await?;
        return Ok(Redirect::to(form.next.as_str()).into_response());
    }
    let page = SignInPage {
        frame: Frame::new(user.as_deref().copied(), &csrf),
        next: form.next,
        name: form.name,
        has_failed: true,
    };
    Ok((StatusCode::UNPROCESSABLE_ENTITY, pages::show(&page)).into_response())
}

async fn sign_out(session: Session, _: CsrfForm<IgnoredAny>) -> Result<Redirect, Error> {
    session.logout().await?;
    Ok(Redirect::to("/"))
}
