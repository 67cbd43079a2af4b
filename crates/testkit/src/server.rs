use crate::{Error, Installation, Result, process};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, NoTls};

pub(crate) const SUPERUSER: &str = "postgres";
const DEFAULT_PORT: u16 = 5432;
const PATIENCE: Duration = Duration::from_secs(60);

/// The way to stop a server.
#[derive(Clone, Copy, Debug)]
pub enum StopMode {
    /// Closes connections and writes a checkpoint.
    Fast,
    /// Stops at once, as in a crash; the next start recovers.
    Immediate,
}

/// The configuration of a new server.
#[derive(Clone, Debug, Default)]
pub struct ServerBuilder {
    installation: Option<Installation>,
    settings: String,
    durable: bool,
    outlive: bool,
    folder: Option<PathBuf>,
    tcp_port: Option<u16>,
}

impl ServerBuilder {
    /// Uses this PostgreSQL instead of the one under test.
    #[must_use]
    pub fn installation(mut self, installation: Installation) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Adds a line to `postgresql.conf`. The value is quoted, which every setting accepts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        // Writing to a String cannot fail.
        let _ = writeln!(self.settings, "{name} = '{}'", value.replace('\'', "''"));
        self
    }

    /// Turns on fsync, for servers that will crash. It is off by default, which halves the time of
    /// the tests.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Keeps the server running when this process ends.
    #[must_use]
    pub fn outlive(mut self) -> Self {
        self.outlive = true;
        self
    }

    /// Also listens on a local TCP port. By default the server listens only on the socket in its
    /// folder.
    #[must_use]
    pub fn tcp_port(mut self, port: u16) -> Self {
        self.tcp_port = Some(port);
        self.setting("listen_addresses", "localhost")
            .setting("port", &port.to_string())
    }

    /// Creates the server in this folder, which must not exist yet.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Creates a data directory and starts a server on it. pg_cron, if it is there, is
    /// preloaded, and its database is `postgres`.
    ///
    /// # Errors
    ///
    /// If a program fails or the server does not start within a minute.
    pub async fn start(self) -> Result<Server> {
        let installation = self.installation.map_or_else(Installation::find, Ok)?;
        let folder = make_folder(&installation, self.folder)?;
        let data = folder.join("data");
        let arguments = [
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "-D",
        ];
        installation.run(
            "initdb",
            arguments
                .map(AsRef::as_ref)
                .into_iter()
                .chain([data.as_os_str()]),
        )?;
        let sockets = folder.display();
        let mut settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{sockets}'\n\
             max_connections = 200\ntimezone = 'UTC'\n\
             log_line_prefix = '%m [%p] %d '\n"
        );
        if installation.has_extension("pg_cron") {
            settings += &format!(
                "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'postgres'\n\
                 cron.host = '{sockets}'\n"
            );
        }
        if !self.durable {
            settings += "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n";
        }
        settings += &self.settings;
        append(&data.join("postgresql.conf"), &settings)?;
        let mut server = Server {
            installation,
            folder,
            port: self.tcp_port.unwrap_or(DEFAULT_PORT),
            outlive: self.outlive,
            process: None,
        };
        server.start().await?;
        Ok(server)
    }

    /// Starts a hot standby that follows `primary`, from a base backup.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_standby_of(self, primary: &Server) -> Result<Server> {
        let installation = primary.installation.clone();
        let folder = make_folder(&installation, self.folder)?;
        let data = folder.join("data");
        let from = format!("host={} user={SUPERUSER}", primary.folder.display());
        installation.run(
            "pg_basebackup",
            [
                "-d",
                &from,
                "-c",
                "fast",
                "-R",
                "-X",
                "stream",
                "--no-sync",
                "-D",
            ]
            .map(AsRef::as_ref)
            .into_iter()
            .chain([data.as_os_str()]),
        )?;
        let sockets = folder.display();
        let settings = format!("unix_socket_directories = '{sockets}'\ncron.host = '{sockets}'\n");
        append(&data.join("postgresql.conf"), &(settings + &self.settings))?;
        let mut server = Server {
            installation,
            folder,
            port: self.tcp_port.unwrap_or(DEFAULT_PORT),
            outlive: self.outlive,
            process: None,
        };
        server.start().await?;
        Ok(server)
    }
}

