//! How sessions come to be and come back: calls made, calls taken, lanes joined.
//!
//! ```text
//! early bytes of CONNECT:  kind u8 (1 first lane, 2 further lane, 3 presence, 4 claim) ‖ suite u8 ‖ handshake message 1
//! early bytes of ACCEPT:   handshake message 2
//! first bytes of the circuit, from the caller of a first lane:  length u16 ‖ handshake message 3
//! ```

use super::circuits::{Circuit, Use};
use super::presence::{ASK, PRESENCE, Presence};
use super::sibling::{CLAIM, SIBLING};
use super::{Aim, Callers, Entry, Event, Failure, Key, Kind, Node, Phase, SESSIONS_MAX, Step, Wait};
use crate::identity::PeerId;
use crate::names::AppName;
use crate::noise::{ExpectFinal, Initiator, Purpose, Responder, Suite};
use crate::session::{JoinRefused, Role, Session};
use crate::wire::limits::{HANDSHAKE_MESSAGE_MAX, RECORD_PREFIX_BYTES};
use crate::wire::{CloseCode, Control, Name};
use std::time::{Duration, Instant};

const FIRST_LANE: u8 = 1;
const FURTHER_LANE: u8 = 2;
/// Between two tries to join while the link is up: the other end may need as long to come back.
const REJOIN_PAUSE: Duration = Duration::from_millis(300);

impl Node {
    /// Sends CONNECT for every session that needs a circuit and has none.
    pub(super) fn place_calls(&mut self, now: Instant) {
        if !self.is_attached() {
            return;
        }
        for key in self.keys() {
            match self.entries.get_mut(&key).map(|entry| &mut entry.phase) {
                Some(Phase::Calling { circuit: None, not_before }) => {
                    if not_before.is_none_or(|at| at <= now) {
                        self.place_call(now, key);
                    }
                }
                Some(Phase::Up { session, circuit, rejoin_at, .. }) => {
                    let due = rejoin_at.is_none_or(|at| at <= now);
                    let wanted = circuit.is_none() || (due && session.wants_fresh_lane());
                    if due && wanted && session.role() == Role::Initiator && session.failure().is_none() {
                        self.place_join(now, key);
                    }
                }
                _ => {}
            }
        }
    }

    /// Changes who may call. Yields the sessions that the tool has of peers who may no more call what they called: they are
    /// its to end. Calls that wait at the relay, because they were turned away before, are heard again.
    pub fn set_callers(&mut self, now: Instant, callers: Callers) -> Vec<Key> {
        self.config.callers = callers;
        let mut outcasts = Vec::new();
        for key in self.keys() {
            let Some(entry) = self.entries.get(&key) else { continue };
            let Phase::Up { session, announced, .. } = &entry.phase else { continue };
            if session.role() != Role::Responder || self.config.callers.admit(&entry.peer, &entry.app) {
                continue;
            }
            // Of the others the tool knows nothing.
            if *announced { outcasts.push(key) } else { self.abandon(now, key) }
        }
        if self.findable {
            for app in self.apps.clone() {
                self.send_listen_app(app);
            }
        }
        outcasts
    }

    /// Changes how many sessions of callers the tool has at once. Those that are there stay.
    pub fn set_callers_max(&mut self, most: usize) {
        self.config.callers_max = most;
        self.announce_next();
        self.refresh_findable();
    }

    fn wait_ms(&self, now: Instant) -> u32 {
        match self.config.wait {
            Wait::No => 0,
            Wait::Forever => u32::MAX,
            Wait::AtMost(time) => {
                let left = (self.born + time).saturating_duration_since(now);
                u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
            }
        }
    }

    fn place_call(&mut self, now: Instant, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.presence = Presence::Unknown;
        let (peer, app) = (entry.peer, entry.app.clone());
        let suite = Suite::preferred();
        let context = app.as_str().as_bytes();
        let Ok((reply, first)) = Initiator::start(suite, Purpose::Session, &self.config.identity, peer, context, &[])
        else {
            self.fail(now, key, Failure::PeerUnauthentic);
            return;
        };
        let circuit = self.connect(peer, Name::App(app), self.wait_ms(now), early(FIRST_LANE, suite, &first));
        self.circuits.insert(circuit, Circuit::new(key, Use::Calling(Box::new(reply))));
        self.set_circuit(key, Some(circuit));
    }

