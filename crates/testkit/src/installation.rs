use crate::{Error, Result};
use nix::unistd::{User, geteuid};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An installed PostgreSQL, and the user that runs its programs.
#[derive(Clone, Debug)]
pub struct Installation {
    major: u32,
    bin: PathBuf,
    /// The folder of control files.
    extensions: PathBuf,
    run_as: Option<User>,
}

impl Installation {
    /// The PostgreSQL that `QSESSIONS_PG_CONFIG` names, by default the private copy that
    /// `make test` creates.
    ///
    /// # Errors
    ///
    /// If there is none, or if there is no user to run it.
    pub fn find() -> Result<Self> {
        let pg_config = std::env::var_os("QSESSIONS_PG_CONFIG").map_or_else(
            || build_folder().join("pg15/lib/postgresql/15/bin/pg_config"),
            PathBuf::from,
        );
        Self::of(&pg_config)
    }

    /// The private copy of PostgreSQL 15, if `make test` has created it and installed this extension
    /// there.
    #[must_use]
    pub fn oldest() -> Option<Self> {
        let pg_config = build_folder().join("pg15/lib/postgresql/15/bin/pg_config");
        let found = Self::of(&pg_config).ok();
        found.filter(|installation| installation.has_extension("qsessions"))
    }

    /// The PostgreSQL with Citus that `QSESSIONS_CITUS_PG_CONFIG` names. Without the variable there is
    /// none: Citus is in no package source that the tests use.
    ///
    /// # Errors
    ///
    /// If the variable names none.
    pub fn with_citus() -> Result<Option<Self>> {
        let Some(pg_config) = std::env::var_os("QSESSIONS_CITUS_PG_CONFIG") else {
            return Ok(None);
        };
        let found = Self::of(Path::new(&pg_config))?;
        for extension in ["citus", "qsessions"] {
            if !found.has_extension(extension) {
                let path = pg_config.display();
                return Err(
                    format!("the PostgreSQL of {path} has no extension {extension}").into(),
                );
            }
        }
        Ok(Some(found))
    }

    /// The PostgreSQL of this `pg_config`.
    fn of(pg_config: &Path) -> Result<Self> {
        // The real path, because the server's user may not have access to the repository.
        let pg_config = pg_config.canonicalize().map_err(|error| {
            format!(
                "no PostgreSQL at {} ({error}); `make test` installs one",
                pg_config.display()
            )
        })?;
        let ask = |option: &str| -> Result<String> {
            let output = Command::new(&pg_config).arg(option).output()?;
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        // Such as "PostgreSQL 15.20 (Debian 15.20-0+deb12u1)".
        let version = ask("--version")?;
        let major = version
            .split([' ', '.'])
            .nth(1)
            .and_then(|major| major.parse().ok())
            .ok_or_else(|| format!("{} is of {version:?}", pg_config.display()))?;
        Ok(Self {
            major,
            bin: PathBuf::from(ask("--bindir")?),
            extensions: Path::new(&ask("--sharedir")?).join("extension"),
            run_as: server_user()?,
        })
    }

    /// The major version of this PostgreSQL.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Whether this PostgreSQL has the extension, or whether the extension is only built for others.
    #[must_use]
    pub fn has_extension(&self, name: &str) -> bool {
        self.extensions.join(format!("{name}.control")).exists()
    }

    /// Whether this PostgreSQL has the program.
    #[must_use]
    pub fn has_program(&self, name: &str) -> bool {
        self.bin.join(name).exists()
    }

    /// The folder of the programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// A command that runs a program of PostgreSQL as the user of the servers.
    ///
    /// The environment consists of a path and a locale only, so that the variables of the developer
    /// do not affect servers.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.run_as_server(Command::new(self.bin.join(program)))
    }

    /// Like [`command`](Self::command), for any program.
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

    /// Runs a program and waits for its end.
    ///
    /// # Errors
    ///
    /// If it cannot be started or fails; the error contains its output.
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

    /// Changes the owner of a file or folder to the user of the servers.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn hand_over(&self, path: &Path) -> Result<()> {
        if let Some(user) = &self.run_as {
            std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    }
}

/// A program of another package, which `make test` unpacks into `.build/tools`.
pub(crate) fn tool(program: &str) -> Result<PathBuf> {
    let path = build_folder().join("tools").join(program);
    // The real path, as for PostgreSQL.
    path.canonicalize().map_err(|error| {
        let path = path.display();
        format!("no program at {path} ({error}); `make test` installs one").into()
    })
}

/// The folder `.build` of this clone.
fn build_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.build")
}

/// The user that runs servers: `None`, which is the current user, unless the current user is root.
fn server_user() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let name = std::env::var("QSESSIONS_RUN_AS").unwrap_or_else(|_| "postgres".to_owned());
    match User::from_name(&name)? {
        Some(user) => Ok(Some(user)),
        None => Err(format!(
            "PostgreSQL refuses to run as root, and there is no user {name:?} to run it"
        )
        .into()),
    }
}
