//! The handshake of links and sessions: Noise `XXpsk3`, with an ML-KEM-768 exchange as the psk.
//!
//! ```text
//! Initiator::start ──▶ ExpectReply ──finish──▶ Established
//!        │ message 1       ▲ message 2  │ message 3
//!        ▼                 │            ▼
//! Responder::accept ─────▶ ExpectFinal ──finish──▶ Established
//! ```
//! **psk.** `HKDF-SHA256(salt = "vp/1 mlkem768 psk", ikm = ss, info = h ‖ SHA-256(ek) ‖ SHA-256(ct))`, where `ss` is the
//! ML-KEM shared secret and `h` the handshake hash after message 2. It is mixed in before the payload of message 3, so
//! that payload and everything after it stay secret if either X25519 or ML-KEM-768 holds. `ek` and `ct` are in `h`
//! anyway; naming them again keeps the binding without trust in the order of the pattern. Authentication is classical:
//! X25519 for the channel, Ed25519 for the card.
//!
//! **Export.** `HKDF-SHA256(salt = "vp/1 export", ikm = secret ‖ ss, info = h)`, `h` after message 3. `secret` is 32
//! random bytes of the initiator in the payload of message 3. Whoever lacks the X25519 secrets or `ss` cannot read
//! `secret`; if X25519 falls later, `ss` still stands; if ML-KEM falls, `secret` was still sealed by X25519. Only the
//! authenticated responder can open message 3, and only the authenticated initiator can have made it; `h` ties the
//! value to this one transcript. Both sides contribute: `ss` comes from the responder's encapsulation. It is independent
//! of the channel's keys, which come from Noise's chaining key alone.
//!
//! **Roles.** The prologue names the responder, so a message 1 for one peer fails at every other, and nothing that a
//! peer sent can be reflected to it as an answer.

use aws_lc_rs::digest;
use snow::{Builder, HandshakeState};
use std::fmt;
use zeroize::Zeroizing;

use crate::identity::{CARD_BYTES, Card, Identity, PeerId, hkdf_sha256};

use super::error::HandshakeError;
use super::fresh::{Fresh, KemKey, Secret, System};
use super::payload::{Final, HANDSHAKE_MESSAGE_MAX, Hello, MESSAGE_1_BYTES, Reply};
use super::sealed::{Opener, Sealer, split};
use super::suite::{Purpose, Suite, prologue};

const PSK_SALT: &[u8] = b"vp/1 mlkem768 psk";
const EXPORT_SALT: &[u8] = b"vp/1 export";
/// `psk3`: at the end of message 3.
const PSK_POSITION: usize = 3;

/// What both ends have to agree on, and what this end announces.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The ciphers.
    pub suite: Suite,
    /// What the handshake is for.
    pub purpose: Purpose,
    /// What it is about, at most 65,535 bytes. A handshake about something else fails.
    pub context: &'a [u8],
    /// What this end can do, at most [`super::CAPS_MAX`] bytes: an initiator's are readable to anyone, a responder's to whoever
    /// asks.
    pub caps: &'a [u8],
}

/// The same, once it is known who answers.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    pub suite: Suite,
    pub prologue: &'a [u8],
    pub caps: &'a [u8],
}

/// Begins a handshake.
#[derive(Debug)]
pub struct Initiator;

/// Answers a handshake.
#[derive(Debug)]
pub struct Responder;

/// The initiator, which has sent message 1.
pub struct ExpectReply {
    suite: Suite,
    noise: HandshakeState,
    kem: KemKey,
    ek_hash: [u8; 32],
    secret: Secret,
    own_card: [u8; CARD_BYTES],
    responder: PeerId,
}

/// The responder, which has sent message 2 and knows nobody yet.
pub struct ExpectFinal {
    suite: Suite,
    noise: HandshakeState,
    shared: Secret,
    caps: Vec<u8>,
}

/// A finished handshake: both sides are who they say, and share a channel.
pub struct Established {
    /// Seals what we send.
    pub sealer: Sealer,
    /// Opens what the peer sends.
    pub opener: Opener,
    /// Who the peer is.
    pub peer: PeerId,
    /// The peer's card; signature and keys are checked, expiry is not (see `Card::is_expired`).
    pub card: Card,
    /// What the peer announced. Authentic, but hardly secret: the initiator's are readable to anyone, the responder's
    /// to whoever asked.
    pub caps: Vec<u8>,
    /// The payload of message 3; empty for the initiator, who sent it.
    pub payload: Vec<u8>,
    /// Unique to this handshake, the same on both sides, not secret.
    pub handshake_hash: [u8; 32],
    /// A secret that both sides hold and nobody else can derive; see above.
    pub export: Zeroizing<[u8; 32]>,
}

