//! The private PostgreSQL of the shop, and what has happened there already.

use std::env;
use std::path::PathBuf;
use std::time::SystemTime;

use qsessions::Store;
use qsessions::deadpool_postgres::{Manager, Pool};
use qsessions_demo::geoip::write_small_database;
use qsessions_demo::people::{PEOPLE, Visit};
use qsessions_testkit::{Installation, Result, Server};
use tokio_postgres::{Client, NoTls};

use crate::people::ACCOUNTS;

/// The role that owns the tables.
const OWNER: &str = "postgres";
/// The role of the shop, which can use sessions and nothing else.
pub(crate) const SHOP: &str = "shop";
/// The role of the console, which can see and end sessions.
pub(crate) const CONSOLE: &str = "shop_console";

const DATABASE: &str = "shop";
/// The sign-ins of customers, who do not sign in here.
const CUSTOMERS: &str = include_str!("customers.sql");

pub(crate) struct ShopServer {
    server: Server,
    has_real_locations: bool,
}

impl ShopServer {
    pub(crate) async fn start() -> Result<Self> {
        let has_cron = Installation::find()?.has_extension("pg_cron");
        let libraries = if has_cron {
            "pg_cron,qsessions"
        } else {
            "qsessions"
        };
        // With the library preloaded, the server counts what happens to sessions.
        let server = Server::builder()
            .setting("shared_preload_libraries", libraries)
            .start()
            .await?;
        let admin = server.connect("postgres").await?;
        if has_cron {
            admin.batch_execute("CREATE EXTENSION pg_cron").await?;
        }
        admin
            .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
            .await?;
        let mut server = Self {
            server,
            has_real_locations: false,
        };
        server.create_tables(has_cron).await?;
        server.configure_geoip(&admin).await?;
        server.fill().await?;
        Ok(server)
    }

    pub(crate) fn pool(&self, role: &str) -> Result<Pool> {
        let mut config = self.server.config(DATABASE);
        config.user(role);
        Ok(Pool::builder(Manager::new(config, NoTls)).build()?)
    }

    /// A command that opens the database.
    pub(crate) fn psql(&self) -> String {
        let psql = self.server.installation().command("psql");
        let psql = psql.get_program().display();
        format!(
            "{psql} -h {} -U {OWNER} {DATABASE}",
            self.server.folder().display()
        )
    }

    pub(crate) fn location_note(&self) -> &'static str {
        match self.has_real_locations {
            true => "Locations: IP geolocation by DB-IP, https://db-ip.com, CC BY 4.0.",
            false => {
                "There is no real city database, so only the visits before today have locations."
            }
        }
    }

    async fn create_tables(&self, has_cron: bool) -> Result {
        let owner = self.server.connect(DATABASE).await?;
        owner
            .batch_execute(&format!(
                "CREATE EXTENSION qsessions;
                 CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
                 CREATE ROLE {SHOP} LOGIN;
                 CREATE ROLE {CONSOLE} LOGIN;"
            ))
            .await?;
        for account in &ACCOUNTS {
            let sql = "INSERT INTO users (id, name) VALUES ($1, $2)";
            owner.execute(sql, &[&account.id, &account.name]).await?;
        }
        let store = Store::new(self.pool(OWNER)?);
        store.create_session_table().users("users").await?;
        store.create_event_table().await?;
        store.grant_access(SHOP).await?;
        if has_cron {
            store.schedule_purge("* * * * *").await?;
        }
        // The privileges that docs/console.md lists.
        owner
            .batch_execute(&format!(
                "SELECT qsessions.grant_monitoring('{CONSOLE}');
                 GRANT SELECT, DELETE, UPDATE (last_seen_at) ON qsessions.session TO {CONSOLE};
                 GRANT SELECT, INSERT ON qsessions.session_event TO {CONSOLE};
                 GRANT EXECUTE ON FUNCTION qsessions.location, qsessions.location_info,
                                           qsessions.country_code TO {CONSOLE};"
            ))
            .await?;
        Ok(())
    }

    /// Tells the extension where the GeoIP databases are, and has it import them.
    async fn configure_geoip(&mut self, admin: &Client) -> Result {
        let path = match env::var_os("QSESSIONS_CITY_MMDB").map(PathBuf::from) {
            Some(path) => {
                self.has_real_locations = true;
                path.canonicalize()?
            }
            None => {
                let file = self.server.folder().join("demo-city.mmdb");
                write_small_database(&file)?;
                file
            }
        };
        let path = path.display().to_string().replace('\'', "''");
        admin
            .batch_execute(&format!(
                "ALTER DATABASE {DATABASE} SET qsessions.geoip_path = '{path}'"
            ))
            .await?;
        let client = self.server.connect(DATABASE).await?;
        let import = "SELECT error FROM qsessions.geoip_reload() WHERE error IS NOT NULL";
        match client.query_opt(import, &[]).await? {
            Some(row) => Err(row.get::<_, String>(0).into()),
            None => Ok(()),
        }
    }

    /// Signs customers and the people of the demo in, in the past.
    async fn fill(&self) -> Result {
        let owner = self.server.connect(DATABASE).await?;
        let visits = || PEOPLE.iter().flat_map(|person| &person.visits);
        let agents: Vec<_> = visits().map(|visit| visit.user_agent).collect();
        let addresses: Vec<_> = visits().map(|visit| visit.ip().to_string()).collect();
        owner.batch_execute("BEGIN").await?;
        owner
            .batch_execute("CREATE TEMPORARY TABLE places (n integer, ip inet, user_agent text)")
            .await?;
        owner
            .execute(
                "INSERT INTO places
                 SELECT p.n - 1, p.ip::inet, p.user_agent
                 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p (ip, user_agent, n)",
                &[&addresses, &agents],
            )
            .await?;
        owner.batch_execute(CUSTOMERS).await?;
        owner.batch_execute("COMMIT").await?;

        let store = Store::new(self.pool(SHOP)?);
        for (account, person) in ACCOUNTS.iter().zip(&PEOPLE) {
            // The one that began first was the first on a new device.
            let mut visits: Vec<_> = person.visits.iter().collect();
            visits.sort_by_key(|visit| std::cmp::Reverse(visit.since));
            for visit in visits {
                self.sign_in(&store, &owner, account.id, visit).await?;
            }
        }
        owner.batch_execute("ANALYZE").await?;
        Ok(())
    }

    async fn sign_in(&self, store: &Store, owner: &Client, user: i64, visit: &Visit) -> Result {
        let login = store
            .login(user)
            .ip(visit.ip())
            .user_agent(visit.user_agent)
            .await?;
        let began = SystemTime::now() - visit.since;
        let seen = SystemTime::now() - visit.seen;
        owner
            .execute(
                "UPDATE qsessions.session SET created_at = $2, authenticated_at = $2, updated_at = $2,
                                              last_seen_at = $3, expires_at = $3::timestamptz + interval '14 days'
                 WHERE id = $1",
                &[&login.id, &began, &seen],
            )
            .await?;
        owner
            .execute(
                "UPDATE qsessions.session_event SET at = $2 WHERE session_id = $1",
                &[&login.id, &began],
            )
            .await?;
        Ok(())
    }
}
