//! How the program connects.

use crate::tls;
use qsessions::deadpool_postgres::{Manager, ManagerConfig, Pool, Runtime};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};

/// How long the program waits for the server.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at a time.
const CONNECTIONS: usize = 8;
/// Where Debian's servers have their sockets, and where PostgreSQL has them by default.
const SOCKETS: [&str; 2] = ["/run/postgresql", "/tmp"];

/// A pool, and what it connects to, in words and without the password.
pub(crate) fn pool(database: Option<&str>) -> Result<(Pool, String), Box<dyn Error>> {
    let mut config: Config = match database {
        // The error does not quote the text, which may contain a password.
        Some(text) => text
            .parse()
            .map_err(|error| format!("DATABASE is not a connection string: {}", cause(&error)))?,
        None => Config::new(),
    };
    complete(&mut config, variable)?;
    config.application_name("qsessions-console");
    config.connect_timeout(PATIENCE);
    let target = described(&config);
    let options = ManagerConfig::default();
    let manager = if config.get_ssl_mode() == SslMode::Require {
        let authority = variable("PGSSLROOTCERT");
        let connector = tls::connector(authority.as_deref().map(Path::new))?;
        Manager::from_config(config, connector, options)
    } else {
        // A certificate that cannot be checked, as new servers have, would refuse the connection.
        config.ssl_mode(SslMode::Disable);
        Manager::from_config(config, NoTls, options)
    };
    let pool = Pool::builder(manager)
        .max_size(CONNECTIONS)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(PATIENCE))
        .create_timeout(Some(PATIENCE))
        .recycle_timeout(Some(PATIENCE))
        .build()?;
    Ok((pool, target))
}

/// A variable of the environment that is not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Adds what the connection string does not say, as psql does.
fn complete(
    config: &mut Config,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Box<dyn Error>> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        let sockets = SOCKETS.iter().find(|folder| Path::new(folder).is_dir());
        let host = variable("PGHOST").or_else(|| sockets.map(ToString::to_string));
        config.host(host.unwrap_or_else(|| "localhost".to_owned()));
    }
    if config.get_ports().is_empty()
        && let Some(port) = variable("PGPORT")
    {
        config.port(
            port.parse()
                .map_err(|_| format!("PGPORT is not a port: {port}"))?,
        );
    }
    if config.get_user().is_none()
        && let Some(user) = variable("PGUSER")
    {
        config.user(user);
    }
    if config.get_dbname().is_none()
        && let Some(database) = variable("PGDATABASE")
    {
        config.dbname(database);
    }
    if config.get_password().is_none()
        && let Some(password) = variable("PGPASSWORD")
    {
        config.password(password);
    }
    // A connection string without sslmode, and one with sslmode=prefer, cannot be told apart.
    if config.get_ssl_mode() == SslMode::Prefer
        && let Some(mode) = variable("PGSSLMODE")
    {
        match mode.as_str() {
            "disable" | "allow" | "prefer" => {}
            // The certificate is always checked.
            "require" | "verify-ca" | "verify-full" => {
                config.ssl_mode(SslMode::Require);
            }
            _ => return Err(format!("PGSSLMODE is not a mode: {mode}").into()),
        }
    }
    Ok(())
}

fn described(config: &Config) -> String {
    let database = match config.get_dbname() {
        Some(database) => format!("database {database}"),
        None => "the database of the role's name".to_owned(),
    };
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(folder)) => folder.display().to_string(),
        None => "the given address".to_owned(),
    };
    let role = config.get_user().map(|user| format!(" as role {user}"));
    format!("{database} on {host}{}", role.unwrap_or_default())
}

/// Connects once, so that a mistake in the arguments shows at once.
pub(crate) async fn check(pool: &Pool, target: &str) -> Result<(), String> {
    match pool.get().await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot connect to {target}: {}", cause(&error))),
    }
}

/// The innermost cause says what has happened.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(text: &str, variables: &[(&str, &str)]) -> Config {
        let mut config = text.parse().unwrap();
        let variable = |name: &str| {
            let pair = variables.iter().find(|(found, _)| *found == name);
            pair.map(|(_, value)| (*value).to_owned())
        };
        complete(&mut config, variable).unwrap();
        config
    }

    #[test]
    fn the_environment_completes_the_connection_string() {
        let variables = [
            ("PGHOST", "/sockets"),
            ("PGPORT", "5433"),
            ("PGUSER", "u"),
            ("PGDATABASE", "d"),
            ("PGPASSWORD", "p"),
        ];
        let config = completed("", &variables);
        assert_eq!(config.get_hosts(), [Host::Unix("/sockets".into())]);
        assert_eq!(config.get_ports(), [5433]);
        assert_eq!(
            (config.get_user(), config.get_dbname()),
            (Some("u"), Some("d"))
        );
        assert_eq!(config.get_password(), Some(&b"p"[..]));
        let config = completed("postgresql://me:secret@h:1/other", &variables);
        assert_eq!(config.get_hosts(), [Host::Tcp("h".to_owned())]);
        assert_eq!(config.get_ports(), [1]);
        assert_eq!(config.get_password(), Some(&b"secret"[..]));
        assert_eq!(described(&config), "database other on h as role me");
    }

    #[test]
    fn the_environment_asks_for_tls() {
        let mode = |text, mode| completed(text, &[("PGSSLMODE", mode)]).get_ssl_mode();
        for required in ["require", "verify-ca", "verify-full"] {
            assert_eq!(mode("host=h", required), SslMode::Require);
            assert_eq!(mode("host=h sslmode=disable", required), SslMode::Disable);
        }
        assert_eq!(mode("host=h", "prefer"), SslMode::Prefer);
        assert_eq!(mode("host=h sslmode=require", "disable"), SslMode::Require);
        let unknown = |name: &str| (name == "PGSSLMODE").then(|| "required".to_owned());
        let error = complete(&mut Config::new(), unknown).unwrap_err();
        assert_eq!(error.to_string(), "PGSSLMODE is not a mode: required");
    }

    #[test]
    fn a_connection_string_that_cannot_be_read_is_not_quoted() {
        let error = pool(Some("postgresql://me:secret@h:port/other"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("DATABASE is not a connection string"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}
