//! Whoever waits for a turn, a connection or what has come from one of another worker, and whose turn it is.
//!
//! Peers share by the work that they cause, however many links each has: start-time fair queueing (Goyal, Vin and Cheng, 1996)
//! in a tree. Below its root are peers, or, where anybody may attach, addresses with their peers; and, as one, all who have not
//! said who they are, by address. Each has a *tag*, the work that was done for it, and whoever has the lowest is next. Who was
//! not waiting starts where the others are: so nobody saves up, and whoever wants little is next at once and waits for no more
//! than one share of each level, whatever the others want and however many of them there are.
//!
//! Work is a duration by the book (`work.rs`), not by a clock: the same input gives the same turns.

use super::account::{Account, Owner};
use super::work::Work;
use foldhash::HashMap;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Place of the root among the nodes.
const ROOT: usize = 0;
/// Nodes that are kept while nobody waits: those of the next moment are often those of the last.
const KEPT_MAX: usize = 64;

/// See the module. A turn is [`Line::begin`], then [`Line::pop`] and [`Line::spend`] for each, until it yields nobody.
#[derive(Debug)]
pub(crate) struct Line<W> {
    nodes: Vec<Node<W>>,
    /// Looked up for each turn; its hash is seeded at random, for owners choose their keys.
    by_owner: HashMap<(usize, Owner), usize>,
    /// Whose turn it is: a node without children. It and those above it are in no heap.
    served: Option<usize>,
    /// What was done for it in this turn of its.
    done: Work,
    /// What may be done in this turn still.
    left: Work,
    /// Counts entries, so that of equals the first is first.
    entries: u64,
    /// So many nodes make it worth while to look for some that nobody needs.
    sweep_at: usize,
    /// All that went by so far.
    #[cfg(test)]
    pub passed: Work,
}

/// What somebody was doing when he got in line. Of equals those are first who were not waiting: whoever wants little is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Was {
    Away,
    Served,
}

/// Somebody who shares with others below the same parent.
#[derive(Debug)]
struct Node<W> {
    parent: usize,
    owner: Option<Owner>,
    /// Work that was done for it, on the scale of its parent's `now`.
    tag: Work,
    /// The tag of the child that was served last.
    now: Work,
    /// How many wait below it.
    waiting: usize,
    /// Since what it is in its parent's heap, if it is.
    queued: Option<Was>,
    waits: VecDeque<W>,
    children: BinaryHeap<Reverse<(Work, Was, u64, usize)>>,
}

impl<W> Node<W> {
    fn new(parent: usize, owner: Option<Owner>, tag: Work) -> Node<W> {
        let (waits, children) = (VecDeque::new(), BinaryHeap::new());
        Node { parent, owner, tag, now: Work::ZERO, waiting: 0, queued: None, waits, children }
    }
}

impl<W> Default for Line<W> {
    fn default() -> Line<W> {
        Line {
            nodes: vec![Node::new(ROOT, None, Work::ZERO)],
            by_owner: HashMap::default(),
            served: None,
            done: Work::ZERO,
            left: Work::MAX,
            entries: 0,
            sweep_at: KEPT_MAX,
            #[cfg(test)]
            passed: Work::ZERO,
        }
    }
}

impl<W: Copy> Line<W> {
    /// A turn begins, of so much work.
    pub(crate) fn begin(&mut self, work: Work) {
        self.left = work;
    }

    /// Whether this turn is over.
    pub(crate) fn is_over(&self) -> bool {
        self.left == Work::ZERO
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.nodes[ROOT].waiting
    }

    /// One waits from now on, on this account. It may wait once.
    pub(crate) fn enter(&mut self, account: &Account, one: W) {
        self.join(account).waits.push_back(one);
    }

    /// The same, ahead of the others of its owner.
    pub(crate) fn enter_first(&mut self, account: &Account, one: W) {
        self.join(account).waits.push_front(one);
    }

    fn join(&mut self, account: &Account) -> &mut Node<W> {
        let above = account.group.map_or(ROOT, |group| self.child(ROOT, group));
        let leaf = self.child(above, account.owner);
        let mut at = leaf;
        while at != ROOT {
            let parent = self.nodes[at].parent;
            self.nodes[at].waiting += 1;
            if !self.is_served(at) {
                self.queue(at, Was::Away);
            }
            at = parent;
        }
        self.nodes[ROOT].waiting += 1;
        &mut self.nodes[leaf]
    }

