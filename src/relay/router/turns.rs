//! Whose call a peer is offered next.
//!
//! A caller, or where anybody may attach all callers of one address, has so many *places* with a peer, and calls beyond that
//! wait for one. Those that wait for the same peer take turns (`round.rs`). A call that is taken gives its place back; any other
//! keeps it for [`REFUSAL_DELAY`] from when it had it, even if it is withdrawn. So whoever is turned away can ask a peer so often
//! and no more, and sees the same of a peer that turns it away as of one that is not there: the place is the same, and so is the
//! time.
//!
//! Calls that were parked, and that a new listener is offered, have as many places of their own, and give them back at once:
//! when they have their turn does not show, and must not show in when others have theirs.

use super::admission::Source;
use super::crowd::{Crowd, Room};
use super::reserve::Reserve;
use super::round::{ROUND_BYTES, RequestId, Round, Turn};
use super::sizes::{in_hash, in_tree};
use crate::identity::PeerId;
use crate::relay::fair::account::Owner;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Calls that one peer has and has not answered: well below what a link that reads leaves in its queue, and enough for some
/// thousand a second at 50 ms.
pub const OFFERS_PER_PEER_MAX: usize = 128;
/// The same of all peers, beyond [`OFFERS_FREE_PER_PEER`] of each: as many as may wait.
pub const OFFERS_MAX: usize = 16_384;
/// Those of all peers of one source, where anybody may attach: a key costs nothing there. A sixteenth of all.
const OFFERS_PER_SOURCE_MAX: usize = OFFERS_MAX / 16;
/// Those that a peer may have however many peers of other sources have.
pub const OFFERS_FREE_PER_PEER: usize = 8;
/// How long whoever calls must not hear that nobody takes the call: most peers have answered by then, from wherever they are.
pub const REFUSAL_DELAY: Duration = Duration::from_millis(300);
/// How long a call may wait for its turn before its caller hears that it could not be offered: it may ask again later, and
/// knows why.
pub(super) const TURN_DEADLINE: Duration = Duration::from_secs(10);
/// The same for a caller who does not want to wait.
const HASTY_TURN_DEADLINE: Duration = Duration::from_secs(3);
/// So much before its patience ends, so that a caller hears it while it can still say why.
const TURN_MARGIN: Duration = Duration::from_secs(1);
/// Places of calls that one caller has withdrawn, before it has to wait with others.
const LINGERING_PER_PEER_MAX: usize = 256;
/// The same of all callers of one address, where anybody may attach.
const LINGERING_PER_SOURCE_MAX: usize = 1024;

/// A caller, and whom he calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    /// Who calls.
    pub from: PeerId,
    /// From where, if that counts.
    pub source: Option<Source>,
    /// Who is called.
    pub to: PeerId,
}

impl Pair {
    /// Who has places and turns for the call.
    pub(super) fn owner(&self) -> Owner {
        Owner::of_peer(self.from, self.source)
    }
}

/// The place of a call with its callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// For which turn it has it.
    pub turn: Turn,
    /// Until when it is not given back, unless the call is taken.
    pub until: Instant,
    /// Who listened when it had its turn: those with this [`Listener::since`](super::listeners::Listener::since) or less.
    pub listened: u64,
}

#[derive(Debug, Default)]
struct Callee {
    /// Calls that wait for their turn, and those that have one.
    round: Round,
    offers: usize,
    /// Its ticket, if it waits for room among the offers of its source or of all.
    waits: Option<Ticket>,
    /// Where it was when it had no offers and did not wait, if that counts.
    source: Option<Source>,
    /// Circuits that others opened to it.
    open: u32,
    /// Those of each of them, or of each address.
    open_of: HashMap<Owner, u32>,
}

#[derive(Clone, Copy, Debug)]
enum Ticket {
    OfSource(u64),
    OfAll(u64),
}

impl Callee {
    /// Where it is, if that counts; by now there, if that makes no difference.
    fn source(&self, now: Option<Source>) -> Option<Source> {
        if self.offers > 0 || self.waits.is_some() { self.source } else { now }
    }
}

/// What the only call for a callee takes here at worst, with a place that lingers.
pub(super) const TURN_BYTES: usize = ROUND_BYTES
    + in_hash(size_of::<(PeerId, Callee)>())
    + in_tree(size_of::<((Instant, u64), (Pair, Turn))>())
    + in_tree(size_of::<(u64, PeerId)>());

