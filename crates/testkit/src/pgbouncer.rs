//! A real PgBouncer in front of a server.

use crate::{Result, Server, StopMode, connect, installation, process, server};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::Config;

const PORT: u16 = 6432;
const PATIENCE: Duration = Duration::from_secs(60);

/// A pooler in transaction mode, where each transaction may get another connection to the server.
/// It stops when it is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    folder: PathBuf,
    process: Child,
}

impl PgBouncer {
    /// Starts a pooler with this number of connections to each database.
    ///
    /// # Errors
    ///
    /// If there is no PgBouncer (`make test` installs one), or if it does not start within a
    /// minute.
    pub async fn in_front_of(server: &Server, connections: u32) -> Result<Self> {
        let program = installation::tool("sbin/pgbouncer")?;
        let folder = server::make_folder(server.installation(), None)?;
        let mut settings = String::new();
        // Every client becomes the superuser without a password.
        write!(
            settings,
            "[databases]\n* = host={} user={}\n\
             [pgbouncer]\nunix_socket_dir = {}\nlisten_port = {PORT}\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 200\n",
            server.folder().display(),
            server::SUPERUSER,
            folder.display(),
        )?;
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, settings)?;
        server.installation().hand_over(&file)?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = server.installation().run_as_server(Command::new(program));
        command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut pgbouncer = Self {
            process: process::spawn(command, false)?,
            folder,
        };
        pgbouncer.wait_until_it_answers().await?;
        Ok(pgbouncer)
    }

    async fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(error) = connect(&self.config("postgres")).await else {
                return Ok(());
            };
            if self.process.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(format!("PgBouncer does not answer: {error}; its log:\n{log}").into());
            }
            // Only an attempt to connect shows that it is ready.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The configuration for connecting to a database through the pooler.
    #[must_use]
    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.folder)
            .port(PORT)
            .user(server::SUPERUSER)
            .dbname(database);
        config
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Errors do not matter, because the pooler is being removed.
        let _ = server::signal_and_wait(self.process.id(), StopMode::Immediate);
        let _ = fs::remove_dir_all(&self.folder);
    }
}
