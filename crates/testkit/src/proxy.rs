//! A proxy that can hold traffic back: for tests of what happens between two steps, and of failing
//! networks.

use crate::{Result, Server};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_postgres::Config;

/// How the proxy treats bytes in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Forwards bytes as they arrive.
    Open,
    /// Forwards small pieces with pauses, so that messages arrive in parts.
    Trickling,
    /// Forwards no bytes and keeps the connection open.
    Stalled,
}

/// The flow from the client to the server, and the flow from the server to the client.
pub type Flows = [Flow; 2];

const TO_SERVER: usize = 0;
const TO_CLIENT: usize = 1;
const OPEN: Flows = [Flow::Open, Flow::Open];

/// Bytes of a piece, and the pause after each.
const TRICKLE: (usize, Duration) = (500, Duration::from_millis(3));

/// A local TCP port that forwards to a server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct State {
    /// The target of new connections.
    socket: Mutex<PathBuf>,
    lines: Mutex<Lines>,
    /// The number of pieces of answers that have been held back so far.
    kept_back: watch::Sender<u64>,
    accepted: AtomicU64,
    executed: AtomicU64,
    probed: AtomicU64,
}

#[derive(Debug)]
struct Lines {
    /// The flows of future connections.
    flows: Flows,
    connected: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    flows: watch::Sender<Flows>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy that forwards everything.
    ///
    /// # Errors
    ///
    /// If there is no free port.
    pub async fn to(server: &Server) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            socket: Mutex::new(server.socket()),
            lines: Mutex::new(Lines {
                flows: OPEN,
                connected: Vec::new(),
            }),
            kept_back: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
            executed: AtomicU64::new(0),
            probed: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state))).abort_handle();
        Ok(Self {
            port,
            state,
            accepting,
        })
    }

    /// The configuration for connecting through the proxy instead of `direct`.
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

    /// The TCP port of the proxy.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Forwards new connections to another server. Existing connections keep their server.
    pub fn lead_to(&self, server: &Server) {
        let mut socket = self
            .state
            .socket
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *socket = server.socket();
    }

    /// Sets the flows of all connections, including future ones.
    pub fn set(&self, flows: Flows) {
        self.state.lines().flows = flows;
        self.set_present(flows);
    }

    /// Sets the flows of one connection.
    pub fn set_one(&self, which: usize, flows: Flows) {
        let lines = self.state.lines();
        let count = lines.connected.len().max(1);
        if let Some(line) = lines.connected.get(which % count) {
            line.flows.send_replace(flows);
        }
    }

    fn set_present(&self, flows: Flows) {
        for line in &self.state.lines().connected {
            line.flows.send_replace(flows);
        }
    }

    /// Holds back the server's answers on existing connections until [`release`](Self::release).
    pub fn keep_answers(&self) {
        self.set_present([Flow::Open, Flow::Stalled]);
    }

    /// Holds back all traffic, including that of new connections, like an unplugged cable.
    pub fn stall(&self) {
        self.set([Flow::Stalled, Flow::Stalled]);
    }

    /// Forwards everything again, beginning with the bytes that were held back.
    pub fn release(&self) {
        self.set(OPEN);
    }

    /// Closes all connections and drops the bytes that were held back.
    pub async fn cut(&self) {
        let cut: Vec<_> = self.state.lines().connected.drain(..).collect();
        for line in cut {
            line.task.abort();
            // The result only says that the task was aborted.
            let _ = line.task.await;
        }
    }

    /// The number of pieces of answers that have been held back so far.
    #[must_use]
    pub fn kept_back(&self) -> u64 {
        *self.state.kept_back.borrow()
    }

    /// Waits until more than this number of pieces have been held back.
    pub async fn answer_is_kept(&self, before: u64) {
        let mut kept_back = self.state.kept_back.subscribe();
        // The sender is a field of this struct, so it exists.
        let _ = kept_back.wait_for(|now| *now > before).await;
    }

    /// The number of connections that have been opened so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// The number of open connections.
    #[must_use]
    pub fn connected(&self) -> usize {
        let mut lines = self.state.lines();
        lines.connected.retain(|line| !line.task.is_finished());
        lines.connected.len()
    }

    /// The number of statements that have been executed so far, without the probes of caches.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.state.executed.load(Ordering::SeqCst)
    }

    /// The number of probes, and of requests of heartbeats.
    #[must_use]
    pub fn probed(&self) -> u64 {
        self.state.probed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        for line in self.state.lines().connected.drain(..) {
            line.task.abort();
        }
    }
}

impl State {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        state.accepted.fetch_add(1, Ordering::SeqCst);
        let mut lines = state.lines();
        lines.connected.retain(|line| !line.task.is_finished());
        let (flows, watched) = watch::channel(lines.flows);
        let task = tokio::spawn(connect(client, Arc::clone(&state), watched));
        lines.connected.push(Line { flows, task });
    }
}

