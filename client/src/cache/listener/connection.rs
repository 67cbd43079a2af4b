//! How the listener connects.

use std::future::poll_fn;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Socket};

use super::inbox::Inbox;

/// How to connect: with the caller's configuration and his TLS. What is announced goes to the inbox.
pub(crate) struct Listener {
    #[expect(clippy::type_complexity, reason = "the only place where it stands")]
    pub(super) connect: Box<
        dyn Fn(Arc<Inbox>) -> BoxFuture<'static, Result<Connection, tokio_postgres::Error>>
            + Send
            + Sync,
    >,
}

/// Aborts the task that serves it when it is dropped.
pub(super) struct Connection {
    pub(super) client: Client,
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
            connect: Box::new(move |inbox| Box::pin(connect(config.clone(), tls.clone(), inbox))),
        }
    }
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
    let served = tokio::spawn(async move {
        // Its end closes the inbox, and that tells.
        let inbox = Closing(inbox);
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                inbox.0.put(notification.payload());
            }
        }
    });
    Ok(Connection { client, served })
}

struct Closing(Arc<Inbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
