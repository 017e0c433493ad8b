//! The sessions of a node, from the moment they are asked for until nobody needs them any more.
//!
//! Whatever may change what a session needs goes through [`Sessions`], which marks it as touched. [`Sessions::next_action`]
//! then says what is to be done for it, so that the cost of an event is that of the sessions it concerns.

use super::circuits::CircuitId;
use super::entry::{Action, Entry, Heard, Joining, LaneCircuit, Lent, LinkState, Loss, LostCircuit, Phase};
use super::event::Event;
use super::handshakes::Met;
use super::key::Key;
use super::places::{Place, Places};
use super::serving::Serving;
use super::timers::Timers;
use super::tombstones::Tombstones;
use crate::identity::PeerId;
use crate::names::AppName;
use crate::noise::Suite;
use crate::session::{Budget, Config, Role, Session, Times};
use crate::wire::CloseCode;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Instant;

/// Sessions a process holds at once, those under way included.
pub(super) const SESSIONS_MAX: usize = 1024;
/// Those of them that callers asked for, those under way included: a relay lets others open seven eighths of 1024 circuits to us,
/// and who comes then must find one.
const ANSWERED_MAX: usize = 768;
/// Those of one peer of which the tool does not know yet.
const ENTERING_MAX: usize = 64;

/// A session by its end of the first handshake, and the circuit that carries its first lane.
pub(super) struct Beginning {
    pub role: Role,
    pub met: Met,
    pub circuit: CircuitId,
}

