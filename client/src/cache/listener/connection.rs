//! How the listener connects.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::config::Host;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Socket};

use crate::cache::listener::inbox::Inbox;
use crate::cache::station::{MOST_STATIONS, Stations};
use crate::error::Error;

type Connecting = BoxFuture<'static, Result<Connection, tokio_postgres::Error>>;

/// Connects with the caller's configuration and TLS connector.
pub(crate) struct Listener(Box<dyn Fn(Arc<Inbox>) -> Connecting + Send + Sync>);

/// Dropping it ends the task that serves the connection.
pub(crate) struct Connection {
    pub(crate) client: Client,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    pub(crate) fn new<T>(config: Config, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        Self(Box::new(move |inbox| {
            Box::pin(connect(config.clone(), tls.clone(), inbox))
        }))
    }

    /// A connection whose notifications go to the inbox.
    pub(crate) fn connect(&self, inbox: Arc<Inbox>) -> Connecting {
        (self.0)(inbox)
    }
}

/// The listeners of a cache.
pub(crate) enum Listeners {
    /// To the server that the pool leads to.
    One(Listener),
    /// To the servers over which the session table is distributed, each with a name.
    OfServers(Vec<(String, Listener)>),
}

impl Listeners {
    pub(crate) fn of_servers<T>(configs: impl IntoIterator<Item = Config>, tls: &T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let listeners = (1..).zip(configs).map(|(number, config)| {
            let name = name(number, &config);
            (name, Listener::new(config, tls.clone()))
        });
        Self::OfServers(listeners.collect())
    }

    pub(crate) fn stations(&self, max_staleness: Duration) -> Result<Stations, Error> {
        match self {
            Self::One(_) => Ok(Stations::one(max_staleness)),
            Self::OfServers(listeners) if listeners.is_empty() => {
                Err(Error::configuration("a cache needs at least one listener"))
            }
            Self::OfServers(listeners) if listeners.len() > MOST_STATIONS => Err(
                Error::configuration("a cache can have at most 64 listeners"),
            ),
            Self::OfServers(listeners) => {
                let names = listeners.iter().map(|(name, _)| name.clone()).collect();
                Ok(Stations::several(names, max_staleness))
            }
        }
    }

    pub(crate) fn into_all(self) -> Vec<Listener> {
        match self {
            Self::One(listener) => vec![listener],
            Self::OfServers(listeners) => listeners
                .into_iter()
                .map(|(_, listener)| listener)
                .collect(),
        }
    }
}

/// For messages: the number of the listener, and where it connects to.
fn name(number: usize, config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => Some(host.clone()),
        #[cfg(unix)]
        Some(Host::Unix(path)) => Some(path.display().to_string()),
        None => None,
    };
    let host = host.map(|host| match config.get_ports().first() {
        Some(port) => format!(" ({host}:{port})"),
        None => format!(" ({host})"),
    });
    format!("listener {number}{}", host.unwrap_or_default())
}

async fn connect<T>(
    config: Config,
    tls: T,
    inbox: Arc<Inbox>,
) -> Result<Connection, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket> + Send,
    T::Stream: Send + 'static,
{
    let (client, mut connection) = config.connect(tls).await?;
    let task = tokio::spawn(async move {
        let inbox = ClosedOnDrop(inbox);
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                inbox.0.put(notification.payload());
            }
        }
    });
    Ok(Connection { client, task })
}

/// The end of the connection closes the inbox, and its reader notices that.
struct ClosedOnDrop(Arc<Inbox>);

impl Drop for ClosedOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
