//! The documentation: every SQL block runs, in order, and no link is dead.
//!
//! The blocks of a file run in one psql session, in a new database `shop`. The database has the
//! extension unless the file creates it. A block that opens with ```` ```sql error QS001 ```` must
//! raise an error with that SQLSTATE.

use crate::common::is_missing;
use crate::declared::CONTRACT;
use qsessions_testkit::{Result, Server};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use tokio_postgres::Client;

const DATABASE: &str = "shop";

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap()
}

/// The lines of a file of the documentation.
struct Document {
    path: PathBuf,
    lines: Vec<Line>,
}

enum Line {
    /// Text, or the content of a block that is not SQL.
    Other(String),
    Heading(String),
    /// Opens a block of SQL, with the error that it must raise.
    Open(Option<String>),
    Sql(String),
    Close(Option<String>),
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let (mut lines, mut fence) = (Vec::new(), None::<Fence>);
        for line in text.lines() {
            let marks = line.trim_start();
            let backticks = marks.len() - marks.trim_start_matches('`').len();
            lines.push(match &fence {
                None if backticks >= 3 => {
                    let opened = Fence::new(backticks, &marks[backticks..]);
                    let line = match opened.is_sql {
                        true => Line::Open(opened.error.clone()),
                        false => Line::Other(String::new()),
                    };
                    fence = Some(opened);
                    line
                }
                None if line.starts_with('#') => {
                    Line::Heading(line.trim_start_matches('#').trim().to_owned())
                }
                None => Line::Other(line.to_owned()),
                Some(open) if backticks >= open.backticks => {
                    let line = match open.is_sql {
                        true => Line::Close(open.error.clone()),
                        false => Line::Other(String::new()),
                    };
                    fence = None;
                    line
                }
                Some(open) if open.is_sql => Line::Sql(line.to_owned()),
                // Blocks contain no links.
                Some(_) => Line::Other(String::new()),
            });
        }
        assert!(fence.is_none(), "{}: a block is not closed", path.display());
        Self { path, lines }
    }

    fn all() -> Vec<Self> {
        let root = root();
        let mut paths = vec![
            root.join("README.md"),
            root.join("CHANGELOG.md"),
            root.join("CONTRIBUTING.md"),
            root.join("SECURITY.md"),
            root.join("client/README.md"),
            root.join("integrations/tower-sessions/README.md"),
            root.join("integrations/axum/README.md"),
            root.join("integrations/django/README.md"),
            root.join("integrations/express/README.md"),
            root.join("console/README.md"),
        ];
        for entry in fs::read_dir(root.join("docs")).unwrap() {
            paths.push(entry.unwrap().path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    /// The path in the repository: `docs/security.md`.
    fn name(&self) -> String {
        let name = self.path.strip_prefix(root()).unwrap();
        name.display().to_string()
    }

    fn sql(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| match line {
            Line::Sql(sql) => Some(sql.as_str()),
            _ => None,
        })
    }

    fn creates_the_extension(&self) -> bool {
        self.sql()
            .any(|line| line.starts_with("CREATE EXTENSION") && line.contains("qsessions"))
    }

    /// The blocks as a script for psql. Each statement has the line number that it has in the
    /// document, so that psql's messages show the right line.
    fn script(&self) -> String {
        let mut script = String::new();
        for (index, line) in self.lines.iter().enumerate() {
            let number = index + 1;
            // Writing to a String cannot fail.
            let _ = match line {
                Line::Sql(sql) => writeln!(script, "{sql}"),
                Line::Open(Some(_)) => writeln!(
                    script,
                    r"\set ON_ERROR_STOP off \\ \set LAST_ERROR_SQLSTATE none"
                ),
                Line::Close(Some(error)) => writeln!(
                    script,
                    r"\set ON_ERROR_STOP on \\ \echo expected {number} {error} :LAST_ERROR_SQLSTATE"
                ),
                _ => writeln!(script),
            };
        }
        script
    }

    async fn run(&self, server: &Server) -> Result<()> {
        let file = server.folder().join(self.name().replace('/', "-"));
        fs::write(&file, self.script())?;
        server.installation().hand_over(&file)?;
        let output = server.psql(DATABASE, &["-f", &file.to_string_lossy()])?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(outcome) = line.strip_prefix("expected ") {
                let [number, expected, found] = outcome.split(' ').collect::<Vec<_>>()[..] else {
                    return Err(format!("psql said {line:?}").into());
                };
                if expected != found {
                    let says = format!("line {number}: expected SQLSTATE {expected}, got {found}");
                    return Err(says.into());
                }
            }
        }
        Ok(())
    }

    /// The targets of links, by line.
    fn links(&self) -> Vec<(usize, &str)> {
        let mut links = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let Line::Other(text) = line else { continue };
            for part in text.split("](").skip(1) {
                let target = part.split(')').next().unwrap_or_default();
                links.push((index + 1, target));
            }
        }
        links
    }

    fn has_heading(&self, anchor: &str) -> bool {
        self.lines.iter().any(|line| match line {
            Line::Heading(heading) => as_anchor(heading) == anchor,
            _ => false,
        })
    }
}

