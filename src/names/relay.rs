//! `[SCHEME://]ID@HOST[:PORT][/PATH]`: where a relay is and who it must be.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::identity::code::CodeError;
use crate::identity::id::PeerId;
use crate::names::path::{self, PATH_MAX};

/// Longest DNS name in text (RFC 1035, 2.3.4, without the final dot).
const HOST_MAX: usize = 253;
/// Longest DNS label (RFC 1035, 2.3.4).
const LABEL_MAX: usize = 63;

/// How to carry a link to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain TCP; Noise alone protects.
    Tcp,
    /// TLS outside Noise.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// HTTP requests.
    Http,
    /// HTTP requests over TLS.
    Https,
}

impl Scheme {
    const ALL: [Self; 6] = [Self::Tcp, Self::Tls, Self::Ws, Self::Wss, Self::Http, Self::Https];

    /// The text before `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that an address without one means.
    #[must_use]
    pub(crate) const fn default_port(self) -> u16 {
        match self {
            Self::Tcp => RelayAddress::DEFAULT_PORT,
            Self::Tls | Self::Wss | Self::Https => 443,
            Self::Ws | Self::Http => 80,
        }
    }

    /// Whether requests name a path.
    const fn has_path(self) -> bool {
        !matches!(self, Self::Tcp | Self::Tls)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a relay is, and the key it must prove to have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelayAddress {
    /// How to reach it; `None` lets the tool try carriers in order.
    pub scheme: Option<Scheme>,
    /// Who must answer.
    pub id: PeerId,
    /// A DNS name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port written, or the scheme's default.
    pub port: u16,
    /// The path from its `/` on, with a query if there is one; empty if none was written.
    pub path: String,
}

impl RelayAddress {
    /// The port of an address with neither port nor scheme.
    pub(crate) const DEFAULT_PORT: u16 = 4433;

    fn default_port(scheme: Option<Scheme>) -> u16 {
        scheme.map_or(Self::DEFAULT_PORT, Scheme::default_port)
    }
}

impl fmt::Display for RelayAddress {
    /// A text that parses to the same address. The port is always written, so that nobody has to know the defaults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{scheme}://")?;
        }
        if self.host.contains(':') {
            write!(f, "{}@[{}]", self.id, self.host)?;
        } else {
            write!(f, "{}@{}", self.id, self.host)?;
        }
        write!(f, ":{}{}", self.port, self.path)
    }
}

impl FromStr for RelayAddress {
    type Err = RelayAddressError;

    fn from_str(text: &str) -> Result<Self, RelayAddressError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(parse_scheme(scheme)?), rest),
            None => (None, text),
        };
        let (id, rest) = rest.split_once('@').ok_or(RelayAddressError::MissingId)?;
        let id = id.parse().map_err(RelayAddressError::BadId)?;
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(place)?;
        let host = parse_host(host)?;
        let port = port.map_or(Ok(Self::default_port(scheme)), parse_port)?;
        check_path(scheme, path)?;
        Ok(Self { scheme, id, host, port, path: path.to_owned() })
    }
}

fn parse_scheme(text: &str) -> Result<Scheme, RelayAddressError> {
    let found = Scheme::ALL.into_iter().find(|scheme| scheme.as_str() == text);
    found.ok_or(RelayAddressError::UnknownScheme)
}

/// Splits `HOST[:PORT]`; brackets are kept.
pub(super) fn split_port(place: &str) -> Result<(&str, Option<&str>), RelayAddressError> {
    if !place.starts_with('[') {
        return Ok(match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        });
    }
    let end = place.find(']').ok_or(RelayAddressError::BadHost)? + 1;
    match place.split_at(end) {
        (host, "") => Ok((host, None)),
        (host, port) => Ok((host, Some(port.strip_prefix(':').ok_or(RelayAddressError::BadHost)?))),
    }
}

pub(super) fn parse_port(text: &str) -> Result<u16, RelayAddressError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = if digits { text.parse().ok() } else { None };
    port.filter(|port| *port != 0).ok_or(RelayAddressError::BadPort)
}

pub(super) fn parse_host(text: &str) -> Result<String, RelayAddressError> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(RelayAddressError::BadHost)?;
        let address: Ipv6Addr = inner.parse().map_err(|_| RelayAddressError::BadHost)?;
        return Ok(address.to_string());
    }
    let label_ok = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > HOST_MAX || !text.split('.').all(label_ok) {
        return Err(RelayAddressError::BadHost);
    }
    // A name whose last label is a number is an address or a mistake (WHATWG URL, "ends in a number").
    let last = text.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        let address: Ipv4Addr = text.parse().map_err(|_| RelayAddressError::BadHost)?;
        return Ok(address.to_string());
    }
    Ok(text.to_ascii_lowercase())
}

fn check_path(scheme: Option<Scheme>, text: &str) -> Result<(), RelayAddressError> {
    if text.is_empty() {
        return Ok(());
    }
    match scheme {
        None => return Err(RelayAddressError::PathWithoutScheme),
        Some(scheme) if !scheme.has_path() => return Err(RelayAddressError::PathWithoutHttp),
        Some(_) => {}
    }
    if text.len() > PATH_MAX || !text.bytes().all(path::may_have) {
        return Err(RelayAddressError::BadPath);
    }
    Ok(())
}