    fn child(&mut self, parent: usize, owner: Owner) -> usize {
        let (nodes, by_owner) = (&mut self.nodes, &mut self.by_owner);
        *by_owner.entry((parent, owner)).or_insert_with(|| {
            nodes.push(Node::new(parent, Some(owner), Work::ZERO));
            nodes.len() - 1
        })
    }

    /// Whether it is whose turn it is, or above.
    fn is_served(&self, node: usize) -> bool {
        self.served.is_some_and(|leaf| node == leaf || node == self.nodes[leaf].parent)
    }

    /// Puts it into its parent's heap, if it is not there.
    fn queue(&mut self, at: usize, was: Was) {
        let (parent, entry) = (self.nodes[at].parent, self.entries);
        let now = self.nodes[parent].now;
        let node = &mut self.nodes[at];
        if node.queued.is_none() {
            node.queued = Some(was);
            self.entries += 1;
            node.tag = node.tag.max(now);
            let tag = node.tag;
            self.nodes[parent].children.push(Reverse((tag, was, entry, at)));
        }
    }

    /// The one whose turn it is, which waits no longer. None: nobody waits, or this turn is over.
    pub(crate) fn pop(&mut self) -> Option<W> {
        self.end_service();
        if self.is_over() {
            return None;
        }
        let mut at = ROOT;
        while let Some(Reverse((tag, _, _, child))) = self.nodes[at].children.pop() {
            self.nodes[at].now = tag;
            self.nodes[child].queued = None;
            at = child;
        }
        let one = self.nodes[at].waits.pop_front()?;
        (self.served, self.done) = (Some(at), Work::ZERO);
        while at != ROOT {
            self.nodes[at].waiting -= 1;
            at = self.nodes[at].parent;
        }
        self.nodes[ROOT].waiting -= 1;
        Some(one)
    }

    /// So much was done for the one whose turn it is.
    pub(crate) fn spend(&mut self, work: Work) {
        self.pass(work);
        self.done = self.done + work;
        let mut at = self.served.unwrap_or(ROOT);
        while at != ROOT {
            let node = &mut self.nodes[at];
            node.tag = node.tag + work;
            at = node.parent;
        }
    }

    /// So much of this turn went by with something else.
    pub(crate) fn pass(&mut self, work: Work) {
        self.left = self.left.saturating_sub(work);
        #[cfg(test)]
        (self.passed = self.passed + work);
    }

    /// Those below whom others still wait get in line again.
    fn end_service(&mut self) {
        // For whom nothing could be done is first again.
        let was = if self.done == Work::ZERO { Was::Away } else { Was::Served };
        let mut at = self.served.take().unwrap_or(ROOT);
        while at != ROOT {
            if self.nodes[at].waiting > 0 {
                self.queue(at, was);
            }
            at = self.nodes[at].parent;
        }
        if self.nodes.len() > KEPT_MAX && self.is_empty() {
            // There was time for everybody: nobody is owed anything.
            *self = Line {
                left: self.left,
                #[cfg(test)]
                passed: self.passed,
                ..Line::default()
            };
        } else if self.nodes.len() > self.sweep_at {
            self.sweep();
        }
    }

    /// Forgets those who wait for nothing and had no more than they would have now.
    fn sweep(&mut self) {
        let old = std::mem::take(self);
        (self.left, self.entries) = (old.left, old.entries);
        #[cfg(test)]
        (self.passed = old.passed);
        (self.nodes[ROOT].now, self.nodes[ROOT].waiting) = (old.nodes[ROOT].now, old.nodes[ROOT].waiting);
        // Parents are ahead of their children.
        let mut places = vec![None; old.nodes.len()];
        places[ROOT] = Some(ROOT);
        for (at, node) in old.nodes.into_iter().enumerate().skip(1) {
            let Some(parent) = places[node.parent] else { continue };
            let Some(owner) = node.owner.filter(|_| node.waiting > 0 || node.tag > self.nodes[parent].now) else {
                continue;
            };
            let (place, queued, tag) = (self.child(parent, owner), node.queued, node.tag);
            places[at] = Some(place);
            self.nodes[place] = Node { parent, queued: None, children: BinaryHeap::new(), tag, ..node };
            if let Some(was) = queued {
                self.queue(place, was);
            }
        }
        self.sweep_at = KEPT_MAX.max(2 * self.nodes.len());
    }

