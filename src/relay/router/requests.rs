//! CONNECTs that are not open yet: in turn, offered to a listener that has not answered, or parked until somebody listens.
//!
//! They take room, of which each peer has a little in any case, and all have a table together. Whether a listener has them
//! makes no difference to that: it would show who is there.

use super::admission::Source;
use super::listeners::Listeners;
use super::reserve::Reserve;
use super::round::{PLACES_PER_PAIR, RequestId, Turn};
use super::sizes::{boxed, in_hash, in_tree};
use super::tried::{TRIED_BYTES, Tried};
use super::turns::{OFFERS_MAX, Pair, Place};
use super::waiting::{Mark, Waiting, Wish};
use crate::identity::PeerId;
use crate::names::NAME_MAX;
use crate::relay::LinkId;
use crate::wire::Name;
use crate::wire::limits::EARLY_MAX;
use std::collections::hash_map::{Entry, OccupiedEntry};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long a listener may take to answer an INCOMING.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Requests in all, beyond [`REQUESTS_FREE_PER_PEER`] of each peer. Each holds the early bytes of a lane; what all take is in
/// [`TABLES_BYTES_MAX`](super::beyond::TABLES_BYTES_MAX).
pub const REQUESTS_MAX: usize = 16_384;
/// Those that a peer may have however many others have: a tool that waits has one, or four questions more for a moment.
pub const REQUESTS_FREE_PER_PEER: usize = 8;
/// Those of all peers of one source, where anybody may attach: a key costs nothing there. A sixteenth of all.
pub const REQUESTS_PER_SOURCE_MAX: usize = REQUESTS_MAX / 16;
/// Requests for which there was no room, in all, beyond [`REQUESTS_FREE_PER_PEER`] of each peer: they are offered at once or
/// not at all. A quarter of what can be offered at once: a listener that answers has them for a moment.
pub const GUESTS_MAX: usize = OFFERS_MAX / 4;
/// Those of one peer to another: no more have a turn at once.
pub const GUESTS_PER_PAIR: usize = PLACES_PER_PAIR;
/// Parked requests of one link.
pub const PARKED_PER_LINK_MAX: usize = 64;

/// One side of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side {
    /// The link.
    pub link: LinkId,
    /// The link's number for the circuit.
    pub circuit: u32,
}

impl Side {
    /// Whether its link has asked for the circuit: else it was offered it.
    pub(super) fn is_callers(self) -> bool {
        self.circuit.is_multiple_of(2)
    }

    /// Those of a link.
    pub(crate) fn all_of(link: LinkId) -> RangeInclusive<Side> {
        Side { link, circuit: 0 }..=Side { link, circuit: u32::MAX }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for its turn to be offered; to be looked at again by then.
    Queued {
        /// When.
        until: Instant,
    },
    /// Nobody took it, and its caller may not hear of that before this time.
    Held {
        /// When.
        until: Instant,
    },
    /// Nobody to offer it to: waits until the caller's patience ends.
    Parked,
    /// A listener has an INCOMING and has to answer by then.
    Offered {
        /// The listener's side.
        callee: Side,
        /// Since when it listens, as [`Listener::since`](super::listeners::Listener::since).
        since: u64,
        /// When it counts as no answer.
        until: Instant,
    },
}

/// What the caller of a request has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing.
    Nothing,
    /// Nothing, though its first turn came to nothing: somebody listened before it might hear of that. It hears that it
    /// waits when this place, that of its first turn, is free.
    NothingYet(Place),
    /// That it waits.
    Waiting,
}

/// A CONNECT that is not open.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The caller's side.
    pub caller: Side,
    /// Who calls whom.
    pub pair: Pair,
    /// What is called.
    pub name: Name,
    /// The first bytes of the lane.
    pub early: Vec<u8>,
    /// When the caller's patience ends; None if it does not wait at all.
    pub expires: Option<Instant>,
    /// Whether the caller knows that it waits.
    pub told: Told,
    /// Listeners that did not answer.
    pub tried: Tried,
    /// There was no room for it but among those that do not stay: it is offered at once or not at all, and keeps no early bytes
    /// while nobody has it.
    pub is_guest: bool,
    /// The turn it waits for, or had last.
    pub turn: Turn,
    /// Its place, if it has one.
    pub place: Option<Place>,
    /// Where it stands.
    pub stage: Stage,
}

impl Request {
    fn deadline(&self) -> Option<Instant> {
        let of_stage = match self.stage {
            Stage::Parked => self.expires,
            Stage::Queued { until } | Stage::Held { until } | Stage::Offered { until, .. } => Some(until),
        };
        of_stage.into_iter().chain(self.untold().map(|place| place.until)).min()
    }

    /// Whether its caller must not learn that somebody is there who does not take it. Nobody hides from itself, nor from who
    /// knows what no stranger can.
    pub(super) fn hides(&self) -> bool {
        self.pair.from != self.pair.to && self.name.is_guessable()
    }

