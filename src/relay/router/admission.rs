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
//!
//! Whoever comes through a web server, or a load balancer, comes from its address until that has said more, usually with its first
//! bytes. Till then such connections count for the server, which has room for as many as may come at once before it is crowded;
//! from then on for where they come from, as if they had come from there.

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

/// Who has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ComesFrom {
    /// Whoever wants to be served, from this address.
    Client(IpAddr),
    /// A server in front of the relay, with this address, which is to say where its client is.
    Front(IpAddr),
}

impl ComesFrom {
    fn address(self) -> IpAddr {
        match self {
            ComesFrom::Client(address) | ComesFrom::Front(address) => address,
        }
    }
}

/// For whom a connection counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Counted {
    /// Those of this source.
    Of(Source),
    /// The server in front that is there, and has not said yet where the connection comes from.
    ForFront(Source),
}

impl Counted {
    fn of(from: ComesFrom) -> Counted {
        match from {
            ComesFrom::Client(address) => Counted::Of(Source::of(address)),
            ComesFrom::Front(address) => Counted::ForFront(Source::of(address)),
        }
    }

    /// How many it may have where it is crowded. A front's clients may all come at once, and each has said where he is as soon as he
    /// is read.
    fn most(self) -> usize {
        match self {
            Counted::Of(_) => UNAUTHENTICATED_PER_SOURCE_MAX,
            Counted::ForFront(_) => UNAUTHENTICATED_CROWD,
        }
    }
}

/// The unauthenticated connections, oldest first: their ids only grow.
#[derive(Debug)]
pub(crate) struct Admission {
    last: u64,
    waiting: BTreeMap<ConnId, Waiting>,
    by_counted: HashMap<Counted, BTreeSet<ConnId>>,
    /// How many each worker has.
    load: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    counted: Counted,
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
    /// Where it comes from, as far as is known.
    pub source: IpAddr,
    /// The server in front that it comes through, if it does.
    pub front: Option<IpAddr>,
}

