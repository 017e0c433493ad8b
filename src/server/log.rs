//! The relay's log: what is told of whom, and how often.

use super::quota::{LeftOut, Quota};
use super::refusals::Refusals;
use super::{Status, Trouble};
use crate::identity::PeerId;
use crate::names::Conflict;
use crate::relay::{ConnId, Fact, Notice};
use crate::wire::CloseCode;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Something for the log. Peers choose nothing in it freely: the names of applications are short words of few letters.
#[derive(Debug)]
pub enum LogLine<'a> {
    /// Something does not work, and the relay goes on.
    Trouble(Trouble),
    /// The answer to SIGUSR1.
    Status(Status),
    /// A detail: what happened to a connection that is no link of an admitted client.
    Connection(ConnId, Notice),
    /// A detail: what happened to a link or a circuit.
    Fact(&'a Fact),
    /// Details that were not told, for there were too many.
    LeftOut(LeftOut),
    /// A peer was turned away, so often since the last line about it.
    TurnedAway {
        /// Who, proven.
        peer: PeerId,
        /// Why.
        code: CloseCode,
        /// How often.
        times: u64,
    },
    /// Lines of the allow file say different things of one name, which is nobody's until one of them goes.
    Conflict(&'a Path, &'a Conflict),
    /// The allow file names nobody.
    Nobody(&'a Path),
}

/// Where log lines go.
pub type Log = Box<dyn Fn(LogLine<'_>) + Send + Sync>;

/// See the module.
pub struct RelayLog {
    write: Log,
    details: bool,
    refusals: Mutex<Refusals>,
    quota: Mutex<Quota>,
}

impl RelayLog {
    /// A log that is written by `write`, with details or without.
    pub fn new(write: Log, details: bool) -> RelayLog {
        RelayLog { write, details, refusals: Mutex::default(), quota: Mutex::default() }
    }

    /// Where it is written to.
    pub fn writer(&self) -> &Log {
        &self.write
    }

    /// Writes a line.
    pub fn line(&self, line: LogLine<'_>) {
        (self.write)(line);
    }

    /// Something happened to a connection that is no link of an admitted client.
    pub fn notice(&self, now: Instant, conn: ConnId, notice: Notice) {
        if let Notice::TurnedAway(peer, code) = notice {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(times) = refusals.take(now, peer, code) {
                self.line(LogLine::TurnedAway { peer, code, times });
            }
        }
        if self.details {
            self.line(LogLine::Connection(conn, notice));
        }
    }

    /// Something happened to a link or a circuit.
    pub fn fact(&self, now: Instant, fact: &Fact) {
        if !self.details {
            return;
        }
        let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        quota.begin_period(now).into_iter().for_each(|left_out| self.line(LogLine::LeftOut(left_out)));
        if quota.spend(fact.peer()) {
            self.line(LogLine::Fact(fact));
        }
    }
}
