//! Whose call a peer is offered next.
//!
//! A caller has so many *places* with a peer, and its calls beyond that wait for one. Callers that wait for the same peer take
//! turns, one call each. A call that is taken gives its place back; any other keeps it for [`REFUSAL_DELAY`] from when it had it,
//! even if it is withdrawn. So whoever is turned away can ask a peer so often and no more, and sees the same of a peer that
//! turns it away as of one that is not there: the place is the same, and so is the time.
//!
//! Calls that were parked, and that a new listener is offered, have as many places of their own, and give them back at once:
//! when they have their turn does not show, and must not show in when others have theirs.

use super::reserve::Reserve;
use crate::identity::PeerId;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Places of one caller with one peer. 500 sessions that come back at once are through in 8 round trips.
pub const PLACES_PER_PAIR: usize = 64;
/// Calls that one peer has and has not answered: well below what a link that reads leaves in its queue, and enough for some
/// thousand a second at 50 ms.
pub const OFFERS_PER_PEER_MAX: usize = 128;
/// The same of all peers, beyond [`OFFERS_FREE_PER_PEER`] of each: as many as may wait.
pub const OFFERS_MAX: usize = 16_384;
/// Those that a peer may have however many others have.
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

/// A request's own name; later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RequestId(u64);

impl RequestId {
    /// The name with this number.
    pub(super) const fn new(number: u64) -> RequestId {
        RequestId(number)
    }
}

/// A caller, and whom he calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pair {
    /// Who calls.
    pub from: PeerId,
    /// Who is called.
    pub to: PeerId,
}

/// Which turn a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// Its first. Its caller has heard nothing.
    First,
    /// Another, after it was parked.
    Again,
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
struct Line {
    places: usize,
    /// The oldest first.
    queue: BTreeSet<RequestId>,
}

impl Line {
    fn can_go_on(&self) -> bool {
        self.places < PLACES_PER_PAIR && !self.queue.is_empty()
    }

    fn is_over(&self) -> bool {
        self.places == 0 && self.queue.is_empty()
    }
}

#[derive(Debug, Default)]
struct Caller {
    first: Line,
    again: Line,
    /// Circuits to the peer that are open.
    open: u32,
    in_round: bool,
}

impl Caller {
    fn line(&mut self, turn: Turn) -> &mut Line {
        match turn {
            Turn::First => &mut self.first,
            Turn::Again => &mut self.again,
        }
    }

    fn can_go_on(&self) -> bool {
        self.first.can_go_on() || self.again.can_go_on()
    }

    fn is_over(&self) -> bool {
        self.first.is_over() && self.again.is_over() && self.open == 0 && !self.in_round
    }
}

#[derive(Debug, Default)]
struct Callee {
    callers: HashMap<PeerId, Caller>,
    /// Those that may have a turn.
    round: VecDeque<PeerId>,
    offers: usize,
    /// Circuits that others opened to it.
    open: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Turns {
    callees: HashMap<PeerId, Callee>,
    offers: Reserve,
    /// Places of calls that are over, by when they are free.
    lingering: BTreeSet<(Instant, u64, Pair, Turn)>,
    lingering_of: HashMap<PeerId, usize>,
    /// How many there were so far, to tell them apart.
    lingered: u64,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            callees: HashMap::new(),
            offers: Reserve::new(OFFERS_FREE_PER_PEER, OFFERS_MAX),
            lingering: BTreeSet::new(),
            lingering_of: HashMap::new(),
            lingered: 0,
        }
    }
}

impl Turns {
    /// Whether a caller may not call, for it withdraws calls too fast.
    pub(super) fn is_restless(&self, from: &PeerId) -> bool {
        self.lingering_of.get(from).is_some_and(|count| *count >= LINGERING_PER_PEER_MAX)
    }

    /// Whether a caller would have its turn at once, if the peer takes any call.
    pub(super) fn is_free(&self, pair: Pair) -> bool {
        let Some(callee) = self.callees.get(&pair.to) else { return true };
        let is_free = |caller: &Caller| caller.first.queue.is_empty() && caller.first.places < PLACES_PER_PAIR;
        callee.callers.get(&pair.from).is_none_or(is_free)
    }

    /// Puts a call into the queue of its caller.
    pub(super) fn queue(&mut self, pair: Pair, turn: Turn, id: RequestId) {
        self.caller(pair).line(turn).queue.insert(id);
        self.enter_round(pair);
    }

    /// Takes a call out of it.
    pub(super) fn unqueue(&mut self, pair: Pair, turn: Turn, id: RequestId) {
        self.caller(pair).line(turn).queue.remove(&id);
        self.tidy(pair);
    }

    /// Sees to it that a caller has its turn, if it can have one.
    pub(super) fn enter_round(&mut self, pair: Pair) {
        let Some(callee) = self.callees.get_mut(&pair.to) else { return };
        let Some(caller) = callee.callers.get_mut(&pair.from) else { return };
        if caller.can_go_on() && !std::mem::replace(&mut caller.in_round, true) {
            callee.round.push_back(pair.from);
        }
    }

