//! The circuits that are open: who called whom, what, and since when; and in the end why they closed, and what went each way.
//!
//! No body comes here: each worker tells of its end of a circuit when that has ended. A circuit is closed when both ends are.

use super::admission::Source;
use super::requests::Side;
use super::why_circuit_closed::CloseReason;
use crate::identity::PeerId;
use crate::relay::LinkId;
use crate::wire::Name;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One end of a circuit has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndReport {
    /// Its link's number for the circuit.
    pub circuit: u32,
    /// What its client sent into it, bytes.
    pub sent_bytes: u64,
    /// What its client may send into it yet, before it hears of the end.
    pub late_bytes: u32,
    /// Why; None if it is because the other end has ended.
    pub why: Option<CloseReason>,
}

/// What is known of an open circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitInfo {
    /// The caller's end.
    pub caller: Side,
    /// The callee's end.
    pub callee: Side,
    /// Who called.
    pub from: PeerId,
    /// Where the caller is, where anybody may attach.
    pub source: Option<Source>,
    /// Who was called.
    pub to: PeerId,
    /// What was called.
    pub name: Name,
    /// When it was accepted.
    pub since: Instant,
}

/// A circuit that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Which it was.
    pub info: Arc<CircuitInfo>,
    /// How long it was open.
    pub lasted: Duration,
    /// What the caller sent, bytes.
    pub caller_bytes: u64,
    /// What the callee sent, bytes.
    pub callee_bytes: u64,
    /// Why it closed.
    pub why: CloseReason,
}

#[derive(Debug)]
struct Open {
    info: Arc<CircuitInfo>,
    /// What the caller had sent when its end ended, bytes.
    caller_sent: Option<u64>,
    callee_sent: Option<u64>,
    why: Option<CloseReason>,
}

/// All of them. There are as many as the shares of all peers allow.
#[derive(Debug, Default)]
pub(crate) struct Circuits {
    by_caller: BTreeMap<Side, Open>,
    /// The caller's end of each, by the callee's.
    by_callee: BTreeMap<Side, Side>,
}

impl Circuits {
    /// A circuit is accepted.
    pub(crate) fn open(&mut self, info: CircuitInfo) -> Arc<CircuitInfo> {
        let info = Arc::new(info);
        self.by_callee.insert(info.callee, info.caller);
        let open = Open { info: Arc::clone(&info), caller_sent: None, callee_sent: None, why: None };
        self.by_caller.insert(info.caller, open);
        info
    }

    /// What is known of the circuit that has this end, unless both have ended.
    pub(crate) fn info(&self, side: Side) -> Option<&CircuitInfo> {
        let caller = self.by_callee.get(&side).unwrap_or(&side);
        self.by_caller.get(caller).map(|open| &*open.info)
    }

    /// An end has ended. The circuit if it is closed by that.
    pub(crate) fn end(&mut self, now: Instant, link: LinkId, report: EndReport) -> Option<Closed> {
        let side = Side { link, circuit: report.circuit };
        let (caller, is_caller) = match self.by_callee.get(&side) {
            Some(&caller) => (caller, false),
            None => (side, true),
        };
        let open = self.by_caller.get_mut(&caller)?;
        let sent = if is_caller { &mut open.caller_sent } else { &mut open.callee_sent };
        sent.get_or_insert(report.sent_bytes);
        open.why = open.why.or(report.why);
        let (caller_bytes, callee_bytes) = (open.caller_sent?, open.callee_sent?);
        let Open { info, why, .. } = self.by_caller.remove(&caller)?;
        self.by_callee.remove(&info.callee);
        // Whoever ended first has said why.
        let why = why.unwrap_or(CloseReason::LinkEnded);
        let lasted = now.saturating_duration_since(info.since);
        Some(Closed { info, lasted, caller_bytes, callee_bytes, why })
    }

    /// The numbers of a link for circuits of which its end has not ended.
    pub(crate) fn of_link(&self, link: LinkId) -> impl Iterator<Item = u32> {
        let sides = Side::all_of(link);
        let asked = self.by_caller.range(sides.clone()).filter(|(_, open)| open.caller_sent.is_none());
        let is_open = move |caller: &Side| self.by_caller.get(caller).is_some_and(|open| open.callee_sent.is_none());
        let offered = self.by_callee.range(sides).filter(move |(_, caller)| is_open(caller));
        asked.map(|(side, _)| side.circuit).chain(offered.map(|(side, _)| side.circuit))
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_caller.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::why_circuit_closed::Cut;
    use super::*;

    const CALLER: Side = Side { link: LinkId::new(1), circuit: 2 };
    const CALLEE: Side = Side { link: LinkId::new(2), circuit: 1 };

    fn opened(now: Instant) -> Circuits {
        let (from, to) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
        let name = Name::App("pg".parse().unwrap());
        let mut circuits = Circuits::default();
        circuits.open(CircuitInfo { caller: CALLER, callee: CALLEE, from, source: None, to, name, since: now });
        circuits
    }

    fn report(side: Side, sent_bytes: u64, why: Option<CloseReason>) -> (LinkId, EndReport) {
        (side.link, EndReport { circuit: side.circuit, sent_bytes, late_bytes: 0, why })
    }

    #[test]
    fn a_circuit_is_closed_when_both_ends_are_for_the_reason_of_the_one_that_had_one() {
        let (start, cut) = (Instant::now(), CloseReason::Cut(Cut::Overflowed));
        // The end that is told may tell first.
        let reports = [report(CALLEE, 7, None), report(CALLER, 1 << 40, Some(cut))];
        for order in [[0, 1], [1, 0]] {
            let mut circuits = opened(start);
            let (link, first) = reports[order[0]];
            assert_eq!(circuits.end(start, link, first), None);
            assert_eq!(circuits.of_link(link).next(), None);
            let (link, last) = reports[order[1]];
            assert_eq!(circuits.of_link(link).collect::<Vec<_>>(), [last.circuit]);
            let closed = circuits.end(start + Duration::from_secs(9), link, last).unwrap();
            assert_eq!((closed.caller_bytes, closed.callee_bytes, closed.why), (1 << 40, 7, cut));
            assert_eq!((closed.lasted, closed.info.to), (Duration::from_secs(9), PeerId::from_bytes([2; 32])));
            assert_eq!((circuits.len(), circuits.by_callee.len()), (0, 0));
        }
    }

    #[test]
    fn an_end_that_is_told_of_twice_ends_once() {
        let now = Instant::now();
        let mut circuits = opened(now);
        let (link, first) = report(CALLER, 5, Some(CloseReason::Finished));
        let (_, again) = report(CALLER, 0, Some(CloseReason::LinkEnded));
        assert_eq!([first, again].map(|report| circuits.end(now, link, report)), [None, None]);
        let (link, last) = report(CALLEE, 6, None);
        let closed = circuits.end(now, link, last).unwrap();
        assert_eq!((closed.caller_bytes, closed.callee_bytes, closed.why), (5, 6, CloseReason::Finished));
        assert_eq!(circuits.end(now, link, last), None);
    }
}
