//! What is logged, and that no key is.

use crate::common::{Browser, SESSION, Site, pool};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::stream;
use qsessions::Store;
use qsessions_axum::{Error, Session, SessionLayer};
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// The lines of the log of one test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

async fn forget_to_save(session: Session) -> Body {
    let later = async move {
        session.insert("n", 1).unwrap();
        Ok::<_, Infallible>(Bytes::new())
    };
    Body::from_stream(stream::once(later))
}

async fn insert(session: Session) -> Result<(), Error> {
    session.insert("secret", "of the visitor")
}

#[tokio::test]
async fn changes_that_are_not_saved_and_failures_are_logged_without_keys() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(Level::TRACE)
        .with_ansi(false)
        .finish();
    // The tasks of this test run on its own thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let site = Site::new().await;
    let closed = pool(&site.database.config(), 1);
    closed.close();
    let broken = Router::new()
        .route("/insert", get(insert))
        .layer(SessionLayer::new(Store::new(closed)));
    let app = Router::new()
        .route("/insert", get(insert))
        .route("/forget-to-save", get(forget_to_save))
        .route(
            "/login-without-user",
            get(async |session: Session| session.login(77).await.map(drop)),
        )
        .layer(site.layer())
        .nest("/broken", broken);
    let mut browser = Browser::of(&app);
    browser.get("/insert").await;
    assert!(!log.text().contains("not saved"), "{}", log.text());
    browser.get("/forget-to-save").await;
    browser.get("/broken/insert").await;
    browser.get("/login-without-user").await;
    let text = log.text();
    let id = site.session(&browser).await.unwrap().id.to_string();
    let warning = text
        .lines()
        .find(|line| line.contains("not saved"))
        .unwrap();
    assert!(
        warning.contains("WARN") && warning.contains(&id),
        "{warning}"
    );
    let mut errors = text.lines().filter(|line| line.contains("ERROR"));
    let error = errors.next().unwrap();
    assert!(
        error.contains("the pool has given no connection"),
        "{error}"
    );
    assert!(error.contains("closed"), "{error}");
    let error = errors.next().unwrap();
    assert!(error.contains("violates foreign key"), "{error}");
    assert!(!text.contains("is not present in table"), "{text}");
    assert!(!text.contains(browser.cookie(SESSION).unwrap()), "{text}");
    assert!(!text.contains("of the visitor"), "{text}");
}
