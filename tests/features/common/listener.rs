//! A listener to the notifications of changed sessions, for the tests of invalidation.

use crate::common::{Begun, begin, row};
use futures_util::{StreamExt, stream};
use qsessions_testkit::connect;
use std::collections::BTreeSet;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

/// A connection that has executed LISTEN, and a client of the same database.
pub(crate) struct Listener {
    pub(crate) config: Config,
    pub(crate) client: Client,
    _connection: Client,
    pub(crate) payloads: UnboundedReceiver<String>,
    /// Sessions that mark the end of a set of notifications.
    sentinels: BTreeSet<String>,
}

impl Listener {
    /// Listens on the default channel.
    pub(crate) async fn new(config: Config) -> Self {
        Self::on("qsessions", config).await
    }

    pub(crate) async fn on(channel: &str, config: Config) -> Self {
        let (listening, mut connection) = config.connect(NoTls).await.unwrap();
        let (sender, payloads) = unbounded_channel();
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message {
                    // A test that has ended does not receive any more.
                    let _ = sender.send(notification.payload().to_owned());
                }
            }
        });
        listening
            .batch_execute(&format!("LISTEN {channel}"))
            .await
            .unwrap();
        let client = connect(&config).await.unwrap();
        Self {
            config,
            client,
            _connection: listening,
            payloads,
            sentinels: BTreeSet::new(),
        }
    }

    /// The ids that were received since the last call. Notifications keep the order of the commits,
    /// so after that of a sentinel there is nothing more to wait for.
    pub(crate) async fn notified(&mut self) -> BTreeSet<String> {
        let sentinel = begin(&self.client, "").await;
        let end = sentinel.id.to_string();
        self.sentinels.insert(end.clone());
        self.touch(&sentinel).await;
        let mut notified = BTreeSet::new();
        loop {
            let payload = self
                .payloads
                .recv()
                .await
                .expect("the listener is connected");
            assert!(payload.len() < 8000);
            if payload == "*" {
                // It may stand for the sentinel too, whose id then does not follow.
                self.touch(&sentinel).await;
            }
            notified.extend(payload.split(',').map(str::to_owned));
            if notified.contains(&end) {
                return notified.difference(&self.sentinels).cloned().collect();
            }
        }
    }

    /// Changes a session in a way that caches must know of.
    pub(crate) async fn touch(&self, session: &Begun) {
        row(
            &self.client,
            "SELECT qsessions.patch_session($1)",
            &[&session.key],
        )
        .await;
    }

    pub(crate) async fn run(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap();
    }
}