/// Forwards until one side closes, then closes the other.
async fn connect(client: TcpStream, state: Arc<State>, flows: watch::Receiver<Flows>) {
    // Like a server that is down, refuse the connection.
    let socket = state
        .socket
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let Ok(server) = UnixStream::connect(&socket).await else {
        return;
    };
    // Small messages must not be delayed.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut frames = Frames::default();
    let count = |bytes: &[u8]| {
        let executed = frames.count_executions(bytes);
        state.executed.fetch_add(executed, Ordering::SeqCst);
        let probed = std::mem::take(&mut frames.probed);
        state.probed.fetch_add(probed, Ordering::SeqCst);
    };
    let keep = || state.kept_back.send_modify(|pieces| *pieces += 1);
    tokio::select! {
        _ = pump(from_client, to_server, TO_SERVER, flows.clone(), || {}, count) => {}
        _ = pump(from_server, to_client, TO_CLIENT, flows, keep, |_| {}) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: usize,
    mut flows: watch::Receiver<Flows>,
    mut keep: impl FnMut(),
    mut pass: impl FnMut(&[u8]),
) -> Option<()> {
    let mut buffer = [0; 8192];
    loop {
        let size = match flows.borrow_and_update()[direction] {
            Flow::Trickling => TRICKLE.0,
            Flow::Open | Flow::Stalled => buffer.len(),
        };
        let count = tokio::select! {
            count = from.read(&mut buffer[..size]) => count.ok().filter(|count| *count > 0)?,
            changed = flows.changed() => {
                changed.ok()?;
                continue;
            }
        };
        if flows.borrow()[direction] == Flow::Stalled {
            keep();
        }
        if flow(&mut flows, direction).await? == Flow::Trickling {
            tokio::time::sleep(TRICKLE.1).await;
        }
        pass(&buffer[..count]);
        to.write_all(&buffer[..count]).await.ok()?;
    }
}

/// The current flow, as soon as it is not [`Flow::Stalled`].
async fn flow(flows: &mut watch::Receiver<Flows>, direction: usize) -> Option<Flow> {
    let flows = flows
        .wait_for(|flows| flows[direction] != Flow::Stalled)
        .await;
    Some(flows.ok()?[direction])
}

/// Parses PostgreSQL's protocol as far as necessary to count executions of statements.
#[derive(Default)]
struct Frames {
    /// The first message of a connection has no type.
    started: bool,
    pending: Vec<u8>,
    /// The names of prepared statements that send probes.
    probes: HashSet<Vec<u8>>,
    /// Whether the next execution is a probe.
    is_probe: bool,
    /// Executions of probes.
    probed: u64,
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
            let message: Vec<_> = self.pending.drain(..end).collect();
            if self.started && self.executes(message[0], &message[5..]) {
                executions += 1;
            }
            self.started = true;
        }
    }

    fn executes(&mut self, kind: u8, body: &[u8]) -> bool {
        let mut texts = body.split(|byte| *byte == 0);
        let [first, second] = [(); 2].map(|()| texts.next().unwrap_or_default());
        match kind {
            // Parse: a name and a statement.
            b'P' if is_probe(second) => {
                self.probes.insert(first.to_owned());
            }
            b'P' => {
                self.probes.remove(first);
            }
            // Bind: the names of a portal and a statement.
            b'B' => self.is_probe = self.probes.contains(second),
            // Execute in the extended protocol, Query in the simple one.
            b'E' if self.is_probe => self.probed += 1,
            b'E' => return true,
            b'Q' => return true,
            _ => {}
        }
        false
    }
}

fn is_probe(statement: &[u8]) -> bool {
    const CALLS: [&[u8]; 2] = [b"qsessions.invalidate(", b"qsessions.request_heartbeats("];
    CALLS
        .iter()
        .any(|call| statement.windows(call.len()).any(|part| part == *call))
}

#[cfg(test)]
mod tests {
    use super::Frames;

    #[test]
    fn executions_are_counted_however_the_bytes_come() {
        let startup = [0, 0, 0, 8, 0, 3, 0, 0];
        let bind = [b'B', 0, 0, 0, 6, 0, 0];
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

    #[test]
    fn probes_are_not_counted() {
        let message = |kind: u8, body: &[u8]| {
            let length = (body.len() as u32 + 4).to_be_bytes();
            [&[kind], &length[..], body].concat()
        };
        let startup = [0, 0, 0, 8, 0, 3, 0, 0].to_vec();
        let execute = || message(b'E', &[0, 0, 0, 0, 0]);
        let all = [
            startup,
            message(b'P', b"s0\0SELECT qsessions.invalidate(id => $1)\0"),
            message(b'P', b"s1\0SELECT 1\0"),
            message(b'B', b"\0s0\0"),
            execute(),
            message(b'B', b"\0s1\0"),
            execute(),
        ];
        assert_eq!(Frames::default().count_executions(&all.concat()), 1);
    }
}
