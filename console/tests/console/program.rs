//! The program, started as a person starts it.

use crate::common::Console;
use qsessions_testkit::{Installation, Server};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Program {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    port: u16,
    path: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qsessions-console"));
    for name in [
        "PGHOST",
        "PGPORT",
        "PGUSER",
        "PGDATABASE",
        "PGPASSWORD",
        "PGSSLMODE",
        "PGSSLROOTCERT",
    ] {
        command.env_remove(name);
    }
    command
}

impl Program {
    fn start(console: &Console) -> Self {
        let folder = console.database.server().folder().display().to_string();
        let mut command = command();
        command
            .env("PGHOST", folder)
            .env("PGUSER", &console.role)
            .env("PGDATABASE", console.database.name())
            .env("PGPASSWORD", "never-to-be-shown");
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self {
            child,
            output,
            port: 0,
            path: String::new(),
        };
        program.read_link();
        program
    }

    /// Reads what is printed up to a link.
    fn read_link(&mut self) -> String {
        let mut printed = String::new();
        loop {
            let start = printed.len();
            assert!(
                self.output.read_line(&mut printed).unwrap() > 0,
                "{printed}"
            );
            if let Some(link) = printed[start..].trim().strip_prefix("http://127.0.0.1:") {
                let (port, path) = link.split_once('/').unwrap();
                self.port = port.parse().unwrap();
                self.path = format!("/{path}");
                return printed;
            }
        }
    }

