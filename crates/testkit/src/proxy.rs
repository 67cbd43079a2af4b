//! A way to a server that can be blocked: for what happens between two steps, and for networks that fail.

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

/// How bytes go in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// As they come.
    Open,
    /// In small pieces with pauses, so that what belongs together comes apart.
    Trickling,
    /// Not at all, while the connection stays open.
    Stalled,
}

/// The flow from the client to the server, and that from the server to the client.
pub type Flows = [Flow; 2];

const TO_SERVER: usize = 0;
const TO_CLIENT: usize = 1;
const OPEN: Flows = [Flow::Open, Flow::Open];

/// Bytes of a piece, and the pause after each.
const TRICKLE: (usize, Duration) = (500, Duration::from_millis(3));

/// A TCP port of this machine that leads to a server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct State {
    /// Where new connections lead.
    socket: Mutex<PathBuf>,
    lines: Mutex<Lines>,
    /// How many pieces of answers have been kept back so far.
    kept_back: watch::Sender<u64>,
    accepted: AtomicU64,
    executed: AtomicU64,
}

#[derive(Debug)]
struct Lines {
    /// Those of connections to come.
    flows: Flows,
    connected: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    flows: watch::Sender<Flows>,
    task: JoinHandle<()>,
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
            socket: Mutex::new(server.socket()),
            lines: Mutex::new(Lines {
                flows: OPEN,
                connected: Vec::new(),
            }),
            kept_back: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
            executed: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state))).abort_handle();
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

    /// Where to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another server; those that there are stay where they lead.
    pub fn lead_to(&self, server: &Server) {
        let mut socket = self
            .state
            .socket
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *socket = server.socket();
    }

    /// How bytes go on all connections, also on those to come.
    pub fn set(&self, flows: Flows) {
        self.state.lines().flows = flows;
        self.set_present(flows);
    }

    /// How bytes go on one of the connections.
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

    /// Keeps back what the server says on the connections that there are, until [`release`](Self::release).
    pub fn keep_answers(&self) {
        self.set_present([Flow::Open, Flow::Stalled]);
    }

    /// Keeps back everything, also on new connections, as a network does that has lost a cable.
    pub fn stall(&self) {
        self.set([Flow::Stalled, Flow::Stalled]);
    }

    /// Lets everything pass again, and what was kept back first.
    pub fn release(&self) {
        self.set(OPEN);
    }

    /// Ends all connections, with what was kept back of them.
    pub async fn cut(&self) {
        let cut: Vec<_> = self.state.lines().connected.drain(..).collect();
        for line in cut {
            line.task.abort();
            // That it was aborted is what it says.
            let _ = line.task.await;
        }
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

    /// How many connections have been made through it so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// How many connections there are through it.
    #[must_use]
    pub fn connected(&self) -> usize {
        let mut lines = self.state.lines();
        lines.connected.retain(|line| !line.task.is_finished());
        lines.connected.len()
    }

    /// How many statements have been executed through it so far, apart from those by which caches find out whether they hear.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.state.executed.load(Ordering::SeqCst)
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

/// Ends when one side has closed, and closes the other then.
async fn connect(client: TcpStream, state: Arc<State>, flows: watch::Receiver<Flows>) {
    // A server that is down refuses; so does this.
    let socket = state
        .socket
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let Ok(server) = UnixStream::connect(&socket).await else {
        return;
    };
    // Small messages shall not wait for each other.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut frames = Frames::default();
    let count = |bytes: &[u8]| {
        let executed = frames.count_executions(bytes);
        state.executed.fetch_add(executed, Ordering::SeqCst);
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

/// How bytes may go, once they may.
async fn flow(flows: &mut watch::Receiver<Flows>, direction: usize) -> Option<Flow> {
    let flows = flows
        .wait_for(|flows| flows[direction] != Flow::Stalled)
        .await;
    Some(flows.ok()?[direction])
}

/// Takes PostgreSQL's protocol apart as far as is needed to count executions of statements.
#[derive(Default)]
struct Frames {
    /// The first message of a connection has no type.
    started: bool,
    pending: Vec<u8>,
    /// The names of statements that are a cache's probes.
    probes: HashSet<Vec<u8>>,
    /// What is executed next is one.
    is_probe: bool,
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
            // Parse, of a name and a statement.
            b'P' if is_probe(second) => {
                self.probes.insert(first.to_owned());
            }
            b'P' => {
                self.probes.remove(first);
            }
            // Bind, of a portal and a statement's name.
            b'B' => self.is_probe = self.probes.contains(second),
            // Execute of the extended protocol, and Query of the simple one.
            b'E' => return !self.is_probe,
            b'Q' => return true,
            _ => {}
        }
        false
    }
}

fn is_probe(statement: &[u8]) -> bool {
    const CALL: &[u8] = b"qsessions.invalidate(";
    statement.windows(CALL.len()).any(|part| part == CALL)
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