impl Initiator {
    /// Makes message 1 for `responder`, always [`MESSAGE_1_BYTES`] long.
    ///
    /// # Errors
    /// [`HandshakeError::TooLong`] for the context or the capabilities.
    pub fn start(
        terms: &Terms<'_>,
        identity: &Identity,
        responder: PeerId,
    ) -> Result<(ExpectReply, Vec<u8>), HandshakeError> {
        let &Terms { suite, purpose, context, caps } = terms;
        let prologue = prologue(suite, purpose, &responder, context)?;
        start_with(&System, Bound { suite, prologue: &prologue, caps }, identity, responder)
    }
}

/// [`Initiator::start`] with a source of fresh values.
pub(super) fn start_with(
    fresh: &impl Fresh,
    bound: Bound<'_>,
    identity: &Identity,
    responder: PeerId,
) -> Result<(ExpectReply, Vec<u8>), HandshakeError> {
    let mut noise = builder(fresh, bound.suite, identity, bound.prologue)?.build_initiator().map_err(opaque)?;
    let (kem, ek) = fresh.kem_key()?;
    let message = write(&mut noise, &Hello { ek: &ek, caps: bound.caps }.encode()?)?;
    let next = ExpectReply {
        suite: bound.suite,
        noise,
        kem,
        ek_hash: sha256(&ek),
        secret: fresh.secret()?,
        own_card: identity.card().encode(),
        responder,
    };
    Ok((next, message))
}

impl ExpectReply {
    /// Takes message 2, makes message 3 with `payload` in it, and is done. The responder is authentic here; that it
    /// derived the same keys shows when its first sealed message opens.
    ///
    /// # Errors
    /// [`HandshakeError`]: nothing was sent, the handshake is over.
    pub fn finish(mut self, message: &[u8], payload: &[u8]) -> Result<(Vec<u8>, Established), HandshakeError> {
        let reply = read(&mut self.noise, message)?;
        let reply = Reply::decode(&reply)?;
        let card = check_card(&self.noise, reply.card)?;
        if card.id != self.responder {
            return Err(HandshakeError::Unauthentic);
        }
        let shared = self.kem.decapsulate(reply.ct)?;
        set_psk(&mut self.noise, &shared, &self.ek_hash, &sha256(reply.ct))?;
        let last = Final { secret: &self.secret, card: &self.own_card, payload };
        let message = write(&mut self.noise, &Zeroizing::new(last.encode()?))?;
        let caps = reply.caps.to_vec();
        let established = establish(self.suite, self.noise, card, [self.secret.as_slice(), shared.as_slice()])?;
        Ok((message, Established { caps, ..established }))
    }
}

impl Responder {
    /// Takes message 1 and makes message 2, never longer. Nobody is known yet.
    ///
    /// # Errors
    /// [`HandshakeError`]: answer nothing.
    pub fn accept(
        terms: &Terms<'_>,
        identity: &Identity,
        message: &[u8],
    ) -> Result<(ExpectFinal, Vec<u8>), HandshakeError> {
        let &Terms { suite, purpose, context, caps } = terms;
        let prologue = prologue(suite, purpose, &identity.id(), context)?;
        accept_with(&System, Bound { suite, prologue: &prologue, caps }, identity, message)
    }
}

/// [`Responder::accept`] with a source of fresh values.
pub(super) fn accept_with(
    fresh: &impl Fresh,
    bound: Bound<'_>,
    identity: &Identity,
    message: &[u8],
) -> Result<(ExpectFinal, Vec<u8>), HandshakeError> {
    if message.len() != MESSAGE_1_BYTES {
        return Err(HandshakeError::Unauthentic);
    }
    let mut noise = builder(fresh, bound.suite, identity, bound.prologue)?.build_responder().map_err(opaque)?;
    let hello = read(&mut noise, message)?;
    let hello = Hello::decode(&hello)?;
    let (ct, shared) = fresh.encapsulate(hello.ek)?;
    let card = identity.card().encode();
    let reply = write(&mut noise, &Reply { ct: &ct, card: &card, caps: bound.caps }.encode()?)?;
    set_psk(&mut noise, &shared, &sha256(hello.ek), &sha256(&ct))?;
    Ok((ExpectFinal { suite: bound.suite, noise, shared, caps: hello.caps.to_vec() }, reply))
}

impl ExpectFinal {
    /// What whoever asked announced. Nobody is known yet; the last message vouches for it.
    pub fn caps(&self) -> &[u8] {
        &self.caps
    }

    /// Takes message 3 and is done: the initiator is authentic and has the same keys.
    ///
    /// # Errors
    /// [`HandshakeError`]: the handshake is over.
    pub fn finish(mut self, message: &[u8]) -> Result<Established, HandshakeError> {
        let last = read(&mut self.noise, message)?;
        let last = Final::decode(&last)?;
        let card = check_card(&self.noise, last.card)?;
        let established = establish(self.suite, self.noise, card, [last.secret, self.shared.as_slice()])?;
        Ok(Established { caps: self.caps, payload: last.payload.to_vec(), ..established })
    }
}

