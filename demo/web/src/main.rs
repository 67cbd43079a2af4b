//! A shop to look at in a browser: `make demo-web`.
//!
//! Starts a PostgreSQL of its own, and a shop in which people sign in, see their devices and sign
//! out there. Its administrator sees all sessions in the console. The shop is reachable from this
//! machine only.

mod console;
mod pages;
mod people;
mod products;
mod server;
mod shop;

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use axum::Router;
use axum::middleware::map_response;
use qsessions::Store;
use qsessions_axum::{Devices, SessionLayer};
use qsessions_testkit::Result;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::server::ShopServer;

const PORT: u16 = 7600;

#[tokio::main]
async fn main() -> ExitCode {
    let result = tokio::select! {
        result = run() => result,
        // The server is stopped when `run` is dropped.
        () = stop_signal() => Ok(()),
    };
    match result {
        Ok(()) => {
            println!("\nThe shop is closed, and its PostgreSQL is stopped and removed.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nThe shop cannot be opened: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  because of: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn stop_signal() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate => {}
    }
}

async fn run() -> Result {
    let server = ShopServer::start().await?;
    let app = app(&server)?.into_make_service_with_connect_info::<SocketAddr>();
    let listener = listen().await?;
    print_addresses(&server, listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

fn app(server: &ShopServer) -> Result<Router> {
    let sessions = SessionLayer::builder(Store::new(server.pool(server::SHOP)?))
        .sign_in_page("/sign-in")
        // Not every browser treats http://localhost as if it were HTTPS.
        .secure(false)
        .when_interrupted(pages::session_has_ended)
        .build()?;
    let devices = Devices::new().signed_out_page("/sign-in").router();
    Ok(shop::routes()
        .nest("/devices", devices)
        .nest("/console", console::routes(server.pool(server::CONSOLE)?))
        .layer(sessions)
        .layer(map_response(pages::protect)))
}

/// Listens on `PORT`, or the usual port, or a free one if that is in use.
async fn listen() -> Result<TcpListener> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Ok(port) = env::var("PORT") {
        let port = port.parse().map_err(|_| "PORT must be a number")?;
        return Ok(TcpListener::bind(address(port)).await?);
    }
    match TcpListener::bind(address(PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind(address(0)).await?),
    }
}

fn print_addresses(server: &ShopServer, address: SocketAddr) {
    println!("\nThe shop is open. Sign in from two browsers, and sign one out from the other.\n");
    println!("  The shop             http://{address}/");
    println!("  Devices of a user    http://{address}/devices");
    println!("  All sessions         http://{address}/console");
    println!("  The database         {}", server.psql());
    println!(
        "\nUsers are {}, and {} is the administrator. The password of each is \"{}\".",
        people::names(false),
        people::names(true),
        people::PASSWORD
    );
    println!("{}", server.location_note());
    println!("Press Ctrl-C to stop the shop and its PostgreSQL.");
}
