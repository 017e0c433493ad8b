//! Who has called, and whose turn it is: there are places for so many commands, and whoever has none waits for one.

use super::caller::{Caller, Orphan, Waiting};
use super::running::Running;
use crate::identity::PeerId;
use crate::net::reactor::Registry;
use crate::node::{Key, Node, Places, Reach};
use crate::run::farewell::{GREETING_TIME, is_silent};
use crate::run::turns::{self, Going, Standing, To, Waits};
use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

/// A session idles here as long as it likes; one without a path gives way to whoever waits.
const TO: To = To::Anybody { patience: None };

/// See the module's text.
pub(super) struct Callers {
    /// Places at once, where callers wait for one.
    places_max: Option<usize>,
    /// Callers that have opened no stream yet.
    waiting: Vec<Waiting>,
    running: BTreeMap<usize, Running>,
    /// Programs that were told to end.
    orphans: BTreeMap<usize, Orphan>,
    next_slot: usize,
}

impl Callers {
    /// Nobody yet.
    pub(super) fn new(places_max: Option<usize>) -> Callers {
        Callers { places_max, waiting: Vec::new(), running: BTreeMap::new(), orphans: BTreeMap::new(), next_slot: 0 }
    }

    /// One whose session has just come up.
    pub(super) fn number(&mut self, now: Instant, key: Key, peer: PeerId) -> Caller {
        let slot = self.next_slot;
        self.next_slot += 1;
        Caller::new(now, slot, key, peer)
    }

    /// It has to open a stream.
    pub(super) fn wait(&mut self, caller: Caller) {
        self.waiting.push(Waiting::new(caller));
    }

    /// The caller with this session that waits, who does so no longer.
    pub(super) fn take_waiting(&mut self, key: Key) -> Option<Caller> {
        let place = self.waiting.iter().position(|waiting| waiting.caller.key == key)?;
        Some(self.waiting.swap_remove(place).caller)
    }

