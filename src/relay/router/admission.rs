//! How many connections may be unauthenticated at once, in all and from one source.
//!
//! A newcomer is never turned away: the oldest unauthenticated connection goes, of the same source if that is at its cap. A
//! legitimate client is through in a few round trips and is never the oldest for long; one that holds its connection
//! open with nothing, or a byte a second, always is. So a thousand of those shut nobody out, not even from their own
//! address.

use crate::relay::ConnId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Unauthenticated connections in all: each holds at most 4 KiB of input and a handshake state.
pub const UNAUTHENTICATED_MAX: usize = 1024;
/// Unauthenticated connections of one source: a /32 of IPv4 or a /64 of IPv6, the least that one customer gets.
pub const UNAUTHENTICATED_PER_SOURCE_MAX: usize = 32;

/// Where connections come from, as far as it is one customer's: see [`UNAUTHENTICATED_PER_SOURCE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address.
    V4(Ipv4Addr),
    /// The first address of a /64.
    V6(Ipv6Addr),
}

impl Source {
    /// That of this address.
    pub fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(address) => Source::V4(address),
            IpAddr::V6(address) => Source::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::V4(address) => address.fmt(f),
            Source::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// The unauthenticated connections, oldest first: their ids only grow.
#[derive(Debug)]
pub(crate) struct Admission {
    last: u64,
    waiting: BTreeMap<ConnId, Waiting>,
    by_source: HashMap<Source, BTreeSet<ConnId>>,
    /// How many each worker has.
    load: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    source: Source,
    worker: usize,
}

/// A connection that is no link of an admitted client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its id.
    pub conn: ConnId,
    /// Where it comes from.
    pub source: IpAddr,
}

/// A connection that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub conn: ConnId,
    /// The worker that serves it.
    pub worker: usize,
    /// The connection that has to go for it, if a cap is reached.
    pub evicted: Option<Evicted>,
}

/// A connection that another took the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Its id.
    pub conn: ConnId,
    /// The worker that served it.
    pub worker: usize,
}

impl Admission {
    /// For so many workers.
    pub(crate) fn new(workers: usize) -> Admission {
        Admission { last: 0, waiting: BTreeMap::new(), by_source: HashMap::new(), load: vec![0; workers] }
    }

    /// A connection came in, while the workers have so many links each. It goes to the one with the fewest of both.
    pub(crate) fn enter(&mut self, address: IpAddr, links: &[usize]) -> Placed {
        self.last += 1;
        let conn = ConnId::new(self.last);
        let all = self.load.iter().zip(links).map(|(unauthenticated, links)| unauthenticated + links);
        let worker = all.enumerate().min_by_key(|&(_, all)| all).map_or(0, |(worker, _)| worker);
        let source = Source::of(address);
        let of_source = self.by_source.get(&source);
        let full = of_source.filter(|conns| conns.len() >= UNAUTHENTICATED_PER_SOURCE_MAX);
        let oldest = match full {
            Some(conns) => conns.first().copied(),
            None if self.waiting.len() >= UNAUTHENTICATED_MAX => self.waiting.keys().next().copied(),
            None => None,
        };
        let evicted = oldest.and_then(|conn| self.take(conn).map(|waiting| Evicted { conn, worker: waiting.worker }));
        self.waiting.insert(conn, Waiting { source, worker });
        self.by_source.entry(source).or_default().insert(conn);
        self.load[worker] += 1;
        Placed { conn, worker, evicted }
    }

    /// A connection is authenticated or gone. False if it was not among them: evicted a moment ago, or gone before.
    pub(crate) fn leave(&mut self, conn: ConnId) -> bool {
        self.take(conn).is_some()
    }

    /// How many each worker has.
    pub(crate) fn load(&self) -> &[usize] {
        &self.load
    }

    fn take(&mut self, conn: ConnId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&conn)?;
        if let Some(conns) = self.by_source.get_mut(&waiting.source) {
            conns.remove(&conn);
            if conns.is_empty() {
                self.by_source.remove(&waiting.source);
            }
        }
        self.load[waiting.worker] -= 1;
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// One worker, whose connections all wait. Each has its number, counted from 1.
    struct One(Admission);

    impl One {
        fn new() -> One {
            One(Admission::new(1))
        }

        /// The number of the one that has to go.
        fn enter(&mut self, address: IpAddr) -> Option<u64> {
            self.0.enter(address, &[0]).evicted.map(|evicted| evicted.conn.get())
        }
    }

    #[test]
    fn a_full_source_loses_its_own_oldest() {
        let mut admission = One::new();
        assert_eq!(admission.enter(v4(9)), None);
        for _ in 2..34 {
            assert_eq!(admission.enter(v4(1)), None);
        }
        assert_eq!(admission.enter(v4(1)), Some(2));
        assert!(admission.0.leave(ConnId::new(5)) && !admission.0.leave(ConnId::new(5)));
        assert_eq!(admission.enter(v4(1)), None);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(admission.enter(mapped), Some(3));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut admission = One::new();
        for n in 0..32_u16 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 1, n, n, n, n]);
            assert_eq!(admission.enter(address), None);
        }
        let same = IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]);
        assert_eq!(admission.enter(same), Some(1));
        let other = IpAddr::from([0x2001, 0xdb8, 0, 2, 9, 9, 9, 9]);
        assert_eq!(admission.enter(other), None);
    }

    #[test]
    fn a_full_relay_loses_the_oldest_of_all_and_never_holds_more() {
        let mut admission = One::new();
        for n in 1..=3000_u64 {
            let [a, b] = u16::try_from(n / 8).unwrap().to_be_bytes();
            let evicted = admission.enter(IpAddr::from([10, 0, a, b]));
            assert_eq!(evicted, n.checked_sub(1024).filter(|n| *n > 0));
        }
        assert_eq!((admission.0.waiting.len(), admission.0.load()), (UNAUTHENTICATED_MAX, &[UNAUTHENTICATED_MAX][..]));
        assert_eq!((1..=3000).filter(|n| admission.0.leave(ConnId::new(*n))).count(), UNAUTHENTICATED_MAX);
        assert!(admission.0.waiting.is_empty() && admission.0.by_source.is_empty() && admission.0.load() == [0]);
    }

    #[test]
    fn a_connection_goes_to_the_worker_with_the_fewest_and_one_that_is_evicted_is_told_with_its_own() {
        let mut admission = Admission::new(2);
        assert_eq!([(); 3].map(|()| admission.enter(v4(1), &[1, 0]).worker), [1, 0, 1]);
        assert!((4..=32).all(|_| admission.enter(v4(1), &[40, 0]).worker == 1));
        let placed = admission.enter(v4(1), &[40, 0]);
        assert_eq!(placed.evicted, Some(Evicted { conn: ConnId::new(1), worker: 1 }));
        assert_eq!((placed.conn, admission.load()), (ConnId::new(33), &[1, 31][..]));
    }
}
