//! How the listener connects.

use std::future::poll_fn;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Error, Socket};

use crate::cache::listener::inbox::Inbox;

type Connecting = BoxFuture<'static, Result<Connection, Error>>;

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

async fn connect<T>(config: Config, tls: T, inbox: Arc<Inbox>) -> Result<Connection, Error>
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