    /// The call whose turn it is, of a caller that has fewer than `open_max` circuits to the peer. It has a place from now on.
    pub(super) fn next(&mut self, to: PeerId, open_max: u32) -> Option<RequestId> {
        while let Some(from) = self.callees.get_mut(&to)?.round.pop_front() {
            let pair = Pair { from, to };
            let caller = self.caller(pair);
            caller.in_round = false;
            // A caller with too many circuits comes again when one has ended.
            let may = caller.open < open_max;
            let turn = if caller.first.can_go_on() { Turn::First } else { Turn::Again };
            let line = caller.line(turn);
            if may
                && line.can_go_on()
                && let Some(id) = line.queue.pop_first()
            {
                line.places += 1;
                self.enter_round(pair);
                return Some(id);
            }
            self.tidy(pair);
        }
        None
    }

    /// A call that had a place has come to nothing, or is parked.
    pub(super) fn leave(&mut self, now: Instant, pair: Pair, place: Place) {
        let Place { turn, until, .. } = place;
        if until <= now {
            return self.give_back(pair, turn);
        }
        self.lingered += 1;
        self.lingering.insert((until, self.lingered, pair, turn));
        *self.lingering_of.entry(pair.from).or_default() += 1;
    }

    /// A call has its place no more.
    pub(super) fn give_back(&mut self, pair: Pair, turn: Turn) {
        let line = self.caller(pair).line(turn);
        line.places = line.places.saturating_sub(1);
        self.enter_round(pair);
        self.tidy(pair);
    }

    /// When [`Turns::poll_due`] has something.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.lingering.first().map(|(at, ..)| *at)
    }

    /// Frees a place whose time has come. Yields whom it is with.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<PeerId> {
        let &first = self.lingering.first().filter(|(at, ..)| *at <= now)?;
        self.lingering.remove(&first);
        let (.., pair, turn) = first;
        if let Entry::Occupied(mut count) = self.lingering_of.entry(pair.from) {
            *count.get_mut() -= 1;
            (*count.get() == 0).then(|| count.remove());
        }
        self.give_back(pair, turn);
        Some(pair.to)
    }

    /// Whether a peer may be offered one more call.
    pub(super) fn may_offer(&self, to: &PeerId) -> bool {
        let offers = self.callees.get(to).map_or(0, |callee| callee.offers);
        offers < OFFERS_PER_PEER_MAX && self.offers.has_room(offers)
    }

    /// A peer is offered a call.
    pub(super) fn offer(&mut self, to: PeerId) {
        let callee = self.callees.entry(to).or_default();
        self.offers.add(callee.offers);
        callee.offers += 1;
    }

    /// It has answered, or it has the call no more.
    pub(super) fn end_offer(&mut self, to: PeerId) {
        if let Some(callee) = self.callees.get_mut(&to)
            && callee.offers > 0
        {
            self.offers.subtract(callee.offers, 1);
            callee.offers -= 1;
        }
    }

    /// A call is accepted.
    pub(super) fn open(&mut self, pair: Pair, turn: Turn) {
        self.callees.entry(pair.to).or_default().open += 1;
        self.caller(pair).open += 1;
        self.give_back(pair, turn);
    }

    /// The circuit is closed.
    pub(super) fn close(&mut self, pair: Pair) {
        if let Some(callee) = self.callees.get_mut(&pair.to) {
            callee.open = callee.open.saturating_sub(1);
        }
        let caller = self.caller(pair);
        caller.open = caller.open.saturating_sub(1);
        self.enter_round(pair);
        self.tidy(pair);
    }

    /// Circuits to a peer that others opened.
    pub(super) fn open_to(&self, to: &PeerId) -> u32 {
        self.callees.get(to).map_or(0, |callee| callee.open)
    }

    fn caller(&mut self, pair: Pair) -> &mut Caller {
        self.callees.entry(pair.to).or_default().callers.entry(pair.from).or_default()
    }

    /// Forgets of whom there is nothing to know.
    fn tidy(&mut self, Pair { from, to }: Pair) {
        let Entry::Occupied(mut callee) = self.callees.entry(to) else { return };
        let callers = &mut callee.get_mut().callers;
        if callers.get(&from).is_some_and(Caller::is_over) {
            callers.remove(&from);
        }
        let Callee { callers, offers, open, .. } = callee.get();
        if callers.is_empty() && *offers == 0 && *open == 0 {
            callee.remove();
        }
    }

    /// Whether nothing is known of anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.callees.is_empty() && self.lingering.is_empty() && self.lingering_of.is_empty() && self.offers.held() == 0
    }
}

/// When to look at a call again that waits for its turn.
pub(super) fn look_again(now: Instant, expires: Option<Instant>) -> Instant {
    let Some(expires) = expires else { return now + HASTY_TURN_DEADLINE };
    let last = expires.checked_sub(TURN_MARGIN).filter(|at| *at > now).unwrap_or(expires);
    last.min(now + TURN_DEADLINE)
}
