//! Joining a further lane to a session: Noise `NNpsk0`, with a psk from the session's export secret.
//!
//! One message each way. Both payloads are sealed under the psk. **Message 1 can be replayed** by whoever carried it:
//! that [`JoinResponder::accept`] succeeds shows that a member of the session once made these bytes, not that one is
//! there now. Reply, and touch no state until the first sealed message of the initiator opens. Message 2 proves its
//! sender at once, because it answers a fresh key.

use std::fmt;

use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use crate::identity::PeerId;

use super::aead::TAG_BYTES;
use super::error::{HandshakeError, Part};
use super::fresh::{Fresh, System};
use super::handshake::{opaque, read, write};
use super::payload::HANDSHAKE_MESSAGE_MAX;
use super::sealed::{Opener, Sealer, split};
use super::suite::{Purpose, Suite, prologue};

/// Longest payload of either message: what a page leaves beside the key and the tag.
pub(crate) const JOIN_PAYLOAD_MAX: usize = HANDSHAKE_MESSAGE_MAX - 32 - TAG_BYTES;

/// The session that a lane joins, and the ciphers of that lane.
pub(super) struct Session<'a> {
    pub suite: Suite,
    pub psk: &'a [u8; 32],
    pub context: &'a [u8],
}

/// Begins a join.
#[derive(Debug)]
pub struct JoinInitiator;

/// Answers a join.
#[derive(Debug)]
pub struct JoinResponder;

/// The initiator, which has sent message 1.
pub struct ExpectJoinReply {
    suite: Suite,
    noise: HandshakeState,
}

/// The responder, which has read message 1 and may look at its payload before it answers.
pub struct JoinReady {
    suite: Suite,
    noise: HandshakeState,
}

impl JoinInitiator {
    /// Makes message 1 with `payload` in it.
    ///
    /// # Errors
    /// [`HandshakeError::TooLong`] for `context` (65,535 bytes) or `payload` (`JOIN_PAYLOAD_MAX`).
    pub fn start(
        suite: Suite,
        psk: &[u8; 32],
        context: &[u8],
        payload: &[u8],
    ) -> Result<(ExpectJoinReply, Vec<u8>), HandshakeError> {
        start_with(&System, &Session { suite, psk, context }, payload)
    }
}

/// [`JoinInitiator::start`] with a source of fresh values.
pub(super) fn start_with(
    fresh: &impl Fresh,
    session: &Session<'_>,
    payload: &[u8],
) -> Result<(ExpectJoinReply, Vec<u8>), HandshakeError> {
    let &Session { suite, psk, context } = session;
    let prologue = join_prologue(suite, context)?;
    let mut noise = builder(fresh, suite, psk, &prologue)?.build_initiator().map_err(opaque)?;
    let message = write_payload(&mut noise, payload)?;
    Ok((ExpectJoinReply { suite, noise }, message))
}

impl ExpectJoinReply {
    /// Takes message 2: its payload and the channel. The responder is a member of the session, here and now.
    ///
    /// # Errors
    /// [`HandshakeError::Unauthentic`].
    pub fn finish(mut self, message: &[u8]) -> Result<(Vec<u8>, Sealer, Opener), HandshakeError> {
        let payload = take_payload(read(&mut self.noise, message)?);
        let (sealer, opener) = split(self.suite, self.noise)?;
        Ok((payload, sealer, opener))
    }
}

impl JoinResponder {
    /// Takes message 1: its payload, which may be a replay, and the state that can answer.
    ///
    /// # Errors
    /// [`HandshakeError::Unauthentic`]: answer nothing.
    pub fn accept(
        suite: Suite,
        psk: &[u8; 32],
        context: &[u8],
        message: &[u8],
    ) -> Result<(Vec<u8>, JoinReady), HandshakeError> {
        accept_with(&System, &Session { suite, psk, context }, message)
    }
}

/// [`JoinResponder::accept`] with a source of fresh values.
pub(super) fn accept_with(
    fresh: &impl Fresh,
    session: &Session<'_>,
    message: &[u8],
) -> Result<(Vec<u8>, JoinReady), HandshakeError> {
    let &Session { suite, psk, context } = session;
    let prologue = join_prologue(suite, context)?;
    let mut noise = builder(fresh, suite, psk, &prologue)?.build_responder().map_err(opaque)?;
    let payload = take_payload(read(&mut noise, message)?);
    Ok((payload, JoinReady { suite, noise }))
}

impl JoinReady {
    /// Makes message 2 with `payload` in it, and the channel.
    ///
    /// # Errors
    /// [`HandshakeError::TooLong`] for the payload.
    pub fn reply(mut self, payload: &[u8]) -> Result<(Vec<u8>, Sealer, Opener), HandshakeError> {
        let message = write_payload(&mut self.noise, payload)?;
        let (sealer, opener) = split(self.suite, self.noise)?;
        Ok((message, sealer, opener))
    }
}

/// No ids: the psk belongs to one session between two peers.
fn join_prologue(suite: Suite, context: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    prologue(suite, Purpose::Join, &PeerId::from_bytes([0; 32]), context)
}

