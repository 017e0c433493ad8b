//! Whether a link may be read or granted more now: the rate of its peer, and the circuits whose credit that holds back.

use super::rate::Metered;
use super::replies::Replies;
use super::sharing::Party;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Whether a connection may be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayRead {
    /// Yes.
    Now,
    /// From then on: it is over its rate.
    From(Instant),
    /// Not now; later, without further notice.
    Later,
    /// Never again.
    Never,
}

impl MayRead {
    /// Whether it may be read at this time.
    pub(crate) fn is_now(self, now: Instant) -> bool {
        match self {
            MayRead::Now => true,
            MayRead::From(at) => at <= now,
            MayRead::Later | MayRead::Never => false,
        }
    }
}

/// See the module. The default has no bound.
#[derive(Debug, Default)]
pub(super) struct Pace {
    metered: Metered,
    /// Circuits whose credit has to wait, by whose part of the rate they are.
    held_back: BTreeMap<Party, VecDeque<u32>>,
    /// When to look at them. None: at any time.
    look_at: Option<Instant>,
    replies: Replies,
}

impl Pace {
    /// Another rate from now on. Circuits that are held back stay so until that allows more.
    pub(super) fn set_rate(&mut self, metered: Metered) {
        self.metered = metered;
        self.look_at = None;
    }

    /// Counts bytes that came in.
    pub(super) fn receive(&mut self, now: Instant, bytes: usize) {
        self.metered.receive(now, bytes);
    }

    /// So many of those somebody has it send, or come with that.
    pub(super) fn note_bidden(&mut self, with: Party, bytes: usize) {
        self.metered.note_bidden(with, bytes);
    }

    /// So many that an ended circuit was to bring have come.
    pub(super) fn note_late(&self, with: Party, bytes: usize) {
        self.metered.note_late(with, bytes);
    }

    /// The link is brought a call, with so many early bytes.
    pub(super) fn handle_call(&mut self, early_bytes: usize) {
        self.replies.handle_call(early_bytes);
    }

    /// So many of those that came in were replies to calls. How many of them are for the link to pay for all the same.
    pub(super) fn note_reply(&mut self, bytes: usize) -> usize {
        let free = self.replies.take(bytes);
        self.metered.note_free(free);
        bytes - free
    }

    /// Whether there is a bound.
    pub(super) fn is_bounded(&self) -> bool {
        self.metered.is_bounded()
    }

    /// Whether more may be granted that somebody has it send.
    pub(super) fn allows(&self, now: Instant, with: Party) -> bool {
        self.metered.allows(now, with)
    }

    /// The credit of this circuit has to wait.
    pub(super) fn hold_back(&mut self, with: Party, circuit: u32) {
        self.held_back.entry(with).or_default().push_back(circuit);
        self.look_at = None;
    }

    /// Takes a circuit that was held back, if more may be granted for it by now.
    pub(super) fn poll_allowed(&mut self, now: Instant) -> Option<u32> {
        if self.held_back.is_empty() || self.look_at.is_some_and(|at| now < at) {
            return None;
        }
        let first = self.metered.first_of(self.held_back.keys().copied())?;
        if !self.allows(now, first) {
            self.look_at = self.metered.allows_from(first);
            return None;
        }
        let Entry::Occupied(mut circuits) = self.held_back.entry(first) else { return None };
        let circuit = circuits.get_mut().pop_front();
        circuits.get().is_empty().then(|| circuits.remove());
        circuit
    }

    /// From when on what the link brings may be used. None: at any time.
    pub(super) fn reads_from(&self) -> Option<Instant> {
        self.metered.reads_from()
    }

    /// How much may be read at once, bytes.
    pub(super) fn read_most(&self) -> usize {
        self.metered.read_most()
    }

    /// When more may be granted, if that is waited for.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if self.held_back.is_empty() { None } else { self.look_at }
    }
}
