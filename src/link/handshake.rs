//! The start of a link: hello and three length-prefixed Noise messages, as two machines over bytes.
//!
//! ```text
//! client ── 'v''p' version suite ‖ u16 ‖ message 1 ──▶ relay
//! client ◀───────────────────────── u16 ‖ message 2 ── relay
//! client ── u16 ‖ message 3 ──▶ relay          then frames, both ways
//! ```
//! Messages 1 and 2 name the features of their end.

use super::{HELLO_BYTES, Link, hello};
use crate::identity::{Card, Identity, PeerId};
use crate::noise::{ExpectFinal, ExpectReply, HandshakeError, Initiator, Purpose, Responder, Suite, Terms};
use crate::wire::Features;
use crate::wire::limits::{HANDSHAKE_MESSAGE_MAX, RECORD_PREFIX_BYTES, VERSION};
use std::fmt;

/// Why a link did not come up. A relay tells nobody which; a client tells its user.
#[derive(Debug)]
pub enum HandshakeFailure {
    /// The bytes are not ours: no hello, or a message beyond its cap.
    NotVp,
    /// The other side speaks another version.
    Version(u8),
    /// A Noise message did not authenticate, or the other side is not who it should be.
    Noise(HandshakeError),
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeFailure::NotVp => f.write_str("the other side does not speak this protocol"),
            HandshakeFailure::Version(version) => write!(f, "the other side speaks version {version} of the protocol"),
            HandshakeFailure::Noise(_) => f.write_str("the other side could not prove to be who it should be"),
        }
    }
}

impl std::error::Error for HandshakeFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HandshakeFailure::Noise(error) => Some(error),
            _ => None,
        }
    }
}

impl From<HandshakeError> for HandshakeFailure {
    fn from(error: HandshakeError) -> HandshakeFailure {
        HandshakeFailure::Noise(error)
    }
}

/// A handshake that reached its end.
pub struct Admitted {
    /// The link, ready for frames.
    pub link: Link,
    /// Who is at the other side: proven.
    pub peer: PeerId,
    /// The other side's card; whether it has expired is for who has a clock.
    pub card: Box<Card>,
    /// Input bytes that belonged to the handshake; the rest are frames.
    pub used: usize,
}

fn prefixed(message: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(message.len()).expect("handshake messages are below 2 KiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
}

fn terms(suite: Suite, caps: &[u8]) -> Terms<'_> {
    Terms { suite, purpose: Purpose::Link, context: &[], caps }
}

/// What both ends can do, where the other one named its features in `caps`.
fn common(ours: &Features, caps: &[u8]) -> Result<Features, HandshakeError> {
    Features::decode(caps).map(|theirs| ours.common(&theirs)).ok_or(HandshakeError::Malformed)
}

/// The message that begins `input`, or None while it is incomplete.
fn message(input: &[u8]) -> Result<Option<(&[u8], usize)>, HandshakeFailure> {
    let Some((prefix, rest)) = input.split_first_chunk::<RECORD_PREFIX_BYTES>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*prefix));
    if length > HANDSHAKE_MESSAGE_MAX {
        return Err(HandshakeFailure::NotVp);
    }
    Ok(rest.get(..length).map(|message| (message, RECORD_PREFIX_BYTES + length)))
}

/// The client's side, waiting for message 2.
pub struct Dial {
    reply: ExpectReply,
    relay: PeerId,
    features: Features,
}

impl Dial {
    /// Starts a link to `relay`: the machine and the first bytes to send.
    pub fn new(identity: &Identity, relay: PeerId) -> Result<(Dial, Vec<u8>), HandshakeFailure> {
        Dial::naming(Features::ours(), identity, relay)
    }

    /// The same with other features than this version has.
    pub(crate) fn naming(
        features: Features,
        identity: &Identity,
        relay: PeerId,
    ) -> Result<(Dial, Vec<u8>), HandshakeFailure> {
        Dial::with(Suite::preferred(), features, identity, relay)
    }

    fn with(
        suite: Suite,
        features: Features,
        identity: &Identity,
        relay: PeerId,
    ) -> Result<(Dial, Vec<u8>), HandshakeFailure> {
        let (reply, first) = Initiator::start(&terms(suite, &features.encode()), identity, relay)?;
        let mut out = hello(suite).to_vec();
        prefixed(&first, &mut out);
        Ok((Dial { reply, relay, features }, out))
    }

    /// Takes all input so far. `Ok(Err(self))` asks for more; otherwise the link, with the bytes to send appended to `out`.
    pub fn handle_bytes(self, input: &[u8], out: &mut Vec<u8>) -> Result<Result<Admitted, Dial>, HandshakeFailure> {
        let Some((second, used)) = message(input)? else { return Ok(Err(self)) };
        let (third, established) = self.reply.finish(second, &[])?;
        let features = common(&self.features, &established.caps)?;
        prefixed(&third, out);
        let link = Link::new(established.sealer, established.opener, features);
        Ok(Ok(Admitted { link, peer: self.relay, card: Box::new(established.card), used }))
    }
}

