//! The way to the database that probes take: that of all who change sessions.

use std::time::Duration;

use deadpool::managed::Manager as _;
use deadpool_postgres::{Client, ClientWrapper, Pool, PoolError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::Error;
use crate::store::{Announced, Store};

/// Between two attempts to have a connection beside the pool's.
const SPARE_PAUSE: Duration = Duration::from_millis(500);

/// Connections of the pool, one for each probe; or while the pool has none free, one more that is made as the pool makes them.
///
/// Without that, a pool that others keep busy would stop the cache, whose loads would then want connections too: the busier
/// the pool, the more would be asked of it.
pub(super) struct Way<'a> {
    store: &'a Store,
    pool: Pool,
    /// How long a probe waits for the pool before it looks for another way.
    patience: Duration,
    // What was begun is brought to its end: to give up a connection half-way, and make another, helps nobody.
    getting: Option<BoxFuture<'static, Result<Client, PoolError>>>,
    making: Option<BoxFuture<'static, Result<Spare, tokio_postgres::Error>>>,
    spare: Option<Spare>,
}

/// A connection to the server that the pool leads to.
pub(super) enum Loan<'a> {
    Pooled(&'a Store, Box<Client>),
    Spare(&'a Store, &'a Spare),
}

impl<'a> Way<'a> {
    pub(super) fn new(store: &'a Store, pool: Pool, patience: Duration) -> Self {
        Self {
            store,
            pool,
            patience,
            getting: None,
            making: None,
            spare: None,
        }
    }

    pub(super) async fn connection(&mut self) -> Result<Loan<'_>, Error> {
        let pool = &self.pool;
        let getting = self
            .getting
            .get_or_insert_with(|| get(pool.clone()).boxed());
        self.spare.take_if(|spare| spare.client.is_closed());
        let patience = match self.spare {
            Some(_) => Duration::ZERO,
            None => self.patience,
        };
        if let Ok(got) = timeout(patience, &mut *getting).await {
            return self.got(got);
        }
        while self.spare.is_none() {
            let making = self
                .making
                .get_or_insert_with(|| Spare::make(pool.clone(), Duration::ZERO).boxed());
            tokio::select! {
                biased;
                got = &mut *getting => return self.got(got),
                made = making => {
                    self.making = None;
                    match made {
                        Ok(made) => self.spare = Some(made),
                        // The server may have no connection left. The pool's will be free some day.
                        Err(_) => self.making = Some(Spare::make(pool.clone(), SPARE_PAUSE).boxed()),
                    }
                }
            }
        }
        let spare = self.spare.as_ref().expect("made above");
        Ok(Loan::Spare(self.store, spare))
    }

    /// The other way is not needed any more.
    fn got(&mut self, got: Result<Client, PoolError>) -> Result<Loan<'_>, Error> {
        self.getting = None;
        self.making = None;
        self.spare = None;
        Ok(Loan::Pooled(self.store, Box::new(got?)))
    }
}

async fn get(pool: Pool) -> Result<Client, PoolError> {
    pool.get().await
}

impl Loan<'_> {
    /// Announces a probe, with what the server says of itself.
    pub(super) async fn announce(&self, probe: Uuid) -> Result<Announced, Error> {
        match self {
            Self::Pooled(store, client) => store.on(&**client).announce(probe).await,
            Self::Spare(store, spare) => {
                let client: &tokio_postgres::Client = &spare.client;
                store.on(client).announce(probe).await
            }
        }
    }
}

/// A connection that the pool's manager has made and the pool knows nothing of.
pub(super) struct Spare {
    pool: Pool,
    client: ClientWrapper,
}

impl Spare {
    async fn make(pool: Pool, pause: Duration) -> Result<Self, tokio_postgres::Error> {
        sleep(pause).await;
        let client = pool.manager().create().await?;
        Ok(Self { pool, client })
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.pool.manager().detach(&mut self.client);
    }
}