    /// The listener that has it did not answer, or said that it is not there. Should it say LISTEN once more, it is another
    /// one, whenever that was.
    pub(super) fn note_tried(&mut self, listeners: &Listeners) {
        let Stage::Offered { since, .. } = self.stage else { return };
        self.tried.note(since, || listeners.sinces((self.pair.to, &self.name)));
    }

    /// The place of its first turn, if its caller has yet to hear that it came to nothing.
    pub(super) fn untold(&self) -> Option<Place> {
        match self.told {
            Told::NothingYet(first) => Some(first),
            Told::Nothing | Told::Waiting => None,
        }
    }

    fn wish(&self) -> Wish {
        Wish { from: self.pair.owner(), to: self.pair.to, name: self.name.clone() }
    }

    fn counts_as_parked(&self) -> bool {
        self.turn == Turn::Again && self.untold().is_none()
    }

    /// Whether it is of use to it that somebody listens. One whose patience ends before its caller may know anything is as
    /// good as over, and one that keeps no early bytes cannot be offered.
    pub(super) fn waits_for_listener(&self) -> bool {
        match self.stage {
            Stage::Parked => true,
            Stage::Held { until } => !self.is_guest && self.expires.is_some_and(|expires| until < expires),
            Stage::Queued { .. } | Stage::Offered { .. } => false,
        }
    }
}

/// Who has how much of the room.
#[derive(Debug)]
struct Room {
    by_peer: HashMap<PeerId, usize>,
    by_source: HashMap<Source, usize>,
    reserve: Reserve,
}

impl Room {
    fn new(most: usize) -> Room {
        let reserve = Reserve::new(REQUESTS_FREE_PER_PEER, most);
        Room { by_peer: HashMap::new(), by_source: HashMap::new(), reserve }
    }

    fn has_room(&self, pair: Pair) -> bool {
        let held = self.by_peer.get(&pair.from).copied().unwrap_or(0);
        let of_source = pair.source.and_then(|source| self.by_source.get(&source)).copied().unwrap_or(0);
        of_source < REQUESTS_PER_SOURCE_MAX && self.reserve.has_room(held)
    }

    fn add(&mut self, request: &Request) {
        let held = self.by_peer.entry(request.pair.from).or_default();
        self.reserve.add(*held);
        *held += 1;
        if let Some(source) = request.pair.source {
            *self.by_source.entry(source).or_default() += 1;
        }
    }

    fn subtract(&mut self, request: &Request) {
        if let Entry::Occupied(mut held) = self.by_peer.entry(request.pair.from) {
            self.reserve.subtract(*held.get(), 1);
            count_down(&mut held).then(|| held.remove());
        }
        if let Some(source) = request.pair.source
            && let Entry::Occupied(mut held) = self.by_source.entry(source)
        {
            count_down(&mut held).then(|| held.remove());
        }
    }
}

/// Those for which there is no other room.
#[derive(Debug)]
struct Guests {
    room: Room,
    by_pair: HashMap<Pair, usize>,
}

impl Guests {
    fn has_room(&self, pair: Pair) -> bool {
        let of_pair = self.by_pair.get(&pair).copied().unwrap_or(0);
        of_pair < GUESTS_PER_PAIR && self.room.has_room(pair)
    }

    fn add(&mut self, request: &Request) {
        self.room.add(request);
        *self.by_pair.entry(request.pair).or_default() += 1;
    }

    fn subtract(&mut self, request: &Request) {
        self.room.subtract(request);
        if let Entry::Occupied(mut held) = self.by_pair.entry(request.pair) {
            count_down(&mut held).then(|| held.remove());
        }
    }
}

/// One less. True if that was the last.
fn count_down<K>(count: &mut OccupiedEntry<'_, K, usize>) -> bool {
    *count.get_mut() -= 1;
    *count.get() == 0
}

#[derive(Debug)]
struct Kept {
    request: Request,
    /// Where it stands among those that wait for somebody who listens, if it does.
    mark: Option<Mark>,
}

/// What a request takes here at worst.
pub(super) const REQUEST_BYTES: usize = in_hash(size_of::<(RequestId, Kept)>())
    + 2 * in_tree(size_of::<(Side, RequestId)>())
    + in_tree(size_of::<(Instant, RequestId)>())
    + boxed(EARLY_MAX)
    + boxed(NAME_MAX)
    + TRIED_BYTES;

/// All requests, findable by caller, by callee, by what they ask for, and by deadline.
#[derive(Debug)]
pub(super) struct Requests {
    next: u64,
    all: HashMap<RequestId, Kept>,
    by_caller: BTreeMap<Side, RequestId>,
    /// How many of a link are parked, or were and have another turn, as far as its peer may know.
    parked: HashMap<LinkId, usize>,
    by_callee: BTreeMap<Side, RequestId>,
    waiting: Waiting,
    deadlines: BTreeSet<(Instant, RequestId)>,
    room: Room,
    guests: Guests,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            next: 0,
            all: HashMap::new(),
            by_caller: BTreeMap::new(),
            parked: HashMap::new(),
            by_callee: BTreeMap::new(),
            waiting: Waiting::default(),
            deadlines: BTreeSet::new(),
            room: Room::new(REQUESTS_MAX),
            guests: Guests { room: Room::new(GUESTS_MAX), by_pair: HashMap::new() },
        }
    }
}