    /// All who wait, in any order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = W> {
        self.nodes.iter().flat_map(|node| node.waits.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerId;
    use crate::relay::ConnId;
    use crate::relay::router::admission::Source;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn peer(n: u8) -> Account {
        Account::of_peer(PeerId::from_bytes([n; 32]), None)
    }

    /// A peer of a relay where anybody may attach.
    fn stranger(source: u8, n: u8) -> Account {
        Account::of_peer(PeerId::from_bytes([n; 32]), Some(Source::V4([10, 0, 0, source].into())))
    }

    /// Connections that always have more to do, and what that cost so far.
    struct Crowd {
        line: Line<ConnId>,
        accounts: BTreeMap<u64, (Account, u64)>,
    }

    impl Crowd {
        fn new() -> Crowd {
            Crowd { line: Line::default(), accounts: BTreeMap::new() }
        }

        fn add(&mut self, account: Account, links: usize) {
            for _ in 0..links {
                let n = self.accounts.len() as u64;
                self.accounts.insert(n, (account, 0));
                self.line.enter(&account, ConnId::new(n));
            }
        }

        /// One turn of somebody, at such a price.
        fn serve(&mut self, price: u64) -> ConnId {
            let conn = self.line.pop().expect("they always wait");
            self.line.spend(Work::micros(price));
            if let Some((account, spent)) = self.accounts.get_mut(&conn.get()) {
                *spent += price;
                self.line.enter(account, conn);
            }
            conn
        }

        fn spent(&self, account: Account) -> u64 {
            self.accounts.values().filter(|(other, _)| *other == account).map(|(_, spent)| spent).sum()
        }
    }

    #[test]
    fn peers_share_by_work_however_many_links_they_have_and_whatever_a_turn_costs() {
        let mut crowd = Crowd::new();
        crowd.add(peer(1), 200);
        crowd.add(peer(2), 1);
        crowd.add(peer(3), 7);
        for n in 0..10_000 {
            let next = crowd.line.nodes[ROOT].children.peek().map(|Reverse((.., at))| *at);
            let dear = next.is_some_and(|at| crowd.line.nodes[at].owner == Some(peer(1).owner));
            crowd.serve(if dear { 250 } else { 1 + n % 90 });
        }
        let [one, two, three] = [1, 2, 3].map(|n| crowd.spent(peer(n)));
        assert!(one.abs_diff(two) <= 500 && two.abs_diff(three) <= 500, "{one} {two} {three}");
        // Within a peer, its links take turns.
        let links = crowd.accounts.values().filter(|(account, _)| *account == peer(1)).map(|(_, spent)| *spent);
        let (least, most) = (links.clone().min().unwrap(), links.max().unwrap());
        assert!(most - least <= 250, "{least} to {most}");
    }

    #[test]
    fn who_makes_a_key_for_each_link_has_the_share_of_his_address() {
        let mut crowd = Crowd::new();
        (0..100).for_each(|n| crowd.add(stranger(1, n), 2));
        crowd.add(stranger(2, 200), 1);
        (0..20_000).for_each(|_| {
            crowd.serve(10);
        });
        let honest = crowd.spent(stranger(2, 200));
        assert!(honest.abs_diff(100_000) <= 100, "{honest}");
        // Those of one address share that, also with one who is honest.
        let same = crowd.spent(stranger(1, 7));
        assert!(same.abs_diff(1000) <= 20, "{same}");
    }

    #[test]
    fn nobody_saves_up_for_later_and_nobody_is_punished_for_what_nobody_wanted() {
        let mut crowd = Crowd::new();
        crowd.add(peer(1), 3);
        (0..1000).for_each(|_| {
            crowd.serve(100);
        });
        let before = crowd.spent(peer(1));
        // It was alone, and took all. Who comes has half from now on, not more.
        crowd.add(peer(2), 1);
        (0..1000).for_each(|_| {
            crowd.serve(100);
        });
        let (one, two) = (crowd.spent(peer(1)) - before, crowd.spent(peer(2)));
        assert!(one.abs_diff(two) <= 200, "{one} {two}");
    }

    #[test]
    fn a_turn_ends_when_its_work_is_done_and_who_was_not_served_is_first_in_the_next() {
        let mut line = Line::<ConnId>::default();
        (0..10).for_each(|n| line.enter(&peer(n), ConnId::new(n.into())));
        let mut served = [0; 10];
        for _ in 0..10 {
            line.begin(Work::micros(300));
            let mut looks = 0..1000;
            while let Some(conn) = line.pop() {
                assert!(looks.next().is_some(), "a turn has no end");
                line.spend(Work::micros(100));
                served[usize::try_from(conn.get()).unwrap()] += 1;
                line.enter(&peer(u8::try_from(conn.get()).unwrap()), conn);
            }
        }
        assert_eq!(served, [3; 10]);
        // Who could not be served at all keeps its place.
        line.begin(Work::MAX);
        let conn = line.pop().unwrap();
        line.enter_first(&peer(u8::try_from(conn.get()).unwrap()), conn);
        assert_eq!(line.pop(), Some(conn));
    }

    #[test]
    fn a_crowd_that_is_gone_leaves_nothing() {
        let mut line = Line::<ConnId>::default();
        for round in 0..3_u64 {
            for n in 0..200 {
                line.enter(&stranger(n, n), ConnId::new(round * 1000 + u64::from(n)));
            }
            let mut rounds = 0..1000;
            while line.pop().is_some() {
                assert!(rounds.next().is_some(), "a line has no end");
                line.spend(Work::micros(7));
            }
        }
        assert!(line.is_empty() && line.nodes.len() <= KEPT_MAX && line.by_owner.len() <= KEPT_MAX);
        assert_eq!(line.iter().count(), 0);
    }

    proptest! {
        /// However many others there are, how many links they have and what each of their turns costs.
        #[test]
        fn who_wants_little_is_next_at_once(
            heavy in proptest::collection::vec(1..40_usize, 1..60),
            prices in proptest::collection::vec(50..250_u64, 100..600),
            open in any::<bool>(),
        ) {
            let account = |n: u8| if open { stranger(n, n) } else { peer(n) };
            let mut crowd = Crowd::new();
            for (n, links) in heavy.iter().enumerate() {
                crowd.add(account(u8::try_from(n).unwrap()), *links);
            }
            let (light, mut since) = (ConnId::new(u64::MAX), 0);
            for price in prices {
                crowd.serve(price);
                since += 1;
                // By then one of the others has had his second turn.
                if since > heavy.len() {
                    crowd.line.enter(&account(100), light);
                    prop_assert_eq!(crowd.line.pop(), Some(light));
                    crowd.line.spend(Work::micros(1));
                    since = 0;
                }
            }
        }

        /// Whoever waits is served once, in line or not, and those of one owner in their order.
        #[test]
        fn nobody_is_lost_and_nobody_is_served_twice(
            steps in proptest::collection::vec((0..6_u8, 0..100_u8, 0..400_u64), 1..600),
        ) {
            let mut line = Line::<ConnId>::default();
            let mut waiting = std::collections::BTreeSet::new();
            for (number, (kind, who, price)) in (0..).zip(steps) {
                let account = match kind {
                    0 => peer(who),
                    1 => stranger(who % 7, who),
                    2 => Account::of_stranger(Source::V4([9, 9, 9, who].into())),
                    _ => {
                        if let Some(conn) = line.pop() {
                            prop_assert!(waiting.remove(&conn.get()));
                            line.spend(Work::micros(price));
                        } else {
                            prop_assert!(waiting.is_empty());
                        }
                        continue;
                    }
                };
                line.enter(&account, ConnId::new(number));
                waiting.insert(number);
                prop_assert_eq!(line.iter().count(), waiting.len());
            }
            while let Some(conn) = line.pop() {
                prop_assert!(waiting.remove(&conn.get()));
            }
            prop_assert!(waiting.is_empty() && line.is_empty());
        }
    }
}
