//! Listening to announcements, for the tests of invalidation.

use crate::common::{Begun, begin, row};
use futures_util::{StreamExt, stream};
use qsessions_testkit::connect;
use std::collections::BTreeSet;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

/// A database whose changes are listened to.
pub(crate) struct Heard {
    pub(crate) config: Config,
    pub(crate) client: Client,
    _listener: Client,
    pub(crate) payloads: UnboundedReceiver<String>,
    /// Sessions whose only use is to be announced last.
    sentinels: BTreeSet<String>,
}

impl Heard {
    pub(crate) async fn of(config: Config) -> Self {
        Self::on("qsessions", config).await
    }

    /// Listens on this channel.
    pub(crate) async fn on(channel: &str, config: Config) -> Self {
        let (listener, mut connection) = config.connect(NoTls).await.unwrap();
        let (sender, payloads) = unbounded_channel();
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message {
                    // A test that has ended does not listen any more.
                    let _ = sender.send(notification.payload().to_owned());
                }
            }
        });
        listener
            .batch_execute(&format!("LISTEN {channel}"))
            .await
            .unwrap();
        let client = connect(&config).await.unwrap();
        Self {
            config,
            client,
            _listener: listener,
            payloads,
            sentinels: BTreeSet::new(),
        }
    }

    /// What has been announced since the last call. Announcements keep the order of the commits, so that
    /// after the one of a sentinel there is nothing more to wait for.
    pub(crate) async fn announced(&mut self) -> BTreeSet<String> {
        let sentinel = begin(&self.client, "").await;
        let end = sentinel.id.to_string();
        self.sentinels.insert(end.clone());
        self.touch(&sentinel).await;
        let mut announced = BTreeSet::new();
        loop {
            let payload = self
                .payloads
                .recv()
                .await
                .expect("the listener is connected");
            assert!(payload.len() < 8000);
            if payload == "*" {
                // The sentinel may have been a part of everything, and is not named then.
                self.touch(&sentinel).await;
            }
            announced.extend(payload.split(',').map(str::to_owned));
            if announced.contains(&end) {
                return announced.difference(&self.sentinels).cloned().collect();
            }
        }
    }

    /// Changes a session in a way that is announced.
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
