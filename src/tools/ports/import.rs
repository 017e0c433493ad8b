//! One port of the other network that is listened on here, and how it stands.

use crate::identity::PeerId;
use crate::net::listen::Listener;
use crate::net::slots::Slot;
use crate::net::socket_file::Access;
use crate::net::tcp::Place;
use crate::ports::service::Service;
use std::time::{Duration, Instant};

/// How long accepting stops after an error: most are shortages, which a busy loop would only worsen.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One port to listen on, and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Where.
    pub at: Place,
    /// For whom, if it is a socket file.
    pub access: Access,
    /// Whose export.
    pub peer: PeerId,
    /// Which.
    pub service: Service,
    /// What applications speak there.
    pub speaks: Speaks,
    /// It has the port of the import before it, if the kernel chose that: both are `localhost`.
    pub twin: bool,
}

/// What applications speak to a port that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// To the target, as if it were here.
    Plain,
    /// SOCKS, to name a target.
    Socks,
}

/// Whether the far side serves an import, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known, or not any more: to be probed from then on.
    Unknown(Instant),
    /// A probe is under way.
    Probed,
    /// It worked when it was last probed; to be probed again then.
    Works(Instant),
}

impl Health {
    /// When it is to be probed, unless it is being probed.
    pub fn probe_at(self) -> Option<Instant> {
        match self {
            Health::Unknown(at) | Health::Works(at) => Some(at),
            Health::Probed => None,
        }
    }
}

/// An import at work.
pub struct Active {
    /// What it is.
    pub import: Import,
    /// Its listener from before the loop began.
    pub bound: Option<Listener>,
    /// Its listener in the table of sockets, while it has one.
    pub slot: Option<Slot>,
    /// Whether the far side serves it.
    pub health: Health,
    /// Connections may wait.
    ready: bool,
    paused_until: Option<Instant>,
}

impl Active {
    /// That takes no connections yet.
    pub fn new(now: Instant, import: Import, bound: Option<Listener>) -> Active {
        Active { import, bound, slot: None, health: Health::Unknown(now), ready: false, paused_until: None }
    }

    /// Connections may wait.
    pub fn handle_ready(&mut self) {
        self.ready = true;
    }

    /// No connection waits any more.
    pub fn handle_drained(&mut self) {
        self.ready = false;
    }

    /// A connection could not be accepted. True if that is to be told of, once a shortage: the first pause has no pause
    /// before it.
    pub fn handle_shortage(&mut self, now: Instant) -> bool {
        let is_first = self.paused_until.is_none_or(|until| until + ACCEPT_PAUSE < now);
        self.paused_until = Some(now + ACCEPT_PAUSE);
        is_first
    }

    /// Whether connections may wait.
    pub fn has_waiting(&self) -> bool {
        self.ready && self.slot.is_some()
    }

    /// Whether to accept now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.ready && self.paused_until.is_none_or(|until| until <= now)
    }

    /// When to accept again without an event.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.has_waiting())
    }
}