/// Why a text is no relay address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayAddressError {
    /// The scheme is none of `tcp tls ws wss http https`.
    UnknownScheme,
    /// No `ID@` before the host: without it, anyone could play the relay.
    MissingId,
    /// What is before the `@` is no id.
    BadId(CodeError),
    /// No DNS name, IPv4 address, or IPv6 address in brackets.
    BadHost,
    /// Not a number from 1 to 65535.
    BadPort,
    /// A path with `tcp` or `tls`, which have none.
    PathWithoutHttp,
    /// A path without a scheme, which would go by `tcp`.
    PathWithoutScheme,
    /// A character that a path cannot have, or more than 1024 of them.
    BadPath,
}

impl RelayAddressError {
    /// Characters of `address`, which has this error, before the culprit.
    pub(crate) fn offset(&self, address: &str) -> usize {
        match self {
            // A scheme that was read is ASCII.
            Self::BadId(error) => address.find("://").map_or(0, |at| at + 3) + error.offset(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    //! Relay addresses: what is accepted, what is refused, and that texts round-trip.

    use proptest::prelude::*;

    use super::*;
    use crate::names::relays::fuzz_relays;

    fn id() -> PeerId {
        PeerId::from_bytes([5; 32])
    }

    fn parse(text: &str) -> Result<RelayAddress, RelayAddressError> {
        text.replace("ID", &id().to_string()).parse()
    }

    fn parts(text: &str) -> (Option<Scheme>, String, u16, String) {
        let relay = parse(text).expect(text);
        assert_eq!(relay.to_string().parse(), Ok(relay.clone()), "{text} round-trips");
        assert_eq!(relay.id, id());
        (relay.scheme, relay.host, relay.port, relay.path)
    }

    #[test]
    fn all_parts_and_their_defaults() {
        let host = || "relay.example.com".to_owned();
        assert_eq!(parts("ID@relay.example.com"), (None, host(), 4433, String::new()));
        assert_eq!(parts("ID@RELAY.Example.com:7"), (None, host(), 7, String::new()));
        assert_eq!(parts("tcp://ID@relay.example.com"), (Some(Scheme::Tcp), host(), 4433, String::new()));
        assert_eq!(parts("tls://ID@relay.example.com"), (Some(Scheme::Tls), host(), 443, String::new()));
        assert_eq!(parts("ws://ID@relay.example.com/vp"), (Some(Scheme::Ws), host(), 80, "/vp".into()));
        assert_eq!(parts("wss://ID@relay.example.com/"), (Some(Scheme::Wss), host(), 443, "/".into()));
        assert_eq!(parts("http://ID@relay.example.com").2, 80);
        assert_eq!(parts("https://ID@relay.example.com:8443/a/b?c=d").3, "/a/b?c=d");
        assert_eq!(parts("ws://ID@relay.example.com/p@q:1").3, "/p@q:1");
    }

    #[test]
    fn addresses_of_both_families() {
        assert_eq!(parts("tcp://ID@127.0.0.1:40721").1, "127.0.0.1");
        assert_eq!(parts("tcp://ID@[::1]:40721").1, "::1");
        assert_eq!(parts("ID@[2001:DB8:0:0::1]").1, "2001:db8::1");
        assert_eq!(parse("ID@[::1]:5").expect("good").to_string(), format!("{}@[::1]:5", id()));
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        use RelayAddressError as E;
        let label = "x".repeat(64);
        let long = format!("ID@{}ab", "abc.".repeat(63));
        let path = format!("ws://ID@h/{}", "p".repeat(1024));
        for (text, error) in [
            ("ftp://ID@h", E::UnknownScheme),
            ("TCP://ID@h", E::UnknownScheme),
            ("h:1", E::MissingId),
            ("tcp://h", E::MissingId),
            ("", E::MissingId),
            ("me@h", E::BadId(CodeError::WrongPrefix { expected: "vp" })),
            ("ID@", E::BadHost),
            ("ID@:1", E::BadHost),
            ("ID@-h", E::BadHost),
            ("ID@h-.x", E::BadHost),
            ("ID@a..b", E::BadHost),
            ("ID@h.", E::BadHost),
            ("ID@h ", E::BadHost),
            ("ID@hé", E::BadHost),
            ("ID@h\u{0}", E::BadHost),
            ("ID@1.2.3", E::BadHost),
            ("ID@256.0.0.1", E::BadHost),
            ("ID@1.2.3.04", E::BadHost),
            ("ID@[::1", E::BadHost),
            ("ID@[::1]x", E::BadHost),
            ("ID@[fe80::1%eth0]", E::BadHost),
            ("ID@[127.0.0.1]", E::BadHost),
            ("ID@::1", E::BadHost),
            (&format!("ID@{label}"), E::BadHost),
            (&long, E::BadHost),
            ("ID@h:", E::BadPort),
            ("ID@h:0", E::BadPort),
            ("ID@h:65536", E::BadPort),
            ("ID@h:+1", E::BadPort),
            ("ID@h:1:2", E::BadPort),
            ("tcp://ID@h/p", E::PathWithoutHttp),
            ("tls://ID@h/", E::PathWithoutHttp),
            ("ID@h/p", E::PathWithoutScheme),
            ("ID@h:4433/", E::PathWithoutScheme),
            ("ws://ID@h/a b", E::BadPath),
            ("ws://ID@h/a#b", E::BadPath),
            (&path, E::BadPath),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            fuzz_relays(text.as_bytes());
        }

        #[test]
        fn almost_good_addresses_round_trip(
            scheme in "((tcp|tls|ws|wss|http|https)://)?",
            host in "([a-z0-9._-]{0,8}|[0-9.]{0,9}|\\[[0-9a-f:.]{0,9}\\])",
            tail in "(:[0-9]{0,6})?(/[a-z%?@:#]{0,5})?",
        ) {
            fuzz_relays(format!("{scheme}{}@{host}{tail}", id()).as_bytes());
        }
    }
}