    fn place_join(&mut self, now: Instant, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let peer = entry.peer;
        let Phase::Up { session, rejoin_at, .. } = &mut entry.phase else { return };
        let suite = Suite::preferred();
        *rejoin_at = Some(now + REJOIN_PAUSE);
        let name = Name::Session(session.rendezvous());
        let Ok((pending, first)) = session.start_join(suite) else { return };
        let circuit = self.connect(peer, name, u32::MAX, early(FURTHER_LANE, suite, &first));
        self.circuits.insert(circuit, Circuit::new(key, Use::Joining(Box::new(pending))));
        self.set_circuit(key, Some(circuit));
    }

    pub(super) fn connect(&mut self, to: PeerId, name: Name, wait_ms: u32, early: Vec<u8>) -> u32 {
        let circuit = self.next_circuit;
        self.next_circuit = self.next_circuit.checked_add(2).unwrap_or(2);
        self.note(circuit, Step::Asked(to, aim(&name)));
        self.send_control(&Control::Connect { circuit, to, name, wait_ms, early });
        circuit
    }

    pub(super) fn note(&mut self, number: u32, step: Step) {
        self.events.push_back(Event::Circuit { number, step });
    }

    pub(super) fn set_circuit(&mut self, key: Key, to: Option<u32>) {
        let phase = self.entries.get_mut(&key).map(|entry| &mut entry.phase);
        if let Some(Phase::Calling { circuit, .. } | Phase::Up { circuit, .. }) = phase {
            *circuit = to;
        }
    }

    pub(super) fn fail(&mut self, now: Instant, key: Key, why: Failure) {
        self.events.push_back(Event::Failed { key, why });
        self.abandon(now, key);
    }

    pub(super) fn handle_control(&mut self, now: Instant, message: Control) {
        match message {
            Control::Welcome { .. } => self.welcome(),
            Control::Listening { name: Name::App(app) } => {
                self.listening_since.get_or_insert(now);
                self.events.push_back(Event::Listening { app });
            }
            Control::Listening { name: Name::Session(SIBLING) } => self.ask_siblings(now),
            Control::Listening { name: Name::Session(_) } => {}
            Control::Incoming { circuit, from, name, early } => {
                self.handle_incoming(now, circuit, (from, name), &early)
            }
            Control::Opened { circuit, early } => self.handle_opened(now, circuit, &early),
            Control::Status { circuit, code } => self.handle_status(now, circuit, CloseCode::from_wire(code)),
            Control::Bye { code } => self.handle_down(now, super::Down::Said(CloseCode::from_wire(code))),
            // What only clients say: a relay that says it is of a later version, and means something we need not know.
            Control::Listen { .. }
            | Control::Unlisten { .. }
            | Control::Connect { .. }
            | Control::Accept { .. }
            | Control::Reject { .. } => {}
        }
    }

    fn handle_incoming(&mut self, now: Instant, circuit: u32, who: (PeerId, Name), early: &[u8]) {
        let aim = aim(&who.1);
        let asks = matches!(early, [ASK | CLAIM, ..]);
        let answer = match (who.1, early) {
            (Name::Session(PRESENCE), [ASK, suite, message @ ..]) => self.answer_presence(&who.0, (*suite, message)),
            (Name::Session(SIBLING), [CLAIM, suite, rest @ ..]) => self.answer_claim(now, &who.0, (*suite, rest)),
            (Name::App(app), [FIRST_LANE, suite, message @ ..]) => {
                self.answer_call(now, circuit, (who.0, app), (*suite, message))
            }
            (Name::Session(rendezvous), [FURTHER_LANE, suite, message @ ..]) => {
                self.answer_join(now, circuit, rendezvous, (*suite, message))
            }
            _ => Err(CloseCode::Protocol),
        };
        self.note(circuit, Step::Came(who.0, aim, answer.as_ref().err().copied()));
        let message = match answer {
            Ok(early) => Control::Accept { circuit, early },
            Err(code) => Control::Reject { circuit, code: code.to_wire() },
        };
        self.send_control(&message);
        if asks && matches!(message, Control::Accept { .. }) {
            // All is said.
            self.send_reset(circuit, CloseCode::Done);
        }
        if let Some(circuit_state) = self.circuits.get_mut(&circuit) {
            let grant = circuit_state.open_credit();
            self.send_credit(circuit, grant);
        }
        self.refresh_busy(now);
    }

