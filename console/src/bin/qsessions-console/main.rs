//! The program `qsessions-console`: serves the console to the person who has started it.

mod arguments;
mod connection;
mod tls;

use arguments::{Arguments, Command};
use qsessions_console::{Door, Options};
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match arguments::read(std::env::args_os()) {
        Ok(Command::Run(arguments)) => arguments,
        Ok(Command::Print(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("qsessions-console: {error}\nTry qsessions-console --help.");
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qsessions-console: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (pool, target) = connection::pool(arguments.database.as_deref())?;
    connection::check(&pool, &target).await?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.listen))?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        eprintln!(
            "WARNING: the console listens on {address}, which other machines may reach. It has no TLS: \
             anyone who reads the traffic can end sessions. Put it behind a proxy with TLS, or use a tunnel \
             of ssh instead."
        );
    }
    let door = Door::new(address.port(), arguments.hosts.iter().cloned());
    let options = Options::new().statement_timeout(arguments.timeout);
    let router = door.router(pool, options);
    let host = arguments.hosts.first().cloned();
    let show_link = || println!("  {}", link(address, host.as_deref(), &door.new_link()));
    // Before the signals are mentioned.
    let mut more_links = signal(SignalKind::user_defined1())?;
    let mut terminated = signal(SignalKind::terminate())?;
    println!("Sessions of {target}. Open this link, which works once:");
    show_link();
    println!(
        "Another link: kill -USR1 {}. To stop: Ctrl-C.",
        std::process::id()
    );
    let mut server = Box::pin(async { axum::serve(listener, router).await });
    loop {
        tokio::select! {
            result = &mut server => return Ok(result?),
            () = received(&mut more_links) => show_link(),
            () = received(&mut terminated) => return Ok(()),
            result = tokio::signal::ctrl_c() => return Ok(result?),
        }
    }
}

async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

fn link(address: SocketAddr, host: Option<&str>, path: &str) -> String {
    match host {
        Some(host) => format!("http://{host}:{}{path}", address.port()),
        None if address.ip().is_unspecified() => {
            format!("http://localhost:{}{path}", address.port())
        }
        None => format!("http://{address}{path}"),
    }
}