/// A running server, which is removed with all its data when it is dropped.
#[derive(Debug)]
pub struct Server {
    installation: Installation,
    folder: PathBuf,
    /// The port, which is also part of the socket's name.
    port: u16,
    outlive: bool,
    process: Option<Child>,
}

impl Server {
    /// Begins to configure a new server.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Starts the server after [`stop`](Self::stop), and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// If it exits or takes more than a minute; the error contains the end of its log.
    pub async fn start(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = self.installation.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut child = process::spawn(command, self.outlive)?;
        let deadline = Instant::now() + PATIENCE;
        let failure = loop {
            if let Some(status) = child.try_wait()? {
                break format!("the server ended with {status}");
            }
            match self.connect("postgres").await {
                Ok(_) => {
                    self.process = Some(child);
                    return Ok(());
                }
                Err(error) if Instant::now() > deadline => {
                    child.kill()?;
                    child.wait()?;
                    break format!("the server does not accept connections: {error}");
                }
                // Only an attempt to connect shows that it is ready.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(15).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        Err(Error::from(format!(
            "{failure}; its log ends\n{}",
            tail.join("\n")
        )))
    }

    /// Stops the server and waits until it has exited. The data remains.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn stop(&mut self, mode: StopMode) -> Result<()> {
        let Some(process) = self.process.take() else {
            return Ok(());
        };
        signal_and_wait(process.id(), mode)
    }

    /// The process id of the postmaster, while it is running.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Leaves a server running that was built with [`outlive`](ServerBuilder::outlive), and returns
    /// its process id.
    #[must_use]
    pub fn leave_running(mut self) -> Option<u32> {
        let process = self.process.take().map(|child| child.id());
        std::mem::forget(self);
        process
    }

    /// The folder with the data directory, the log and the socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The socket on which the server listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.port))
    }

    /// The log file of the server.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The PostgreSQL installation of this server.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The configuration for connecting to a database as the superuser. No role needs a password.
    #[must_use]
    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.folder)
            .port(self.port)
            .user(SUPERUSER)
            .dbname(database);
        config
    }

    /// Connects as the superuser.
    ///
    /// # Errors
    ///
    /// If the server refuses the connection.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        connect(&self.config(database)).await
    }

    /// Runs psql without `.psqlrc`, and stops at the first error.
    ///
    /// # Errors
    ///
    /// If psql fails; the error contains its output.
    pub fn psql(&self, database: &str, arguments: &[&str]) -> Result<Output> {
        let sockets = self.folder.to_string_lossy();
        let common = [
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &sockets,
            "-U",
            SUPERUSER,
            "-d",
            database,
        ];
        self.installation
            .run("psql", common.iter().chain(arguments))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors do not matter, because the server is being removed.
        let _ = self.stop(StopMode::Immediate);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Stops a server of this process, and waits until it has exited.
pub(crate) fn signal_and_wait(process: u32, mode: StopMode) -> Result<()> {
    let process = Pid::from_raw(process.try_into()?);
    let signal = match mode {
        StopMode::Fast => Signal::SIGINT,
        StopMode::Immediate => Signal::SIGQUIT,
    };
    kill(process, signal)?;
    waitpid(process, None)?;
    Ok(())
}

/// Connects. A background task drives the connection until the client is dropped.
///
/// # Errors
///
/// If the server refuses the connection.
pub async fn connect(config: &Config) -> Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    // If the connection fails, the client reports the error.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

/// Creates a private folder in `/tmp`, because paths of sockets must be short and the server's user
/// needs access.
pub(crate) fn make_folder(installation: &Installation, wanted: Option<PathBuf>) -> Result<PathBuf> {
    let folder = match wanted {
        Some(folder) => {
            fs::create_dir(&folder)?;
            folder
        }
        None => tempfile::Builder::new()
            .prefix("qsessions-")
            .tempdir_in("/tmp")?
            .keep(),
    };
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    installation.hand_over(&folder)?;
    Ok(folder)
}

fn append(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    fs::OpenOptions::new()
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())?;
    Ok(())
}
