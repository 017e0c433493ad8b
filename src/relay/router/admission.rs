//! How many connections may be unauthenticated at once, in all and from one source.
//!
//! A newcomer is never turned away: the oldest unauthenticated connection goes, of the same source if that is at its cap. A
//! legitimate client is through in a few round trips and is never the oldest for long; one that holds its connection
//! open with nothing, or a byte a second, always is. So a thousand of those shut nobody out, not even from their own
//! address.

use crate::relay::LinkId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Unauthenticated connections in all: each holds at most 4 KiB of input and a handshake state.
pub const UNAUTHENTICATED_MAX: usize = 1024;
/// Unauthenticated connections of one source: a /32 of IPv4 or a /64 of IPv6, the least that one customer gets.
pub const UNAUTHENTICATED_PER_SOURCE_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Source {
    fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(address) => Source::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Source::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The unauthenticated connections, oldest first: link ids only grow.
#[derive(Debug, Default)]
pub struct Admission {
    waiting: BTreeMap<LinkId, Source>,
    by_source: HashMap<Source, BTreeSet<LinkId>>,
}

impl Admission {
    /// A connection came in. Returns the one that has to go for it, if a cap is reached.
    pub fn enter(&mut self, link: LinkId, address: IpAddr) -> Option<LinkId> {
        let source = Source::of(address);
        let of_source = self.by_source.get(&source);
        let full = of_source.filter(|links| links.len() >= UNAUTHENTICATED_PER_SOURCE_MAX);
        let evicted = match full {
            Some(links) => links.first().copied(),
            None if self.waiting.len() >= UNAUTHENTICATED_MAX => self.waiting.keys().next().copied(),
            None => None,
        };
        if let Some(oldest) = evicted {
            self.leave(oldest);
        }
        self.waiting.insert(link, source);
        self.by_source.entry(source).or_default().insert(link);
        evicted
    }

    /// A connection is authenticated or gone. Unknown ones are ignored.
    pub fn leave(&mut self, link: LinkId) {
        let Some(source) = self.waiting.remove(&link) else { return };
        if let Some(links) = self.by_source.get_mut(&source) {
            links.remove(&link);
            if links.is_empty() {
                self.by_source.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_full_source_loses_its_own_oldest() {
        let mut admission = Admission::default();
        assert_eq!(admission.enter(LinkId::new(1), v4(9)), None);
        for n in 2..34 {
            assert_eq!(admission.enter(LinkId::new(n), v4(1)), None);
        }
        assert_eq!(admission.enter(LinkId::new(34), v4(1)), Some(LinkId::new(2)));
        admission.leave(LinkId::new(5));
        assert_eq!(admission.enter(LinkId::new(35), v4(1)), None);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(admission.enter(LinkId::new(36), mapped), Some(LinkId::new(3)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut admission = Admission::default();
        for n in 0..32_u16 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 1, n, n, n, n]);
            assert_eq!(admission.enter(LinkId::new(u64::from(n)), address), None);
        }
        let same = IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]);
        assert_eq!(admission.enter(LinkId::new(40), same), Some(LinkId::new(0)));
        let other = IpAddr::from([0x2001, 0xdb8, 0, 2, 9, 9, 9, 9]);
        assert_eq!(admission.enter(LinkId::new(41), other), None);
    }

    #[test]
    fn a_full_relay_loses_the_oldest_of_all_and_never_holds_more() {
        let mut admission = Admission::default();
        for n in 0..3000_u64 {
            let [a, b] = u16::try_from(n / 8).unwrap().to_be_bytes();
            let evicted = admission.enter(LinkId::new(n), IpAddr::from([10, 0, a, b]));
            assert_eq!(evicted, n.checked_sub(1024).map(LinkId::new));
        }
        assert_eq!(admission.waiting.len(), UNAUTHENTICATED_MAX);
        (0..3000).for_each(|n| admission.leave(LinkId::new(n)));
        assert!(admission.waiting.is_empty() && admission.by_source.is_empty());
    }
}