struct Fence {
    backticks: usize,
    is_sql: bool,
    error: Option<String>,
}

impl Fence {
    fn new(backticks: usize, info: &str) -> Self {
        let words: Vec<_> = info.split_whitespace().collect();
        let error = match words[..] {
            ["sql", "error", code] => Some(code.to_owned()),
            _ => None,
        };
        Self {
            backticks,
            is_sql: words.first() == Some(&"sql"),
            error,
        }
    }
}

/// The anchor of a heading, as code forges generate it.
fn as_anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// Starts a separate server, because the documentation creates roles and changes settings of the
/// whole server.
async fn start() -> Result<(Server, Client)> {
    let server = Server::builder().start().await?;
    let admin = server.connect("postgres").await?;
    admin.batch_execute("CREATE EXTENSION pg_cron").await?;
    Ok((server, admin))
}

async fn make_database(server: &Server, admin: &Client, document: &Document) -> Result<()> {
    let create = format!("CREATE DATABASE {DATABASE}");
    admin.batch_execute(&create).await?;
    if !document.creates_the_extension() {
        let client = server.connect(DATABASE).await?;
        client.batch_execute("CREATE EXTENSION qsessions").await?;
    }
    Ok(())
}

async fn drop_database(admin: &Client) -> Result<()> {
    // pg_cron would continue to run the job in the dropped database.
    let unschedule = "SELECT cron.unschedule(jobid) FROM cron.job";
    admin.query(unschedule, &[]).await?;
    let drop = format!("DROP DATABASE {DATABASE} WITH (FORCE)");
    admin.batch_execute(&drop).await?;
    admin.batch_execute("ALTER SYSTEM RESET ALL").await?;
    admin.query("SELECT pg_reload_conf()", &[]).await?;
    // 16384 is the first OID of objects that users create.
    let roles = "SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384";
    for role in admin.query(roles, &[]).await? {
        let role: &str = role.get(0);
        let drop = format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}");
        admin.batch_execute(&drop).await?;
    }
    Ok(())
}

#[tokio::test]
async fn sql_in_the_documentation_runs() {
    if is_missing("pg_cron") {
        return;
    }
    let (server, admin) = start().await.unwrap();
    let mut failures = Vec::new();
    for document in Document::all() {
        if document.sql().next().is_none() {
            continue;
        }
        make_database(&server, &admin, &document).await.unwrap();
        if let Err(error) = document.run(&server).await {
            failures.push(format!("{}: {error}", document.name()));
        }
        drop_database(&admin).await.unwrap();
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn links_in_the_documentation_are_not_dead() {
    let documents = Document::all();
    let mut failures = Vec::new();
    for document in &documents {
        for (line, link) in document.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => Ok(document.path.clone()),
                file => document.path.with_file_name(file).canonicalize(),
            };
            let leads = target.is_ok_and(|target| {
                let mut known = documents.iter().filter(|other| other.path == target);
                anchor.is_empty() || known.any(|other| other.has_heading(anchor))
            });
            if !leads {
                failures.push(format!("{}:{line}: {link}", document.name()));
            }
        }
    }
    assert!(failures.is_empty(), "dead links:\n{}", failures.join("\n"));
}

/// A function of the contract as the reference writes it: `logout(key)`.
fn call(declaration: &str) -> String {
    let (function, _) = declaration.split_once(" -> ").unwrap();
    let (name, arguments) = function.trim_end_matches(')').split_once('(').unwrap();
    let arguments = arguments.split(", ").map(|argument| {
        let argument = argument.trim_start_matches("IN ");
        argument.split(' ').next().unwrap_or_default()
    });
    format!("{name}({})", arguments.collect::<Vec<_>>().join(", "))
}

#[test]
fn the_reference_lists_every_function_with_its_arguments() {
    let text = fs::read_to_string(root().join("docs/reference.md")).unwrap();
    let (functions, _) = text.split_once("## Settings").unwrap();
    // The first cell of a row has the calls, each in backticks.
    let listed: BTreeSet<_> = functions
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next())
        .flat_map(|cell| cell.trim_end_matches('`').split("`, `"))
        .map(|call| call.trim_start_matches("CALL ").to_owned())
        .collect();
    let declared: BTreeSet<_> = CONTRACT.iter().map(|function| call(function)).collect();
    assert_eq!(listed, declared);
}
