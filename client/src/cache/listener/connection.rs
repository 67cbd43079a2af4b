//! How the listener connects.

use std::future::poll_fn;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Notification, Socket};

/// How to connect: with the caller's configuration and his TLS.
pub(crate) struct Listener {
    pub(super) connect: Box<
        dyn Fn() -> BoxFuture<'static, Result<Connection, tokio_postgres::Error>> + Send + Sync,
    >,
}

/// Aborts the task that serves it when it is dropped.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) notifications: UnboundedReceiver<Notification>,
    served: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.served.abort();
    }
}

impl Listener {
    pub(crate) fn new<T>(config: Config, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
    {
        Self {
            connect: Box::new(move || Box::pin(connect(config.clone(), tls.clone()))),
        }
    }
}

async fn connect<T>(config: Config, tls: T) -> Result<Connection, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket> + Send,
    T::Stream: Send + 'static,
{
    let (client, mut connection) = config.connect(tls).await?;
    let (sender, notifications) = unbounded_channel();
    let served = tokio::spawn(async move {
        // Its end closes the channel, and that tells.
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message
                && sender.send(notification).is_err()
            {
                return;
            }
        }
    });
    Ok(Connection {
        client,
        notifications,
        served,
    })
}
