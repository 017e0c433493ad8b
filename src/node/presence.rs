//! Whether a peer is there at all, when nobody answers to an application of it.
//!
//! A relay knows who listens to what, and must not tell. So a caller that is told that nobody answers asks the peer itself,
//! by a name that every node listens to: [`PRESENCE`]. Who is admitted for anything gets a handshake's second message, which
//! proves who sent it; everybody else gets what an absent peer would give. A relay tells nobody that he waits for a name like
//! this one, so that a stranger sees the same at the same time, whether the peer is there or not.

use super::circuits::{Circuit, Use};
use super::{Event, Failure, Key, Node, Phase, Wait};
use crate::identity::PeerId;
use crate::noise::{ExpectReply, Initiator, Purpose, Responder, Suite};
use crate::wire::{CloseCode, Control, Name};
use std::time::{Duration, Instant};

/// The first of the early bytes of such a call.
pub const ASK: u8 = 3;
/// The name that is called. A session has it with a probability of 2^-128.
pub const PRESENCE: [u8; 16] = [0; 16];
/// How long the answer may take: the relay's way to the peer and back, on a slow line.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// The same for whoever does not want to wait.
const HASTY_TIME: Duration = Duration::from_secs(1);
/// Such calls of one node under way at once: they take places at the relay that calls need.
const ASKING_MAX: usize = 4;

/// Whether the peer of a call that waits is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Nobody has asked.
    #[default]
    Unknown,
    /// To be asked when others have their answer.
    Wanted,
    /// Asked.
    Asked,
    /// It is.
    There,
}

impl Node {
    /// Whether peers may learn that we are here: while callers would be heard; and those whom we call at any time.
    pub(super) fn listens_to_presence(&self) -> bool {
        self.findable || self.apps.is_empty()
    }

    /// Nobody answers to what this call is for.
    pub(super) fn want_presence(&mut self, now: Instant, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.presence == Presence::Unknown
        {
            entry.presence = Presence::Wanted;
        }
        self.ask_presence(now);
    }

    fn ask_presence(&mut self, now: Instant) {
        let mut asking = self.circuits.values().filter(|c| matches!(c.used_for, Use::Asking(_))).count();
        for key in self.keys() {
            let wanted = self.entries.get(&key).filter(|entry| entry.presence == Presence::Wanted);
            let Some(peer) = wanted.map(|entry| entry.peer).filter(|_| asking < ASKING_MAX && self.is_attached())
            else {
                continue;
            };
            asking += 1;
            self.ask(now, key, peer);
        }
    }

    fn ask(&mut self, now: Instant, key: Key, peer: PeerId) {
        let suite = Suite::preferred();
        let started = Initiator::start(suite, Purpose::Session, &self.config.identity, peer, &[], &[]);
        let Ok((reply, first)) = started else { return self.handle_no_presence(now, key) };
        let time = if self.config.wait == Wait::No { HASTY_TIME } else { ANSWER_TIME };
        let wait_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let circuit = self.connect(peer, Name::Session(PRESENCE), wait_ms, super::calls::early(ASK, suite, &first));
        self.circuits.insert(circuit, Circuit::new(key, Use::Asking(Box::new(reply))));
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.presence = Presence::Asked;
        }
    }

    /// Somebody answered, and has proven to be the peer or not.
    pub(super) fn handle_presence(&mut self, now: Instant, which: (u32, Key), reply: ExpectReply, early: &[u8]) {
        let (circuit, key) = which;
        self.send_reset(circuit, CloseCode::Done);
        match reply.finish(early, &[]) {
            Ok((_, proven)) if !self.clock.has_passed(&proven.card) => {
                let Some(entry) = self.entries.get_mut(&key) else { return };
                entry.presence = Presence::There;
                if !matches!(entry.phase, Phase::Calling { .. }) {
                    return;
                }
                if self.config.wait == Wait::No {
                    self.fail(now, key, Failure::NotServed);
                } else {
                    self.events.push_back(Event::NotServed { key });
                }
            }
            _ => self.handle_no_presence(now, key),
        }
        self.ask_presence(now);
    }

    /// Nobody answered, or nobody who may be believed.
    pub(super) fn handle_no_presence(&mut self, now: Instant, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.presence = Presence::Asked;
            if self.config.wait == Wait::No && matches!(entry.phase, Phase::Calling { .. }) {
                self.fail(now, key, Failure::PeerAbsent);
            }
        }
        self.ask_presence(now);
    }

    /// Somebody asks whether we are here. Nothing is kept of it.
    pub(super) fn answer_presence(&self, from: &PeerId, hello: (u8, &[u8])) -> Result<Vec<u8>, CloseCode> {
        let is_called = self.entries.values().any(|entry| entry.peer == *from);
        if !self.listens_to_presence() || !(is_called || self.config.callers.admit_at_all(from)) {
            return Err(CloseCode::NotHere);
        }
        let suite = Suite::try_from(hello.0).map_err(|_| CloseCode::Protocol)?;
        let answer = Responder::accept(suite, Purpose::Session, &self.config.identity, &[], hello.1, &[]);
        answer.map(|(_, second)| second).map_err(|_| CloseCode::Refused)
    }

    pub(super) fn send_presence(&mut self) {
        if self.listens_to_presence() {
            self.send_control(&Control::Listen { name: Name::Session(PRESENCE) });
        } else {
            self.send_control(&Control::Unlisten { name: Name::Session(PRESENCE) });
        }
    }

    /// Why nobody was met: the peer was there, or not, as far as is known.
    pub(super) fn absence(&self) -> Failure {
        let there =
            |entry: &super::Entry| matches!(entry.phase, Phase::Calling { .. }) && entry.presence == Presence::There;
        if self.entries.values().any(there) { Failure::NotServed } else { Failure::PeerAbsent }
    }
}
