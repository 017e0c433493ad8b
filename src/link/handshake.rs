//! The start of a link: hello and three length-prefixed Noise messages, as two machines over bytes.
//!
//! ```text
//! client ── 'v''p' version suite ‖ u16 ‖ message 1 ──▶ relay
//! client ◀───────────────────────── u16 ‖ message 2 ── relay
//! client ── u16 ‖ message 3 ──▶ relay          then frames, both ways
//! ```

use super::{HELLO_BYTES, Link, hello};
use crate::identity::{Card, Identity, PeerId};
use crate::noise::{ExpectFinal, ExpectReply, HandshakeError, Initiator, Purpose, Responder, Suite};
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
}

impl Dial {
    /// Starts a link to `relay`: the machine and the first bytes to send.
    pub fn new(identity: &Identity, relay: PeerId) -> Result<(Dial, Vec<u8>), HandshakeFailure> {
        Dial::with(Suite::preferred(), identity, relay)
    }

    fn with(suite: Suite, identity: &Identity, relay: PeerId) -> Result<(Dial, Vec<u8>), HandshakeFailure> {
        let (reply, first) = Initiator::start(suite, Purpose::Link, identity, relay, &[], &[])?;
        let mut out = hello(suite).to_vec();
        prefixed(&first, &mut out);
        Ok((Dial { reply, relay }, out))
    }

    /// Takes all input so far. `Ok(Err(self))` asks for more; otherwise the link, with the bytes to send appended to `out`.
    pub fn handle_bytes(self, input: &[u8], out: &mut Vec<u8>) -> Result<Result<Admitted, Dial>, HandshakeFailure> {
        let Some((second, used)) = message(input)? else { return Ok(Err(self)) };
        let (third, established) = self.reply.finish(second, &[])?;
        prefixed(&third, out);
        let link = Link::new(established.sealer, established.opener);
        Ok(Ok(Admitted { link, peer: self.relay, card: Box::new(established.card), used }))
    }
}

/// The relay's side.
pub enum Answer {
    /// Waits for hello and message 1.
    ExpectHello,
    /// Waits for message 3.
    ExpectFinal(Box<ExpectFinal>),
}

/// What a relay's handshake did with its input.
pub enum Answered {
    /// More input is needed; this much was used.
    More(Answer, usize),
    /// The link is up.
    Admitted(Admitted),
}

impl Answer {
    /// Takes input from where the last call's `used` ended; bytes to send are appended to `out`. Nothing is sent before
    /// message 1 is whole and valid, and the reply is never longer than it.
    pub fn handle_bytes(
        self,
        identity: &Identity,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Answered, HandshakeFailure> {
        match self {
            Answer::ExpectHello => {
                let Some((suite, rest)) = Self::hello(input)? else { return Ok(Answered::More(self, 0)) };
                let Some((first, used)) = message(rest)? else { return Ok(Answered::More(self, 0)) };
                let (expect, second) = Responder::accept(suite, Purpose::Link, identity, &[], first, &[])?;
                prefixed(&second, out);
                Ok(Answered::More(Answer::ExpectFinal(Box::new(expect)), HELLO_BYTES + used))
            }
            Answer::ExpectFinal(expect) => {
                let Some((third, used)) = message(input)? else {
                    return Ok(Answered::More(Answer::ExpectFinal(expect), 0));
                };
                let established = expect.finish(third)?;
                let link = Link::new(established.sealer, established.opener);
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
    if let Ok(Answered::More(answer, used)) = Answer::ExpectHello.handle_bytes(identity, bytes, &mut out) {
        assert!(out.len() <= used, "a reply is never longer than the request");
        let _ = answer.handle_bytes(identity, &bytes[used..], &mut out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::*;
    use crate::wire::Control;

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
            let (dial, first) = Dial::with(suite, &me, relay.id()).expect("starts");
            assert_eq!(first[..4], [b'v', b'p', VERSION, number]);
            let mut second = Vec::new();
            let (waits, used) =
                more(Answer::ExpectHello.handle_bytes(&relay, &first[..100], &mut second).expect("half"));
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

    #[test]
    fn a_hello_cannot_be_turned_into_one_of_the_other_suite() {
        let [me, relay] = [1, 2].map(|byte| Identity::from_seed(&[byte; 32]));
        let (_, first) = Dial::with(Suite::ChaChaPoly, &me, relay.id()).expect("starts");
        for number in [0, 1, 3, 255] {
            let mut changed = first.clone();
            changed[3] = number;
            let mut said = Vec::new();
            let failure = Answer::ExpectHello.handle_bytes(&relay, &changed, &mut said).err().expect("refused");
            assert_eq!(matches!(failure, HandshakeFailure::Noise(_)), number == 1, "{number}: {failure}");
            assert!(said.is_empty());
        }
    }
}
