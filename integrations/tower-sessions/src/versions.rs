//! The traits of each version of tower-sessions.

use qsessions::Error;

macro_rules! implement {
    ($version:ident of $core:ident) => {
        mod $version {
            use async_trait::async_trait;
            use qsessions::{Executor, Key};
            use $core::session::{Id, Record};
            use $core::session_store::{Error, ExpiredDeletion, Result, SessionStore};

            use crate::QsessionsStore;

            #[async_trait]
            impl<E: Executor + Send + 'static> SessionStore for QsessionsStore<E> {
                /// The session gets an id of its own, so that the id in the record, which a browser
                /// may have sent, never begins one.
                async fn create(&self, record: &mut Record) -> Result<()> {
                    record.id = Id::default();
                    self.begin(&key(&record.id), &record.data, record.expiry_date)
                        .await
                        .map_err(not_saved)
                }

                async fn save(&self, record: &Record) -> Result<()> {
                    self.replace(&key(&record.id), &record.data, record.expiry_date)
                        .await
                        .map_err(not_saved)
                }

                async fn load(&self, id: &Id) -> Result<Option<Record>> {
                    let found = self.find(&key(id)).await.map_err(not_loaded)?;
                    Ok(found.map(|(data, expiry_date)| Record {
                        id: *id,
                        data,
                        expiry_date,
                    }))
                }

                async fn delete(&self, id: &Id) -> Result<()> {
                    self.end(&key(id)).await.map_err(not_saved)
                }
            }

            #[async_trait]
            impl<E: Executor + Send + 'static> ExpiredDeletion for QsessionsStore<E> {
                async fn delete_expired(&self) -> Result<()> {
                    self.purge().await.map_err(not_saved)
                }
            }

            /// The text in the cookie.
            fn key(id: &Id) -> Key {
                Key::new(id.to_string())
            }

            fn not_saved(error: qsessions::Error) -> Error {
                match error {
                    qsessions::Error::Data(_) => Error::Encode(error.to_string()),
                    _ => Error::Backend(super::message(&error)),
                }
            }

            fn not_loaded(error: qsessions::Error) -> Error {
                match error {
                    qsessions::Error::Data(_) => Error::Decode(error.to_string()),
                    _ => Error::Backend(super::message(&error)),
                }
            }
        }
    };
}

#[cfg(feature = "v0_14")]
implement!(v0_14 of tower_sessions_core_0_14);
#[cfg(feature = "v0_15")]
implement!(v0_15 of tower_sessions_core_0_15);

/// One line with the cause, since the errors of tower-sessions have no source. It shows neither a
/// key nor data, as the `Debug` of the error promises.
fn message(error: &Error) -> String {
    match error {
        Error::Database(_) | Error::Pool(_) => format!("{error:?}"),
        _ => error.to_string(),
    }
}
