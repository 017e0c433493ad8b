//! Which targets a peer may name itself: the allow-list of an export that serves many.
//!
//! A name is never trusted to mean what it says. It is resolved here, and it is the address, in its one true form, that
//! must be allowed: by a rule for the address, or because the name itself stands in the list. A rule with a wildcard names
//! nothing in particular, so it never opens the way to this machine or its link. What can be told from an address alone is
//! decided here; which others are this machine's changes with its network, and is for whoever connects to ask.

use crate::names::Network;
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
    Net(Network),
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
            Host::Net(net) => match (net.address(), net.bits()) {
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
pub(crate) fn canonical_name(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    // No percent sign, so no scope; no colon, so no address of version 6.
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    (plain && !name.is_empty() && name.len() <= NAME_MAX && !name.split('.').any(str::is_empty))
        .then(|| name.to_owned())
}

/// The one true form of an address. Addresses that merely spell one of version 4 become that one, and the unspecified
/// address, which the system takes for this machine, becomes what the system takes it for.
pub(crate) fn canonical_address(address: IpAddr) -> IpAddr {
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

/// Where the rules let a request lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Where to connect, in the order in which the addresses were found.
    pub addresses: Vec<SocketAddr>,
    /// Those of them that only a wildcard allows: they must not be addresses of this machine at the time of connecting.
    pub elsewhere: Vec<SocketAddr>,
}

/// How far a rule goes for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// Nowhere.
    Nowhere,
    /// To it, unless it is an address of this machine.
    Elsewhere,
    /// To it, whosever it is.
    There,
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
    pub(crate) fn may_name(&self, name: &str, port: u16) -> bool {
        self.at(port).any(|rule| match &rule.host {
            Host::Any | Host::Net(_) => true,
            Host::Name(listed) => listed == name,
            Host::Below(suffix) => name.ends_with(suffix),
        })
    }

    /// Of what a name, or an address by itself, resolved to: where to connect.
    pub fn allowed(&self, name: Option<&str>, addresses: &[IpAddr], port: u16) -> Allowed {
        let mut allowed = Allowed::default();
        for address in addresses.iter().map(|address| canonical_address(*address)) {
            let extent = self.at(port).map(|rule| rule.extent(name, address)).max().unwrap_or(Extent::Nowhere);
            let at = SocketAddr::new(address, port);
            if extent == Extent::Elsewhere {
                allowed.elsewhere.push(at);
            }
            if extent != Extent::Nowhere {
                allowed.addresses.push(at);
            }
        }
        allowed
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
    fn extent(&self, name: Option<&str>, address: IpAddr) -> Extent {
        let matches = match &self.host {
            Host::Any => true,
            Host::Name(listed) => name == Some(listed),
            Host::Below(suffix) => name.is_some_and(|name| name.ends_with(suffix)),
            Host::Net(net) => net.contains(address),
        };
        match (matches, self.is_wildcard()) {
            (true, false) => Extent::There,
            (true, true) if !is_near(address) => Extent::Elsewhere,
            _ => Extent::Nowhere,
        }
    }

    /// Whether it names nothing in particular. The network of all addresses is `*` in other words.
    fn is_wildcard(&self) -> bool {
        match &self.host {
            Host::Any | Host::Below(_) => true,
            Host::Net(net) => net.bits() == 0,
            Host::Name(_) => false,
        }
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
    Network::new(address, bits).map(Host::Net).map_err(|_| RuleError::BadPrefix)
}

#[cfg(test)]
mod tests {
    //! What an allow-list lets through, and above all what it does not.

    use super::*;
    use proptest::prelude::*;

    fn rules(text: &str) -> Rules {
        Rules::new(text.split(',').map(|rule| rule.parse().unwrap_or_else(|e| panic!("{rule}: {e:?}"))).collect())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn opens(list: &str, name: Option<&str>, address: &str, port: u16) -> bool {
        !rules(list).allowed(name, &[ip(address)], port).addresses.is_empty()
    }

    #[test]
    fn an_address_is_matched_in_its_one_true_form() {
        for spelling in ["10.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1"] {
            assert!(opens("10.0.0.1:80", None, spelling, 80), "{spelling}");
            assert!(opens("10.0.0.0/8:80", None, spelling, 80), "{spelling}");
            assert!(!opens("10.0.0.2:80", None, spelling, 80), "{spelling}");
            assert!(!opens("[::]/0:80", None, spelling, 80), "{spelling} is of version 4");
            assert_eq!(rules("*:80").allowed(None, &[ip(spelling)], 80).addresses, ["10.0.0.1:80".parse().unwrap()]);
        }
    }

    #[test]
    fn what_the_system_takes_for_this_machine_is_this_machine() {
        for spelling in ["127.0.0.1", "0.0.0.0", "0.1.2.3", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::127.0.0.1"] {
            assert!(opens("127.0.0.1:80", None, spelling, 80), "{spelling}");
            assert!(!opens("*:80,0.0.0.0/8:80,[::ffff:0.0.0.0]/96:80", None, spelling, 80), "{spelling}");
        }
        for spelling in ["::1", "::"] {
            assert!(opens("[::1]:80", None, spelling, 80), "{spelling}");
            assert!(!opens("*:80,127.0.0.0/8:80", None, spelling, 80), "{spelling}");
        }
        assert_eq!(rules("[::ffff:10.0.0.1]:80,0.0.0.0:80").to_string(), "10.0.0.1:80,127.0.0.1:80");
    }

    #[test]
    fn wildcards_lead_neither_to_this_machine_nor_to_its_link() {
        for near in ["127.0.0.2", "169.254.169.254", "fe80::1", "::1", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            assert!(!opens("*:*", None, near, 80), "{near}");
            assert!(!opens("*.example.com:*", Some("a.example.com"), near, 80), "{near}");
        }
        assert!(opens("*:*", None, "10.0.0.1", 80) && opens("*.example.com:*", Some("a.example.com"), "10.0.0.1", 80));
        assert!(opens("169.254.0.0/16:80", None, "169.254.169.254", 80), "unless somebody lists it");
        for all in ["0.0.0.0/0:80", "[::]/0:80"] {
            assert!(!opens(all, None, "127.0.0.1", 80) && !opens(all, None, "::1", 80), "{all} is * in other words");
        }
    }

    #[test]
    fn what_only_a_wildcard_allows_must_not_be_this_machine_when_it_is_dialled() {
        let elsewhere = |list: &str, name| {
            let allowed = rules(list).allowed(name, &[ip("192.0.2.1"), ip("::ffff:10.0.0.1")], 80);
            assert_eq!(allowed.addresses, ["192.0.2.1:80".parse().unwrap(), "10.0.0.1:80".parse().unwrap()], "{list}");
            allowed.elsewhere.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(elsewhere("*:80", None), ["192.0.2.1:80", "10.0.0.1:80"]);
        assert_eq!(elsewhere("0.0.0.0/0:80", None), ["192.0.2.1:80", "10.0.0.1:80"]);
        assert_eq!(elsewhere("*.example.com:80", Some("a.example.com")), ["192.0.2.1:80", "10.0.0.1:80"]);
        // What is listed may be anywhere, whatever else allows it.
        assert_eq!(elsewhere("*:80,10.0.0.1:80", None), ["192.0.2.1:80"]);
        assert_eq!(elsewhere("10.0.0.0/8:80,*:80", None), ["192.0.2.1:80"]);
        assert!(elsewhere("*.example.com:80,a.example.com:80", Some("a.example.com")).is_empty());
        assert_eq!(elsewhere("*:80,10.0.0.1:81", None).len(), 2, "the other port is another thing");
    }

    #[test]
    fn a_name_opens_what_it_resolves_to_and_nobody_elses_names() {
        assert!(opens("db.example.com:5432", Some("db.example.com"), "127.0.0.1", 5432), "listed by name");
        assert!(!opens("db.example.com:5432", None, "10.0.0.1", 5432), "an address is not listed");
        assert!(!opens("db.example.com:5432", Some("db.example.com"), "10.0.0.1", 5433));
        assert!(!opens("*.example.com:80", Some("example.com"), "10.0.0.1", 80), "not below itself");
        assert!(!opens("*.example.com:80", Some("evilexample.com"), "10.0.0.1", 80));
        assert!(opens("10.0.0.0/8:80", Some("anything.test"), "10.0.0.1", 80), "the address is what counts");
        let some = rules("10.0.0.0/8:80").allowed(Some("a.test"), &[ip("10.0.0.1"), ip("192.0.2.1")], 80);
        assert_eq!(some.addresses, ["10.0.0.1:80".parse().unwrap()], "the address that is not listed is left out");
    }

    #[test]
    fn names_are_only_looked_up_if_it_can_help() {
        let list = rules("db.example.com:5432,10.0.0.0/8:80");
        assert!(list.may_name("db.example.com", 5432) && list.may_name("anything.test", 80));
        assert!(!list.may_name("anything.test", 5432) && !list.may_name("db.example.com", 22));
    }

    #[test]
    fn names_have_one_true_form() {
        assert_eq!(canonical_name(b"DB.Example.COM.").as_deref(), Some("db.example.com"));
        for bad in [&b""[..], b".", b"a..b", b".a", b"fe80::1%eth0", b"a b", b"a\0b", b"\xff", b"a/b", &[b'a'; 254]] {
            assert_eq!(canonical_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn rules_are_read_strictly_and_shown_as_typed() {
        let typed = "*:443,*.example.com:*,db:5432,10.0.0.0/8:1099-1103,[fd00::]/8:22,[fd00::1]:22,192.0.2.1:80";
        assert_eq!(rules(typed).to_string(), typed);
        let fault = |text: &str| text.parse::<Rule>().unwrap_err();
        assert_eq!(fault("db"), RuleError::NoPort);
        assert_eq!(fault("db:0"), RuleError::BadPort);
        assert_eq!(fault("db:9-8"), RuleError::BadPort);
        assert_eq!(fault("10.0.0.1/8:80"), RuleError::BadPrefix, "which network is meant?");
        assert_eq!(fault("10.0.0.0/33:80"), RuleError::BadPrefix);
        for bad in
            ["::1:80", "[::1:80", ":80", "*example.com:80", "a.*.b:80", "0x7f.1:80", "127.1:80", "db/8:80", "a b:80"]
        {
            assert_eq!(fault(bad), RuleError::BadHost, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_address_is_its_own(four: u32, six: u128, mapped: bool) {
            let addresses = [
                IpAddr::V4(four.into()),
                IpAddr::V6(six.into()),
                IpAddr::V6(if mapped { Ipv4Addr::from(four).to_ipv6_mapped() } else { u128::from(four).into() }),
            ];
            for address in addresses {
                let once = canonical_address(address);
                prop_assert_eq!(canonical_address(once), once);
                prop_assert!(!once.is_unspecified());
            }
        }

        #[test]
        fn no_text_panics_and_what_is_read_is_shown_as_a_rule(text in "[a-z0-9:*./\\[\\]-]{0,24}") {
            if let Ok(rule) = text.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse(), Ok(rule));
            }
        }
    }
}
