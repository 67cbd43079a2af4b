//! A real PgBouncer in front of a server.

use crate::{Installation, Result, Server, StopMode, connect, process, server};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::Config;

const PORT: u16 = 6432;
const PATIENCE: Duration = Duration::from_secs(60);

/// A pooler in transaction mode: each transaction may get another connection to the server. It ends when it is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    folder: PathBuf,
    process: Child,
}

impl PgBouncer {
    /// Starts one with so many connections to each database.
    ///
    /// # Errors
    ///
    /// When there is no PgBouncer (`make test` gets one), or it does not come up within a minute.
    pub async fn in_front_of(server: &Server, connections: u32) -> Result<Self> {
        let folder = server::make_folder(server.installation(), None)?;
        let mut settings = String::new();
        // It needs no passwords: whoever comes is let through as the superuser.
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
        let mut command = server
            .installation()
            .run_as_server(Command::new(program(server.installation())?));
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
            // There is nothing to wait on but the connection itself.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How to connect to a database through it.
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
        // What fails here fails for something that is being thrown away.
        let _ = server::signal_and_wait(self.process.id(), StopMode::Immediate);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The one beside PostgreSQL in Debian's layout: `sbin` where PostgreSQL is in `lib/postgresql/15/bin`.
fn program(installation: &Installation) -> Result<PathBuf> {
    let path = installation.bin().join("../../../../sbin/pgbouncer");
    path.canonicalize().map_err(|error| {
        format!(
            "no PgBouncer at {} ({error}); `make test` gets one",
            path.display()
        )
        .into()
    })
}