/// See the module.
#[derive(Debug)]
pub(super) struct Turns {
    callees: HashMap<PeerId, Callee>,
    offers: Reserve,
    /// The same of all callees of a source.
    offers_of: HashMap<Source, usize>,
    /// Callees for which there is no room among those.
    crowd: Crowd,
    /// Places of calls that are over, by when they are free.
    lingering: BTreeMap<(Instant, u64), (Pair, Turn)>,
    lingering_of: HashMap<Owner, usize>,
    /// How many there were so far, to tell them apart.
    lingered: u64,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            callees: HashMap::new(),
            offers: Reserve::new(OFFERS_FREE_PER_PEER, OFFERS_MAX),
            offers_of: HashMap::new(),
            crowd: Crowd::default(),
            lingering: BTreeMap::new(),
            lingering_of: HashMap::new(),
            lingered: 0,
        }
    }
}

impl Turns {
    /// Whether a caller may not call, for it, or those of its address, withdraw calls too fast.
    pub(super) fn is_restless(&self, pair: &Pair) -> bool {
        let is_at = |owner, most| self.lingering_of.get(&owner).is_some_and(|count| *count >= most);
        is_at(Owner::Peer(pair.from), LINGERING_PER_PEER_MAX)
            || pair.source.is_some_and(|source| is_at(Owner::Source(source), LINGERING_PER_SOURCE_MAX))
    }

    /// Whether a caller would have its turn at once, if the peer takes any call.
    pub(super) fn is_free(&self, pair: Pair) -> bool {
        self.callees.get(&pair.to).is_none_or(|callee| callee.round.is_free(&pair.owner(), &pair.from))
    }

    /// Puts a call into the queue of its caller.
    pub(super) fn queue(&mut self, pair: Pair, turn: Turn, id: RequestId) {
        self.callees.entry(pair.to).or_default().round.queue(pair.owner(), pair.from, (turn, id));
    }

    /// Takes a call out of it.
    pub(super) fn unqueue(&mut self, pair: Pair, turn: Turn, id: RequestId) {
        if let Some(callee) = self.callees.get_mut(&pair.to) {
            callee.round.unqueue(pair.owner(), pair.from, (turn, id));
            self.tidy(pair.to);
        }
    }

    /// The call whose turn it is, of a caller that has fewer than `open_max` circuits to the peer. It has a place from now on.
    pub(super) fn next(&mut self, to: PeerId, open_max: impl Fn(&Owner) -> u32) -> Option<RequestId> {
        let Callee { round, open_of, .. } = self.callees.get_mut(&to)?;
        round.next(|owner| open_of.get(owner).copied().unwrap_or(0) < open_max(owner))
    }

    /// A call that had a place has come to nothing, or is parked.
    pub(super) fn leave(&mut self, now: Instant, pair: Pair, place: Place) {
        let Place { turn, until, .. } = place;
        if until <= now {
            return self.give_back(pair, turn);
        }
        self.lingered += 1;
        self.lingering.insert((until, self.lingered), (pair, turn));
        for owner in lingers_for(pair) {
            *self.lingering_of.entry(owner).or_default() += 1;
        }
    }

    /// A call has its place no more.
    pub(super) fn give_back(&mut self, pair: Pair, turn: Turn) {
        if let Some(callee) = self.callees.get_mut(&pair.to) {
            callee.round.give_back(pair.owner(), turn);
            self.tidy(pair.to);
        }
    }