    /// Who may not call hears what he would hear of an absent peer.
    fn answer_call(
        &mut self,
        now: Instant,
        circuit: u32,
        who: (PeerId, AppName),
        hello: (u8, &[u8]),
    ) -> Result<Vec<u8>, CloseCode> {
        let (from, app) = who;
        if !self.apps.contains(&app) || !self.findable || self.entries.len() >= SESSIONS_MAX {
            return Err(CloseCode::NotHere);
        }
        if !self.config.callers.admit(&from, &app) {
            self.events.push_back(Event::TurnedAway { peer: from, app });
            return Err(CloseCode::NotHere);
        }
        let suite = Suite::try_from(hello.0).map_err(|_| CloseCode::Protocol)?;
        let (context, caps) = (app.as_str().as_bytes(), self.config.kind.caps());
        let (expect, second) =
            Responder::accept(suite, Purpose::Session, &self.config.identity, context, hello.1, &caps)
                .map_err(|_| CloseCode::Refused)?;
        let key = self.insert(now, Entry::new(from, app, Phase::Answering));
        let state = Use::Answering { expect: Some(Box::new(expect)), gathered: Vec::new() };
        self.circuits.insert(circuit, Circuit::new(key, state));
        self.refresh_findable();
        self.refresh_busy(now);
        Ok(second)
    }

    fn answer_join(
        &mut self,
        now: Instant,
        circuit: u32,
        rendezvous: [u8; 16],
        hello: (u8, &[u8]),
    ) -> Result<Vec<u8>, CloseCode> {
        let suite = Suite::try_from(hello.0).map_err(|_| CloseCode::Protocol)?;
        let found = self.entries.iter_mut().find_map(|(key, entry)| match &mut entry.phase {
            Phase::Up { session, .. } if session.rendezvous() == rendezvous => Some((*key, session)),
            _ => None,
        });
        let Some((key, session)) = found else {
            let ended = self.tombstones.iter().any(|(known, _)| *known == rendezvous);
            return Err(if ended { CloseCode::Done } else { CloseCode::UnknownSession });
        };
        let answer = session.answer_join(now, suite, hello.1).map_err(|refused| match refused {
            JoinRefused::Unauthentic => CloseCode::UnknownSession,
            // The caller tries again with a new one.
            JoinRefused::Stale => CloseCode::PeerGone,
        })?;
        let state = Use::Lane { lane: answer.lane, prelude: Vec::new() };
        self.circuits.insert(circuit, Circuit::new(key, state));
        self.drive_session(now, key);
        Ok(answer.message)
    }

