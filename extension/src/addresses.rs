//! Addresses of clients: the one form that sessions keep, and the forms that servers and proxies
//! write.

use crate::values::{Address, Network};
use pgrx::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// Bits of the prefix `::ffff:0:0/96`, below which IPv6 has the addresses of IPv4.
const MAPPED_PREFIX: u8 = 96;

/// The address that a server or a proxy has written; null for a text that is no address.
///
/// `REMOTE_ADDR`, `X-Forwarded-For` and their kin name a client by an address, with a port or
/// without; by an empty text or `unknown`; by the path of a socket, or by a list. An error would
/// end the request of a visitor who has done nothing wrong.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    immutable,
    parallel_safe,
    strict
)]
fn address(written: &str) -> Option<Address> {
    parse(written.trim()).map(|address| Address(address.to_canonical()))
}

fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<SocketAddrV4>() {
        return Some(IpAddr::V4(*address.ip()));
    }
    if let Ok(address) = text.parse::<SocketAddrV6>() {
        return Some(IpAddr::V6(*address.ip()));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| bracketed(rest))
        .unwrap_or(text);
    let (bare, zone) = bare.split_once('%').unwrap_or((bare, ""));
    let address: IpAddr = bare.parse().ok()?;
    // IPv4 knows no zones.
    (zone.is_empty() || address.is_ipv6()).then_some(address)
}

/// The text in brackets, if there is nothing or a port behind them. A zone may have any name, but
/// the parser of socket addresses accepts only a number.
fn bracketed(rest: &str) -> Option<&str> {
    let (inside, port) = rest.split_once(']')?;
    let port = port.strip_prefix(':').unwrap_or(port);
    (port.is_empty() || port.parse::<u16>().is_ok()).then_some(inside)
}

/// An address as sessions keep it: without a mask, and IPv4 if it is an IPv4-mapped IPv6 address.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_host",
    immutable,
    parallel_safe,
    strict
)]
fn host(ip: Address) -> Address {
    Address(ip.0.to_canonical())
}

/// A network by which sessions are searched: IPv4 if all its addresses are IPv4-mapped.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_network",
    immutable,
    parallel_safe,
    strict
)]
fn network(ip: Network) -> Network {
    match ip.address {
        IpAddr::V6(address) => unmapped(address, ip.bits).unwrap_or(ip),
        IpAddr::V4(_) => ip,
    }
}

fn unmapped(address: Ipv6Addr, bits: u8) -> Option<Network> {
    let bits = bits.checked_sub(MAPPED_PREFIX)?;
    let address: Ipv4Addr = address.to_ipv4_mapped()?;
    Some(Network {
        address: IpAddr::V4(address),
        bits,
    })
}
