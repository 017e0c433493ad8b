//! The relay's log: what is told of whom, and how often.

use super::Trouble;
use super::certificate_news::CertificateNews;
use super::quota::{LeftOut, Quota};
use super::refusals::Refusals;
use super::status::Status;
use crate::identity::PeerId;
use crate::names::Conflict;
use crate::relay::{Fact, Newcomer, Notice, Source};
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
    Connection(Newcomer, Notice),
    /// A detail: what happened to a link or a circuit.
    Fact(&'a Fact),
    /// Details on what peers did that were not told, for there were too many.
    LeftOut(LeftOut<Doer>),
    /// Details on connections that are no link of an admitted client, likewise.
    NewcomersLeftOut(LeftOut<Source>),
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
    /// What there is to say of a certificate, or of its key, with the file.
    Certificate(&'a Path, CertificateNews),
}

/// Who did something, as far as lines of the log are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doer {
    /// A peer, where only those that are listed may attach.
    Peer(PeerId),
    /// The peers of one source, where anybody may: a key costs nothing there.
    Source(Source),
}

impl Doer {
    fn of(fact: &Fact) -> Doer {
        fact.source().map_or_else(|| Doer::Peer(fact.peer()), Doer::Source)
    }
}

/// Where log lines go.
pub(crate) type Log = Box<dyn Fn(LogLine<'_>) + Send + Sync>;

/// See the module.
pub(super) struct RelayLog {
    write: Log,
    details: bool,
    refusals: Mutex<Refusals>,
    quota: Mutex<Quota<Doer>>,
    newcomers: Mutex<Quota<Source>>,
}

impl RelayLog {
    /// A log that is written by `write`, with details or without.
    pub(super) fn new(write: Log, details: bool) -> RelayLog {
        RelayLog { write, details, refusals: Mutex::default(), quota: Mutex::default(), newcomers: Mutex::default() }
    }

    /// Where it is written to.
    pub(super) fn writer(&self) -> &Log {
        &self.write
    }

    /// Writes a line.
    pub(super) fn line(&self, line: LogLine<'_>) {
        (self.write)(line);
    }

    /// Something happened to a connection that is no link of an admitted client.
    pub(super) fn notice(&self, now: Instant, newcomer: Newcomer, notice: Notice) {
        if let Notice::TurnedAway(peer, code) = notice {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(times) = refusals.take(now, peer, code) {
                self.line(LogLine::TurnedAway { peer, code, times });
            }
        }
        if !self.details {
            return;
        }
        let mut quota = self.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = quota.begin_period(now);
        left_out.into_iter().for_each(|left_out| self.line(LogLine::NewcomersLeftOut(left_out)));
        if quota.spend(Source::of(newcomer.source)) {
            self.line(LogLine::Connection(newcomer, notice));
        }
    }

    /// Something happened to a link or a circuit.
    pub(super) fn fact(&self, now: Instant, fact: &Fact) {
        if !self.details {
            return;
        }
        let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        quota.begin_period(now).into_iter().for_each(|left_out| self.line(LogLine::LeftOut(left_out)));
        if quota.spend(Doer::of(fact)) {
            self.line(LogLine::Fact(fact));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{ConnId, EndReason, LinkId};
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn strangers_of_one_source_fill_no_log_and_take_nothing_from_others() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let page = Arc::clone(&told);
        let write = move |line: LogLine<'_>| {
            let text = match line {
                LogLine::Connection(newcomer, _) => newcomer.source.to_string(),
                LogLine::NewcomersLeftOut(LeftOut { about: Some(source), lines }) => format!("{lines} of {source}"),
                other => panic!("{other:?}"),
            };
            page.lock().unwrap().push(text);
        };
        let (log, start) = (RelayLog::new(Box::new(write), true), Instant::now());
        let comes_and_goes = |now, address: &str| {
            let newcomer = Newcomer { conn: ConnId::new(1), source: address.parse::<IpAddr>().unwrap(), front: None };
            log.notice(now, newcomer, Notice::Accepted);
            log.notice(now, newcomer, Notice::Stranger(EndReason::Garbage));
        };
        for host in 0..400 {
            comes_and_goes(start, "192.0.2.1");
            // Whoever has one address of IPv6 has them all up to the 64th bit.
            comes_and_goes(start, &format!("2001:db8::{host:x}"));
        }
        comes_and_goes(start, "192.0.2.2");
        let of = |start: &str| told.lock().unwrap().iter().filter(|line| line.starts_with(start)).count();
        assert_eq!([of("192.0.2.1"), of("2001:db8::"), of("192.0.2.2")], [600, 600, 2]);
        comes_and_goes(start + Duration::from_secs(60), "192.0.2.1");
        assert_eq!([of("200 of 192.0.2.1"), of("200 of 2001:db8::/64"), of("192.0.2.1")], [1, 1, 602]);
    }

    #[test]
    fn fresh_keys_of_one_source_have_lines_together_and_listed_peers_each_their_own() {
        let told = Arc::new(Mutex::new([0, 0]));
        let page = Arc::clone(&told);
        let write = move |line: LogLine<'_>| {
            let mut page = page.lock().unwrap();
            match line {
                LogLine::Fact(_) => page[0] += 1,
                LogLine::LeftOut(LeftOut { about: Some(Doer::Source(_)), lines }) => page[1] += lines,
                other => panic!("{other:?}"),
            }
        };
        let (log, start) = (RelayLog::new(Box::new(write), true), Instant::now());
        let attach = |now, key: u16, source| {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&key.to_le_bytes());
            log.fact(now, &Fact::Attached { link: LinkId::new(1), peer: PeerId::from_bytes(id), source });
        };
        let source = |address: &str| Some(Source::of(address.parse().unwrap()));
        (0..1000).for_each(|key| attach(start, key, source("192.0.2.1")));
        assert_eq!(*told.lock().unwrap(), [600, 0]);
        attach(start, 1000, source("192.0.2.2"));
        (0..1000).for_each(|key| attach(start, key, None));
        assert_eq!(*told.lock().unwrap(), [1601, 0]);
        attach(start + Duration::from_secs(60), 0, source("192.0.2.1"));
        assert_eq!(*told.lock().unwrap(), [1602, 400]);
    }
}
