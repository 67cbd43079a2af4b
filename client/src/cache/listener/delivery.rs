//! How probes get to the database: in the way of all changes of this process, through the pool.

use std::time::Duration;

use deadpool::managed::Manager as _;
use deadpool_postgres::{Client, ClientWrapper, Pool, PoolError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

use crate::error::Error;

/// Between two attempts to make a connection beside the pool's.
const SPARE_PAUSE: Duration = Duration::from_millis(500);

/// Gives each probe a connection of the pool. While the pool has none free, it makes one more, as
/// the pool does.
///
/// Otherwise a busy pool would stop the cache, whose loads would then want connections too, and
/// make the pool busier still.
pub(crate) struct Delivery {
    pool: Pool,
    /// How long a probe waits for the pool before it uses another connection.
    patience: Duration,
    // Both go on while a probe uses the other connection: giving up a connection half-way and
    // beginning another one would take longer.
    getting: Option<BoxFuture<'static, Result<Client, PoolError>>>,
    making: Option<BoxFuture<'static, Result<Spare, tokio_postgres::Error>>>,
    spare: Option<Spare>,
}

/// A connection to the database that the pool leads to.
pub(crate) enum Connection<'a> {
    Pooled(Box<Client>),
    Spare(&'a Spare),
}

impl Connection<'_> {
    /// Keeps a connection that does not answer out of the pool. Returns whether it is the spare one.
    pub(crate) fn give_up(self) -> bool {
        match self {
            Self::Pooled(client) => {
                drop(Client::take(*client));
                false
            }
            Self::Spare(_) => true,
        }
    }
}

impl Delivery {
    pub(crate) fn new(pool: Pool, patience: Duration) -> Self {
        Self {
            pool,
            patience,
            getting: None,
            making: None,
            spare: None,
        }
    }

    pub(crate) async fn connection(&mut self) -> Result<Connection<'_>, Error> {
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
            return self.pooled(got);
        }
        while self.spare.is_none() {
            let making = self
                .making
                .get_or_insert_with(|| Spare::make(pool.clone(), Duration::ZERO).boxed());
            tokio::select! {
                biased;
                got = &mut *getting => return self.pooled(got),
                made = making => {
                    self.making = None;
                    match made {
                        Ok(made) => self.spare = Some(made),
                        // The server may have no connection left.
                        Err(_) => {
                            let later = Spare::make(pool.clone(), SPARE_PAUSE);
                            self.making = Some(later.boxed());
                        }
                    }
                }
            }
        }
        let spare = self.spare.as_ref().expect("made above");
        Ok(Connection::Spare(spare))
    }

    /// The other connection does not answer.
    pub(crate) fn drop_spare(&mut self) {
        self.spare = None;
    }

    /// The other connection is not needed any more.
    fn pooled(&mut self, got: Result<Client, PoolError>) -> Result<Connection<'_>, Error> {
        self.getting = None;
        self.making = None;
        self.spare = None;
        Ok(Connection::Pooled(Box::new(got?)))
    }
}

async fn get(pool: Pool) -> Result<Client, PoolError> {
    pool.get().await
}

/// A connection that the manager of the pool has made, and that the pool does not count.
pub(crate) struct Spare {
    pool: Pool,
    client: ClientWrapper,
}

impl Spare {
    async fn make(pool: Pool, pause: Duration) -> Result<Self, tokio_postgres::Error> {
        sleep(pause).await;
        let client = pool.manager().create().await?;
        Ok(Self { pool, client })
    }

    pub(crate) fn client(&self) -> &tokio_postgres::Client {
        &self.client
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.pool.manager().detach(&mut self.client);
    }
}