#[cfg(test)]
thread_local! {
    /// How many sessions were looked at.
    pub(crate) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Those of callers that the tool has no room for.
#[derive(Default)]
struct Waiting {
    keys: BTreeSet<Key>,
    /// There may be room for one of them: a place was given back since it was looked for.
    has_news: bool,
}

/// All of them.
pub(super) struct Sessions {
    times: Times,
    /// What all of them may hold together.
    budget: Budget,
    entries: BTreeMap<Key, Entry>,
    next_key: u64,
    /// Those that callers asked for, those under way included.
    answered: Places,
    /// Of those the ones of which the tool does not know yet.
    entering: Places,
    /// Those of callers that the tool has.
    callers: Places,
    waiting: Waiting,
    tombstones: Tombstones,
    touched: BinaryHeap<Reverse<Key>>,
    /// Those that end when all output is written.
    parting: BTreeSet<Key>,
    timers: Timers,
}

impl Sessions {
    pub(super) fn new(times: Times) -> Sessions {
        Sessions {
            times,
            budget: Budget::default(),
            entries: BTreeMap::new(),
            next_key: 0,
            answered: Places::default(),
            entering: Places::default(),
            callers: Places::default(),
            waiting: Waiting::default(),
            tombstones: Tombstones::default(),
            touched: BinaryHeap::new(),
            parting: BTreeSet::new(),
            timers: Timers::default(),
        }
    }

    /// A session that is asked for.
    pub(super) fn call(&mut self, peer: PeerId, app: AppName) -> Key {
        self.insert(peer, app, Phase::Calling { circuit: None, not_before: None })
    }

    /// A session that a caller asks for, who says by then who it is.
    pub(super) fn answer(&mut self, peer: PeerId, app: AppName, until: Instant) -> Key {
        self.insert(peer, app, Phase::Answering { until })
    }

    fn insert(&mut self, peer: PeerId, app: AppName, phase: Phase) -> Key {
        let key = Key(self.next_key);
        self.next_key += 1;
        let entry = Entry::new(peer, app, phase);
        if entry.is_answered() {
            self.answered.take(peer);
        }
        if entry.is_entering() {
            self.entering.take(peer);
        }
        self.entries.insert(key, entry);
        self.touch(key);
        key
    }

    /// A session that came to be elsewhere.
    #[cfg(test)]
    pub(super) fn adopt(&mut self, session: Session) -> Key {
        let session = Box::new(session);
        let (peer, app) = (PeerId::from_bytes([0; 32]), "x".parse().expect("a name"));
        if session.role() == Role::Responder {
            self.callers.take(peer);
        }
        self.insert(peer, app, Phase::Up { session, circuit: None, rejoin_at: None, announced: true })
    }

    /// Forgets a session. Yields its name at the relay, if it is a caller's.
    pub(super) fn remove(&mut self, now: Instant, key: Key) -> Option<[u8; 16]> {
        let mut entry = self.entries.remove(&key)?;
        let takes = entry.takes();
        self.change_place(entry.peer, (takes, Place::None));
        if entry.is_answered() {
            self.answered.give_back(entry.peer);
        }
        if entry.is_entering() {
            self.entering.give_back(entry.peer);
        }
        self.waiting.keys.remove(&key);
        self.parting.remove(&key);
        self.timers.set(key, &mut entry.timer, None);
        let name = entry.rendezvous();
        let rendezvous = entry.session()?.rendezvous();
        self.tombstones.put(now, rendezvous);
        name
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is a place for another one that this peer asks for. Those that have yet to come in have a circuit each:
    /// whoever lost the path of one calls again, but not without end.
    pub(super) fn has_room_for(&self, peer: &PeerId, serving: &Serving) -> bool {
        let ours = self.entries.len() - self.answered.total();
        // Each has a name at the relay.
        let most = ANSWERED_MAX.min(SESSIONS_MAX.saturating_sub(ours)).min(serving.names_left());
        self.callers.has_room_for(peer, serving.callers_max())
            && self.entering.of(peer) < ENTERING_MAX
            && self.answered.has_room_for(peer, most)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.entries.contains_key(&key)
    }

    /// All of them, in order.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.entries.keys().copied().collect()
    }

    /// Those of callers that the tool has.
    pub(super) fn callers(&self) -> &Places {
        &self.callers
    }

    #[cfg(test)]
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn peer(&self, key: Key) -> Option<PeerId> {
        self.entries.get(&key).map(|entry| entry.peer)
    }

    /// Whom a session was asked for, or who asked, and the application.
    pub(super) fn called(&self, key: Key) -> Option<(PeerId, &AppName)> {
        self.entries.get(&key).map(|entry| (entry.peer, &entry.app))
    }

    /// Whether we have called this peer.
    pub(super) fn is_called(&self, peer: &PeerId) -> bool {
        self.entries.values().any(|entry| entry.peer == *peer && !entry.is_answered())
    }

    /// Whether it was asked for and is not up.
    pub(super) fn is_calling(&self, key: Key) -> bool {
        self.entries.get(&key).is_some_and(|entry| matches!(entry.phase, Phase::Calling { .. }))
    }

    /// Whether there are any that callers asked for.
    pub(super) fn are_answered(&self) -> bool {
        self.answered.total() > 0
    }

    /// Whether any that we asked for is up.
    pub(super) fn are_reached(&self) -> bool {
        self.entries.values().any(|entry| entry.is_announced() && !entry.is_answered())
    }

    /// Whether its caller has yet to say who it is.
    pub(super) fn is_half_open(&self, key: Key) -> bool {
        self.entries.get(&key).is_some_and(|entry| matches!(entry.phase, Phase::Answering { .. }))
    }

    /// Whether the tool knows of it.
    pub(super) fn is_announced(&self, key: Key) -> bool {
        self.entries.get(&key).is_some_and(Entry::is_announced)
    }

    /// The name of a caller's session at the relay, and that of none else.
    pub(super) fn rendezvous(&self, key: Key) -> Option<[u8; 16]> {
        self.entries.get(&key)?.rendezvous()
    }

    /// The names of all that are callers', in order of the sessions.
    pub(super) fn callers_names(&self) -> impl Iterator<Item = [u8; 16]> {
        self.entries.values().filter_map(Entry::rendezvous)
    }

    /// The session of this name.
    pub(super) fn named(&self, rendezvous: [u8; 16]) -> Option<Key> {
        let is_named = |entry: &Entry| match &entry.phase {
            Phase::Up { session, .. } => session.rendezvous() == rendezvous,
            Phase::Calling { .. } | Phase::Answering { .. } => false,
        };
        self.entries.iter().find(|(_, entry)| is_named(entry)).map(|(key, _)| *key)
    }

    /// Whether the session of this name came to its end a short time ago.
    pub(super) fn has_ended(&self, rendezvous: [u8; 16]) -> bool {
        self.tombstones.has(rendezvous)
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&key)?;
        if !std::mem::replace(&mut entry.touched, true) {
            self.touched.push(Reverse(key));
        }
        (entry.lent, entry.woken) = (None, true);
        Some(entry)
    }

    /// The session, to be seen to if it has changed when it comes back.
    fn lend(&mut self, key: Key, lent: Lent) -> Option<&mut Session> {
        let entry = self.entries.get_mut(&key)?;
        if !std::mem::replace(&mut entry.touched, true) {
            self.touched.push(Reverse(key));
            entry.lent = Some(lent);
        }
        if lent == Lent::ForWork && entry.lent.is_some() {
            entry.lent = Some(lent);
        }
        entry.session()
    }

    fn touch(&mut self, key: Key) {
        let _ = self.get_mut(key);
    }

    /// What is true of all of them may have changed.
    pub(super) fn touch_all(&mut self) {
        for key in self.keys() {
            self.touch(key);
        }
    }

    /// All output is written: those that waited for it can end.
    pub(super) fn handle_drained(&mut self) {
        while let Some(key) = self.parting.pop_first() {
            self.touch(key);
        }
    }

    /// The session, once it is up.
    pub(super) fn session(&mut self, key: Key) -> Option<&mut Session> {
        self.lend(key, Lent::ForWork)
    }

    /// The same, to take its output. That gives it nothing more to send.
    pub(super) fn session_for_output(&mut self, key: Key) -> Option<&mut Session> {
        self.lend(key, Lent::ForOutput)
    }

    /// All that are up.
    pub(super) fn for_each(&mut self, what: impl FnMut(&mut Session)) {
        self.touch_all();
        self.entries.values_mut().filter_map(Entry::session).for_each(what);
    }

    /// Those of callers of an application that the tool does not know of.
    pub(super) fn unannounced(&self, app: &AppName) -> Vec<Key> {
        let is_meant = |entry: &Entry| entry.app == *app && entry.is_answered() && !entry.is_announced();
        self.entries.iter().filter(|(_, entry)| is_meant(entry)).map(|(key, _)| *key).collect()
    }

    /// Ends one that the tool does not know of, in a way that lets the caller call again. The tool never hears of it.
    pub(super) fn send_away(&mut self, key: Key) {
        self.waiting.keys.remove(&key);
        if let Some(session) = self.session(key) {
            session.close(CloseCode::GoingAway);
        }
        self.release(key);
    }

    /// The tool is done with it.
    pub(super) fn release(&mut self, key: Key) {
        if let Some(entry) = self.get_mut(key) {
            entry.released = true;
        }
    }

    /// It takes this of the places of callers from now on.
    pub(super) fn set_place(&mut self, key: Key, place: Place) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let was = entry.takes();
        entry.place = place;
        let (peer, is) = (entry.peer, entry.takes());
        self.change_place(peer, (was, is));
    }

    fn change_place(&mut self, peer: PeerId, (was, is): (Place, Place)) {
        self.callers.change(peer, (was, is));
        self.waiting.has_news |= was != is;
    }

    /// It is called or joined over this circuit, or over none.
    pub(super) fn set_circuit(&mut self, key: Key, to: Option<CircuitId>) {
        let phase = self.get_mut(key).map(|entry| &mut entry.phase);
        if let Some(Phase::Calling { circuit, .. } | Phase::Up { circuit, .. }) = phase {
            *circuit = to;
        }
    }

    /// The call stands, but not at the speed of the network.
    pub(super) fn call_again(&mut self, now: Instant, key: Key) {
        self.forget_caller(key);
        if let Some(entry) = self.get_mut(key) {
            entry.call_again(now);
        }
    }

    /// The call or the next lane stands, but not before that.
    pub(super) fn postpone(&mut self, key: Key, until: Instant) {
        if let Some(entry) = self.get_mut(key) {
            entry.postpone(until);
        }
    }

    fn forget_caller(&mut self, key: Key) {
        if let Some((peer, takes)) = self.entries.get(&key).map(|entry| (entry.peer, entry.takes())) {
            self.change_place(peer, (takes, Place::None));
        }
        self.waiting.keys.remove(&key);
    }

    /// The handshake is done. Yields the session's name at the relay, if it is a caller's.
    pub(super) fn bring_up(&mut self, now: Instant, key: Key, beginning: Beginning) -> Option<[u8; 16]> {
        self.forget_caller(key);
        let (times, budget) = (self.times, self.budget.clone());
        let entry = self.get_mut(key)?;
        let Beginning { role, met: Met { established, features }, circuit } = beginning;
        let (export, keys) = (&established.export, (established.sealer, established.opener));
        let session = Session::new(now, Config { role, export, keys, features, times }).within(&budget);
        let session = Box::new(session);
        let meant = std::mem::replace(&mut entry.peer, established.peer);
        entry.phase = Phase::Up { session, circuit: Some(circuit), rejoin_at: None, announced: false };
        let (name, is_answered) = (entry.rendezvous(), entry.is_answered());
        // Who asked was the relay's word; who it is is proven.
        if is_answered {
            self.answered.give_back(meant);
            self.answered.take(established.peer);
            self.entering.give_back(meant);
            self.entering.take(established.peer);
        }
        name
    }

    /// Begins a further lane.
    pub(super) fn start_join(&mut self, now: Instant, key: Key, suite: Suite) -> Option<Joining> {
        self.get_mut(key)?.start_join(now, suite)
    }

    /// The next further lane is not begun before the pause between two tries is over.
    pub(super) fn postpone_join(&mut self, now: Instant, key: Key) {
        if let Some(entry) = self.get_mut(key) {
            entry.postpone_join(now);
        }
    }

    /// Takes bytes of a lane.
    pub(super) fn handle_bytes(&mut self, now: Instant, from: LaneCircuit, bytes: &[u8]) -> Heard {
        self.get_mut(from.key).map_or_else(Heard::default, |entry| entry.handle_bytes(now, from, bytes))
    }

    /// A circuit of a session is gone.
    pub(super) fn handle_lost(&mut self, now: Instant, lost: LostCircuit) -> Loss {
        self.get_mut(lost.key).map_or(Loss::None, |entry| entry.handle_lost(now, lost))
    }

    /// Tells the tool of a session that both ends know of. With no room for another caller of so many it waits.
    pub(super) fn announce(&mut self, key: Key, callers_max: usize) -> Option<Event> {
        let entry = self.entries.get_mut(&key)?;
        let Phase::Up { session, announced, .. } = &mut entry.phase else { return None };
        if *announced || entry.released || !session.is_heard() {
            return None;
        }
        let is_caller = session.role() == Role::Responder;
        if is_caller && !self.callers.has_room_for(&entry.peer, callers_max) {
            self.waiting.keys.insert(key);
            return None;
        }
        *announced = true;
        if is_caller {
            self.callers.take(entry.peer);
            self.entering.give_back(entry.peer);
        }
        self.waiting.keys.remove(&key);
        Some(Event::Up { key, peer: entry.peer, app: entry.app.clone() })
    }

    /// One of those of callers that wait for room, to be announced: of the peer that has fewest, the first.
    pub(super) fn take_waiting(&mut self, callers_max: usize) -> Option<Key> {
        // Whoever came since was told then if there was room.
        if !self.waiting.has_news {
            return None;
        }
        let peers = self.waiting.keys.iter().filter_map(|key| Some((*key, self.entries.get(key)?.peer)));
        let may = peers.filter(|(_, peer)| self.callers.has_room_for(peer, callers_max));
        let next = may.min_by_key(|(key, peer)| (self.callers.of(peer), *key)).map(|(key, _)| key);
        self.waiting.has_news = next.is_some_and(|key| self.waiting.keys.remove(&key));
        next
    }

    /// The next instant at which [`Sessions::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self, link: LinkState) -> Option<Instant> {
        let entry = |key: &Key| self.entries.get(key);
        let touched = self.touched.iter().filter_map(|Reverse(key)| entry(key)?.next_timeout(link));
        let first = self.timers.first(|key| entry(&key).is_some_and(|entry| !entry.touched));
        touched.chain(first).min()
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.tombstones.handle_timeout(now);
        let due: Vec<Key> = self.timers.due(now).collect();
        due.into_iter().for_each(|key| self.touch(key));
    }

    /// A session for which something may have to be done.
    pub(super) fn next_touched(&mut self) -> Option<Key> {
        while let Some(Reverse(key)) = self.touched.pop() {
            let entry = self.entries.get_mut(&key).filter(|entry| entry.is_unchanged());
            let Some(entry) = entry else { return Some(key) };
            debug_assert!(entry.session_timeout().is_none_or(|at| entry.timer.is_by(at)), "it has changed unnoticed");
            entry.see_to();
        }
        None
    }

    /// What is to be done first for a session that was touched; then ask again.
    pub(super) fn next_action(&mut self, now: Instant, key: Key, link: LinkState) -> Action {
        let Some(entry) = self.entries.get_mut(&key) else { return Action::Rest { wake: false, next_timeout: None } };
        #[cfg(test)]
        LOOKED_AT.set(LOOKED_AT.get() + 1);
        let action = entry.next_action(now, link);
        if let Action::Rest { next_timeout, .. } = action {
            self.timers.set(key, &mut entry.timer, next_timeout);
            if entry.is_over() {
                self.parting.insert(key);
            }
        }
        action
    }
}

#[cfg(test)]
#[path = "tests/sessions.rs"]
mod tests;
