//! The arguments of the program.

use lexopt::prelude::*;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const HELP: &str = "\
Shows the sessions of qsessions in a browser, and ends them.

Usage: qsessions-console [OPTIONS] [DATABASE]

DATABASE is a connection string or URL, such as postgresql:///app or
'host=/run/postgresql dbname=app user=shop_console'. What it does not say comes
from PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD and PGSSLMODE. With
sslmode=require, the server must have a certificate of an authority that the
system trusts, or of one in the file that PGSSLROOTCERT names. Without it, the
connection has no TLS.

Options:
  --listen ADDRESS   address and port, by default 127.0.0.1:7650; port 0 takes
                     a free one
  --expose           allow an address that other machines can reach
  --host NAME        a name under which browsers reach the console, besides
                     localhost and addresses; may be repeated
  --timeout SECONDS  longest time of a query of a page, by default 5
  --help             print this help
  --version          print the version";

/// What the program is to do.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Arguments),
    Print(String),
}

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) database: Option<String>,
    pub(crate) listen: SocketAddr,
    pub(crate) hosts: Vec<String>,
    pub(crate) timeout: Duration,
}

/// Reads the arguments, of which the first is the name of the program.
pub(crate) fn read(
    arguments: impl IntoIterator<Item = impl Into<OsString>, IntoIter: 'static>,
) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut read = Arguments {
        database: None,
        listen: SocketAddr::from(([127, 0, 0, 1], 7650)),
        hosts: Vec::new(),
        timeout: Duration::from_secs(5),
    };
    let mut may_be_reached = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => read.listen = address(&parser.value()?.string()?)?,
            Long("expose") => may_be_reached = true,
            Long("host") => read.hosts.push(parser.value()?.string()?),
            Long("timeout") => read.timeout = timeout(parser.value()?.parse()?)?,
            Long("help") | Short('h') => return Ok(Command::Print(HELP.to_owned())),
            Long("version") | Short('V') => {
                let version = concat!("qsessions-console ", env!("CARGO_PKG_VERSION"));
                return Ok(Command::Print(version.to_owned()));
            }
            Value(value) if read.database.is_none() => read.database = Some(value.string()?),
            // The argument is not shown, because it may contain a password.
            Value(_) => return Err("more than one DATABASE".into()),
            other => return Err(other.unexpected()),
        }
    }
    if !read.listen.ip().is_loopback() && !may_be_reached {
        return Err(format!(
            "--listen {}: other machines may reach this address, and the console has no TLS; add \
             --expose if that is what you want",
            read.listen
        )
        .into());
    }
    Ok(Command::Run(read))
}

/// An address with a port, or without one.
fn address(text: &str) -> Result<SocketAddr, lexopt::Error> {
    let with_port = text.replacen("localhost:", "127.0.0.1:", 1).parse();
    with_port
        .or_else(|_| {
            text.parse::<IpAddr>()
                .map(|ip| SocketAddr::from((ip, 7650)))
        })
        .map_err(|_| format!("--listen {text}: expected an address such as 127.0.0.1:7650").into())
}

fn timeout(seconds: u64) -> Result<Duration, lexopt::Error> {
    match seconds {
        1..=3600 => Ok(Duration::from_secs(seconds)),
        _ => Err("--timeout: expected 1 to 3600 seconds".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &'static [&'static str]) -> Result<Arguments, String> {
        let all = ["qsessions-console"].iter().chain(arguments).copied();
        match read(all) {
            Ok(Command::Run(arguments)) => Ok(arguments),
            Ok(Command::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_console_listens_on_loopback_unless_it_is_told_otherwise() {
        let arguments = parsed(&["postgresql:///app"]).unwrap();
        assert!(arguments.listen.ip().is_loopback());
        assert_eq!(arguments.database.as_deref(), Some("postgresql:///app"));
        assert_eq!(parsed(&["--listen", "[::1]:0"]).unwrap().listen.port(), 0);
        assert_eq!(
            parsed(&["--listen=localhost:81"]).unwrap().listen.port(),
            81
        );
        let refused = parsed(&["--listen", "0.0.0.0:80"]).unwrap_err();
        assert!(refused.contains("--expose"), "{refused}");
        assert_eq!(
            parsed(&["--listen", "0.0.0.0", "--expose"])
                .unwrap()
                .listen
                .to_string(),
            "0.0.0.0:7650"
        );
    }

    #[test]
    fn mistakes_are_named_without_the_connection_string() {
        for (arguments, part) in [
            (&["--listen", "here"][..], "expected an address"),
            (&["--timeout", "0"][..], "1 to 3600"),
            (&["--timeout", "soon"][..], "soon"),
            (&["--frob"][..], "--frob"),
            (
                &["a", "postgresql://u:secret@h/d"][..],
                "more than one DATABASE",
            ),
        ] {
            let error = parsed(arguments).unwrap_err();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn help_and_version_are_printed() {
        assert!(parsed(&["--help"]).unwrap_err().contains("Usage:"));
        assert!(
            parsed(&["-V"])
                .unwrap_err()
                .starts_with("qsessions-console ")
        );
    }
}
