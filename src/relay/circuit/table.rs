//! The circuits of one link, by the link's own numbers.

use super::end::{Arrival, End};
use super::inward::Overrun;
use super::late::Late;
use super::vain::Vain;
use crate::identity::PeerId;
use crate::relay::EndId;
use crate::relay::router::circuits::EndReport;
use crate::relay::router::why_circuit_closed::CloseReason;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// A circuit as its link knows it.
#[derive(Debug)]
pub(crate) enum Circuit {
    /// The client sent CONNECT to this peer, and waits for the answer.
    Asked(Box<PeerId>),
    /// The client was sent INCOMING of this peer, and has to answer.
    Offered(Box<PeerId>),
    /// The circuit is open.
    Open(Box<End>),
}

/// Bytes of an open circuit that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Where they go.
    pub far: EndId,
    /// What they have led to.
    pub arrival: Arrival,
}

/// The client used a circuit that is not open, or sent more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misused;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Circuits {
    by_number: BTreeMap<u32, Circuit>,
    /// The highest number of a CONNECT: later ones are higher, which is how "not used before" is held in four bytes.
    last_asked: u32,
    /// What may yet come for circuits that have ended.
    pub late: Late,
    /// Calls that it was offered and that came to nothing.
    pub vain: Vain,
    /// Open circuits that ended since that was last asked for.
    ended: Vec<EndReport>,
    /// Circuits that have something to send, in turn.
    round: VecDeque<u32>,
    /// Circuits that are congested, in the order in which they became so.
    congested: Vec<u32>,
}

impl Circuits {
    /// The client asks for a circuit to a peer. False if it may not have this number.
    pub(crate) fn ask(&mut self, number: u32, to: PeerId) -> bool {
        let is_valid = number.is_multiple_of(2) && number > self.last_asked;
        if is_valid {
            self.last_asked = number;
            self.by_number.insert(number, Circuit::Asked(Box::new(to)));
        }
        is_valid
    }

    /// The client is offered a circuit of a peer.
    pub(crate) fn offer(&mut self, number: u32, from: PeerId) {
        self.by_number.insert(number, Circuit::Offered(Box::new(from)));
    }

    /// Opens a circuit that was asked for or offered.
    pub(crate) fn open(&mut self, now: Instant, number: u32, far: EndId) {
        let with = match self.by_number.get(&number) {
            Some(Circuit::Asked(peer) | Circuit::Offered(peer)) => Some(**peer),
            Some(Circuit::Open(_)) | None => None,
        };
        self.by_number.insert(number, Circuit::Open(Box::new(End { with, ..End::new(now, far) })));
    }

    /// A circuit.
    pub(crate) fn get(&self, number: u32) -> Option<&Circuit> {
        self.by_number.get(&number)
    }

    /// This link's end of an open circuit.
    pub(crate) fn end(&mut self, number: u32) -> Option<&mut End> {
        match self.by_number.get_mut(&number) {
            Some(Circuit::Open(end)) => Some(end),
            _ => None,
        }
    }

    /// Whose the other end of an open circuit is.
    pub(crate) fn peer_of(&self, number: u32) -> Option<PeerId> {
        match self.by_number.get(&number) {
            Some(Circuit::Open(end)) => end.with,
            _ => None,
        }
    }

