//! Why a handshake ends. Errors about foreign bytes say nothing more than that.

use std::error::Error;
use std::fmt;

/// Why a handshake ended. To the outside all look the same: silence, and the end of the carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// Wrong key, wrong peer, wrong purpose or version, altered or cut message, or bytes that never were one.
    Unauthentic,
    /// The message opened, but what it carries is laid out otherwise: an incompatible peer.
    Malformed,
    /// The caller's own part is too long.
    TooLong(Part),
    /// The system's random numbers failed.
    Entropy,
}

/// A part of a handshake that the caller provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The context in the prologue.
    Context,
    /// The capabilities.
    Caps,
    /// The payload of the last message, or of a join.
    Payload,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unauthentic => "the handshake is not authentic",
            Self::Malformed => "the peer's handshake is of another kind",
            Self::TooLong(Part::Context) => "the context is too long for a handshake",
            Self::TooLong(Part::Caps) => "the capabilities are too long for a handshake",
            Self::TooLong(Part::Payload) => "the payload is too long for a handshake",
            Self::Entropy => "no random numbers for the handshake",
        })
    }
}

impl Error for HandshakeError {}
