//! Which targets a peer may name itself: the allow-list of an export that serves many.
//!
//! A name is never trusted to mean what it says. It is resolved here, and it is the address, in its one true form, that
//! must be allowed: by a rule for the address, or because the name itself stands in the list. A rule with a wildcard names
//! nothing in particular, so it never opens the way to this machine or its link.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Longest name of DNS, characters.
const NAME_MAX: usize = 253;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// `*`
    Any,
    /// `db.example.com`, without a dot at its end, lower case.
    Name(String),
    /// `*.example.com`, with its first dot.
    Below(String),
    /// `10.0.0.0/8`
    Net(IpAddr, u8),
}

/// `HOST:PORT`: a name, `*.NAME`, an address, a network or `*`; a port, a range or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    host: Host,
    first: u16,
    last: u16,
}

/// Why a text is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// There is no port.
    NoPort,
    /// The port is none, or no range.
    BadPort,
    /// The host is no name, address or network.
    BadHost,
    /// More bits than the address has, or bits set behind the prefix.
    BadPrefix,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RuleError::NoPort => "a target is HOST:PORT, and the port is missing",
            RuleError::BadPort => "the port of a target is a number, a range or *",
            RuleError::BadHost => {
                "the host of a target is a name, *.NAME, an address, a network or * (IPv6 in brackets)"
            }
            RuleError::BadPrefix => "the prefix does not fit its network",
        })
    }
}

impl Error for RuleError {}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        let (host, ports) = text.rsplit_once(':').ok_or(RuleError::NoPort)?;
        let (first, last) = match ports.split_once('-') {
            _ if ports == "*" => (1, u16::MAX),
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(ports)?, port(ports)?),
        };
        if first > last {
            return Err(RuleError::BadPort);
        }
        Ok(Rule { host: host_of(host)?, first, last })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Below(suffix) => write!(f, "*{suffix}")?,
            Host::Net(address, bits) => match (address, bits) {
                (IpAddr::V4(four), 32) => write!(f, "{four}")?,
                (IpAddr::V6(six), 128) => write!(f, "[{six}]")?,
                (IpAddr::V4(four), bits) => write!(f, "{four}/{bits}")?,
                (IpAddr::V6(six), bits) => write!(f, "[{six}]/{bits}")?,
            },
        }
        match (self.first, self.last) {
            (1, u16::MAX) => f.write_str(":*"),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

/// A name that may be looked up, in its one true form. None: it is none.
pub fn canonical_name(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    // No percent sign, so no scope; no colon, so no address of version 6.
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    (plain && !name.is_empty() && name.len() <= NAME_MAX && !name.split('.').any(str::is_empty))
        .then(|| name.to_owned())
}

/// The one true form of an address. Addresses that merely spell one of version 4 become that one, and the unspecified
/// address, which the system takes for this machine, becomes what the system takes it for.
pub fn canonical_address(address: IpAddr) -> IpAddr {
    let four = match address {
        IpAddr::V4(four) => Some(four),
        IpAddr::V6(six) if six.is_unspecified() || six == Ipv6Addr::LOCALHOST => None,
        // ::a.b.c.d, long out of use, and ::ffff:a.b.c.d.
        IpAddr::V6(six) => six.to_ipv4(),
    };
    match (four, address) {
        (Some(four), _) if four.octets()[0] == 0 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (Some(four), _) => IpAddr::V4(four),
        (None, IpAddr::V6(six)) if six.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (None, other) => other,
    }
}

/// This machine, its link, or many at once: where no wildcard leads.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            four.is_loopback()
                || four.is_link_local()
                || four.is_multicast()
                || four.is_broadcast()
                || four.is_unspecified()
        }
        IpAddr::V6(six) => {
            six.is_loopback() || six.is_unspecified() || six.is_multicast() || six.is_unicast_link_local()
        }
    }
}

/// An allow-list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Nothing is allowed but what one of these allows.
    pub fn new(rules: Vec<Rule>) -> Rules {
        Rules(rules)
    }

    /// Whether it is worth while to look a name up: otherwise peers could ask our resolver anything.
    pub fn may_name(&self, name: &str, port: u16) -> bool {
        self.at(port).any(|rule| match &rule.host {
            Host::Any | Host::Net(..) => true,
            Host::Name(listed) => listed == name,
            Host::Below(suffix) => name.ends_with(suffix),
        })
    }

    /// Of what a name, or an address by itself, resolved to: where to connect.
    pub fn allowed(&self, name: Option<&str>, addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
        let canonical = addresses.iter().map(|address| canonical_address(*address));
        let reachable = canonical.filter(|address| self.at(port).any(|rule| rule.allows(name, *address)));
        reachable.map(|address| SocketAddr::new(address, port)).collect()
    }

    fn at(&self, port: u16) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(move |rule| (rule.first..=rule.last).contains(&port))
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, rule) in self.0.iter().enumerate() {
            write!(f, "{}{rule}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Rule {
    fn allows(&self, name: Option<&str>, address: IpAddr) -> bool {
        match &self.host {
            Host::Any => !is_near(address),
            Host::Name(listed) => name == Some(listed),
            Host::Below(suffix) => name.is_some_and(|name| name.ends_with(suffix)) && !is_near(address),
            Host::Net(net, bits) => is_within(address, *net, *bits),
        }
    }
}

fn is_within(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => {
            let shift = 32 - u32::from(bits);
            (u32::from(address) ^ u32::from(net)).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(net)) => {
            let shift = 128 - u32::from(bits);
            (u128::from(address) ^ u128::from(net)).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

fn port(text: &str) -> Result<u16, RuleError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or(RuleError::BadPort)
}

fn host_of(text: &str) -> Result<Host, RuleError> {
    if text == "*" {
        return Ok(Host::Any);
    }
    let (host, bits) = text.split_once('/').map_or((text, None), |(host, bits)| (host, Some(bits)));
    let address = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => Some(IpAddr::V6(inner.parse().map_err(|_| RuleError::BadHost)?)),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    if let Some(address) = address {
        return net(address, bits);
    }
    if bits.is_some() {
        return Err(RuleError::BadHost);
    }
    let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
    let name = canonical_name(name.as_bytes()).ok_or(RuleError::BadHost)?;
    // What ends in a number is an address in one of its odder spellings, and no rule for a name.
    if name.rsplit('.').next().is_none_or(|last| last.starts_with(|first: char| first.is_ascii_digit())) {
        return Err(RuleError::BadHost);
    }
    Ok(if below { Host::Below(format!(".{name}")) } else { Host::Name(name) })
}

fn net(written: IpAddr, bits: Option<&str>) -> Result<Host, RuleError> {
    let full = if written.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(full), |bits| bits.parse().map_err(|_| RuleError::BadPrefix))?;
    if bits > full {
        return Err(RuleError::BadPrefix);
    }
    // An address in an odd spelling would never match; a network of such spellings is not worth having.
    let address = if bits == full { canonical_address(written) } else { written };
    let bits = if bits == full && address.is_ipv4() { 32 } else { bits };
    let rest = match address {
        IpAddr::V4(four) => u32::from(four).checked_shl(u32::from(bits)).unwrap_or(0) != 0,
        IpAddr::V6(six) => u128::from(six).checked_shl(u32::from(bits)).unwrap_or(0) != 0,
    };
    if rest { Err(RuleError::BadPrefix) } else { Ok(Host::Net(address, bits)) }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
