//! What all threads of a relay see.

use super::allow::AllowList;
use super::carriers::Carriers;
use super::certificate::Shown;
use super::life::{Life, Stage};
use super::log::RelayLog;
use super::mail::Inbox;
use super::status::Status;
use crate::names::Fronts;
use crate::relay::{Budget, Common};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What all threads of a relay see.
pub(super) struct Shared {
    /// Where each worker finds what others sent.
    pub inboxes: Arc<[Inbox]>,
    /// The router, and the connections that are not authenticated.
    pub common: Arc<Common>,
    /// Where links are that requests make up.
    pub carriers: Arc<Carriers>,
    /// The memory for bodies.
    pub budget: Arc<Budget>,
    /// Who may attach.
    pub allow: AllowList,
    /// What stands in front.
    pub fronts: Arc<Fronts>,
    /// What is shown to whoever speaks TLS.
    pub certificate: Shown,
    /// Bytes of circuits that each worker has read.
    pub forwarded: Vec<AtomicU64>,
    /// The log.
    pub log: RelayLog,
    /// Whether it serves, drains, or has ended.
    pub life: Life,
}

impl Shared {
    /// Begins to end.
    pub(super) fn drain(&self, now: Instant) {
        self.advance(now, Stage::Draining);
    }

    /// Ends at once.
    pub(super) fn end(&self) {
        self.advance(Instant::now(), Stage::Ended);
    }

    /// A worker has what another sent it, or has begun to drain: see [`Life::handle_come`].
    pub(super) fn handle_come(&self) {
        if self.life.handle_come() {
            // Those that had nothing else left wait for that.
            self.wake_all();
        }
    }

    fn advance(&self, now: Instant, stage: Stage) {
        self.life.advance(now, stage);
        self.certificate.renewal.end();
        self.wake_all();
    }

    fn wake_all(&self) {
        for inbox in self.inboxes.iter() {
            // It fails if that worker has ended.
            let _ = inbox.wake();
        }
    }

    /// Its state in numbers.
    pub(super) fn status(&self) -> Status {
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
