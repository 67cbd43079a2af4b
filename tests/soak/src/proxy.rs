//! TCP in front of a server's socket, which can be cut, and stalled without either side noticing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::Result;

/// How bytes go in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// As they come.
    Open,
    /// In small pieces with pauses, so that what belongs together comes apart.
    Trickling,
    /// Not at all, while the connection stays open.
    Stalled,
}

/// Bytes of a piece, and the pause after each.
const TRICKLE: (usize, Duration) = (500, Duration::from_millis(3));

/// The flow from the client to the server, and that from the server to the client.
pub type Flows = [Flow; 2];

/// Both directions as they should be.
pub const OPEN: Flows = [Flow::Open, Flow::Open];

/// A port of this machine that leads to a server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    lines: Arc<Mutex<Lines>>,
    acceptor: AbortHandle,
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
    task: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.cut();
    }
}

impl Proxy {
    /// One that leads to a Unix socket.
    ///
    /// # Errors
    ///
    /// When there is no port.
    pub async fn to(socket: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let lines = Arc::new(Mutex::new(Lines {
            flows: OPEN,
            connected: Vec::new(),
        }));
        let acceptor = tokio::spawn(accept(listener, socket, Arc::clone(&lines))).abort_handle();
        Ok(Self {
            address,
            lines,
            acceptor,
        })
    }

    /// Where to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How bytes go on all connections, also on those to come.
    pub fn set(&self, flows: Flows) {
        let mut lines = self.lines();
        lines.flows = flows;
        for line in &lines.connected {
            line.flows.send_replace(flows);
        }
    }

    /// How bytes go on one of the connections.
    pub fn set_one(&self, which: usize, flows: Flows) {
        let lines = self.lines();
        let count = lines.connected.len().max(1);
        if let Some(line) = lines.connected.get(which % count) {
            line.flows.send_replace(flows);
        }
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for line in self.lines().connected.drain(..) {
            line.task.abort();
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        lock(&self.lines)
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, socket: PathBuf, lines: Arc<Mutex<Lines>>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut lines = lock(&lines);
        lines.connected.retain(|line| !line.task.is_finished());
        let (flows, watched) = watch::channel(lines.flows);
        let task = tokio::spawn(connect(client, socket.clone(), watched)).abort_handle();
        lines.connected.push(Line { flows, task });
    }
}

/// Ends when one side has closed, and closes the other then.
async fn connect(client: TcpStream, socket: PathBuf, flows: watch::Receiver<Flows>) {
    // A server that is down refuses; so does this.
    let Ok(server) = UnixStream::connect(socket).await else {
        return;
    };
    // Small messages shall not wait for each other.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = pump(from_client, to_server, 0, flows.clone()) => {}
        _ = pump(from_server, to_client, 1, flows) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: usize,
    mut flows: watch::Receiver<Flows>,
) -> Option<()> {
    let mut buffer = [0; 8192];
    loop {
        let size = match flow(&mut flows, direction).await? {
            Flow::Trickling => TRICKLE.0,
            _ => buffer.len(),
        };
        let count = tokio::select! {
            count = from.read(&mut buffer[..size]) => count.ok().filter(|count| *count > 0)?,
            changed = flows.changed() => {
                changed.ok()?;
                continue;
            }
        };
        // Not what came while it was being stalled either.
        if flow(&mut flows, direction).await? == Flow::Trickling {
            tokio::time::sleep(TRICKLE.1).await;
        }
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