    fn handle_opened(&mut self, now: Instant, id: u32, early: &[u8]) {
        if !self.circuits.get(&id).is_some_and(Circuit::awaits_opened) {
            return;
        }
        let Some(circuit) = self.circuits.remove(&id) else { return };
        self.note(id, Step::Opened);
        let key = circuit.key;
        match circuit.used_for {
            Use::Claiming { app, reply } => self.handle_claim_answer(now, (id, app), *reply, early),
            Use::Asking(reply) => self.handle_presence(now, (id, key), *reply, early),
            Use::Calling(reply) => match reply.finish(early, &[]) {
                Ok((_, established)) if self.clash(&established.caps).is_some() => {
                    self.send_reset(id, CloseCode::Cancelled);
                    let why = self.clash(&established.caps).unwrap_or(Failure::PeerUnauthentic);
                    self.fail(now, key, why);
                }
                Ok((third, established)) if !self.clock.has_passed(&established.card) => {
                    let mut prelude = Vec::new();
                    let length = u16::try_from(third.len()).expect("handshake messages are below 2 KiB");
                    prelude.extend_from_slice(&length.to_be_bytes());
                    prelude.extend_from_slice(&third);
                    let lane = Use::Lane { lane: 0, prelude };
                    self.circuits.insert(id, Circuit::new(key, lane));
                    let keys = (established.sealer, established.opener);
                    let times = self.config.times;
                    let session = Session::new(now, Role::Initiator, &established.export, keys, times);
                    let session = session.within(&self.budget);
                    self.bring_up(now, key, (session, id), established.peer);
                }
                _ => self.fail(now, key, Failure::PeerUnauthentic),
            },
            Use::Joining(pending) => {
                let Some(session) = self.session(key) else { return };
                if let Ok(lane) = session.finish_join(now, *pending, early) {
                    let state = Use::Lane { lane, prelude: Vec::new() };
                    self.circuits.insert(id, Circuit::new(key, state));
                    self.events.push_back(Event::Resumed { key });
                    self.drive_session(now, key);
                } else {
                    self.send_reset(id, CloseCode::Protocol);
                    self.set_circuit(key, None);
                }
            }
            Use::Answering { .. } | Use::Lane { .. } => {}
        }
        if let Some(circuit) = self.circuits.get_mut(&id) {
            let grant = circuit.open_credit();
            self.send_credit(id, grant);
        }
    }

    /// Why the callee is not what we call for, if it is not.
    fn clash(&self, caps: &[u8]) -> Option<Failure> {
        let ours = self.config.kind;
        let theirs = Kind::of_caps(caps).filter(|theirs| !ours.goes_with(*theirs))?;
        Some(Failure::WrongKind { ours, theirs })
    }

