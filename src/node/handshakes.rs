//! The session handshakes that a node takes part in, and the early bytes that carry their first two messages.
//!
//! ```text
//! early bytes of CONNECT:  kind u8 (1 first lane, 2 further lane, 3 presence, 4 claim) ‖ suite u8 ‖ handshake message 1
//! early bytes of ACCEPT:   handshake message 2
//! first bytes of the circuit, from the caller of a first lane:  length u16 ‖ handshake message 3
//! ```
//! Message 1 names the features of the caller, message 2 for a first lane the callee's kind and its features.

use super::claim::Claim;
use super::{Failure, Kind};
use crate::identity::{Card, Identity, PeerId};
use crate::names::AppName;
use crate::noise::{Established, ExpectFinal, ExpectReply, HandshakeError, Initiator, MESSAGE_1_BYTES, Purpose};
use crate::noise::{Responder, Suite, Terms};
use crate::wire::{CloseCode, Features};

const FIRST_LANE: u8 = 1;
const FURTHER_LANE: u8 = 2;
const ASK: u8 = 3;
const CLAIM: u8 = 4;

/// Message 1, as a caller sent it.
#[derive(Clone, Copy)]
pub(super) struct Hello<'a> {
    suite: u8,
    pub message: &'a [u8],
}

impl Hello<'_> {
    pub(super) fn suite(self) -> Result<Suite, CloseCode> {
        Suite::try_from(self.suite).map_err(|_| CloseCode::Protocol)
    }
}

/// The early bytes of a CONNECT.
#[derive(Clone, Copy)]
pub(super) enum Early<'a> {
    FirstLane(Hello<'a>),
    FurtherLane(Hello<'a>),
    Ask(Hello<'a>),
    /// The claim stands behind message 1.
    Claim(Hello<'a>),
}

impl<'a> Early<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Early<'a>> {
        let [kind, suite, message @ ..] = bytes else { return None };
        let hello = Hello { suite: *suite, message };
        match *kind {
            FIRST_LANE => Some(Early::FirstLane(hello)),
            FURTHER_LANE => Some(Early::FurtherLane(hello)),
            ASK => Some(Early::Ask(hello)),
            CLAIM => Some(Early::Claim(hello)),
            _ => None,
        }
    }

    /// Whether the answer is all that is wanted: no circuit follows.
    pub(super) fn is_question(self) -> bool {
        matches!(self, Early::Ask(_) | Early::Claim(_))
    }
}

fn terms<'a>(suite: Suite, context: &'a [u8], caps: &'a [u8]) -> Terms<'a> {
    Terms { suite, purpose: Purpose::Session, context, caps }
}

fn early(kind: u8, suite: Suite, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, suite.number()];
    bytes.extend_from_slice(message);
    bytes
}

/// The early bytes with which a further lane is asked for.
pub(super) fn further_lane(suite: Suite, message: &[u8]) -> Vec<u8> {
    early(FURTHER_LANE, suite, message)
}

/// A handshake that we began: what goes out, and what takes the answer.
pub(super) struct Begun {
    pub early: Vec<u8>,
    pub reply: Box<ExpectReply>,
}

/// A handshake that we answered: message 2, and what takes message 3.
pub(super) struct Answered {
    pub second: Vec<u8>,
    pub expect: Box<ExpectFinal>,
}

/// What a handshake came to: the other end, proven, and what both can do.
pub(super) struct Met {
    pub established: Established,
    pub features: Features,
}

/// A call that was taken: the first bytes of its circuit, and what the session is made of.
pub(super) struct Finished {
    pub prelude: Vec<u8>,
    pub met: Met,
}

/// What a process says of itself where others ask who receives the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether it has received it for longer.
    pub is_older: bool,
    /// Whether it means to be the only one.
    pub exclusive: bool,
}

impl Standing {
    fn encode(self) -> [u8; 2] {
        [u8::from(self.is_older), u8::from(self.exclusive)]
    }