    async fn request(&self, head: &str, host: &str, cookie: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let request = format!(
            "{head} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str, cookie: &str) -> String {
        self.request(
            &format!("GET {path}"),
            &format!("127.0.0.1:{}", self.port),
            cookie,
            "",
        )
        .await
    }

    /// Opens the link, and returns the cookie.
    async fn open(&self) -> String {
        let answer = self.get(&self.path, "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let cookie = answer
            .split("set-cookie: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        for attribute in [
            "; HttpOnly",
            "; SameSite=Strict",
            "; Max-Age=43200",
            "; Path=/",
        ] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_link_works_once_and_the_cookie_opens_the_pages() {
    let console = Console::new().await;
    let program = Program::start(&console);
    for path in [
        "/",
        "/sessions",
        "/live",
        "/health",
        "/nothing",
        // The page that says so would have a token for forms.
        "/assets/nothing",
        "/open/a/b",
    ] {
        let answer = program.get(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{path}: {answer}");
        assert!(answer.contains("The console is closed"), "{answer}");
        assert!(answer.contains("content-security-policy"), "{answer}");
    }
    let wrong = program
        .get("/open/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "")
        .await;
    assert!(wrong.starts_with("HTTP/1.1 403"), "{wrong}");
    let host = format!("127.0.0.1:{}", program.port);
    let head = format!("HEAD {}", program.path);
    let head = program.request(&head, &host, "", "").await;
    assert!(
        head.starts_with("HTTP/1.1 405") && !head.contains("set-cookie"),
        "{head}"
    );
    let cookie = program.open().await;
    let again = program.get(&program.path, "").await;
    assert!(
        again.starts_with("HTTP/1.1 403") && !again.contains("set-cookie"),
        "{again}"
    );
    let page = program.get("/", &cookie).await;
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("Sessions now"),
        "{page}"
    );
    let (name, _) = cookie.split_once('=').unwrap();
    let forged = program.get("/", &format!("{name}=AAAA")).await;
    assert!(forged.starts_with("HTTP/1.1 401"), "{forged}");
    let empty = program.get("/", &format!("{name}=")).await;
    assert!(empty.starts_with("HTTP/1.1 401"), "{empty}");
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_refused() {
    let console = Console::new().await;
    let program = Program::start(&console);
    let cookie = program.open().await;
    for path in ["/", "/assets/console.css", &program.path] {
        let answer = program
            .request(&format!("GET {path}"), "evil.example", &cookie, "")
            .await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    }
    let answer = program.request("GET /", "localhost:1", &cookie, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_signal_prints_another_link_and_signing_out_ends_the_cookie() {
    let console = Console::new().await;
    let mut program = Program::start(&console);
    let first = program.path.clone();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(program.child.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGUSR1,
    )
    .unwrap();
    program.read_link();
    assert_ne!(first, program.path);
    assert!(program.get(&first, "").await.starts_with("HTTP/1.1 403"));
    let cookie = program.open().await;
    let page = program.get("/", &cookie).await;
    let form = page
        .split("set-cookie: ")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let both = format!("{cookie}; {form}");
    let token = page
        .split("name=\"csrf\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let host = format!("127.0.0.1:{}", program.port);
    let refused = program
        .request("POST /sign-out", &host, &both, "csrf=x")
        .await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert!(program.get("/", &both).await.starts_with("HTTP/1.1 200"));
    let out = program
        .request("POST /sign-out", &host, &both, &format!("csrf={token}"))
        .await;
    assert!(
        out.starts_with("HTTP/1.1 200") && out.contains("Max-Age=0"),
        "{out}"
    );
    assert!(program.get("/", &both).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn the_program_ends_when_it_is_told_to_while_pages_are_open() {
    let console = Console::new().await;
    let mut program = Program::start(&console);
    let cookie = program.open().await;
    let mut stream = TcpStream::connect(("127.0.0.1", program.port))
        .await
        .unwrap();
    let request = format!("GET /live HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(program.child.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert!(program.child.wait().unwrap().success());
    let mut rest = String::new();
    program.output.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("never-to-be-shown"), "{rest}");
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_without_the_password() {
    let console = Console::new().await;
    let folder = console.database.server().folder().display();
    let text = format!("host={folder} dbname=nowhere user=postgres password=never-to-be-shown");
    let output = command()
        .args(["--listen", "127.0.0.1:0", &text])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("cannot connect to database nowhere"),
        "{error}"
    );
    assert!(error.contains("does not exist"), "{error}");
    assert!(!error.contains("never-to-be-shown"), "{error}");
    let output = command()
        .args(["--listen", "0.0.0.0:0", &text])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("--expose") && !error.contains("never-to-be-shown"),
        "{error}"
    );
}

/// A certificate for localhost, and a server that has it.
async fn server_with_tls(folder: &Path) -> (PathBuf, u16, Server) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = [
        (folder.join("server.crt"), made.cert.pem()),
        (folder.join("server.key"), made.signing_key.serialize_pem()),
    ];
    let installation = Installation::find().unwrap();
    for (path, text) in &files {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        installation.hand_over(path).unwrap();
    }
    installation.hand_over(folder).unwrap();
    // A free port below those that the system gives to connections meanwhile.
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let port = (first..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let port = port.unwrap();
    let [(certificate, _), (key, _)] = files;
    let server = Server::builder()
        .tcp_port(port)
        .setting("ssl", "on")
        .setting("ssl_cert_file", &certificate.to_string_lossy())
        .setting("ssl_key_file", &key.to_string_lossy())
        .start();
    (certificate, port, server.await.unwrap())
}

#[tokio::test]
async fn tls_is_used_where_it_is_required_and_the_certificate_is_checked() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let (certificate, port, server) = server_with_tls(folder.path()).await;
    let target = format!("host=localhost port={port} user=postgres dbname=postgres");
    let encrypted = async || {
        let client = server.connect("postgres").await.unwrap();
        let sql = "SELECT s.ssl FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a USING (pid)
                   WHERE a.application_name = 'qsessions-console'";
        client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0)
    };
    let mut with_tls = command();
    with_tls
        .env("PGSSLROOTCERT", &certificate)
        .arg(format!("{target} sslmode=require"));
    let program = Program::run(with_tls);
    assert!(encrypted().await);
    drop(program);

    let output = command()
        .args([
            "--listen",
            "127.0.0.1:0",
            &format!("{target} sslmode=require"),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("certificate"), "{error}");
    let output = command()
        .env("PGSSLROOTCERT", folder.path().join("nothing"))
        .args([
            "--listen",
            "127.0.0.1:0",
            &format!("{target} sslmode=require"),
        ])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("PGSSLROOTCERT: cannot read"), "{error}");
}
