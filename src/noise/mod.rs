//! Noise: two parties with nothing but ids turn an ordered pipe of messages into a sealed channel.
//!
//! [`Initiator`] and [`Responder`] run `XXpsk3` with an ML-KEM-768 exchange as its psk, for links and sessions alike;
//! [`JoinInitiator`] and [`JoinResponder`] run `NNpsk0` for further lanes of a session. Both end in a [`Sealer`] and an
//! [`Opener`], one for each direction, with implicit counters. The Noise state machine is snow's; every primitive comes
//! from aws-lc-rs: snow's through `resolver`, the channel's as `aead`.
//!
//! This folder frames nothing, waits for nothing and knows no clock: messages go in and come out as byte slices.
//! Invariants: a step of a handshake consumes its state, so no state is used twice; whatever a stranger can send
//! fails as [`HandshakeError::Unauthentic`] and nothing more is said; a counter never repeats under one key; after an
//! error a half of a channel is dead.
//!
//! What the handshake does not hide: its kind and its sizes, and from somebody who can guess the responder's id, that
//! the guess is right (message 1 is bound to that id under a key that anyone can compute).

mod aead;
mod error;
mod fresh;
mod handshake;
mod join;
mod payload;
mod resolver;
mod sealed;
mod suite;
#[cfg(test)]
#[path = "tests/vectors.rs"]
mod vectors;

pub use aead::TAG_BYTES;
pub use error::{HandshakeError, Part};
#[cfg(feature = "fuzzing")]
pub use handshake::fuzz_handshake;
pub use handshake::{Established, ExpectFinal, ExpectReply, Initiator, Responder, Terms};
#[cfg(feature = "fuzzing")]
pub use join::fuzz_join;
pub use join::{ExpectJoinReply, JoinInitiator, JoinReady, JoinResponder};
#[cfg(feature = "fuzzing")]
pub use payload::fuzz_payload;
pub use payload::{CAPS_MAX, HANDSHAKE_MESSAGE_MAX, MESSAGE_1_BYTES, MESSAGE_2_MAX};
pub use sealed::{OpenError, Opener, SealError, Sealer};
pub use suite::{Purpose, Suite, UnknownSuite};
