//! Sessions of qsessions for axum.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(missing_debug_implementations)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod calls;
mod cookies;
mod csrf;
#[cfg(feature = "devices")]
pub mod devices;
mod error;
mod layer;
mod login;
mod next;
mod session;
mod shared;
mod state;
mod store;
mod user;
mod visitor;

pub use builder::SessionLayerBuilder;
pub use cookies::SameSite;
pub use csrf::{CsrfForm, CsrfHeader, CsrfRejection, CsrfToken};
#[cfg(feature = "devices")]
pub use devices::Devices;
pub use error::{BuildError, Error, Interrupted};
pub use layer::{SessionLayer, SessionService};
pub use login::{LoggedIn, Login};
pub use next::{Next, safe_path};
pub use session::{ClientAddress, Session};
pub use store::SessionStore;
pub use user::{CurrentUser, NotSignedIn, RequireLogin, RequireLoginService};
pub use visitor::ProxyHeader;
