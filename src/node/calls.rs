//! What becomes of the circuits that this end asked for, and of those that it took: calls, joins and questions.

use super::circuits::{Circuit, CircuitId, Use};
use super::claim::Claim;
use super::entry::{LaneCircuit, Loss, LostCircuit};
use super::handshakes::further_lane;
use super::sessions::Beginning;
use super::siblings::{Sharing, name_of};
use super::uplink::Request;
use super::{Aim, CircuitStep, Down, Event, Failure, Key, Node, presence};
use crate::lane::PendingJoin;
use crate::names::AppName;
use crate::noise::{ExpectReply, Suite};
use crate::session::Role;
use crate::wire::limits::{HANDSHAKE_MESSAGE_MAX, RECORD_PREFIX_BYTES};
use crate::wire::{CloseCode, Name};
use std::time::Instant;

/// The application's questions are no session's.
const NOBODY: Key = Key(u64::MAX);

/// A node, while it deals with one of its circuits.
pub(super) struct Calls<'n> {
    pub node: &'n mut Node,
    pub now: Instant,
}

impl Calls<'_> {
    fn connect(&mut self, request: Request, circuit: Circuit) -> CircuitId {
        let step = CircuitStep::Asked(request.to, Aim::of(&request.name));
        let id = self.node.uplink.connect(request, circuit);
        self.node.note(id, step);
        self.node.uplink.circuit(id)
    }

    /// Calls the peer of a session.
    pub(super) fn call(&mut self, key: Key) {
        self.node.presence.handle_called(self.now, key);
        let Some((to, app)) = self.node.sessions.called(key).map(|(peer, app)| (peer, app.clone())) else { return };
        let Ok(begun) = self.node.handshakes.call(to, &app) else {
            return self.node.fail(self.now, key, Failure::PeerUnauthentic);
        };
        let wait_ms = self.node.meeting.wait_ms(self.now);
        let request = Request { to, name: Name::App(app), wait_ms, early: begun.early };
        let circuit = self.connect(request, Circuit::new(key, Use::Calling(begun.reply)));
        self.node.sessions.set_circuit(key, Some(circuit));
    }

    /// Brings a session a further lane.
    pub(super) fn join(&mut self, key: Key) {
        // One at a time: on a slow path the answer takes longer than the pause between two tries.
        if self.node.uplink.circuits.is_joining(key) {
            return self.node.sessions.postpone_join(self.now, key);
        }
        let suite = Suite::preferred();
        let Some(joining) = self.node.sessions.start_join(self.now, key, suite) else { return };
        let early = further_lane(suite, &joining.first);
        let name = Name::Session(joining.rendezvous);
        let request = Request { to: joining.peer, name, wait_ms: u32::MAX, early };
        let circuit = self.connect(request, Circuit::new(key, Use::Joining(joining.pending)));
        self.node.sessions.set_circuit(key, Some(circuit));
    }

    /// Asks whether the peer of a call is there.
    pub(super) fn ask(&mut self, key: Key) {
        let Some(to) = self.node.sessions.peer(key) else { return };
        let Ok(begun) = self.node.handshakes.ask(to) else { return self.handle_nobody(key) };
        let wait_ms = presence::wait_ms(self.node.meeting.is_hasty());
        let request = Request { to, name: Name::Session(presence::PRESENCE), wait_ms, early: begun.early };
        self.connect(request, Circuit::new(key, Use::Asking(begun.reply)));
    }

    /// Asks those of our key who are there by now whether they receive the application. Later ones ask us.
    pub(super) fn claim(&mut self, claim: Claim) {
        let Ok(begun) = self.node.handshakes.claim(&claim) else { return self.hold(&claim.app) };
        let app = claim.app;
        let to = self.node.handshakes.identity().id();
        let request = Request { to, name: name_of(&app), wait_ms: 0, early: begun.early };
        self.connect(request, Circuit::new(NOBODY, Use::Claiming { app, reply: begun.reply }));
    }

    /// The other side has taken a circuit.
    pub(super) fn handle_opened(&mut self, id: u32, early: &[u8]) {
        if !self.node.uplink.circuits.get(id).is_some_and(Circuit::awaits_opened) {
            return;
        }
        let Some(circuit) = self.node.uplink.circuits.remove(id) else { return };
        self.node.note(id, CircuitStep::Opened);
        let key = circuit.key;
        if matches!(circuit.used_for, Use::Calling(_) | Use::Joining(_)) {
            self.node.limits.forget(key);
        }
        match circuit.used_for {
            Use::Claiming { app, reply } => {
                self.node.uplink.send_reset(id, CloseCode::Done);
                self.handle_sibling(app, *reply, early);
            }
            Use::Asking(reply) => {
                self.node.uplink.send_reset(id, CloseCode::Done);
                self.handle_presence(key, *reply, early);
            }
            Use::Calling(reply) => self.handle_called(id, key, *reply, early),
            Use::Joining(pending) => self.handle_joined(id, key, *pending, early),
            Use::Answering { .. } | Use::Lane { .. } => {}
        }
        self.node.uplink.open_credit(id);
    }

    fn handle_called(&mut self, id: u32, key: Key, reply: ExpectReply, early: &[u8]) {
        match self.node.handshakes.finish_call(reply, early) {
            Ok(finished) => {
                let lane = Use::Lane { lane: 0, prelude: finished.prelude };
                self.node.uplink.circuits.insert(id, Circuit::new(key, lane));
                let beginning =
                    Beginning { role: Role::Initiator, met: finished.met, circuit: self.node.uplink.circuit(id) };
                self.node.sessions.bring_up(self.now, key, beginning);
            }
            Err(why) => {
                if let Failure::WrongKind { .. } = why {
                    self.node.uplink.send_reset(id, CloseCode::Cancelled);
                }
                self.node.fail(self.now, key, why);
            }
        }
    }

    fn handle_joined(&mut self, id: u32, key: Key, pending: PendingJoin, early: &[u8]) {
        let Some(session) = self.node.sessions.session(key) else { return };
        if let Ok(lane) = session.finish_join(self.now, pending, early) {
            let lane = Use::Lane { lane, prelude: Vec::new() };
            self.node.uplink.circuits.insert(id, Circuit::new(key, lane));
            self.node.events.push_back(Event::Resumed { key });
        } else {
            self.node.uplink.send_reset(id, CloseCode::Protocol);
            self.node.sessions.set_circuit(key, None);
        }
    }

    /// Somebody answered, and has proven to be the peer or not.
    fn handle_presence(&mut self, key: Key, reply: ExpectReply, early: &[u8]) {
        if !self.node.handshakes.is_proven(reply, early) {
            return self.handle_nobody(key);
        }
        if !self.node.sessions.contains(key) {
            return;
        }
        self.node.presence.handle_there(key);
        if !self.node.sessions.is_calling(key) {
            return;
        }
        if self.node.meeting.is_hasty() {
            self.node.fail(self.now, key, Failure::NotServed);
        } else {
            self.node.events.push_back(Event::NotServed { key });
        }
    }

    /// Nobody answered, or nobody who may be believed.
    fn handle_nobody(&mut self, key: Key) {
        if self.node.sessions.contains(key) {
            self.node.presence.handle_nobody(key);
        }
        if self.node.meeting.is_hasty() && self.node.sessions.is_calling(key) {
            self.node.fail(self.now, key, Failure::PeerAbsent);
        }
    }

    /// Another process answered, and has proven to have our key or not.
    fn handle_sibling(&mut self, app: AppName, reply: ExpectReply, early: &[u8]) {
        let Some(theirs) = self.node.handshakes.sibling(reply, early) else { return self.hold(&app) };
        let sharing = self.node.siblings.sharing_with(theirs);
        self.share(app.clone(), sharing);
        if sharing != Sharing::Yielded {
            self.hold(&app);
        }
    }

    /// Another process of our key receives the same. Whoever yields ends, like a process that was told to: callers find the
    /// other one.
    pub(super) fn share(&mut self, app: AppName, how: Sharing) {
        if how == Sharing::Yielded {
            self.node.events.push_back(Event::Shared { app, how });
            self.node.sessions.for_each(|session| session.close(CloseCode::GoingAway));
            self.node.give_up(Failure::Yielded);
        } else if self.node.siblings.tell(self.now, &app) {
            self.node.events.push_back(Event::Shared { app, how });
        }
    }

    /// Nobody older objects, or nobody who could be asked.
    fn hold(&mut self, app: &AppName) {
        if self.node.siblings.hold(self.now, app) {
            self.node.names().listen_for(app);
        }
    }

    /// The relay says why a circuit is not there, or not yet. Of one that is there it cannot say that.
    pub(super) fn handle_status(&mut self, id: u32, code: CloseCode) {
        let Some(circuit) = self.node.uplink.circuits.get(id).filter(|circuit| circuit.awaits_opened()) else { return };
        let key = circuit.key;
        if code == CloseCode::Waiting {
            if matches!(circuit.used_for, Use::Calling(_)) {
                self.node.events.push_back(Event::Waiting { key });
                self.node.presence.want(key);
                self.node.limits.forget(key);
            }
            return;
        }
        let Some(circuit) = self.node.uplink.circuits.remove(id) else { return };
        self.node.note(id, CircuitStep::Ended(code));
        match circuit.used_for {
            Use::Claiming { app, .. } => return self.hold(&app),
            Use::Asking(_) => return self.handle_nobody(key),
            _ => self.node.sessions.set_circuit(key, None),
        }
        let is_joining = matches!(circuit.used_for, Use::Joining(_));
        if code != CloseCode::Limit {
            self.node.limits.forget(key);
        }
        match code {
            CloseCode::Limit if is_joining || !self.node.meeting.is_hasty() => self.handle_limit(key),
            CloseCode::NotHere | CloseCode::PeerGone if is_joining => {}
            CloseCode::Done | CloseCode::UnknownSession if is_joining => self.handle_unknown(key),
            // The callee's process went in between: the call stands, the relay parks it.
            CloseCode::PeerGone => self.node.sessions.call_again(self.now, key),
            CloseCode::NotHere if !self.node.meeting.is_hasty() => self.node.sessions.call_again(self.now, key),
            // It is not called again before it is known whether the peer is there, and then it ends.
            CloseCode::NotHere => {
                let circuit = self.node.uplink.circuit(id);
                self.node.sessions.set_circuit(key, Some(circuit));
                if self.node.presence.is_slow(self.now, key) {
                    return self.handle_nobody(key);
                }
                self.node.presence.want(key);
            }
            code => self.node.fail(self.now, key, Failure::RefusedByPeer(code)),
        }
    }

    /// There is no room now, here or there: that may be otherwise later.
    fn handle_limit(&mut self, key: Key) {
        let pause = self.node.limits.pause(key);
        self.node.sessions.postpone(key, self.now + pause);
        if self.node.sessions.is_calling(key) {
            self.node.events.push_back(Event::Limited { key });
        }
    }

    /// The peer knows nothing of the session any more. If this side was about to end it too, then it has ended.
    fn handle_unknown(&mut self, key: Key) {
        if self.node.sessions.session(key).is_some_and(|session| session.is_closing()) {
            self.node.end(self.now, key);
        } else {
            self.node.fail(self.now, key, Failure::SessionGone);
        }
    }

    /// A circuit has ended.
    pub(super) fn handle_ended(&mut self, id: u32, code: CloseCode) {
        let Some(circuit) = self.node.uplink.circuits.remove(id) else { return };
        self.node.note(id, CircuitStep::Ended(code));
        if let Use::Claiming { app, .. } = &circuit.used_for {
            return self.hold(app);
        }
        let key = circuit.key;
        // A refusal by the callee's program: calling again would hear it again.
        let is_refused = code == CloseCode::Refused && matches!(circuit.used_for, Use::Lane { lane: 0, .. });
        if let (CloseCode::Done, Use::Lane { .. }, Some(session)) =
            (code, &circuit.used_for, self.node.sessions.session(key))
        {
            session.handle_forgotten();
        }
        self.handle_lost(id, circuit);
        if is_refused {
            self.node.fail(self.now, key, Failure::RefusedByPeer(code));
        }
    }

    /// A circuit is no more, because it ended or because its link did.
    pub(super) fn handle_lost(&mut self, id: u32, circuit: Circuit) {
        let key = circuit.key;
        let lane = match circuit.used_for {
            Use::Asking(_) => return self.handle_nobody(key),
            Use::Lane { lane, .. } => Some(lane),
            _ => None,
        };
        let circuit = self.node.uplink.circuit(id);
        match self.node.sessions.handle_lost(self.now, LostCircuit { key, circuit, lane }) {
            Loss::None => {}
            Loss::Lane => self.node.events.push_back(Event::Lost { key }),
            Loss::Session => self.node.end(self.now, key),
        }
    }

    /// Bytes of a circuit. An error if it is not one to have so many, or any.
    pub(super) fn handle_bytes(&mut self, id: u32, bytes: &[u8]) -> Result<(), Down> {
        let Some(circuit) = self.node.uplink.circuits.get_mut(id) else { return Ok(()) };
        let count = u32::try_from(bytes.len()).map_err(|_| Down::Damaged)?;
        let grant = circuit.receive(count).map_err(|()| Down::Damaged)?;
        match circuit.used_for {
            Use::Lane { lane, .. } => {
                let from = LaneCircuit { key: circuit.key, circuit: self.node.uplink.circuit(id), lane };
                self.handle_lane_bytes(from, bytes);
            }
            Use::Answering { .. } => self.handle_final(id, bytes),
            Use::Calling(_) | Use::Joining(_) | Use::Asking(_) | Use::Claiming { .. } => return Err(Down::Damaged),
        }
        if let Some(grant) = grant {
            self.node.uplink.send_credit(id, grant);
        }
        Ok(())
    }

    fn handle_lane_bytes(&mut self, from: LaneCircuit, bytes: &[u8]) {
        let heard = self.node.sessions.handle_bytes(self.now, from, bytes);
        if heard.is_resumed {
            self.node.events.push_back(Event::Resumed { key: from.key });
        }
        if heard.is_presentable {
            self.node.announce(self.now, from.key);
        }
    }

    /// The first lane's bytes, until message 3 is whole. What follows it is the lane's.
    fn handle_final(&mut self, id: u32, bytes: &[u8]) {
        let Some(circuit) = self.node.uplink.circuits.get_mut(id) else { return };
        let key = circuit.key;
        let Use::Answering { expect, gathered } = &mut circuit.used_for else { return };
        gathered.extend_from_slice(bytes);
        let Some(prefix) = gathered.first_chunk::<RECORD_PREFIX_BYTES>() else { return };
        let length = usize::from(u16::from_be_bytes(*prefix));
        let end = RECORD_PREFIX_BYTES + length;
        if length <= HANDSHAKE_MESSAGE_MAX && gathered.len() < end {
            return;
        }
        let third = gathered.get(RECORD_PREFIX_BYTES..end).filter(|_| length <= HANDSHAKE_MESSAGE_MAX);
        let finished = expect.take().zip(third).and_then(|(expect, third)| {
            let met = self.node.handshakes.finish_answer(*expect, third)?;
            let (_, app) = self.node.sessions.called(key)?;
            self.node.serving.admits(&met.established.peer, app).then_some(met)
        });
        let Some(met) = finished else {
            self.node.uplink.reset(id, CloseCode::Refused);
            return self.node.end(self.now, key);
        };
        let rest = gathered.split_off(end);
        circuit.used_for = Use::Lane { lane: 0, prelude: Vec::new() };
        let circuit = self.node.uplink.circuit(id);
        let beginning = Beginning { role: Role::Responder, met, circuit };
        if let Some(rendezvous) = self.node.sessions.bring_up(self.now, key, beginning) {
            self.node.uplink.listen(Name::Session(rendezvous));
        }
        self.handle_lane_bytes(LaneCircuit { key, circuit, lane: 0 }, &rest);
    }
}