impl Newcomer {
    /// One that has just come.
    pub(crate) fn new(conn: ConnId, from: ComesFrom) -> Newcomer {
        let front = matches!(from, ComesFrom::Front(_)).then(|| from.address());
        Newcomer { conn, source: from.address(), front }
    }

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
        Admission { last: 0, waiting: BTreeMap::new(), by_counted: HashMap::new(), load: vec![0; workers] }
    }

    /// A connection came in, while the workers have so many links each. It goes to the one with the fewest of both.
    pub(crate) fn enter(&mut self, now: Instant, from: ComesFrom, links: &[usize]) -> Result<Placed, Crowded> {
        self.last += 1;
        let conn = ConnId::new(self.last);
        let counted = Counted::of(from);
        let evicted = self.make_room(now, counted).map_err(|Full| Crowded(conn))?;
        let all = self.load.iter().zip(links).map(|(unauthenticated, links)| unauthenticated + links);
        let worker = all.enumerate().min_by_key(|&(_, all)| all).map_or(0, |(worker, _)| worker);
        self.put(conn, Waiting { counted, worker, since: now });
        Ok(Placed { conn, worker, evicted })
    }

    /// A front has said where a connection comes from: it counts there from now on, and keeps its place and its age. Who has to go
    /// for it, if anybody: it is itself where there is no room for one more of its source.
    pub(crate) fn settle(&mut self, now: Instant, conn: ConnId, source: IpAddr) -> Result<Option<Evicted>, Crowded> {
        let Some(waiting) = self.take(conn) else { return Ok(None) };
        let counted = Counted::Of(Source::of(source));
        let evicted = self.make_room(now, counted).map_err(|Full| Crowded(conn))?;
        self.put(conn, Waiting { counted, ..waiting });
        Ok(evicted)
    }

    fn put(&mut self, conn: ConnId, waiting: Waiting) {
        self.load[waiting.worker] += 1;
        self.by_counted.entry(waiting.counted).or_default().insert(conn);
        self.waiting.insert(conn, waiting);
    }

    /// Makes room for one more of these: who has to go for it, if anybody.
    fn make_room(&mut self, now: Instant, counted: Counted) -> Result<Option<Evicted>, Full> {
        if self.waiting.len() < UNAUTHENTICATED_CROWD {
            return Ok(None);
        }
        let own = self.by_counted.get(&counted).filter(|conns| conns.len() >= counted.most());
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
        let over = self.by_counted.iter().filter(|(counted, conns)| conns.len() > counted.most());
        over.filter_map(|(_, conns)| conns.first()).min().or_else(|| self.waiting.keys().next()).copied()
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
        if let Some(conns) = self.by_counted.get_mut(&waiting.counted) {
            conns.remove(&conn);
            if conns.is_empty() {
                self.by_counted.remove(&waiting.counted);
            }
        }
        self.load[waiting.worker] -= 1;
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            let placed = self.admission.enter(self.now, ComesFrom::Client(address), &[0])?;
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
        assert_eq!(one.admission.by_counted[&Counted::Of(Source::of(v4(1)))].len(), UNAUTHENTICATED_PER_SOURCE_MAX - 1);
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
        assert!(admission.waiting.is_empty() && admission.by_counted.is_empty() && admission.load() == [0]);
    }

    #[test]
    fn clients_behind_a_front_have_a_bound_each_and_the_front_one_that_they_do_not_reach() {
        let mut one = One::crowded(1);
        let front = ComesFrom::Front(v4(1));
        let come = |one: &mut One, client: IpAddr| {
            let placed = one.admission.enter(one.now, front, &[0])?;
            assert_eq!(placed.evicted, None);
            one.admission.settle(one.now, placed.conn, client)
        };
        // Many more than one address may have, and each client is told where it is at once.
        for n in 0..200 {
            assert_eq!(come(&mut one, elsewhere(2000 + n / 16)), Ok(None));
        }
        assert_eq!(one.admission.by_counted.get(&Counted::of(front)), None);
        let many = |one: &mut One| (0..40).filter(|_| come(one, v4(2)).is_ok()).count();
        assert_eq!(many(&mut one), UNAUTHENTICATED_PER_SOURCE_MAX, "as of any address");
        one.now += GRACE;
        let first = u64::try_from(UNAUTHENTICATED_CROWD).unwrap() + 201;
        let Ok(Some(evicted)) = come(&mut one, v4(2)) else { panic!("its oldest goes") };
        assert_eq!(evicted.conn.get(), first);
        assert_eq!(come(&mut one, v4(3)), Ok(None), "others have theirs");
        // The front itself is one like any other.
        assert_eq!((0..40).filter(|_| come(&mut one, v4(1)).is_ok()).count(), UNAUTHENTICATED_PER_SOURCE_MAX);
    }

    #[test]
    fn a_front_that_never_says_more_takes_half_of_all_places() {
        let (mut one, front) = (One::new(), ComesFrom::Front(v4(1)));
        let entered = (0..600).filter(|_| one.admission.enter(one.now, front, &[0]).is_ok()).count();
        assert_eq!(entered, UNAUTHENTICATED_CROWD);
        assert_eq!(one.enter_many(UNAUTHENTICATED_PER_SOURCE_MAX, v4(1)), UNAUTHENTICATED_PER_SOURCE_MAX);
        one.now += GRACE;
        let placed = one.admission.enter(one.now, front, &[0]).unwrap();
        assert_eq!(placed.evicted, Some(Evicted { conn: ConnId::new(1), worker: 0 }));
    }

    /// What happens to connections.
    #[derive(Clone, Copy, Debug)]
    enum Op {
        Come(u8),
        ComeByFront(u8),
        Settle(usize, u8),
        Leave(usize),
        Wait,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => (0..4_u8).prop_map(Op::Come),
            4 => (0..2_u8).prop_map(Op::ComeByFront),
            4 => (any::<usize>(), 0..4_u8).prop_map(|(at, source)| Op::Settle(at, source)),
            2 => any::<usize>().prop_map(Op::Leave),
            1 => Just(Op::Wait),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn each_connection_counts_once_and_where_it_was_last_said_to_come_from(
            crowd in prop::sample::select(vec![0, UNAUTHENTICATED_CROWD - 10, UNAUTHENTICATED_MAX - 10]),
            ops in prop::collection::vec(op(), 1..120),
        ) {
            let (mut admission, mut now) = (Admission::new(3), Instant::now());
            let mut there: BTreeMap<ConnId, (Counted, usize)> = BTreeMap::new();
            for n in 0..crowd {
                let from = ComesFrom::Client(elsewhere(u64::try_from(n).unwrap()));
                let placed = admission.enter(now, from, &[0, 0, 0]).unwrap();
                there.insert(placed.conn, (Counted::of(from), placed.worker));
            }
            for op in ops {
                let evict = |there: &mut BTreeMap<_, _>, evicted: Option<Evicted>| {
                    if let Some(evicted) = evicted {
                        let gone: Option<(Counted, usize)> = there.remove(&evicted.conn);
                        assert_eq!(gone.map(|gone| gone.1), Some(evicted.worker));
                    }
                };
                let nth = |there: &BTreeMap<ConnId, _>, at: usize| there.keys().nth(at % there.len().max(1)).copied();
                match op {
                    Op::Come(n) | Op::ComeByFront(n) => {
                        let from = if let Op::Come(_) = op { ComesFrom::Client(v4(n)) } else { ComesFrom::Front(v4(n)) };
                        if let Ok(placed) = admission.enter(now, from, &[0, 0, 0]) {
                            evict(&mut there, placed.evicted);
                            there.insert(placed.conn, (Counted::of(from), placed.worker));
                        }
                    }
                    Op::Settle(at, n) => {
                        let Some(conn) = nth(&there, at) else { continue };
                        match admission.settle(now, conn, v4(n)) {
                            Ok(evicted) => {
                                evict(&mut there, evicted);
                                there.get_mut(&conn).unwrap().0 = Counted::Of(Source::of(v4(n)));
                            }
                            Err(crowded) => {
                                prop_assert_eq!(crowded, Crowded(conn));
                                there.remove(&conn);
                            }
                        }
                    }
                    Op::Leave(at) => {
                        let Some(conn) = nth(&there, at) else { continue };
                        prop_assert!(admission.leave(conn) && !admission.leave(conn));
                        prop_assert_eq!(admission.settle(now, conn, v4(0)), Ok(None), "it is gone");
                        there.remove(&conn);
                    }
                    Op::Wait => now += GRACE,
                }
                let mut counted: HashMap<Counted, BTreeSet<ConnId>> = HashMap::new();
                let mut load = vec![0; 3];
                for (conn, (of, worker)) in &there {
                    counted.entry(*of).or_default().insert(*conn);
                    load[*worker] += 1;
                }
                prop_assert_eq!(&admission.by_counted, &counted);
                prop_assert_eq!(admission.load(), load);
                prop_assert!(admission.waiting.keys().eq(there.keys()) && there.len() <= UNAUTHENTICATED_MAX);
            }
        }
    }

    #[test]
    fn a_connection_goes_to_the_worker_with_the_fewest_and_one_that_is_evicted_is_told_with_its_own() {
        let (mut admission, start) = (Admission::new(2), Instant::now());
        let mut enter = |links: [usize; 2]| admission.enter(start, ComesFrom::Client(v4(1)), &links);
        assert_eq!([(); 3].map(|()| enter([1, 0]).unwrap().worker), [1, 0, 1]);
        assert!((4..=UNAUTHENTICATED_CROWD).all(|_| enter([1000, 0]).unwrap().worker == 1));
        let placed = admission.enter(start + GRACE, ComesFrom::Client(v4(1)), &[1000, 0]).unwrap();
        assert_eq!(placed.evicted, Some(Evicted { conn: ConnId::new(1), worker: 1 }));
        assert_eq!((placed.conn, admission.load()), (ConnId::new(513), &[1, 511][..]));
    }
}
