//! Who sends a request: the address, the browser, and its client hints.

use std::net::{IpAddr, SocketAddr};

use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};
use axum::http::header::{FORWARDED, HeaderName, HeaderValue, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;
use qsessions::ClientHints;
use trusted_proxies::{Config, RequestInformation, Trusted};

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
    header: HeaderName,
    /// None without proxies.
    config: Option<Config>,
}

impl Proxies {
    pub(crate) fn new(networks: &[IpNet], header: ProxyHeader) -> Self {
        let mut config = Config::new();
        // Only one of the headers, because a proxy that writes one passes the other one on.
        let header = match header {
            ProxyHeader::XForwardedFor => {
                config.trust_x_forwarded_for();
                HeaderName::from_static("x-forwarded-for")
            }
            ProxyHeader::Forwarded => {
                config.trust_forwarded();
                FORWARDED
            }
        };
        for network in networks {
            config
                .add_trusted_ip(&network.to_string())
                .expect("a network is read as it is written");
        }
        let config = (!networks.is_empty()).then_some(config);
        Self { header, config }
    }

    /// The address of the client: that of the peer, unless a trusted proxy says otherwise.
    fn client(&self, parts: &Parts) -> Option<IpAddr> {
        // A server that listens on IPv6 sees IPv4 peers as mapped addresses.
        let peer = peer(&parts.extensions)?.ip().to_canonical();
        Some(match &self.config {
            Some(config) if config.is_ip_trusted(&peer) => {
                let hops = Hops::new(parts.headers.get_all(&self.header));
                Trusted::from(peer, &hops, config).ip()
            }
            _ => peer,
        })
    }
}

fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let peer = extensions.get().map(|ConnectInfo(peer)| *peer);
    peer.or_else(|| extensions.get().map(|MockConnectInfo(peer)| *peer))
}

/// The addresses in the header of the proxies. The crate that chooses one of them reads IPv6
/// addresses in brackets only, and compares mapped addresses as they are.
struct Hops(Vec<String>);

impl Hops {
    fn new<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        // A client can send bytes that are no text, and a proxy appends to the same line.
        let hops = headers
            .into_iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let hops = hops.map(|hop| {
            let hop = String::from_utf8_lossy(hop);
            match hop.trim().parse::<IpAddr>() {
                Ok(address) => match address.to_canonical() {
                    IpAddr::V4(address) => address.to_string(),
                    IpAddr::V6(address) => format!("[{address}]"),
                },
                Err(_) => hop.into_owned(),
            }
        });
        Self(hops.collect())
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// The configuration decides which of the two headers these are. Others are never trusted.
impl RequestInformation for Hops {
    fn forwarded(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.iter()
    }

    fn x_forwarded_for(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.iter()
    }

    fn x_forwarded_host(&self) -> impl DoubleEndedIterator<Item = &str> {
        std::iter::empty()
    }

    fn x_forwarded_proto(&self) -> impl DoubleEndedIterator<Item = &str> {
        std::iter::empty()
    }

    fn x_forwarded_by(&self) -> impl DoubleEndedIterator<Item = &str> {
        std::iter::empty()
    }

    fn is_host_header_allowed(&self) -> bool {
        false
    }

    fn host_header(&self) -> Option<&str> {
        None
    }

    fn authority(&self) -> Option<&str> {
        None
    }

    fn default_scheme(&self) -> Option<&str> {
        None
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

    fn client(
        trusted: &[&str],
        header: ProxyHeader,
        peer: &str,
        headers: &[(&str, &str)],
    ) -> IpAddr {
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
        assert_eq!(
            forwarded_for("192.0.2.1, 2001:db8::1, 10.1.1.1"),
            "192.0.2.1"
        );
        assert_eq!(
            forwarded_for("192.0.2.1:80, [2001:db8::1]:443"),
            "192.0.2.1"
        );
        assert_eq!(forwarded_for("2001:db9::7, 10.1.1.1"), "2001:db9::7");
        assert_eq!(forwarded_for("unknown, 192.0.2.1"), "192.0.2.1");
        assert_eq!(forwarded_for("192.0.2.1, unknown"), "10.0.0.7");
        assert_eq!(forwarded_for("unknown"), "10.0.0.7");
        assert_eq!(forwarded_for(""), "10.0.0.7");
    }

    #[test]
    fn a_proxy_that_appends_a_line_is_read_after_the_line_of_the_client() {
        let lines = [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "192.0.2.1"),
        ];
        let seen = client(&["10.0.0.0/8"], ProxyHeader::XForwardedFor, PROXY, &lines);
        assert_eq!(seen.to_string(), "192.0.2.1");
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hide_what_the_proxy_has_appended() {
        let trusted = ["10.0.0.0/8"];
        let lines = [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "\u{e4}, 192.0.2.1"),
        ];
        for lines in [&lines[..], &lines[1..]] {
            let seen = client(&trusted, ProxyHeader::XForwardedFor, PROXY, lines);
            assert_eq!(seen.to_string(), "192.0.2.1");
        }
        let line = [("Forwarded", "for=\u{e4}, for=192.0.2.1")];
        let seen = client(&trusted, ProxyHeader::Forwarded, PROXY, &line);
        assert_eq!(seen.to_string(), "192.0.2.1");
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
        let headers = [("X-Forwarded-For", "::ffff:192.0.2.1, ::ffff:10.1.1.1")];
        let mapped = "[::ffff:10.0.0.7]:4711";
        let seen = |trusted| client(trusted, ProxyHeader::XForwardedFor, mapped, &headers);
        assert_eq!(seen(&[]).to_string(), "10.0.0.7");
        assert_eq!(seen(&["10.0.0.0/8"]).to_string(), "192.0.2.1");
    }
}
