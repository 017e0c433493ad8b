//! One who has called: waiting to be joined, joined, or leaving a program behind that was told to end.

use crate::identity::PeerId;
use crate::net::child::Child;
use crate::node::{Key, Reach};
use crate::run::farewell::GREETING_TIME;
use crate::run::turns::{GIVES_WAY_AFTER, Standing, Waits};
use std::time::{Duration, Instant};

/// A program that was told to end is about to, for so long.
const ENDING_TIME: Duration = Duration::from_secs(10);

/// The other end of a session.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    /// Its number among all that came, in order.
    pub slot: usize,
    /// The session.
    pub key: Key,
    /// Who it is.
    pub peer: PeerId,
    called_at: Instant,
    /// Whether it has a path, or since when it has none.
    pub reach: Reach,
}

impl Caller {
    /// One whose session has just come up.
    pub(super) fn new(now: Instant, slot: usize, key: Key, peer: PeerId) -> Caller {
        Caller { slot, key, peer, called_at: now, reach: Reach::default() }
    }

    /// What counts of it when others wait for its place.
    pub(super) fn standing(&self, works: bool, waits: Waits) -> Standing {
        let Caller { peer, called_at, reach, .. } = *self;
        Standing { peer, called_at, reach, still_since: None, works, waits }
    }

    /// Whether its process is taken for gone.
    pub(super) fn is_given_up(&self, now: Instant) -> bool {
        self.reach.gone_at(GIVES_WAY_AFTER).is_some_and(|at| at <= now)
    }
}

/// A caller that has opened no stream yet.
pub(super) struct Waiting {
    /// Who it is.
    pub caller: Caller,
    /// Until when it should.
    pub greet_by: Instant,
}

impl Waiting {
    /// One that has just come.
    pub(super) fn new(caller: Caller) -> Waiting {
        Waiting { caller, greet_by: caller.called_at + GREETING_TIME }
    }
}

/// A program that was told to end.
pub(super) struct Orphan {
    /// Whose it was.
    pub peer: PeerId,
    /// It.
    pub child: Child,
    /// Until when it is taken to be about to end, if it is.
    pub ends_by: Option<Instant>,
}

impl Orphan {
    /// One that has just been told.
    pub(super) fn new(now: Instant, peer: PeerId, child: Child) -> Orphan {
        Orphan { peer, child, ends_by: Some(now + ENDING_TIME) }
    }
}
