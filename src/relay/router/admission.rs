//! How many connections may be unauthenticated at once, in all and from one source.
//!
//! Where there is no room, the oldest unauthenticated connection goes, of the same source if that is at its cap. A
//! legitimate client is through in a few round trips and is never the oldest for long; one that holds its connection
//! open with nothing, or a byte a second, always is. So a thousand of those shut nobody out, not even from their own
//! address.
//!
//! Many clients of one address may come at the same moment, as from behind one NAT, and are no flood. So a source may go over
//! its cap as long as half of all places are free; and a connection that has had no time yet does not go for another of its own
//! source, which is turned away instead: handshakes under way that made room for each other would all be in vain. Other
//! sources lose nothing by that. What is over the cap of its source makes room first.

use crate::relay::{ConnId, LinkId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Unauthenticated connections in all: each holds at most 4 KiB of input and a handshake state.
pub const UNAUTHENTICATED_MAX: usize = 1024;
/// Unauthenticated connections of one source where it is crowded: a /32 of IPv4 or a /64 of IPv6, the least that one customer
/// gets.
pub const UNAUTHENTICATED_PER_SOURCE_MAX: usize = 32;
/// With so many in all it is crowded. As many again are left for sources below their cap.
pub const UNAUTHENTICATED_CROWD: usize = UNAUTHENTICATED_MAX / 2;
/// What a connection has for its handshake before it may have to go for another of its source: some round trips, and the work
/// of both ends while they have much to do.
const GRACE: Duration = Duration::from_secs(2);

const _: () = assert!(UNAUTHENTICATED_PER_SOURCE_MAX < UNAUTHENTICATED_CROWD);

/// Where connections come from, as far as it is one customer's: see [`UNAUTHENTICATED_PER_SOURCE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    since: Instant,
}

/// A source may have no more for now.
struct Full;

/// A connection that is no link of an admitted client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its id.
    pub conn: ConnId,
    /// Where it comes from.
    pub source: IpAddr,
}

impl Newcomer {
    /// The link that it is once its client has said who it is. It takes the connection's number, so that who reads the log sees
    /// what belongs together; nothing else relies on that.
    pub(crate) fn link(self) -> LinkId {
        LinkId::new(self.conn.get())
    }
}

/// A connection that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its id.
    pub conn: ConnId,
    /// The worker that serves it.
    pub worker: usize,
    /// The connection that has to go for it, if a cap is reached.
    pub evicted: Option<Evicted>,
}

/// A connection that came in, and for which there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded(pub ConnId);

