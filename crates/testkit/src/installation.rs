use crate::{Error, Result};
use nix::unistd::{User, geteuid};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An installed PostgreSQL, and who runs its programs.
#[derive(Clone, Debug)]
pub struct Installation {
    bin: PathBuf,
    run_as: Option<User>,
}

impl Installation {
    /// The one that `QSESSIONS_PG_CONFIG` names, by default the private copy that `make test` makes.
    ///
    /// # Errors
    ///
    /// When there is none, or when no user can be found to run it.
    pub fn find() -> Result<Self> {
        let pg_config = std::env::var_os("QSESSIONS_PG_CONFIG").map_or_else(
            || {
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("../../.build/pg15/lib/postgresql/15/bin/pg_config")
            },
            PathBuf::from,
        );
        // The real path: the server's user may not be allowed to walk through the repository to it.
        let pg_config = pg_config.canonicalize().map_err(|error| {
            format!(
                "no PostgreSQL at {} ({error}); `make test` makes one",
                pg_config.display()
            )
        })?;
        let output = Command::new(&pg_config).arg("--bindir").output()?;
        let bin = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        Ok(Self {
            bin,
            run_as: server_user()?,
        })
    }

    /// The folder of PostgreSQL's programs.
    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }

    /// A PostgreSQL program, to be run as the user that servers run as.
    ///
    /// It gets no environment but a path and a locale: what is set on the machine of the one
    /// who tests must not decide how a server behaves.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.run_as_server(Command::new(self.bin.join(program)))
    }

    /// Any program, as [`command`](Self::command) runs those of PostgreSQL.
    pub(crate) fn run_as_server(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/");
        if let Some(user) = &self.run_as {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    ///
    /// When it can't be started or fails; the error holds what it printed.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Output> {
        let output = self.command(program).args(arguments).output()?;
        if output.status.success() {
            return Ok(output);
        }
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::from(format!(
            "{program} failed ({}): {printed}",
            output.status
        )))
    }

    /// Makes a file or folder belong to the user that servers run as.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn hand_over(&self, path: &Path) -> Result<()> {
        if let Some(user) = &self.run_as {
            std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    }
}

/// Nobody in particular, unless we are root.
fn server_user() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let name = std::env::var("QSESSIONS_RUN_AS").unwrap_or_else(|_| "postgres".to_owned());
    match User::from_name(&name)? {
        Some(user) => Ok(Some(user)),
        None => Err(format!("there is no user {name:?} to run PostgreSQL as; root can't").into()),
    }
}