    /// When [`Turns::poll_due`] has something.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.lingering.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Frees a place whose time has come. Yields whom it is with.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<PeerId> {
        let first = self.lingering.first_entry().filter(|first| first.key().0 <= now)?;
        let (pair, turn) = first.remove();
        for owner in lingers_for(pair) {
            if let Entry::Occupied(mut count) = self.lingering_of.entry(owner) {
                *count.get_mut() -= 1;
                (*count.get() == 0).then(|| count.remove());
            }
        }
        self.give_back(pair, turn);
        Some(pair.to)
    }

    /// Whether a peer that is there, if that counts, may be offered one more call.
    pub(super) fn may_offer(&self, to: &PeerId, source: Option<Source>) -> bool {
        let callee = self.callees.get(to);
        let (offers, source) = callee.map_or((0, source), |callee| (callee.offers, callee.source(source)));
        offers < OFFERS_PER_PEER_MAX && self.lacks_room(offers, source).is_none()
    }

    /// What room there is not for one more call, for who is there and has so many.
    fn lacks_room(&self, offers: usize, source: Option<Source>) -> Option<Room> {
        let of_source = source.map(Room::OfSource).filter(|room| !has_room(*room, (&self.offers, &self.offers_of)));
        of_source.or_else(|| (!self.offers.has_room(offers)).then_some(Room::OfAll))
    }

    /// A peer that is there, if that counts, and for which calls wait: it waits with them, if all that it lacks is room that others
    /// have.
    pub(super) fn wait_for_room(&mut self, to: PeerId, source: Option<Source>) {
        let Some(callee) = self.callees.get(&to) else { return };
        let (offers, source) = (callee.offers, callee.source(source));
        if callee.waits.is_some() || !callee.round.can_go_on() || offers >= OFFERS_PER_PEER_MAX {
            return;
        }
        let Some(room) = self.lacks_room(offers, source) else { return };
        let ticket = self.crowd.wait(room, to);
        if let Some(callee) = self.callees.get_mut(&to) {
            callee.source = source;
            callee.waits = Some(match room {
                Room::OfSource(_) => Ticket::OfSource(ticket),
                Room::OfAll => Ticket::OfAll(ticket),
            });
        }
    }

    /// Who has waited longest for room of which there is some by now. It waits no more.
    pub(super) fn poll_room(&mut self) -> Option<PeerId> {
        let Turns { crowd, offers, offers_of, .. } = self;
        let next = crowd.next(|room| has_room(room, (offers, offers_of)));
        self.stop_waiting(next?);
        next
    }

    fn stop_waiting(&mut self, to: PeerId) {
        let Some(callee) = self.callees.get_mut(&to) else { return };
        match (callee.waits.take(), callee.source) {
            (Some(Ticket::OfSource(ticket)), Some(source)) => self.crowd.leave(Room::OfSource(source), ticket),
            (Some(Ticket::OfAll(ticket)), _) => self.crowd.leave(Room::OfAll, ticket),
            _ => {}
        }
    }

    /// A peer that is there, if that counts, is offered a call.
    pub(super) fn offer(&mut self, to: PeerId, source: Option<Source>) {
        let callee = self.callees.entry(to).or_default();
        self.offers.add(callee.offers);
        callee.source = callee.source(source);
        callee.offers += 1;
        if let Some(source) = callee.source {
            *self.offers_of.entry(source).or_default() += 1;
        }
    }

    /// It has answered, or it has the call no more.
    pub(super) fn end_offer(&mut self, to: PeerId) {
        if let Some(callee) = self.callees.get_mut(&to)
            && callee.offers > 0
        {
            self.offers.subtract(callee.offers, 1);
            callee.offers -= 1;
            callee.source.into_iter().for_each(|source| self.crowd.ease(Room::OfSource(source)));
            self.crowd.ease(Room::OfAll);
            if let Some(Entry::Occupied(mut count)) = callee.source.map(|source| self.offers_of.entry(source)) {
                *count.get_mut() -= 1;
                (*count.get() == 0).then(|| count.remove());
            }
        }
    }

    /// A call is accepted.
    pub(super) fn open(&mut self, pair: Pair, turn: Turn) {
        let callee = self.callees.entry(pair.to).or_default();
        callee.open += 1;
        *callee.open_of.entry(pair.owner()).or_default() += 1;
        self.give_back(pair, turn);
    }

    /// A circuit from one to the other is closed.
    pub(super) fn close(&mut self, pair: Pair) {
        let Some(callee) = self.callees.get_mut(&pair.to) else { return };
        callee.open = callee.open.saturating_sub(1);
        if let Entry::Occupied(mut open) = callee.open_of.entry(pair.owner()) {
            *open.get_mut() -= 1;
            (*open.get() == 0).then(|| open.remove());
        }
        self.tidy(pair.to);
    }

    /// Circuits to a peer that others opened.
    pub(super) fn open_to(&self, to: &PeerId) -> u32 {
        self.callees.get(to).map_or(0, |callee| callee.open)
    }

    /// Those of one of them.
    pub(super) fn open_by(&self, to: &PeerId, by: &Owner) -> u32 {
        self.callees.get(to).and_then(|callee| callee.open_of.get(by)).copied().unwrap_or(0)
    }

    /// Forgets of whom there is nothing to know.
    fn tidy(&mut self, to: PeerId) {
        let Some(Callee { round, offers, open, .. }) = self.callees.get(&to) else { return };
        if round.is_empty() && *offers == 0 && *open == 0 {
            self.stop_waiting(to);
            self.callees.remove(&to);
        }
    }

    /// Whether nothing is known of anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.callees.is_empty()
            && self.lingering.is_empty()
            && self.lingering_of.is_empty()
            && self.offers.held() == 0
            && self.offers_of.is_empty()
            && self.crowd.is_empty()
    }
}