    /// This link's ends of all open circuits.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (u32, &End)> {
        self.by_number.iter().filter_map(|(&number, circuit)| match circuit {
            Circuit::Open(end) => Some((number, end.as_ref())),
            Circuit::Asked(_) | Circuit::Offered(_) => None,
        })
    }

    /// The same, to change them.
    pub(crate) fn ends_mut(&mut self) -> impl Iterator<Item = &mut End> {
        self.by_number.values_mut().filter_map(|circuit| match circuit {
            Circuit::Open(end) => Some(end.as_mut()),
            Circuit::Asked(_) | Circuit::Offered(_) => None,
        })
    }

    /// How many there are, open or not.
    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Forgets a circuit, with all that is queued for it; its other end if it was open. Why it ended counts only then: None if
    /// the other end did.
    pub(crate) fn forget(&mut self, number: u32, why: Option<CloseReason>) -> Option<EndId> {
        match self.by_number.remove(&number) {
            Some(Circuit::Open(end)) => {
                let by_client = matches!(why, Some(CloseReason::Reset(_) | CloseReason::LinkEnded));
                let late_bytes = if by_client { 0 } else { end.inward.may_bring() };
                self.late.expect(number, end.with, late_bytes);
                let sent_bytes = end.inward.total_bytes();
                self.ended.push(EndReport { circuit: number, sent_bytes, late_bytes, why });
                Some(end.far)
            }
            _ => None,
        }
    }

    /// Forgets all of them, for the link is over; the other ends of those that were open.
    pub(crate) fn forget_all(&mut self) -> Vec<EndId> {
        let all: Vec<u32> = self.by_number.keys().copied().collect();
        all.into_iter().filter_map(|number| self.forget(number, Some(CloseReason::LinkEnded))).collect()
    }

    /// Takes the open circuits that have ended since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<EndReport> {
        std::mem::take(&mut self.ended)
    }

    /// Counts bytes that came in, which are credit for the other direction besides. None if there is no such circuit: it
    /// has ended, and they are dropped.
    pub(crate) fn receive(&mut self, now: Instant, input: Input) -> Option<Result<Received, Misused>> {
        let Entry::Occupied(mut entry) = self.by_number.entry(input.circuit) else { return None };
        let Circuit::Open(end) = entry.get_mut() else { return Some(Err(Misused)) };
        end.outward.raise_credit(input.credit);
        if end.outward.is_ready() && !std::mem::replace(&mut end.in_round, true) {
            self.round.push_back(input.circuit);
        }
        Some(match end.receive(now, input.bytes) {
            Ok(arrival) => {
                if arrival == Arrival::Congests {
                    self.congested.push(input.circuit);
                }
                Ok(Received { far: end.far, arrival })
            }
            Err(Overrun) => Err(Misused),
        })
    }

    /// FIN from the client: the circuit's other end, which has to know.
    pub(crate) fn handle_fin(&mut self, number: u32) -> Option<EndId> {
        let end = self.end(number)?;
        end.inward.finish();
        let (far, done) = (end.far, end.is_done());
        if done {
            self.forget(number, Some(CloseReason::Finished));
        }
        Some(far)
    }

    /// Sees to it that a circuit with something to send has its turn.
    pub(crate) fn enter_round(&mut self, number: u32) {
        let Some(Circuit::Open(end)) = self.by_number.get_mut(&number) else { return };
        if end.outward.is_ready() && !std::mem::replace(&mut end.in_round, true) {
            self.round.push_back(number);
        }
    }

    /// Takes the circuit whose turn it is.
    pub(crate) fn take_turn(&mut self) -> Option<u32> {
        self.round.pop_front()
    }

    /// Whether a circuit waits for its turn.
    pub(crate) fn has_turns(&self) -> bool {
        !self.round.is_empty()
    }

    /// Gives back the memory of an empty round.
    pub(crate) fn shrink(&mut self) {
        if self.round.is_empty() {
            self.round = VecDeque::new();
        }
        self.late.shrink();
    }

    /// The circuit for the sake of which the link is not read: of several the one that was congested first.
    pub(crate) fn full(&self) -> Option<u32> {
        let is_full = |number: &&u32| matches!(self.by_number.get(number), Some(Circuit::Open(end)) if end.is_full());
        self.congested.iter().find(is_full).copied()
    }

    /// Forgets which circuits were congested and are no more; those among them that have room for more credit.
    pub(crate) fn ease(&mut self) -> Vec<u32> {
        let mut due = Vec::new();
        let mut congested = std::mem::take(&mut self.congested);
        congested.retain(|&number| {
            let Some(end) = self.end(number) else { return false };
            if end.remains_congested() {
                return true;
            }
            end.inward.clear_congestion();
            if end.inward.is_due() {
                due.push(number);
            }
            false
        });
        self.congested = congested;
        due
    }
}

/// A DATA frame of a client, as far as its end of the circuit has to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input {
    /// Its circuit.
    pub circuit: u32,
    /// How many bytes it brings.
    pub bytes: usize,
    /// What the client grants in its header.
    pub credit: u32,
}
