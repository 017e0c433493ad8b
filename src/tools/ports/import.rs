//! One port of the other network that is listened on here, and how it stands.

use super::import_failure::ImportFailure;
use super::streams::StreamKey;
use crate::identity::PeerId;
use crate::net::accept::Acceptor;
use crate::net::endpoint::Endpoint;
use crate::net::listen::Listener;
use crate::net::slots::Slot;
use crate::net::socket_file::Access;
use crate::ports::service::Service;
use std::time::Instant;

/// One port to listen on, and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// Where.
    pub at: Endpoint,
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
pub(crate) enum Speaks {
    /// To the target, as if it were here.
    Plain,
    /// SOCKS, to name a target.
    Socks,
}

/// Whether the far side serves an import, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Nothing is known, or not any more: to be probed from then on.
    Unknown(Instant),
    /// A probe is under way on this stream; whoever has not answered by then is probed again.
    Probed(StreamKey, Instant),
    /// It worked when it was last probed; to be probed again then.
    Works(Instant),
}

impl Health {
    /// When it is to be probed.
    pub(super) fn probe_at(self) -> Instant {
        match self {
            Health::Unknown(at) | Health::Works(at) | Health::Probed(_, at) => at,
        }
    }
}

/// An import at work.
pub(super) struct Active {
    /// What it is.
    pub import: Import,
    /// Its listener from before the loop began.
    pub bound: Option<Listener>,
    /// Where its connections come in, while they do.
    pub entry: Option<Entry>,
    /// Whether the far side serves it.
    pub health: Health,
    /// Why it did not work when that was last heard of; nothing if it works.
    pub why_not: Option<ImportFailure>,
}

/// A listener that takes connections.
pub(super) struct Entry {
    /// Its place in the table of sockets.
    pub slot: Slot,
    /// The listener.
    pub acceptor: Acceptor,
}

impl Active {
    /// That takes no connections yet.
    pub(super) fn new(now: Instant, import: Import, bound: Option<Listener>) -> Active {
        Active { import, bound, entry: None, health: Health::Unknown(now), why_not: None }
    }

    /// Connections may wait.
    pub(super) fn handle_ready(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.acceptor.handle_ready();
        }
    }

    /// Whether connections may wait.
    pub(super) fn has_waiting(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.acceptor.has_waiting())
    }

    /// When to accept again without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.entry.as_ref()?.acceptor.next_timeout()
    }
}