impl Requests {
    /// Whether there is room for one more of this peer.
    pub(super) fn has_room(&self, pair: Pair) -> bool {
        self.room.has_room(pair)
    }

    /// Whether there is room for one more at all.
    pub(super) fn may_ask(&self, pair: Pair) -> bool {
        self.has_room(pair) || self.guests.has_room(pair)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert!(!self.all.is_empty() || self.parked.is_empty(), "what is parked is among them");
        self.all.len()
    }

    /// All of them.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.all.values().map(|kept| &kept.request)
    }

    /// How many wait for somebody who listens.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.all.values().filter(|kept| kept.mark.is_some()).count()
    }

    /// A new name, for a request that is about to be put in.
    pub(super) fn issue_id(&mut self) -> RequestId {
        self.next += 1;
        RequestId::new(self.next)
    }

    /// Puts a request in, under the name it was taken out with or a fresh one.
    pub(super) fn put(&mut self, id: RequestId, request: Request) {
        self.by_caller.insert(request.caller, id);
        if request.counts_as_parked() {
            *self.parked.entry(request.caller.link).or_default() += 1;
        }
        if request.is_guest {
            self.guests.add(&request);
        } else {
            self.room.add(&request);
        }
        let mark = request.waits_for_listener().then(|| self.waiting.add(request.wish(), id));
        if let Stage::Offered { callee, .. } = request.stage {
            self.by_callee.insert(callee, id);
        }
        if let Some(deadline) = request.deadline() {
            self.deadlines.insert((deadline, id));
        }
        self.all.insert(id, Kept { request, mark });
    }

    /// Takes a request out.
    pub(super) fn take(&mut self, id: RequestId) -> Option<Request> {
        let Kept { request, mark } = self.all.remove(&id)?;
        self.by_caller.remove(&request.caller);
        if request.counts_as_parked()
            && let Entry::Occupied(mut parked) = self.parked.entry(request.caller.link)
        {
            count_down(&mut parked).then(|| parked.remove());
        }
        if request.is_guest {
            self.guests.subtract(&request);
        } else {
            self.room.subtract(&request);
        }
        if let Some(mark) = mark {
            self.waiting.remove(request.wish(), mark);
        }
        if let Stage::Offered { callee, .. } = request.stage {
            self.by_callee.remove(&callee);
        }
        if let Some(deadline) = request.deadline() {
            self.deadlines.remove(&(deadline, id));
        }
        Some(request)
    }

    /// The request of a caller.
    pub(super) fn of_caller(&self, caller: Side) -> Option<RequestId> {
        self.by_caller.get(&caller).copied()
    }

    /// The request that a listener has to answer.
    pub(super) fn of_callee(&self, callee: Side) -> Option<RequestId> {
        self.by_callee.get(&callee).copied()
    }

    /// Requests that a link made, so many at most, oldest number first.
    pub(super) fn made_by(&self, link: LinkId, most: usize) -> Vec<RequestId> {
        self.by_caller.range(Side::all_of(link)).take(most).map(|(_, &id)| id).collect()
    }

    /// Requests that a link has to answer, so many at most.
    pub(super) fn offered_to(&self, link: LinkId, most: usize) -> Vec<RequestId> {
        self.by_callee.range(Side::all_of(link)).take(most).map(|(_, &id)| id).collect()
    }

    /// How many requests of a link are parked, or were and have another turn, as far as its peer may know.
    pub(super) fn parked_by(&self, link: LinkId) -> usize {
        self.parked.get(&link).copied().unwrap_or(0)
    }

    /// A request.
    pub(super) fn get(&self, id: RequestId) -> Option<&Request> {
        self.all.get(&id).map(|kept| &kept.request)
    }

    /// Some of the requests that wait for somebody who listens to a name, behind a place: callers in turn.
    pub(super) fn waiting_for(&mut self, of: (PeerId, &Name), after: Option<Mark>, most: usize) -> Vec<Mark> {
        self.waiting.some_behind(of, after, most)
    }

    /// The last of those.
    pub(super) fn last_waiting(&self, to: PeerId, name: &Name) -> Option<Mark> {
        self.waiting.last(to, name)
    }

    /// The link whose request is the first of those.
    pub(super) fn first_waiting_caller(&self, to: PeerId, name: &Name) -> Option<LinkId> {
        let first = self.waiting.first(to, name)?;
        self.get(first.id).map(|request| request.caller.link)
    }

    /// The next deadline of any.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// One request whose deadline has passed.
    pub(super) fn overdue(&self, now: Instant) -> Option<RequestId> {
        self.deadlines.first().filter(|(at, _)| *at <= now).map(|&(_, id)| id)
    }
}
