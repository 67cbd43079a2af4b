use crate::{Result, Server, server};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config};

const TEMPLATE: &str = "qsessions_template";

/// If this variable is set, every session table gets additional [columns](Database::add_columns),
/// which must not affect the functions.
const ADD_COLUMNS: &str = "QSESSIONS_TEST_COLUMNS";

/// If this variable is set, the functions have the bodies that `distribute_session_table` gives them.
const DISTRIBUTED_BODIES: &str = "QSESSIONS_TEST_DISTRIBUTED_BODIES";

/// The server that all tests of a run share. It stops when the run ends.
///
/// # Panics
///
/// If the server cannot be started, because no test can continue then.
pub async fn shared() -> &'static Server {
    static SHARED: OnceCell<&'static Server> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            let server = start_shared().await.expect("the shared server starts");
            let server: &'static Server = Box::leak(Box::new(server));
            at_exit::remove_on_exit(server);
            server
        })
        .await
}

async fn start_shared() -> Result<Server> {
    let server = Server::builder().start().await?;
    let client = server.connect("postgres").await?;
    if server.installation().has_extension("pg_cron") {
        client.batch_execute("CREATE EXTENSION pg_cron").await?;
    }
    client
        .batch_execute(&format!("CREATE DATABASE {TEMPLATE}"))
        .await?;
    let template = server.connect(TEMPLATE).await?;
    template.batch_execute("CREATE EXTENSION qsessions").await?;
    Ok(server)
}

/// The tables of a new [`Database`].
#[derive(Clone, Copy, Debug)]
pub enum Users {
    /// No users table and no session table.
    Nothing,
    /// A session table without users.
    Unlinked,
    /// A table `users` with a key `id` of this SQL type and a row for each of these keys, and a
    /// session table linked to it.
    Keyed(&'static str, &'static [&'static str]),
}

/// A separate database on the shared server.
#[derive(Debug)]
pub struct Database {
    server: &'static Server,
    name: String,
}

impl Database {
    /// A database with users 1 to 9 (bigint) and a session table linked to them.
    pub async fn new() -> Self {
        let users = &["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        Self::with(Users::Keyed("bigint", users)).await
    }

    /// A database with the given users.
    ///
    /// # Panics
    ///
    /// If the server cannot create it.
    pub async fn with(users: Users) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let server = shared().await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let database = Self { server, name };
        database.fill(users).await.expect("a database is made");
        database
    }

    async fn fill(&self, users: Users) -> Result<()> {
        let admin = self.server.connect("postgres").await?;
        admin
            .batch_execute(&format!(
                "CREATE DATABASE {} TEMPLATE {TEMPLATE}",
                self.name
            ))
            .await?;
        let client = self.server.connect(&self.name).await?;
        match users {
            Users::Nothing => {}
            Users::Unlinked => {
                client
                    .batch_execute("SELECT qsessions.create_session_table()")
                    .await?;
            }
            Users::Keyed(key_type, keys) => {
                client
                    .batch_execute(&format!("CREATE TABLE users (id {key_type} PRIMARY KEY)"))
                    .await?;
                for key in keys {
                    client
                        .batch_execute(&format!("INSERT INTO users VALUES ('{key}')"))
                        .await?;
                }
                client
                    .batch_execute("SELECT qsessions.create_session_table('users')")
                    .await?;
            }
        }
        if !matches!(users, Users::Nothing) && std::env::var_os(ADD_COLUMNS).is_some() {
            self.add_columns().await?;
        }
        if std::env::var_os(DISTRIBUTED_BODIES).is_some() {
            client
                .batch_execute("SELECT qsessions._use_distributed_bodies()")
                .await?;
        }
        Ok(())
    }

    /// Adds a column for every name of an argument, a result column or a variable of a function.
    ///
    /// # Errors
    ///
    /// If there is no session table.
    pub async fn add_columns(&self) -> Result<()> {
        let client = self.server.connect(&self.name).await?;
        client.batch_execute(include_str!("columns.sql")).await?;
        Ok(())
    }

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server of the database.
    #[must_use]
    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// The configuration for connecting as the superuser.
    #[must_use]
    pub fn config(&self) -> Config {
        self.server.config(&self.name)
    }

    /// A new connection as the superuser.
    ///
    /// # Panics
    ///
    /// If the server refuses the connection.
    pub async fn connect(&self) -> Client {
        server::connect(&self.config())
            .await
            .expect("the database accepts a connection")
    }

    /// A new connection as another role.
    ///
    /// # Panics
    ///
    /// If the server refuses the connection.
    pub async fn connect_as(&self, role: &str) -> Client {
        server::connect(self.config().user(role))
            .await
            .expect("the role may connect")
    }
}

mod at_exit {
    //! Rust does not drop statics, so a function that runs at the exit of the process stops the
    //! shared server.

    use crate::{Server, StopMode};
    use nix::libc;
    use std::sync::OnceLock;

    static SERVER: OnceLock<(u32, std::path::PathBuf)> = OnceLock::new();

    pub(super) fn remove_on_exit(server: &'static Server) {
        let Some(process) = server.process_id() else {
            return;
        };
        if SERVER.set((process, server.folder().to_owned())).is_ok() {
            // SAFETY: the function has no arguments and no result, and does not unwind.
            unsafe { libc::atexit(stop) };
        }
    }

    extern "C" fn stop() {
        if let Some((process, folder)) = SERVER.get() {
            let _ = crate::server::signal_and_wait(*process, StopMode::Immediate);
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
