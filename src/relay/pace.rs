//! Whether a link may be read or granted more now: the rate of its peer, and the circuits whose credit that holds back.

use super::rate::Metered;
use std::collections::VecDeque;
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
    held_back: VecDeque<u32>,
}

impl Pace {
    /// Another rate from now on. Circuits that are held back stay so until that allows more.
    pub(super) fn set_rate(&mut self, metered: Metered) {
        self.metered = metered;
    }

    /// Counts bytes that came in.
    pub(super) fn receive(&mut self, now: Instant, bytes: usize) {
        self.metered.receive(now, bytes);
    }

    /// So many of those were asked for by others, or come with that.
    pub(super) fn note_bidden(&mut self, bytes: usize) {
        self.metered.note_bidden(bytes);
    }

    /// Whether there is a bound.
    pub(super) fn is_bounded(&self) -> bool {
        self.metered.is_bounded()
    }

    /// Whether more may be granted.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.metered.allows(now)
    }

    /// The credit of this circuit has to wait.
    pub(super) fn hold_back(&mut self, circuit: u32) {
        self.held_back.push_back(circuit);
    }

    /// Takes a circuit that was held back, if more may be granted by now.
    pub(super) fn poll_allowed(&mut self, now: Instant) -> Option<u32> {
        if self.held_back.is_empty() || !self.allows(now) { None } else { self.held_back.pop_front() }
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
        if self.held_back.is_empty() { None } else { self.metered.allows_from() }
    }
}