    /// All who wait, who do so no longer.
    pub(super) fn take_all_waiting(&mut self) -> Vec<Caller> {
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.caller).collect()
    }

    /// Those who wait, in the order in which they came.
    pub(super) fn in_order(&self) -> Vec<Caller> {
        let mut callers: Vec<Caller> = self.waiting.iter().map(|waiting| waiting.caller).collect();
        callers.sort_by_key(|caller| caller.slot);
        callers
    }

    /// One more that is joined.
    pub(super) fn join(&mut self, running: Running) {
        self.running.insert(running.caller.slot, running);
    }

    /// The one with this number, if it is joined.
    pub(super) fn joined(&mut self, slot: usize) -> Option<&mut Running> {
        self.running.get_mut(&slot)
    }

    /// All that are joined, by number and session.
    pub(super) fn all_joined(&self) -> Vec<(usize, Key)> {
        self.running.iter().map(|(slot, running)| (*slot, running.joint.key)).collect()
    }

    /// The one with this session, if it is joined.
    pub(super) fn of(&mut self, key: Key) -> Option<&mut Running> {
        self.running.values_mut().find(|running| running.joint.key == key)
    }

    /// The sessions of all.
    pub(super) fn keys(&self) -> Vec<Key> {
        let waiting = self.waiting.iter().map(|waiting| waiting.caller.key);
        waiting.chain(self.running.values().map(|running| running.joint.key)).collect()
    }

    /// Whether nobody is here.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// The session lost its path, or has one again.
    pub(super) fn handle_path(&mut self, key: Key, reach: Reach) {
        let running = self.running.values_mut().map(|running| &mut running.caller);
        let mut callers = running.chain(self.waiting.iter_mut().map(|waiting| &mut waiting.caller));
        if let Some(caller) = callers.find(|caller| caller.key == key) {
            caller.reach = reach;
        }
    }

    /// Who has a place: whoever is joined to a command, and whose command has yet to take notice of its end.
    pub(super) fn places(&self) -> Places {
        let mut places = Places::default();
        let running = self.running.values().map(|running| running.caller.peer);
        running.chain(self.orphans.values().map(|orphan| orphan.peer)).for_each(|peer| places.take(peer));
        places
    }

    /// Whether a caller waits for a place while these are taken.
    pub(super) fn waits(&self, places: &Places, caller: &Caller) -> Waits {
        self.places_max.map_or(Waits::Not, |most| Waits::of(&caller.peer, places, most))
    }

    /// The session that gives way because others wait for a place. A program that takes no notice of what it was told makes room
    /// for nobody.
    fn next_to_go(&self) -> Option<Going> {
        if !self.waiting.iter().any(|waiting| waiting.caller.reach.has_path()) {
            return None;
        }
        let places = self.places();
        let waiting = self.waiting.iter().map(|waiting| waiting.caller);
        let waiting = waiting.map(|caller| (caller.slot, caller.standing(false, self.waits(&places, &caller))));
        let running = self.running.values().map(|running| running.caller);
        let running = running.map(|caller| (caller.slot, caller.standing(true, Waits::Not)));
        let standings: Vec<(usize, Standing)> = waiting.chain(running).collect();
        let going = self.orphans.values().filter(|orphan| orphan.ends_by.is_some()).count();
        turns::next_to_go(&standings, TO, going)
    }

    /// The session that gives way now: whoever waits for a place need not wait for those who are gone for good.
    pub(super) fn poll_to_go(&mut self, now: Instant) -> Option<Key> {
        for orphan in self.orphans.values_mut() {
            orphan.ends_by.take_if(|at| *at <= now);
        }
        let going = self.next_to_go().filter(|going| going.at <= now)?;
        self.running.get(&going.slot).map(|running| running.joint.key)
    }

    /// A caller that has no place has all its time again to say something: it waits for us, not we for it.
    pub(super) fn greet_anew(&mut self, now: Instant, caller: &Caller) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.caller.slot == caller.slot) {
            waiting.greet_by = now + GREETING_TIME;
        }
    }

    /// Callers that have a path to us and say nothing.
    pub(super) fn silent(&mut self, now: Instant, node: &mut Node) -> Vec<Key> {
        let mut silent = Vec::new();
        for Waiting { caller, greet_by } in &mut self.waiting {
            let has_path = node.session(caller.key).is_some_and(|session| session.has_lane());
            if is_silent(greet_by, now, has_path) {
                silent.push(caller.key);
            }
        }
        silent
    }

    /// The program with this number has ended, or may have.
    ///
    /// # Errors
    /// Its status cannot be had.
    pub(super) fn reap(&mut self, now: Instant, slot: usize) -> io::Result<()> {
        if let Some(orphan) = self.orphans.get_mut(&slot) {
            if orphan.child.try_wait()?.is_some() {
                self.orphans.remove(&slot);
            }
            return Ok(());
        }
        self.joined(slot).map_or(Ok(()), |running| running.reap(now))
    }

    /// Whoever has this session is here no longer. A program of it stays until its end can be collected, or it would be a zombie
    /// for as long as we live.
    pub(super) fn remove(&mut self, now: Instant, registry: &Registry, key: Key) {
        self.waiting.retain(|waiting| waiting.caller.key != key);
        let slot = self.running.iter().find(|(_, running)| running.joint.key == key).map(|(slot, _)| *slot);
        let Some(running) = slot.and_then(|slot| self.running.remove(&slot)) else { return };
        let Caller { slot, peer, .. } = running.caller;
        if let Some(child) = running.take_apart(registry) {
            child.terminate();
            self.orphans.insert(slot, Orphan::new(now, peer, child));
        }
    }

    /// When one of these has something to do without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let held = self.running.values().filter_map(|running| running.held_until);
        let greeting = self.waiting.iter().map(|waiting| waiting.greet_by);
        let gives_way = self.next_to_go().map(|going| going.at);
        let ending = self.orphans.values().filter_map(|orphan| orphan.ends_by);
        held.chain(greeting).chain(gives_way).chain(ending).min()
    }
}
