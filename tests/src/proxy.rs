//! A way to a server that can be blocked: for what happens between two steps, and when a network fails.

use crate::{Result, Server};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Config;

/// A TCP port of this machine that leads to a server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    socket: PathBuf,
    /// What is not to pass at the moment.
    blocked: watch::Sender<Blocked>,
    /// How many pieces of answers have been kept back so far.
    kept_back: watch::Sender<u64>,
    /// Goes up with each cut; a connection lives as long as it stays.
    cuts: watch::Sender<u64>,
    connections: watch::Sender<Connections>,
    executed: AtomicU64,
}

/// How many there have been.
#[derive(Clone, Copy, Debug, Default)]
struct Connections {
    begun: u64,
    ended: u64,
}

/// Connections are counted from one; those up to a number are blocked.
#[derive(Clone, Copy, Debug, Default)]
struct Blocked {
    questions: u64,
    answers: u64,
}

impl Proxy {
    /// A new one, through which everything passes.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn to(server: &Server) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            socket: server.folder().join(".s.PGSQL.5432"),
            blocked: watch::Sender::new(Blocked::default()),
            kept_back: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
            connections: watch::Sender::new(Connections::default()),
            executed: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            port,
            state,
            accepting,
        })
    }

    /// How to connect through it, where `direct` is how to connect without.
    #[must_use]
    pub fn config(&self, direct: &Config) -> Config {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user(direct.get_user().unwrap_or("postgres"))
            .dbname(direct.get_dbname().unwrap_or("postgres"));
        config
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Keeps back what the server says on the connections that there are, until [`release`](Self::release).
    pub fn keep_answers(&self) {
        let answers = self.state.connections.borrow().begun;
        self.state
            .blocked
            .send_modify(|blocked| blocked.answers = answers);
    }

    /// Keeps back everything, also on new connections, as a network does that has lost a cable.
    pub fn stall(&self) {
        self.state.blocked.send_replace(Blocked {
            questions: u64::MAX,
            answers: u64::MAX,
        });
    }

    /// Lets everything pass again, and what was kept back first.
    pub fn release(&self) {
        self.state.blocked.send_replace(Blocked::default());
    }

    /// Ends all connections, with what was kept back of them.
    pub async fn cut(&self) {
        let mut connections = self.state.connections.subscribe();
        let begun = connections.borrow_and_update().begun;
        self.state.cut();
        // The sender is a part of this.
        let _ = connections.wait_for(|now| now.ended >= begun).await;
    }

    /// Whether there are connections.
    #[must_use]
    pub fn is_used(&self) -> bool {
        let connections = *self.state.connections.borrow();
        connections.begun > connections.ended
    }

    /// How many pieces of answers have been kept back so far.
    #[must_use]
    pub fn kept_back(&self) -> u64 {
        *self.state.kept_back.borrow()
    }

    /// Waits until more answers are kept back than there were.
    pub async fn answer_is_kept(&self, before: u64) {
        let mut kept_back = self.state.kept_back.subscribe();
        // The sender is a part of this.
        let _ = kept_back.wait_for(|now| *now > before).await;
    }

    /// How many statements have been executed through it so far.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.state.executed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.cut();
    }
}

impl State {
    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, Arc::clone(&state)));
    }
}

async fn carry(client: TcpStream, state: Arc<State>) {
    let mut cuts = state.cuts.subscribe();
    let _ = client.set_nodelay(true);
    // A server that is down refuses: so does this, by its end.
    let Ok(server) = UnixStream::connect(&state.socket).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut number = 0;
    state.connections.send_modify(|connections| {
        connections.begun += 1;
        number = connections.begun;
    });
    tokio::select! {
        _ = questions(number, from_client, to_server, &state) => {}
        _ = answers(number, from_server, to_client, &state) => {}
        _ = cuts.changed() => {}
    }
    state
        .connections
        .send_modify(|connections| connections.ended += 1);
}

async fn questions(
    number: u64,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &State,
) -> std::io::Result<()> {
    let mut blocked = state.blocked.subscribe();
    let mut frames = Frames::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let _ = blocked.wait_for(|blocked| blocked.questions < number).await;
        let executed = frames.count_executions(&buffer[..read]);
        state.executed.fetch_add(executed, Ordering::SeqCst);
        to.write_all(&buffer[..read]).await?;
    }
}

async fn answers(
    number: u64,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &State,
) -> std::io::Result<()> {
    let mut blocked = state.blocked.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if blocked.borrow_and_update().answers >= number {
            state.kept_back.send_modify(|pieces| *pieces += 1);
        }
        let _ = blocked.wait_for(|blocked| blocked.answers < number).await;
        to.write_all(&buffer[..read]).await?;
    }
}

/// Takes PostgreSQL's protocol apart as far as is needed to count executions of statements.
#[derive(Default)]
struct Frames {
    /// The first message of a connection has no type.
    started: bool,
    pending: Vec<u8>,
}

impl Frames {
    fn count_executions(&mut self, bytes: &[u8]) -> u64 {
        self.pending.extend_from_slice(bytes);
        let mut executions = 0;
        loop {
            let type_length = usize::from(self.started);
            let Some(length) = self.pending.get(type_length..type_length + 4) else {
                return executions;
            };
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            let end = type_length + length;
            if self.pending.len() < end {
                return executions;
            }
            // Execute of the extended protocol, and Query of the simple one.
            if self.started && matches!(self.pending[0], b'E' | b'Q') {
                executions += 1;
            }
            self.started = true;
            self.pending.drain(..end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    #[test]
    fn executions_are_counted_however_the_bytes_come() {
        let startup = [0, 0, 0, 8, 0, 3, 0, 0];
        let bind = [b'B', 0, 0, 0, 5, b'E'];
        let execute = [b'E', 0, 0, 0, 9, 0, 0, 0, 0, 0];
        let all = [&startup[..], &bind, &execute, &bind, &execute].concat();
        assert_eq!(Frames::default().count_executions(&all), 2);
        let mut frames = Frames::default();
        let bytewise: u64 = all
            .chunks(1)
            .map(|byte| frames.count_executions(byte))
            .sum();
        assert_eq!(bytewise, 2);
    }
}
