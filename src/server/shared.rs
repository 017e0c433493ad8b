//! What all threads of a relay see.

use super::log::RelayLog;
use super::mail::Inbox;
use super::{Allow, desk};
use crate::relay::{Budget, Common, Limits};
use std::fmt;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How far a relay's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// It serves.
    Serving = 0,
    /// It tells its clients to go elsewhere.
    Draining = 1,
    /// It ends now.
    Ended = 2,
}

/// What all threads of a relay see.
pub struct Shared {
    pub inboxes: Arc<[Inbox]>,
    pub common: Arc<Common>,
    pub budget: Arc<Budget>,
    pub allow: Allow,
    pub reloads: desk::Reloads,
    pub limits: Limits,
    /// Bytes of circuits that each worker has read.
    pub forwarded: Vec<AtomicU64>,
    pub drain: Duration,
    pub log: RelayLog,
    pub stage: AtomicU8,
    pub deadline: OnceLock<Instant>,
    pub signal: AtomicI32,
}

/// A relay's state in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Connections.
    pub links: usize,
    /// Open circuits and requests for some.
    pub circuits: usize,
    /// Memory that holds bodies on their way, and is ready for the next ones.
    pub buffered_bytes: usize,
    /// Bytes of circuits that came in so far.
    pub forwarded_bytes: u64,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { links, circuits, buffered_bytes, forwarded_bytes } = self;
        write!(
            f,
            "links {links}, circuits {circuits}, memory for bodies {buffered_bytes}, bytes forwarded {forwarded_bytes}"
        )
    }
}

impl Shared {
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Draining,
            _ => Stage::Ended,
        }
    }

    /// When draining is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get().copied()
    }

    pub fn ended_by(&self, signal: i32) {
        self.signal.store(signal, Ordering::Release);
    }

    /// Begins to end.
    pub fn drain(&self, now: Instant) {
        self.deadline.get_or_init(|| now + self.drain);
        self.advance(Stage::Draining);
    }

    /// Ends at once.
    pub fn end(&self) {
        self.advance(Stage::Ended);
    }

    fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        for inbox in self.inboxes.iter() {
            // It fails if that worker has ended.
            let _ = inbox.wake();
        }
    }

    pub fn status(&self) -> Status {
        let load = self.common.load();
        let ends: usize = load.iter().map(|load| load.circuits).sum();
        Status {
            links: load.iter().map(|load| load.links).sum(),
            circuits: ends.div_ceil(2),
            buffered_bytes: self.budget.used_bytes(),
            forwarded_bytes: self.forwarded.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum(),
        }
    }
}

/// A hand on a running relay, for tests and for programs that embed one.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    /// Ends it as SIGTERM does; again: at once.
    pub fn stop(&self) {
        if self.0.stage() == Stage::Serving { self.0.drain(Instant::now()) } else { self.0.end() }
    }

    /// Reads the allow file again, as SIGHUP does.
    pub fn reload(&self) {
        desk::reload(&self.0);
    }

    /// Its state in numbers.
    pub fn status(&self) -> Status {
        self.0.status()
    }
}