    fn decode(caps: &[u8]) -> Standing {
        match caps {
            [older, exclusive, ..] => Standing { is_older: *older == 1, exclusive: *exclusive == 1 },
            _ => Standing { is_older: false, exclusive: false },
        }
    }
}

/// Who we are in every handshake, and until when others are believed.
pub(super) struct Handshakes {
    identity: Identity,
    kind: Kind,
    features: Features,
    /// Unix time. A driver that does not say takes every card.
    seconds: Option<u64>,
}

impl Handshakes {
    pub(super) fn new(identity: Identity, kind: Kind) -> Handshakes {
        Handshakes { identity, kind, features: Features::ours(), seconds: None }
    }

    /// Names other features than this version has.
    #[cfg(any(test, feature = "canaries"))]
    pub(super) fn set_features(&mut self, features: Features) {
        self.features = features;
    }

    pub(super) fn features(&self) -> &Features {
        &self.features
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Cards that have ended by then are refused from now on.
    pub(super) fn handle_clock(&mut self, unix_seconds: u64) {
        self.seconds = Some(unix_seconds);
    }

    pub(super) fn has_passed(&self, card: &Card) -> bool {
        self.seconds.is_some_and(|seconds| card.is_expired(seconds))
    }

    fn begin(&self, kind: u8, to: PeerId, context: &[u8]) -> Result<Begun, HandshakeError> {
        let suite = Suite::preferred();
        let caps = self.features.encode();
        let (reply, first) = Initiator::start(&terms(suite, context, &caps), &self.identity, to)?;
        Ok(Begun { early: early(kind, suite, &first), reply: Box::new(reply) })
    }

    fn answer(&self, hello: Hello<'_>, context: &[u8], caps: &[u8]) -> Result<Answered, CloseCode> {
        let answer = Responder::accept(&terms(hello.suite()?, context, caps), &self.identity, hello.message);
        let (expect, second) = answer.map_err(|_| CloseCode::Refused)?;
        Features::decode(expect.caps()).ok_or(CloseCode::Refused)?;
        Ok(Answered { second, expect: Box::new(expect) })
    }

    /// Calls an application of a peer.
    pub(super) fn call(&self, peer: PeerId, app: &AppName) -> Result<Begun, HandshakeError> {
        self.begin(FIRST_LANE, peer, app.as_str().as_bytes())
    }

    pub(super) fn answer_call(&self, app: &AppName, hello: Hello<'_>) -> Result<Answered, CloseCode> {
        self.answer(hello, app.as_str().as_bytes(), &self.kind.caps(&self.features))
    }

    /// The callee's answer. An error is why it is not what we call for.
    pub(super) fn finish_call(&self, reply: ExpectReply, early: &[u8]) -> Result<Finished, Failure> {
        let (third, established) = reply.finish(early, &[]).map_err(|_| Failure::PeerUnauthentic)?;
        let (theirs, features) = Kind::of_caps(&established.caps).ok_or(Failure::PeerUnauthentic)?;
        if let Some(theirs) = theirs.filter(|theirs| !self.kind.goes_with(*theirs)) {
            return Err(Failure::WrongKind { ours: self.kind, theirs });
        }
        if self.has_passed(&established.card) {
            return Err(Failure::PeerUnauthentic);
        }
        let features = self.features.common(&features);
        let length = u16::try_from(third.len()).expect("handshake messages are below 2 KiB");
        let prelude = [&length.to_be_bytes()[..], &third].concat();
        Ok(Finished { prelude, met: Met { established, features } })
    }

    /// The caller's last message. Nothing if the caller could not prove who it is.
    pub(super) fn finish_answer(&self, expect: ExpectFinal, third: &[u8]) -> Option<Met> {
        let established = expect.finish(third).ok().filter(|established| !self.has_passed(&established.card))?;
        let features = self.features.common(&Features::decode(&established.caps)?);
        Some(Met { established, features })
    }

    /// Asks whether a peer is there.
    pub(super) fn ask(&self, peer: PeerId) -> Result<Begun, HandshakeError> {
        self.begin(ASK, peer, &[])
    }

    pub(super) fn answer_ask(&self, hello: Hello<'_>) -> Result<Vec<u8>, CloseCode> {
        self.answer(hello, &[], &[]).map(|answered| answered.second)
    }

    /// Asks whether another process of our key receives the same.
    pub(super) fn claim(&self, claim: &Claim) -> Result<Begun, HandshakeError> {
        let context = claim.encode();
        let mut begun = self.begin(CLAIM, self.identity.id(), &context)?;
        begun.early.extend_from_slice(&context);
        Ok(begun)
    }

    pub(super) fn answer_claim(&self, claim: ClaimHello<'_>, ours: Standing) -> Result<Vec<u8>, CloseCode> {
        self.answer(claim.hello, claim.context, &ours.encode()).map(|answered| answered.second)
    }

    /// Whether this is the peer's answer to a question.
    pub(super) fn is_proven(&self, reply: ExpectReply, early: &[u8]) -> bool {
        self.proven(reply, early).is_some()
    }

    /// What the process that answered says of itself, if it has our key.
    pub(super) fn sibling(&self, reply: ExpectReply, early: &[u8]) -> Option<Standing> {
        self.proven(reply, early).map(|proven| Standing::decode(&proven.caps))
    }

    fn proven(&self, reply: ExpectReply, early: &[u8]) -> Option<Established> {
        let (_, established) = reply.finish(early, &[]).ok()?;
        Some(established).filter(|established| !self.has_passed(&established.card))
    }
}

/// A claim as it came: message 1, and behind it what it vouches for.
#[derive(Clone, Copy)]
pub(super) struct ClaimHello<'a> {
    hello: Hello<'a>,
    context: &'a [u8],
}

