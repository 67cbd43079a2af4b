//! The pages of the shop.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use qsessions_axum::{CsrfToken, Next};

use crate::people::{self, Account};
use crate::products::{PRODUCTS, Product};

const STYLE: &str = include_str!("../templates/shop.css");

/// What stands around each page.
pub(crate) struct Frame {
    pub(crate) user: Option<&'static Account>,
    pub(crate) csrf_field: String,
}

impl Frame {
    pub(crate) fn new(user: Option<i64>, csrf: &CsrfToken) -> Self {
        Self {
            user: user.and_then(people::by_id),
            csrf_field: csrf.field(),
        }
    }
}

/// A product in the cart.
pub(crate) struct Item {
    pub(crate) product: &'static Product,
    pub(crate) quantity: u32,
}

#[derive(Template)]
#[template(path = "shop.html")]
pub(crate) struct ShopPage {
    pub(crate) frame: Frame,
    pub(crate) items: Vec<Item>,
}

impl ShopPage {
    fn products(&self) -> &'static [Product] {
        &PRODUCTS
    }

    fn total(&self) -> u32 {
        let costs = self
            .items
            .iter()
            .map(|item| item.product.price.saturating_mul(item.quantity));
        costs.fold(0, u32::saturating_add)
    }
}

#[derive(Template)]
#[template(path = "sign-in.html")]
pub(crate) struct SignInPage {
    pub(crate) frame: Frame,
    pub(crate) next: Next,
    pub(crate) name: String,
    pub(crate) has_failed: bool,
}

impl SignInPage {
    fn users(&self) -> String {
        people::names(false)
    }

    fn administrators(&self) -> String {
        people::names(true)
    }

    fn password(&self) -> &'static str {
        people::PASSWORD
    }
}

#[derive(Template)]
#[template(path = "not-an-administrator.html")]
struct NotAnAdministrator;

pub(crate) fn not_an_administrator() -> Response {
    show(&NotAnAdministrator)
}

pub(crate) fn show(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The answer to a change of a session that has ended meanwhile.
pub(crate) fn session_has_ended() -> Redirect {
    Redirect::to("/sign-in")
}

pub(crate) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

/// Pages that have no policy of their own load nothing from elsewhere, and are not kept.
pub(crate) async fn protect(mut response: Response) -> Response {
    const HEADERS: [(header::HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in HEADERS {
        let headers = response.headers_mut();
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}
