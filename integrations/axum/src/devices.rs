//! The page on which people see where they are signed in, and sign out there.

mod page;
mod routes;
mod texts;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::http::HeaderMap;

pub use page::{Device, Done, Moment, Page, SignIn};
pub use texts::Texts;

use page::DefaultTemplate;
use routes::Settings;

/// The account page "Your devices", as a router to be mounted.
///
/// It shows the devices on which the user is signed in, and the last sign-ins if the database has a
/// [table of events](qsessions::Store::create_event_table). The user can sign out on one device, or
/// on all others. It needs no scripts, and its `Content-Security-Policy` allows none.
///
/// ```
/// use axum::Router;
/// use qsessions_axum::{Devices, SessionLayer};
///
/// # fn example(sessions: SessionLayer) -> Router {
/// Router::new()
///     .nest("/account/devices", Devices::new().router())
///     .layer(sessions)
/// # }
/// ```
///
/// # Your own template
///
/// The templates are those of the crate `askama`, and any other engine will do: a template is a
/// function from a [`Page`] to HTML. Copy `templates/devices.html` of this crate to begin with.
///
/// ```
/// use qsessions_axum::Devices;
/// use qsessions_axum::devices::Page;
///
/// fn list(page: &Page) -> Result<String, std::fmt::Error> {
///     use std::fmt::Write as _;
///     let mut html = String::from("<!DOCTYPE html><title>Devices</title><ul>");
///     for device in page.devices() {
///         // A template engine escapes text by itself.
///         write!(html, "<li>{}", device.name.replace('&', "&amp;").replace('<', "&lt;"))?;
///     }
///     Ok(html)
/// }
///
/// let devices = Devices::new().template(list);
/// ```
#[must_use]
pub struct Devices {
    settings: Settings,
}

impl Devices {
    /// The page in English.
    pub fn new() -> Self {
        let texts = Arc::new(Texts::default());
        Self {
            settings: Settings {
                texts: Box::new(move |_| Arc::clone(&texts)),
                template: Box::new(|page| Ok(DefaultTemplate::render(page)?)),
                stylesheet: None,
                signed_out_page: "/".to_owned(),
                sign_ins: 10,
                no_events_until: AtomicU64::new(0),
            },
        }
    }

    /// The texts in another language.
    pub fn texts(self, texts: Texts) -> Self {
        let texts = Arc::new(texts);
        self.texts_for(move |_| Arc::clone(&texts))
    }

    /// The texts for the headers of a request, such as `Accept-Language`.
    pub fn texts_for(
        mut self,
        choose: impl Fn(&HeaderMap) -> Arc<Texts> + Send + Sync + 'static,
    ) -> Self {
        self.settings.texts = Box::new(choose);
        self
    }

    /// Another template for the page.
    pub fn template<E: Into<Box<dyn StdError + Send + Sync>>>(
        mut self,
        template: impl Fn(&Page) -> Result<String, E> + Send + Sync + 'static,
    ) -> Self {
        self.settings.template = Box::new(move |page| template(page).map_err(Into::into));
        self
    }

    /// The address of another stylesheet, on the same host, in place of the one of this crate.
    pub fn stylesheet(mut self, address: impl Into<String>) -> Self {
        self.settings.stylesheet = Some(address.into());
        self
    }

    /// The page to show after the user has signed out on this very device: by default `/`.
    pub fn signed_out_page(mut self, path: impl Into<String>) -> Self {
        self.settings.signed_out_page = path.into();
        self
    }

    /// How many of the last sign-ins are shown: by default 10. 0 shows none.
    pub fn sign_ins(mut self, number: u32) -> Self {
        self.settings.sign_ins = number;
        self
    }

    /// The routes, for [`Router::nest`]. They need a [`SessionLayer`](crate::SessionLayer) around
    /// them. Visitors who are not signed in are [redirected or refused](crate::NotSignedIn).
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        routes::router(self.settings)
    }
}

impl Default for Devices {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}