/// A connection that another took the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evicted {
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
    pub(crate) fn enter(&mut self, now: Instant, address: IpAddr, links: &[usize]) -> Result<Placed, Crowded> {
        self.last += 1;
        let conn = ConnId::new(self.last);
        let source = Source::of(address);
        let evicted = self.make_room(now, source).map_err(|Full| Crowded(conn))?;
        let all = self.load.iter().zip(links).map(|(unauthenticated, links)| unauthenticated + links);
        let worker = all.enumerate().min_by_key(|&(_, all)| all).map_or(0, |(worker, _)| worker);
        self.waiting.insert(conn, Waiting { source, worker, since: now });
        self.by_source.entry(source).or_default().insert(conn);
        self.load[worker] += 1;
        Ok(Placed { conn, worker, evicted })
    }

    /// Makes room for one more of this source: who has to go for it, if anybody.
    fn make_room(&mut self, now: Instant, source: Source) -> Result<Option<Evicted>, Full> {
        if self.waiting.len() < UNAUTHENTICATED_CROWD {
            return Ok(None);
        }
        let own = self.by_source.get(&source).filter(|conns| conns.len() >= UNAUTHENTICATED_PER_SOURCE_MAX);
        let goes = match own.and_then(|conns| conns.first()) {
            Some(oldest) if self.waiting.get(oldest).is_some_and(|waiting| now < waiting.since + GRACE) => {
                return Err(Full);
            }
            Some(oldest) => Some(*oldest),
            None if self.waiting.len() >= UNAUTHENTICATED_MAX => self.oldest_of_all(),
            None => None,
        };
        Ok(goes.and_then(|conn| self.take(conn).map(|waiting| Evicted { conn, worker: waiting.worker })))
    }

    /// The oldest of a source that is over its cap, else of all.
    fn oldest_of_all(&self) -> Option<ConnId> {
        let over = self.by_source.values().filter(|conns| conns.len() > UNAUTHENTICATED_PER_SOURCE_MAX);
        over.filter_map(BTreeSet::first).min().or_else(|| self.waiting.keys().next()).copied()
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

    /// From a network of its own for each number.
    fn elsewhere(number: u64) -> IpAddr {
        let [a, b] = u16::try_from(number).unwrap().to_be_bytes();
        IpAddr::from([10, 0, a, b])
    }

    /// One worker, whose connections all wait. Each has its number, counted from 1.
    struct One {
        admission: Admission,
        now: Instant,
    }

    impl One {
        fn new() -> One {
            One { admission: Admission::new(1), now: Instant::now() }
        }

        /// One with a crowd of others, of so many each; their numbers come first.
        fn crowded(each: u64) -> One {
            let mut one = One::new();
            let crowd = u64::try_from(UNAUTHENTICATED_CROWD).unwrap();
            assert!((0..crowd).all(|n| one.enter(elsewhere(n / each)) == Ok(None)));
            one
        }

        /// The number of the one that has to go.
        fn enter(&mut self, address: IpAddr) -> Result<Option<u64>, Crowded> {
            let placed = self.admission.enter(self.now, address, &[0])?;
            Ok(placed.evicted.map(|evicted| evicted.conn.get()))
        }

        /// How many of so many find a place, where nobody has to go for one.
        fn enter_many(&mut self, many: usize, address: IpAddr) -> usize {
            (0..many).filter(|_| self.enter(address).map(|evicted| assert_eq!(evicted, None)).is_ok()).count()
        }
    }

    #[test]
    fn in_a_crowd_a_full_source_loses_its_own_oldest() {
        let mut one = One::crowded(1);
        assert_eq!(one.enter_many(32, v4(1)), 32);
        one.now += GRACE;
        assert_eq!(one.enter(v4(1)), Ok(Some(513)));
        assert!(one.admission.leave(ConnId::new(516)) && !one.admission.leave(ConnId::new(516)));
        assert_eq!(one.enter(v4(1)), Ok(None));
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(one.enter(mapped), Ok(Some(514)));
    }

    #[test]
    fn clients_of_one_address_that_come_at_once_take_no_place_from_each_other() {
        let mut one = One::new();
        assert_eq!(one.enter_many(600, v4(1)), UNAUTHENTICATED_CROWD);
        assert!(one.admission.leave(ConnId::new(7)), "each that found a place has kept it");
        assert_eq!(one.enter_many(2, v4(1)), 1);
        one.now += GRACE;
        assert_eq!(one.enter(v4(1)), Ok(Some(1)), "whoever only holds a place loses it");
    }

    #[test]
    fn a_flood_of_one_address_shuts_nobody_out_elsewhere_and_makes_room_first() {
        let mut one = One::new();
        assert_eq!(one.enter_many(5000, v4(1)), UNAUTHENTICATED_CROWD);
        let free = u64::try_from(UNAUTHENTICATED_MAX - UNAUTHENTICATED_CROWD).unwrap();
        assert!((0..free).all(|n| one.enter(elsewhere(n)) == Ok(None)));
        assert!((1..=480).all(|oldest| one.enter(elsewhere(free + oldest)) == Ok(Some(oldest))), "at once");
        // It is at its cap: what is over that is gone.
        assert_eq!(one.enter(elsewhere(3000)), Ok(Some(481)));
        assert_eq!(one.admission.by_source[&Source::of(v4(1))].len(), UNAUTHENTICATED_PER_SOURCE_MAX - 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut one = One::crowded(1);
        for n in 0..32_u16 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 1, n, n, n, n]);
            assert_eq!(one.enter(address), Ok(None));
        }
        let same = IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]);
        assert_eq!(one.enter(same), Err(Crowded(ConnId::new(545))));
        one.now += GRACE;
        assert_eq!(one.enter(same), Ok(Some(513)));
        let other = IpAddr::from([0x2001, 0xdb8, 0, 2, 9, 9, 9, 9]);
        assert_eq!(one.enter(other), Ok(None));
    }

    #[test]
    fn a_full_relay_loses_the_oldest_of_all_and_never_holds_more() {
        let mut one = One::new();
        for n in 1..=3000_u64 {
            let evicted = one.enter(elsewhere(n / 8));
            assert_eq!(evicted, Ok(n.checked_sub(1024).filter(|n| *n > 0)));
        }
        let mut admission = one.admission;
        assert_eq!((admission.waiting.len(), admission.load()), (UNAUTHENTICATED_MAX, &[UNAUTHENTICATED_MAX][..]));
        assert_eq!((1..=3000).filter(|n| admission.leave(ConnId::new(*n))).count(), UNAUTHENTICATED_MAX);
        assert!(admission.waiting.is_empty() && admission.by_source.is_empty() && admission.load() == [0]);
    }

    #[test]
    fn a_connection_goes_to_the_worker_with_the_fewest_and_one_that_is_evicted_is_told_with_its_own() {
        let (mut admission, start) = (Admission::new(2), Instant::now());
        let mut enter = |links: [usize; 2]| admission.enter(start, v4(1), &links);
        assert_eq!([(); 3].map(|()| enter([1, 0]).unwrap().worker), [1, 0, 1]);
        assert!((4..=UNAUTHENTICATED_CROWD).all(|_| enter([1000, 0]).unwrap().worker == 1));
        let placed = admission.enter(start + GRACE, v4(1), &[1000, 0]).unwrap();
        assert_eq!(placed.evicted, Some(Evicted { conn: ConnId::new(1), worker: 1 }));
        assert_eq!((placed.conn, admission.load()), (ConnId::new(513), &[1, 511][..]));
    }
}