fn builder<'a>(
    fresh: &impl Fresh,
    suite: Suite,
    psk: &'a [u8; 32],
    prologue: &'a [u8],
) -> Result<Builder<'a>, HandshakeError> {
    let params = suite.join_name().parse().map_err(opaque)?;
    Builder::with_resolver(params, fresh.resolver())
        .psk(0, psk)
        .and_then(|builder| builder.prologue(prologue))
        .map_err(opaque)
}

fn write_payload(noise: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    if payload.len() > JOIN_PAYLOAD_MAX {
        return Err(HandshakeError::TooLong(Part::Payload));
    }
    write(noise, payload)
}

fn take_payload(mut payload: Zeroizing<Vec<u8>>) -> Vec<u8> {
    std::mem::take(&mut *payload)
}

/// Fuzz entry: foreign bytes as either message. The first byte picks suite and message.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_join(data: &[u8]) {
    let [choice, message @ ..] = data else { return };
    let (suite, psk) = (Suite::ALL[usize::from(choice & 1)], [1; 32]);
    if choice & 2 == 0 {
        assert!(JoinResponder::accept(suite, &psk, b"", message).is_err());
    } else {
        let (initiator, _) = JoinInitiator::start(suite, &psk, b"", b"").expect("short arguments");
        assert!(initiator.finish(message).is_err());
    }
}

impl fmt::Debug for ExpectJoinReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpectJoinReply").finish_non_exhaustive()
    }
}

impl fmt::Debug for JoinReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinReady").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::noise::OpenError;

    const PSK: [u8; 32] = [3; 32];

    #[test]
    fn payloads_and_channel_both_ways() {
        for suite in Suite::ALL {
            let (initiator, first) = JoinInitiator::start(suite, &PSK, b"lane 2", b"one").expect("starts");
            let (payload, ready) = JoinResponder::accept(suite, &PSK, b"lane 2", &first).expect("accepts");
            assert_eq!(payload, b"one");
            let (second, mut sealer, _) = ready.reply(b"two").expect("replies");
            let (payload, _, mut opener) = initiator.finish(&second).expect("finishes");
            assert_eq!(payload, b"two");
            let mut sealed = Vec::new();
            sealer.seal_into(b"hello", &mut sealed).expect("fits");
            assert_eq!(opener.open(&sealed, &mut [0; 5]), Ok(5));
        }
    }

    #[test]
    fn another_psk_context_or_suite_is_unauthentic() {
        let (_, first) = JoinInitiator::start(Suite::AesGcm, &PSK, b"a", b"").expect("starts");
        for (suite, psk, context) in [
            (Suite::AesGcm, [4; 32], b"a"),
            (Suite::AesGcm, [0; 32], b"a"),
            (Suite::AesGcm, PSK, b"b"),
            (Suite::ChaChaPoly, PSK, b"a"),
        ] {
            let error = JoinResponder::accept(suite, &psk, context, &first).err();
            assert_eq!(error, Some(HandshakeError::Unauthentic));
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_unauthentic() {
        let suite = Suite::ChaChaPoly;
        let (_, first) = JoinInitiator::start(suite, &PSK, b"", b"one").expect("starts");
        let accept = |message: &[u8]| JoinResponder::accept(suite, &PSK, b"", message);
        for len in 0..first.len() {
            assert_eq!(accept(&first[..len]).err(), Some(HandshakeError::Unauthentic));
        }
        for bit in 0..first.len() * 8 {
            let mut bent = first.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(accept(&bent).err(), Some(HandshakeError::Unauthentic), "bit {bit}");
        }
        for bit in 0..51 * 8 {
            let (initiator, first) = JoinInitiator::start(suite, &PSK, b"", b"one").expect("starts");
            let (mut second, ..) = accept(&first).expect("accepts").1.reply(b"two").expect("replies");
            second[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(initiator.finish(&second).err(), Some(HandshakeError::Unauthentic), "bit {bit}");
        }
    }

    #[test]
    fn a_replayed_message_1_opens_nothing_afterwards() {
        let (initiator, first) = JoinInitiator::start(Suite::AesGcm, &PSK, b"", b"one").expect("starts");
        let accept = || JoinResponder::accept(Suite::AesGcm, &PSK, b"", &first).expect("accepts").1;
        let (second, ..) = accept().reply(b"").expect("replies");
        let (_, mut sealer, _) = initiator.finish(&second).expect("finishes");
        let (_, _, mut replayed) = accept().reply(b"").expect("replies");
        let mut sealed = Vec::new();
        sealer.seal_into(b"hello", &mut sealed).expect("fits");
        assert_eq!(replayed.open(&sealed, &mut [0; 5]), Err(OpenError::Unauthentic));
    }

    #[test]
    fn payloads_have_a_cap() {
        let start = |len: usize| JoinInitiator::start(Suite::AesGcm, &PSK, b"", &vec![0; len]);
        assert_eq!(start(JOIN_PAYLOAD_MAX).expect("fits").1.len(), HANDSHAKE_MESSAGE_MAX);
        let error = start(JOIN_PAYLOAD_MAX + 1).err();
        assert_eq!(error, Some(HandshakeError::TooLong(Part::Payload)));
    }

    proptest! {
        #[test]
        fn no_bytes_pass(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz_join(&data);
        }
    }
}