    fn bring_up(&mut self, now: Instant, key: Key, lane: (Session, u32), peer: PeerId) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let (session, circuit) = lane;
        let responder = session.role() == Role::Responder;
        let rendezvous = session.rendezvous();
        entry.peer = peer;
        entry.phase =
            Phase::Up { session: Box::new(session), circuit: Some(circuit), rejoin_at: None, announced: false };
        if responder {
            self.send_listen(Name::Session(rendezvous));
        }
        self.refresh_findable();
        self.refresh_busy(now);
    }

    /// Tells the tool of a session that both ends know of, if there is room for another.
    pub(super) fn announce(&mut self, key: Key) {
        let room = self.callers() < self.config.callers_max;
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let Phase::Up { session, announced, .. } = &mut entry.phase else { return };
        if *announced || !session.is_heard() || (session.role() == Role::Responder && !room) {
            return;
        }
        *announced = true;
        self.met = true;
        self.events.push_back(Event::Up { key, peer: entry.peer, app: entry.app.clone() });
        self.refresh_findable();
    }

    /// A place became free: whoever got as far as a session meanwhile has it.
    pub(super) fn announce_next(&mut self) {
        for key in self.keys() {
            self.announce(key);
        }
    }

    /// Sessions of callers that the tool has, and calls that may become one.
    fn callers(&self) -> usize {
        let count = |entry: &&Entry| match &entry.phase {
            Phase::Calling { .. } | Phase::Answering => false,
            Phase::Up { session, announced, .. } => session.role() == Role::Responder && *announced,
        };
        self.entries.values().filter(count).count()
    }

    /// The first lane's bytes, until message 3 is whole. Yields the bytes that follow it.
    pub(super) fn handle_final(&mut self, now: Instant, id: u32, bytes: &[u8]) {
        let Some(circuit) = self.circuits.get_mut(&id) else { return };
        let key = circuit.key;
        let Use::Answering { expect, gathered } = &mut circuit.used_for else { return };
        gathered.extend_from_slice(bytes);
        let Some(prefix) = gathered.first_chunk::<RECORD_PREFIX_BYTES>() else { return };
        let length = usize::from(u16::from_be_bytes(*prefix));
        let refused = |node: &mut Node| {
            node.send_reset(id, CloseCode::Refused);
            node.circuits.remove(&id);
            node.abandon(now, key);
        };
        if length > HANDSHAKE_MESSAGE_MAX {
            return refused(self);
        }
        let Some(third) = gathered.get(RECORD_PREFIX_BYTES..RECORD_PREFIX_BYTES + length) else { return };
        let finished = expect.take().map(|expect: Box<ExpectFinal>| expect.finish(third));
        let rest = gathered.split_off(RECORD_PREFIX_BYTES + length);
        match finished {
            Some(Ok(established))
                if !self.clock.has_passed(&established.card)
                    && self
                        .entries
                        .get(&key)
                        .is_some_and(|entry| self.config.callers.admit(&established.peer, &entry.app)) =>
            {
                circuit.used_for = Use::Lane { lane: 0, prelude: Vec::new() };
                let keys = (established.sealer, established.opener);
                let session = Session::new(now, Role::Responder, &established.export, keys, self.config.times);
                let session = session.within(&self.budget);
                self.bring_up(now, key, (session, id), established.peer);
                self.handle_lane_bytes(now, id, &rest);
            }
            _ => refused(self),
        }
    }

    fn handle_status(&mut self, now: Instant, id: u32, code: CloseCode) {
        let Some(circuit) = self.circuits.get(&id) else { return };
        let key = circuit.key;
        if code == CloseCode::Waiting {
            if matches!(circuit.used_for, Use::Calling(_)) {
                self.events.push_back(Event::Waiting { key });
                self.want_presence(now, key);
            }
            return;
        }
        let joining = matches!(circuit.used_for, Use::Joining(_));
        let asking = matches!(circuit.used_for, Use::Asking(_));
        let claimed = circuit.claimed();
        self.circuits.remove(&id);
        self.note(id, Step::Ended(code));
        if let Some(app) = claimed {
            return self.hold(now, &app);
        }
        if asking {
            return self.handle_no_presence(now, key);
        }
        self.set_circuit(key, None);
        match code {
            CloseCode::NotHere | CloseCode::PeerGone | CloseCode::Limit if joining => {}
            CloseCode::Done | CloseCode::UnknownSession if joining => self.session_gone(now, key),
            // The callee's process went in between: the call stands, the relay parks it.
            CloseCode::PeerGone => self.call_again(now, key),
            CloseCode::NotHere if self.config.wait != Wait::No => self.call_again(now, key),
            // It is not called again before it is known whether the peer is there, and then it ends.
            CloseCode::NotHere => {
                self.set_circuit(key, Some(id));
                self.want_presence(now, key);
            }
            code => self.fail(now, key, Failure::RefusedByPeer(code)),
        }
    }

    /// The peer knows nothing of the session any more. If this side was about to end it too, then it has ended.
    fn session_gone(&mut self, now: Instant, key: Key) {
        if self.session(key).is_some_and(|session| session.is_closing()) {
            self.abandon(now, key);
        } else {
            self.fail(now, key, Failure::SessionGone);
        }
    }

    /// The call stands, but not at the speed of the network.
    pub(super) fn call_again(&mut self, now: Instant, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.phase = Phase::Calling { circuit: None, not_before: Some(now + REJOIN_PAUSE) };
        }
    }

    /// With no room for another caller the applications are taken off the relay, so that callers wait there or find
    /// another process of ours.
    pub(super) fn refresh_findable(&mut self) {
        let findable = self.callers() < self.config.callers_max;
        if findable == self.findable {
            return;
        }
        self.findable = findable;
        if !findable && !self.apps.is_empty() {
            self.send_presence();
        }
        for app in self.apps.clone() {
            if findable { self.send_listen_app(app) } else { self.send_unlisten(Name::App(app)) }
        }
        // The last to come and the first to go: see where the link comes up.
        if findable && !self.apps.is_empty() {
            self.send_presence();
        }
    }
}

fn aim(name: &Name) -> Aim {
    match name {
        Name::App(app) => Aim::Session(app.clone()),
        Name::Session(PRESENCE) => Aim::Presence,
        Name::Session(SIBLING) => Aim::Sibling,
        Name::Session(_) => Aim::Lane,
    }
}

pub(super) fn early(kind: u8, suite: Suite, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, suite.number()];
    bytes.extend_from_slice(message);
    bytes
}
