//! Who sends a request: the address, the browser, and its client hints.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::http::header::{HeaderValue, USER_AGENT};
use axum::http::request::Parts;
use ipnet::IpNet;
use qsessions::ClientHints;
use trusted_proxies::{Config, Trusted};

/// The header in which trusted proxies tell the address of the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded`, of RFC 7239.
    Forwarded,
}

/// The proxies whose header tells the address of the client.
#[derive(Debug)]
pub(crate) struct Proxies {
    /// None without proxies.
    config: Option<Config>,
}

impl Proxies {
    pub(crate) fn new(networks: &[IpNet], header: ProxyHeader) -> Self {
        let mut config = Config::new();
        // Only one of the headers, because a proxy that writes one passes the other one on.
        match header {
            ProxyHeader::XForwardedFor => config.trust_x_forwarded_for(),
            ProxyHeader::Forwarded => config.trust_forwarded(),
        }
        for network in networks {
            config
                .add_trusted_ip(&network.to_string())
                .expect("a network is read as it is written");
        }
        let config = (!networks.is_empty()).then_some(config);
        Self { config }
    }

    /// The address of the client: that of the peer, unless a trusted proxy says otherwise.
    fn client(&self, parts: &Parts) -> Option<IpAddr> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
        // A server that listens on IPv6 sees IPv4 peers as mapped addresses.
        let peer = peer.0.ip().to_canonical();
        Some(match &self.config {
            None => peer,
            Some(config) => Trusted::from(peer, parts, config).ip().to_canonical(),
        })
    }
}

/// What a request says about its sender.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visitor {
    pub(crate) ip: Option<IpAddr>,
    user_agent: Option<HeaderValue>,
    pub(crate) client_hints: ClientHints,
}

impl Visitor {
    pub(crate) fn new(parts: &Parts, proxies: &Proxies) -> Self {
        Self {
            ip: proxies.client(parts),
            user_agent: parts.headers.get(USER_AGENT).cloned(),
            client_hints: hints(&parts.headers),
        }
    }

    pub(crate) fn user_agent(&self) -> Option<&str> {
        let user_agent = self.user_agent.as_ref()?;
        std::str::from_utf8(user_agent.as_bytes()).ok()
    }
}

fn hints(headers: &HeaderMap) -> ClientHints {
    headers.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    const PROXY: &str = "10.0.0.7:4711";

    fn client(trusted: &[&str], header: ProxyHeader, peer: &str, headers: &[(&str, &str)]) -> IpAddr {
        let networks: Vec<IpNet> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let peer: SocketAddr = peer.parse().unwrap();
        parts.extensions.insert(ConnectInfo(peer));
        Proxies::new(&networks, header).client(&parts).unwrap()
    }

    #[test]
    fn a_forged_header_changes_nothing_without_trusted_proxies() {
        let forged = [
            ("X-Forwarded-For", "192.0.2.1"),
            ("Forwarded", "for=192.0.2.1"),
            ("X-Real-IP", "192.0.2.1"),
        ];
        for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
            let seen = client(&[], header, PROXY, &forged);
            assert_eq!(seen.to_string(), "10.0.0.7");
            let seen = client(&["10.0.0.8/32"], header, PROXY, &forged);
            assert_eq!(seen.to_string(), "10.0.0.7");
        }
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_client() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"];
        let forwarded_for = |header| {
            let headers = [("X-Forwarded-For", header)];
            client(&trusted, ProxyHeader::XForwardedFor, PROXY, &headers).to_string()
        };
        assert_eq!(forwarded_for("192.0.2.1"), "192.0.2.1");
        assert_eq!(forwarded_for("203.0.113.9, 192.0.2.1"), "192.0.2.1");
        assert_eq!(forwarded_for("192.0.2.1, 2001:db8::1, 10.1.1.1"), "192.0.2.1");
        assert_eq!(forwarded_for("unknown"), "10.0.0.7");
        assert_eq!(forwarded_for(""), "10.0.0.7");
    }

    #[test]
    fn only_the_header_that_the_proxies_write_counts() {
        let both = [
            ("X-Forwarded-For", "192.0.2.1"),
            ("Forwarded", "for=\"[2001:db8::7]:80\""),
        ];
        let seen = |header| client(&["10.0.0.0/8"], header, PROXY, &both).to_string();
        assert_eq!(seen(ProxyHeader::XForwardedFor), "192.0.2.1");
        assert_eq!(seen(ProxyHeader::Forwarded), "2001:db8::7");
    }

    #[test]
    fn a_mapped_peer_is_the_ipv4_address_that_it_is() {
        let headers = [("X-Forwarded-For", "::ffff:192.0.2.1")];
        let mapped = "[::ffff:10.0.0.7]:4711";
        let seen = |trusted| client(trusted, ProxyHeader::XForwardedFor, mapped, &headers);
        assert_eq!(seen(&[]).to_string(), "10.0.0.7");
        assert_eq!(seen(&["10.0.0.0/8"]).to_string(), "192.0.2.1");
    }
}