impl<'a> ClaimHello<'a> {
    /// The claim, and what remains to be answered.
    pub(super) fn parse(hello: Hello<'a>) -> Result<(Claim, ClaimHello<'a>), CloseCode> {
        let (message, context) = hello.message.split_at_checked(MESSAGE_1_BYTES).ok_or(CloseCode::Protocol)?;
        let claim = Claim::decode(context).ok_or(CloseCode::Protocol)?;
        Ok((claim, ClaimHello { hello: Hello { message, ..hello }, context }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshakes(byte: u8, kind: Kind) -> Handshakes {
        Handshakes::new(Identity::from_seed(&[byte; 32]), kind)
    }

    fn app() -> AppName {
        "x".parse().expect("a name")
    }

    /// How a call of one ends where the other answers.
    fn call(caller: &Handshakes, callee: &Handshakes) -> Result<Finished, Failure> {
        let begun = caller.call(callee.identity().id(), &app()).expect("it begins");
        let Some(Early::FirstLane(hello)) = Early::parse(&begun.early) else { panic!("not a first lane") };
        let answered = callee.answer_call(&app(), hello).expect("it answers");
        let finished = caller.finish_call(*begun.reply, &answered.second)?;
        let (length, third) = finished.prelude.split_first_chunk().expect("a length");
        assert_eq!(usize::from(u16::from_be_bytes(*length)), third.len());
        let theirs = callee.finish_answer(*answered.expect, third).expect("the caller proves who it is");
        assert_eq!(theirs.established.peer, caller.identity().id());
        assert_eq!(theirs.established.export, finished.met.established.export);
        assert_eq!(theirs.features, finished.met.features, "both know what both can do");
        Ok(finished)
    }

    #[test]
    fn a_call_tells_both_ends_who_the_other_is() {
        let (caller, callee) = (handshakes(1, Kind::Pipe), handshakes(2, Kind::Pipe));
        assert_eq!(call(&caller, &callee).expect("they meet").met.established.peer, callee.identity().id());
    }

    #[test]
    fn both_ends_of_a_session_know_what_both_can_do() {
        let all = Features::of(&[1, 2, 0xff00]);
        let versions = [all.clone(), Features::NONE, all.without(1), all.without(2), all.without(0xff00)];
        for (ours, theirs) in versions.iter().flat_map(|ours| versions.iter().map(move |theirs| (ours, theirs))) {
            let (mut caller, mut callee) = (handshakes(1, Kind::Pipe), handshakes(2, Kind::Ports));
            caller.set_features(ours.clone());
            callee.set_features(theirs.clone());
            assert_eq!(call(&caller, &callee).expect("they meet").met.features, ours.common(theirs));
        }
    }

    #[test]
    fn features_that_are_none_end_a_call_as_if_it_had_not_opened() {
        let (caller, callee) = (handshakes(1, Kind::Pipe), handshakes(2, Kind::Pipe));
        let (suite, app) = (Suite::preferred(), app());
        let context = app.as_str().as_bytes();
        for bad in [&[7][..], &[2, 0, 1, 0], &[0, 0]] {
            let them = callee.identity().id();
            let begun = Initiator::start(&terms(suite, context, bad), caller.identity(), them).expect("it begins");
            let hello = Hello { suite: suite.number(), message: &begun.1 };
            assert_eq!(callee.answer_call(&app, hello).err(), Some(CloseCode::Refused), "{bad:?}");
            assert_eq!(callee.answer_ask(hello).err(), Some(CloseCode::Refused), "{bad:?}");

            let begun = caller.call(them, &app).expect("it begins");
            let caps = [&[Kind::Pipe as u8], bad].concat();
            let message = &begun.early[2..];
            let answer = Responder::accept(&terms(suite, context, &caps), callee.identity(), message);
            let (_, second) = answer.expect("it answers");
            assert_eq!(caller.finish_call(*begun.reply, &second).err(), Some(Failure::PeerUnauthentic), "{bad:?}");
        }
    }

    #[test]
    fn a_call_of_another_kind_ends_before_a_byte_crosses() {
        let (caller, callee) = (handshakes(1, Kind::Pipe), handshakes(2, Kind::Transfer));
        let expected = Failure::WrongKind { ours: Kind::Pipe, theirs: Kind::Transfer };
        assert_eq!(call(&caller, &callee).err(), Some(expected));
    }

    #[test]
    fn an_answer_to_a_question_is_proof_only_from_who_was_asked() {
        let (one, other, third) = (handshakes(1, Kind::Pipe), handshakes(2, Kind::Pipe), handshakes(3, Kind::Pipe));
        for (who, proven) in [(&other, true), (&third, false)] {
            let begun = one.ask(other.identity().id()).expect("it begins");
            let Some(Early::Ask(hello)) = Early::parse(&begun.early) else { panic!("not a question") };
            let answer = who.answer_ask(hello).unwrap_or_default();
            assert_eq!(one.is_proven(*begun.reply, &answer), proven);
        }
    }

    #[test]
    fn a_claim_comes_as_it_was_made_and_so_does_its_answer() {
        let one = handshakes(1, Kind::Transfer);
        let claim = Claim { number: 7, held: 9, exclusive: true, app: app() };
        for is_older in [false, true] {
            let ours = Standing { is_older, exclusive: !is_older };
            let begun = one.claim(&claim).expect("it begins");
            let Some(Early::Claim(hello)) = Early::parse(&begun.early) else { panic!("not a claim") };
            let (came, hello) = ClaimHello::parse(hello).expect("a claim");
            assert_eq!(came, claim);
            let second = one.answer_claim(hello, ours).expect("it answers");
            assert_eq!(one.sibling(*begun.reply, &second), Some(ours));
        }
    }

    #[test]
    fn bytes_that_begin_like_nothing_known_are_nothing() {
        for bytes in [&[][..], &[1], &[0, 1, 2], &[5, 1, 2]] {
            assert!(Early::parse(bytes).is_none(), "{bytes:?}");
        }
    }
}
