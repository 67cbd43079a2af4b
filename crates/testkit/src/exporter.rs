//! A real postgres_exporter of Prometheus.

use crate::{Result, Server, StopMode, installation, process, server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(60);

/// An exporter that runs a file of queries as metrics. It stops when it is dropped.
#[derive(Debug)]
pub struct Exporter {
    folder: PathBuf,
    process: Child,
    address: String,
}

impl Exporter {
    /// Starts an exporter of this database. It connects as this role.
    ///
    /// # Errors
    ///
    /// If there is no exporter (`make test` installs one), or if it does not start within a minute.
    pub async fn of(server: &Server, database: &str, role: &str, queries: &Path) -> Result<Self> {
        let installation = server.installation();
        let program = installation::tool("bin/prometheus-postgres-exporter")?;
        let folder = server::make_folder(installation, None)?;
        // The user of the servers may not have access to the repository.
        let file = folder.join("queries.yaml");
        fs::copy(queries, &file)?;
        installation.hand_over(&file)?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = installation.run_as_server(Command::new(program));
        let sockets = server.folder().display();
        command
            .env(
                "DATA_SOURCE_NAME",
                format!("host={sockets} user={role} dbname={database} sslmode=disable"),
            )
            .args([
                "--web.listen-address=127.0.0.1:0",
                "--disable-default-metrics",
                "--disable-settings-metrics",
                "--no-collector.database",
                "--no-collector.bgwriter",
            ])
            .arg(format!("--extend.query-path={}", file.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut exporter = Self {
            process: process::spawn(command, false)?,
            folder,
            address: String::new(),
        };
        exporter.wait_until_it_listens().await?;
        Ok(exporter)
    }

    /// The log names the port that the system has chosen.
    async fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let address = log
                .lines()
                .filter(|line| line.contains("Listening on"))
                .find_map(|line| line.rsplit_once("address="));
            if let Some((_, address)) = address {
                self.address = address.trim().to_owned();
                return Ok(());
            }
            if self.process.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(format!("the exporter does not listen; its log:\n{log}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it has written to its log, in which it reports queries that fail.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The page that Prometheus reads.
    ///
    /// # Errors
    ///
    /// If the exporter does not answer.
    pub async fn scrape(&self) -> Result<String> {
        let mut connection = TcpStream::connect(&self.address).await?;
        connection
            .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
            .await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        match answer.split_once("\r\n\r\n") {
            Some((head, page)) if head.contains(" 200 ") => Ok(page.to_owned()),
            _ => Err(format!("the exporter answers {answer:?}").into()),
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Errors do not matter, because the exporter is being removed.
        let _ = server::signal_and_wait(self.process.id(), StopMode::Immediate);
        let _ = fs::remove_dir_all(&self.folder);
    }
}