/// Whether one more can be offered, of those that are counted so, to who has more than the first few.
fn has_room(room: Room, (all, of): (&Reserve, &HashMap<Source, usize>)) -> bool {
    match room {
        Room::OfSource(source) => of.get(&source).is_none_or(|offers| *offers < OFFERS_PER_SOURCE_MAX),
        Room::OfAll => all.has_room(OFFERS_FREE_PER_PEER),
    }
}

/// On whose accounts the place of a call that is over lingers.
fn lingers_for(pair: Pair) -> impl Iterator<Item = Owner> {
    [Some(Owner::Peer(pair.from)), pair.source.map(Owner::Source)].into_iter().flatten()
}

/// When to look at a call again that waits for its turn.
pub(super) fn look_again(now: Instant, expires: Option<Instant>) -> Instant {
    let Some(expires) = expires else { return now + HASTY_TURN_DEADLINE };
    let last = expires.checked_sub(TURN_MARGIN).filter(|at| *at > now).unwrap_or(expires);
    last.min(now + TURN_DEADLINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: usize) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        PeerId::from_bytes(bytes)
    }

    #[test]
    fn callees_for_which_there_is_no_room_among_the_offers_of_all_are_looked_at_in_turn_when_there_is_some() {
        const BEYOND: usize = OFFERS_PER_PEER_MAX - OFFERS_FREE_PER_PEER;
        let (mut turns, now) = (Turns::default(), Instant::now());
        let many = OFFERS_MAX.div_ceil(BEYOND);
        for callee in 0..many {
            let mut offers = 0;
            let mut looks = 0..OFFERS_MAX;
            while turns.may_offer(&peer(callee), None) {
                assert!(looks.next().is_some(), "it may be offered any number");
                turns.offer(peer(callee), None);
                offers += 1;
            }
            assert!(offers == OFFERS_PER_PEER_MAX || callee + 1 == many);
        }
        let pair = |to| Pair { from: peer(9999), source: None, to: peer(to) };
        for to in [1001, 1000, 1002] {
            (0..20).for_each(|n| turns.queue(pair(to), Turn::First, RequestId::new(n)));
            let mut rounds = 0..OFFERS_MAX;
            while turns.may_offer(&peer(to), None) {
                assert!(rounds.next().is_some(), "it may be offered any number");
                assert!(turns.next(peer(to), |_| 1).is_some());
                turns.offer(peer(to), None);
            }
            (0..2).for_each(|_| turns.wait_for_room(peer(to), None));
        }
        assert_eq!(turns.poll_room(), None);
        // One that has none waiting any more is none of them.
        turns.wait_for_room(peer(0), None);
        turns.end_offer(peer(0));
        assert_eq!(turns.poll_room(), Some(peer(1001)));
        turns.offer(peer(1001), None);
        turns.wait_for_room(peer(1001), None);
        assert_eq!(turns.poll_room(), None);
        (0..2).for_each(|_| turns.end_offer(peer(1)));
        assert_eq!([(); 4].map(|()| turns.poll_room()), [Some(peer(1000)), Some(peer(1002)), Some(peer(1001)), None]);
        // What is over waits for nothing.
        turns.offer(peer(0), None);
        (0..2).for_each(|_| turns.offer(peer(1), None));
        turns.wait_for_room(peer(1002), None);
        for n in 0..20 {
            turns.unqueue(pair(1002), Turn::First, RequestId::new(n));
        }
        for _ in 0..OFFERS_FREE_PER_PEER {
            turns.leave(now, pair(1002), Place { turn: Turn::First, until: now, listened: 0 });
            turns.end_offer(peer(1002));
        }
        turns.give_back(pair(1002), Turn::First);
        assert!(turns.crowd.is_empty() && turns.poll_room().is_none());
    }
}