fn builder<'a>(
    fresh: &impl Fresh,
    suite: Suite,
    identity: &'a Identity,
    prologue: &'a [u8],
) -> Result<Builder<'a>, HandshakeError> {
    let params = suite.handshake_name().parse().map_err(opaque)?;
    Builder::with_resolver(params, fresh.resolver())
        .local_private_key(identity.noise_secret().as_slice())
        .and_then(|builder| builder.prologue(prologue))
        .map_err(opaque)
}

/// Writes the next message of the pattern around `payload`.
pub(super) fn write(noise: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut message = vec![0; HANDSHAKE_MESSAGE_MAX];
    let len = noise.write_message(payload, &mut message).map_err(opaque)?;
    message.truncate(len);
    Ok(message)
}

/// Reads the next message of the pattern and gives its payload.
pub(super) fn read(noise: &mut HandshakeState, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, HandshakeError> {
    if message.len() > HANDSHAKE_MESSAGE_MAX {
        return Err(HandshakeError::Unauthentic);
    }
    let mut payload = Zeroizing::new(vec![0; message.len()]);
    let len = noise.read_message(message, &mut payload).map_err(opaque)?;
    payload.truncate(len);
    Ok(payload)
}

/// Reads the peer's card and checks that it vouches for the key that Noise has authenticated.
///
/// Only to be called after the peer's message was read without error: before that, snow's idea of the static key is
/// what anybody may have sent.
fn check_card(noise: &HandshakeState, card: &[u8]) -> Result<Card, HandshakeError> {
    let card = Card::decode_verified(card).map_err(|_| HandshakeError::Unauthentic)?;
    match noise.get_remote_static() {
        Some(remote) if remote == card.x25519 => Ok(card),
        _ => Err(HandshakeError::Unauthentic),
    }
}

fn set_psk(
    noise: &mut HandshakeState,
    shared: &Secret,
    ek_hash: &[u8; 32],
    ct_hash: &[u8; 32],
) -> Result<(), HandshakeError> {
    let info = [noise.get_handshake_hash(), ek_hash, ct_hash];
    let psk = hkdf_sha256(PSK_SALT, shared.as_slice(), &info);
    noise.set_psk(PSK_POSITION, psk.as_slice()).map_err(opaque)
}

/// What both sides make of the finished pattern and the two secrets of the export; capabilities and payload are for the
/// caller to add.
fn establish(
    suite: Suite,
    noise: HandshakeState,
    card: Card,
    secrets: [&[u8]; 2],
) -> Result<Established, HandshakeError> {
    let hash = noise.get_handshake_hash();
    let handshake_hash: [u8; 32] = hash.try_into().map_err(|_| HandshakeError::Unauthentic)?;
    let ikm = Zeroizing::new(secrets.concat());
    let export = hkdf_sha256(EXPORT_SALT, &ikm, &[&handshake_hash]);
    let (sealer, opener) = split(suite, noise)?;
    let (peer, caps, payload) = (card.id, Vec::new(), Vec::new());
    Ok(Established { sealer, opener, peer, card, caps, payload, handshake_hash, export })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Everything that snow can say about foreign bytes is one error here.
pub(super) fn opaque(error: snow::Error) -> HandshakeError {
    match error {
        snow::Error::Rng => HandshakeError::Entropy,
        _ => HandshakeError::Unauthentic,
    }
}

impl fmt::Debug for ExpectReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpectReply").field("responder", &self.responder).finish_non_exhaustive()
    }
}

impl fmt::Debug for ExpectFinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpectFinal").finish_non_exhaustive()
    }
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Fuzz entry: foreign bytes as every message, to both roles. The first byte picks suite and step.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_handshake(data: &[u8]) {
    let [choice, message @ ..] = data else { return };
    let suite = Suite::ALL[usize::from(choice & 1)];
    let (ours, theirs) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let terms = Terms { suite, purpose: Purpose::Link, context: b"", caps: b"" };
    let accept = |first: &[u8]| Responder::accept(&terms, &theirs, first);
    let started = Initiator::start(&terms, &ours, theirs.id());
    let (initiator, first) = started.expect("short arguments");
    match choice >> 1 & 3 {
        0 => assert!(accept(message).is_err()),
        1 => assert!(initiator.finish(message, b"").is_err()),
        _ => assert!(accept(&first).expect("own message").0.finish(message).is_err()),
    }
}

#[cfg(test)]
#[path = "tests/handshake.rs"]
mod tests;
