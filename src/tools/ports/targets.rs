//! What exports lead to.

use super::names::Name;
use crate::net::endpoint::Endpoint;
use crate::ports::rules::{Rules, canonical_name};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Longest part of a name between two dots (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;

/// What an export serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Ports of a host, from the first to the last.
    Tcp {
        /// A name or an address.
        host: String,
        /// The first port.
        first: u16,
        /// The last port, often the first.
        last: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
    /// What peers name themselves, of what these rules allow.
    Socks(Rules),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Socks(rules) => write!(f, "socks:{rules}"),
            Target::Tcp { host, first, last } => {
                if host.contains(':') {
                    write!(f, "[{host}]:{first}")?
                } else {
                    write!(f, "{host}:{first}")?
                }
                if first == last { Ok(()) } else { write!(f, "-{last}") }
            }
        }
    }
}

/// A target, and the name it has, if its addresses are not written.
#[derive(Debug)]
pub(super) struct Resolved {
    target: Target,
    name: Option<Name>,
}

/// The way to one port of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// This place.
    To(Endpoint),
    /// This port, wherever the target's name leads.
    Port(u16),
    /// What a peer will name.
    Asked,
}

impl Resolved {
    /// Of a target whose name, if it has one, nobody has looked up. None: no machine can have such a name.
    pub(super) fn new(target: Target) -> Option<Resolved> {
        let name = match &target {
            Target::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => {
                if !is_name(host) {
                    return None;
                }
                Some(Name::new(host))
            }
            _ => None,
        };
        Some(Resolved { target, name })
    }

    /// What it is.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Its name.
    pub(super) fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// Its name.
    pub(super) fn name_mut(&mut self) -> Option<&mut Name> {
        self.name.as_mut()
    }

    /// The way to the port of this offset. None: there is no such port.
    pub(super) fn route(&self, offset: u16) -> Option<Route> {
        match &self.target {
            Target::Socks(_) => (offset == 0).then_some(Route::Asked),
            Target::Unix(path) => (offset == 0).then(|| Route::To(Endpoint::Unix(path.clone()))),
            Target::Tcp { host, first, last } => {
                let port = port_at(*first, *last, offset)?;
                let address = host.parse::<IpAddr>().ok();
                Some(address.map_or(Route::Port(port), |address| Route::To(Endpoint::Tcp((address, port).into()))))
            }
        }
    }
}

/// The port so far behind the first of a range.
fn port_at(first: u16, last: u16, offset: u16) -> Option<u16> {
    first.checked_add(offset).filter(|port| *port <= last)
}

/// Whether somebody may have such a name. What ends in a number is an address in one of its odder spellings, or nothing.
fn is_name(host: &str) -> bool {
    let Some(name) = canonical_name(host.as_bytes()) else { return false };
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|byte| byte.is_ascii_digit());
    name.split('.').all(|label| label.len() <= LABEL_MAX) && (!number || is_odd_address(&name))
}

/// `127.1`, `2130706433`: the last number fills the bytes that the others leave (inet(3)).
fn is_odd_address(text: &str) -> bool {
    let mut numbers: Vec<&str> = text.split('.').collect();
    let last = numbers.pop().and_then(|last| last.parse::<u32>().ok());
    let left = 4 - u32::try_from(numbers.len()).unwrap_or(4).min(4);
    numbers.iter().all(|number| number.parse::<u8>().is_ok())
        && left > 0
        && last.is_some_and(|last| u64::from(last) < 1 << (8 * left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(host: &str, first: u16, last: u16) -> Target {
        Target::Tcp { host: host.to_owned(), first, last }
    }

    #[test]
    fn an_offset_leads_to_a_port_of_the_range_and_to_no_other() {
        let range = Resolved::new(tcp("127.0.0.1", 1099, 1103)).unwrap();
        assert_eq!(range.route(0), Some(Route::To(Endpoint::Tcp("127.0.0.1:1099".parse().unwrap()))));
        assert_eq!(range.route(4), Some(Route::To(Endpoint::Tcp("127.0.0.1:1103".parse().unwrap()))));
        assert_eq!((range.route(5), range.route(u16::MAX)), (None, None));
        let socket = Resolved::new(Target::Unix("/run/db".into())).unwrap();
        assert_eq!((socket.route(0), socket.route(1)), (Some(Route::To(Endpoint::Unix("/run/db".into()))), None));
        let named = Resolved::new(tcp("db", 1099, 1100)).unwrap();
        assert_eq!((named.route(1), named.route(2)), (Some(Route::Port(1100)), None));
    }

    #[test]
    fn a_name_that_nobody_can_have_is_told_from_one_that_nobody_has() {
        for host in
            ["db", "db.example.com", "no-such-host.invalid", "_x.db.", "127.1", "2130706433", "10.1.65535", "1a"]
        {
            assert!(Resolved::new(tcp(host, 1, 1)).is_some(), "{host}");
        }
        let long = ["a".repeat(64), vec!["a".repeat(60); 5].join(".")];
        for host in ["a..b", ".", "d b", "d\u{fc}b", "10.0.0.300", "10.1.65536", "1.2.3.4.5", "db.7"].iter().copied() {
            assert!(Resolved::new(tcp(host, 1, 1)).is_none(), "{host}");
        }
        assert!(long.iter().all(|host| Resolved::new(tcp(host, 1, 1)).is_none()));
    }

    #[test]
    fn targets_read_as_they_are_typed() {
        assert_eq!(tcp("db", 5432, 5432).to_string(), "db:5432");
        assert_eq!(tcp("::1", 1099, 1103).to_string(), "[::1]:1099-1103");
        assert_eq!(Target::Unix("/run/db".into()).to_string(), "unix:/run/db");
    }

    proptest! {
        #[test]
        fn no_offset_leads_out_of_a_range(first: u16, more: u16, offset: u16) {
            let last = first.saturating_add(more);
            match port_at(first, last, offset) {
                Some(port) => prop_assert!((first..=last).contains(&port) && port - first == offset),
                None => prop_assert!(u32::from(first) + u32::from(offset) > u32::from(last)),
            }
        }
    }
}
