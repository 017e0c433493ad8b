//! What a node answers to who calls it: by an application's name, by a session's, or with a question.

use super::circuits::{Circuit, Use};
use super::handshakes::{ClaimHello, Early};
use super::presence::PRESENCE;
use super::settling::Settling;
use super::siblings::is_siblings;
use super::{Aim, CircuitStep, Event, Node};
use crate::identity::PeerId;
use crate::lane::JoinRefused;
use crate::names::AppName;
use crate::wire::limits::HANDSHAKE_DEADLINE;
use crate::wire::{CloseCode, Control, Name};
use std::time::Instant;

/// A circuit that somebody, by the relay's word, asks for.
pub(super) struct Incoming<'n> {
    pub node: &'n mut Node,
    pub now: Instant,
    pub circuit: u32,
    pub from: PeerId,
}

impl Incoming<'_> {
    /// Takes it or refuses it.
    pub(super) fn answer(mut self, name: Name, early: &[u8]) {
        let (circuit, from, aim) = (self.circuit, self.from, Aim::of(&name));
        let early = Early::parse(early);
        let answer = match name {
            Name::Session(PRESENCE) => self.answer_presence(early),
            Name::Session(name) if is_siblings(&name) => self.answer_claim(early),
            Name::App(app) => self.answer_call(app, early),
            Name::Session(rendezvous) => self.answer_join(rendezvous, early),
        };
        self.node.note(circuit, CircuitStep::Came(from, aim, answer.as_ref().err().copied()));
        let all_is_said = answer.is_ok() && early.is_some_and(Early::is_question);
        self.node.uplink.send(&match answer {
            Ok(early) => Control::Accept { circuit, early },
            Err(code) => Control::Reject { circuit, code: code.to_wire() },
        });
        if all_is_said {
            self.node.uplink.send_reset(circuit, CloseCode::Done);
        }
        self.node.uplink.open_credit(circuit);
    }

    // Whether we have to do with whoever asks comes first, and what he says second: who may not call hears what he would hear of
    // an absent peer, whatever it was.

    fn answer_call(&mut self, app: AppName, early: Option<Early<'_>>) -> Result<Vec<u8>, CloseCode> {
        let node = &mut *self.node;
        if !node.serving.hears(&app) {
            return Err(CloseCode::NotHere);
        }
        if !node.serving.admits(&self.from, &app) {
            node.events.push_back(Event::TurnedAway { peer: self.from, app });
            return Err(CloseCode::NotHere);
        }
        if !node.has_room_for(&self.from) {
            node.unheard.turn_back(self.from);
            return Err(CloseCode::NotHere);
        }
        let Some(Early::FirstLane(hello)) = early else { return Err(CloseCode::Protocol) };
        let answered = node.handshakes.answer_call(&app, hello)?;
        let key = node.sessions.answer(self.from, app, self.now + HANDSHAKE_DEADLINE);
        let state = Use::Answering { expect: Some(answered.expect), gathered: Vec::new() };
        node.uplink.circuits.insert(self.circuit, Circuit::new(key, state));
        Ok(answered.second)
    }

    fn answer_join(&mut self, rendezvous: [u8; 16], early: Option<Early<'_>>) -> Result<Vec<u8>, CloseCode> {
        let sessions = &mut self.node.sessions;
        let found = sessions.named(rendezvous);
        if found.is_some_and(|key| sessions.peer(key) != Some(self.from)) {
            return Err(CloseCode::NotHere);
        }
        let Some(Early::FurtherLane(hello)) = early else { return Err(CloseCode::Protocol) };
        let suite = hello.suite()?;
        let Some((key, session)) = found.and_then(|key| Some((key, sessions.session(key)?))) else {
            let has_ended = self.node.sessions.has_ended(rendezvous);
            return Err(if has_ended { CloseCode::Done } else { CloseCode::UnknownSession });
        };
        let answer = session.answer_join(self.now, suite, hello.message).map_err(|refused| match refused {
            JoinRefused::Unauthentic => CloseCode::UnknownSession,
            // The caller tries again with a new one.
            JoinRefused::Stale => CloseCode::PeerGone,
        })?;
        let state = Use::Lane { lane: answer.lane, prelude: Vec::new() };
        self.node.uplink.circuits.insert(self.circuit, Circuit::new(key, state));
        // The lanes that this one replaces end first.
        Settling { node: self.node, now: self.now }.settle_session(key);
        Ok(answer.message)
    }

    /// Somebody asks whether we are here. Nothing is kept of it.
    fn answer_presence(&mut self, early: Option<Early<'_>>) -> Result<Vec<u8>, CloseCode> {
        let node = &*self.node;
        let is_heard = || node.serving.admits_at_all(&self.from) && node.has_room_for(&self.from);
        let is_friend = || node.sessions.is_called(&self.from) || is_heard();
        if !node.serving.shows_presence() || !is_friend() {
            return Err(CloseCode::NotHere);
        }
        let Some(Early::Ask(hello)) = early else { return Err(CloseCode::Protocol) };
        node.handshakes.answer_ask(hello)
    }

    /// Another process of our key asks. Our own link gets the question too, and those that listen for something else: they are
    /// not here, so that it goes to the next.
    fn answer_claim(&mut self, early: Option<Early<'_>>) -> Result<Vec<u8>, CloseCode> {
        let node = &mut *self.node;
        if self.from != node.handshakes.identity().id() || node.meeting.is_over() {
            return Err(CloseCode::NotHere);
        }
        let Some(Early::Claim(hello)) = early else { return Err(CloseCode::Protocol) };
        let (theirs, hello) = ClaimHello::parse(hello)?;
        let verdict = node.siblings.judge(self.now, &theirs).ok_or(CloseCode::NotHere)?;
        let second = node.handshakes.answer_claim(hello, verdict.ours)?;
        node.calls(self.now).share(theirs.app, verdict.sharing);
        Ok(second)
    }
}