/// The relay's side.
pub enum Answer {
    /// Waits for hello and message 1, with what the relay can do.
    ExpectHello(Features),
    /// Waits for message 3, with what both can do.
    ExpectFinal(Box<ExpectFinal>, Features),
}

/// What a relay's handshake did with its input.
pub enum Answered {
    /// More input is needed; this much was used.
    More(Answer, usize),
    /// The link is up.
    Admitted(Admitted),
}

impl Answer {
    /// At the start, with all that this version can do.
    pub fn begin() -> Answer {
        Answer::ExpectHello(Features::ours())
    }

    /// Takes input from where the last call's `used` ended; bytes to send are appended to `out`. Nothing is sent before
    /// message 1 is whole and valid, and the reply is never longer than it.
    pub fn handle_bytes(
        self,
        identity: &Identity,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Answered, HandshakeFailure> {
        match self {
            Answer::ExpectHello(ref ours) => {
                let Some((suite, rest)) = Self::hello(input)? else { return Ok(Answered::More(self, 0)) };
                let Some((first, used)) = message(rest)? else { return Ok(Answered::More(self, 0)) };
                let caps = ours.encode();
                let (expect, second) = Responder::accept(&terms(suite, &caps), identity, first)?;
                let features = common(ours, expect.caps())?;
                prefixed(&second, out);
                Ok(Answered::More(Answer::ExpectFinal(Box::new(expect), features), HELLO_BYTES + used))
            }
            Answer::ExpectFinal(expect, features) => {
                let Some((third, used)) = message(input)? else {
                    return Ok(Answered::More(Answer::ExpectFinal(expect, features), 0));
                };
                let established = expect.finish(third)?;
                let link = Link::new(established.sealer, established.opener, features);
                Ok(Answered::Admitted(Admitted {
                    link,
                    peer: established.peer,
                    card: Box::new(established.card),
                    used,
                }))
            }
        }
    }

    fn hello(input: &[u8]) -> Result<Option<(Suite, &[u8])>, HandshakeFailure> {
        let magic = &input[..input.len().min(2)];
        if !b"vp".starts_with(magic) {
            return Err(HandshakeFailure::NotVp);
        }
        let Some((hello, rest)) = input.split_first_chunk::<HELLO_BYTES>() else { return Ok(None) };
        if hello[2] != VERSION {
            return Err(HandshakeFailure::Version(hello[2]));
        }
        let suite = Suite::try_from(hello[3]).map_err(|_| HandshakeFailure::NotVp)?;
        Ok(Some((suite, rest)))
    }
}

/// Fuzz entry: any bytes at a relay's open port.
#[cfg(feature = "fuzzing")]
pub fn fuzz_answer(identity: &Identity, bytes: &[u8]) {
    let mut out = Vec::new();
    if let Ok(Answered::More(answer, used)) = Answer::begin().handle_bytes(identity, bytes, &mut out) {
        assert!(out.len() <= used, "a reply is never longer than the request");
        let _ = answer.handle_bytes(identity, &bytes[used..], &mut out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::*;
    use crate::wire::Control;
    use crate::wire::control::UNKNOWN;
    use proptest::prelude::*;

    fn more(answered: Answered) -> (Answer, usize) {
        match answered {
            Answered::More(answer, used) => (answer, used),
            Answered::Admitted(_) => panic!("not yet"),
        }
    }

    fn control(from: &mut Link, to: &mut Link, message: &Control) {
        let mut out = Vec::new();
        from.control(message, &mut out).expect("it fits");
        let mut at = 0;
        while at < out.len() {
            let (used, frame) = to.advance(&out[at..]).expect("own bytes");
            at += used;
            if let Frame::Control(read) = frame {
                assert_eq!((at, &read), (out.len(), message));
                return;
            }
            assert!(used > 0, "the message did not come through");
        }
        panic!("no message came through");
    }

    #[test]
    fn a_link_comes_up_with_either_suite() {
        let [me, relay] = [1, 2].map(|byte| Identity::from_seed(&[byte; 32]));
        for (suite, number) in [(Suite::AesGcm, 1), (Suite::ChaChaPoly, 2)] {
            let (dial, first) = Dial::with(suite, Features::ours(), &me, relay.id()).expect("starts");
            assert_eq!(first[..4], [b'v', b'p', VERSION, number]);
            let mut second = Vec::new();
            let (waits, used) = more(Answer::begin().handle_bytes(&relay, &first[..100], &mut second).expect("half"));
            assert_eq!((used, second.len()), (0, 0), "nothing is said before message 1 is whole");
            let (answer, used) = more(waits.handle_bytes(&relay, &first, &mut second).expect("message 1"));
            assert_eq!(used, first.len());
            let mut third = Vec::new();
            let client = dial.handle_bytes(&second, &mut third).expect("message 2").ok().expect("whole");
            let Ok(Answered::Admitted(admitted)) = answer.handle_bytes(&relay, &third, &mut Vec::new()) else {
                panic!("not admitted")
            };
            assert_eq!((admitted.peer, client.peer, admitted.used), (me.id(), relay.id(), third.len()));
            let (mut here, mut there) = (client.link, admitted.link);
            control(&mut here, &mut there, &Control::Bye { code: 6 });
            control(&mut there, &mut here, &Control::Welcome { circuits: 7 });
        }
    }

    /// Both ends of a link, of which each names these features; the client's first.
    fn link(client: &Features, relay: &Features) -> (Link, Link) {
        let [me, them] = [1, 2].map(|byte| Identity::from_seed(&[byte; 32]));
        let (dial, first) = Dial::naming(client.clone(), &me, them.id()).expect("starts");
        let (mut second, mut third) = (Vec::new(), Vec::new());
        let (answer, _) =
            more(Answer::ExpectHello(relay.clone()).handle_bytes(&them, &first, &mut second).expect("message 1"));
        let client = dial.handle_bytes(&second, &mut third).expect("message 2").ok().expect("whole");
        let Ok(Answered::Admitted(admitted)) = answer.handle_bytes(&them, &third, &mut Vec::new()) else {
            panic!("not admitted")
        };
        (client.link, admitted.link)
    }

    fn ends() -> (Link, Link) {
        link(&Features::ours(), &Features::ours())
    }

    fn common_of(client: &Features, relay: &Features) -> [Features; 2] {
        let (client, relay) = link(client, relay);
        [client, relay].map(|end| end.features().clone())
    }

    #[test]
    fn both_ends_of_a_link_know_what_both_can_do() {
        let all = Features::of(&[1, 2, 0x7fff, 0xff00]);
        assert_eq!(common_of(&all, &all), [all.clone(), all.clone()]);
        assert_eq!(common_of(&all, &Features::NONE), [Features::NONE; 2], "an older relay");
        assert_eq!(common_of(&Features::NONE, &all), [Features::NONE; 2], "an older client");
        for number in all.numbers() {
            let less = all.without(*number);
            assert_eq!(common_of(&all, &less), [less.clone(), less.clone()]);
            assert_eq!(common_of(&less, &all), [less.clone(), less]);
        }
    }

    #[test]
    fn features_that_are_none_end_the_handshake_before_anything_is_said() {
        let [me, relay] = [1, 2].map(|byte| Identity::from_seed(&[byte; 32]));
        let suite = Suite::preferred();
        for caps in [&[1][..], &[2, 0, 1, 0], &[0; 2]] {
            let (reply, first) = Initiator::start(&terms(suite, caps), &me, relay.id()).expect("starts");
            let (mut flight, mut said) = (hello(suite).to_vec(), Vec::new());
            prefixed(&first, &mut flight);
            let failure = Answer::begin().handle_bytes(&relay, &flight, &mut said).err();
            assert!(matches!(failure, Some(HandshakeFailure::Noise(HandshakeError::Malformed))), "{caps:?}");
            assert!(said.is_empty(), "the relay says nothing");
            drop(reply);

            let (dial, first) = Dial::new(&me, relay.id()).expect("starts");
            let accepted = Responder::accept(&terms(suite, caps), &relay, &first[HELLO_BYTES + 2..]);
            let mut answer = Vec::new();
            prefixed(&accepted.expect("message 1").1, &mut answer);
            let failure = dial.handle_bytes(&answer, &mut said).err();
            assert!(matches!(failure, Some(HandshakeFailure::Noise(HandshakeError::Malformed))), "{caps:?}");
            assert!(said.is_empty(), "the client says nothing");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn control_messages_of_later_versions_leave_the_others_as_they_are(
            unknown in proptest::collection::vec((UNKNOWN, proptest::collection::vec(any::<u8>(), 0..300)), 1..8),
            step in prop_oneof![Just(1_usize), 1_usize..500],
        ) {
            let (mut here, mut there) = ends();
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            for (nth, (number, body)) in (0..).zip(unknown) {
                here.control(&Control::Unknown { number, body }, &mut out).expect("it fits");
                expected.push(Control::Bye { code: nth });
                here.control(&Control::Bye { code: nth }, &mut out).expect("it fits");
            }
            let (mut found, mut waits) = (Vec::new(), Vec::new());
            for piece in out.chunks(step) {
                waits.extend_from_slice(piece);
                loop {
                    let (used, frame) = there.advance(&waits).expect("own bytes");
                    waits.drain(..used);
                    match frame {
                        Frame::Control(message) => found.push(message),
                        Frame::Nothing if used == 0 => break,
                        Frame::Nothing => {}
                        other => panic!("nobody said {other:?}"),
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_hello_cannot_be_turned_into_one_of_the_other_suite() {
        let [me, relay] = [1, 2].map(|byte| Identity::from_seed(&[byte; 32]));
        let (_, first) = Dial::with(Suite::ChaChaPoly, Features::ours(), &me, relay.id()).expect("starts");
        for number in [0, 1, 3, 255] {
            let mut changed = first.clone();
            changed[3] = number;
            let mut said = Vec::new();
            let failure = Answer::begin().handle_bytes(&relay, &changed, &mut said).err().expect("refused");
            assert_eq!(matches!(failure, HandshakeFailure::Noise(_)), number == 1, "{number}: {failure}");
            assert!(said.is_empty());
        }
    }
}
