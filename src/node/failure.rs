//! What goes wrong with relays and calls, and what it is called.

use super::Kind;
use crate::wire::CloseCode;
use std::fmt;

/// Why a carrier or link is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// No connection could be made; the driver knows more.
    Unreachable,
    /// The connection ended.
    Closed,
    /// The connection ended before the handshake did: a relay does that to who means another one.
    Unproven,
    /// Nothing was heard for the dead time.
    Silent,
    /// It was lost while this process was stopped, or because it had been.
    Paused,
    /// What came was not this protocol, or was changed on the way.
    Damaged,
    /// The other side is not the relay it should be.
    Impostor,
    /// The relay said so, with this code.
    Said(CloseCode),
}

/// Why something will not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No relay could be reached in time.
    NoRelay(Down),
    /// Every relay refused us.
    RefusedByRelay(CloseCode),
    /// The peer was not there in time.
    PeerAbsent,
    /// The peer was there in time, but nothing there answered to the application, or not to us.
    NotServed,
    /// What answers to the application is of another kind.
    WrongKind {
        /// What we are.
        ours: Kind,
        /// What it is.
        theirs: Kind,
    },
    /// The peer, or the relay about this peer, said no with this code.
    RefusedByPeer(CloseCode),
    /// The other end could not prove to be the peer that was called.
    PeerUnauthentic,
    /// The session was known no more when a lane wanted to join: its other process is gone.
    SessionGone,
    /// Another process with our key receives the same, and one of the two is to be the only one.
    Yielded,
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Down::Unreachable => "could not be reached",
            Down::Closed => "closed the connection",
            Down::Unproven => "closed the connection without proving who it is",
            Down::Silent => "was silent for too long",
            Down::Paused => "has given up the connection, as this program was stopped for a while",
            Down::Damaged => "sent bytes that are not this protocol, or were changed on the way",
            Down::Impostor => "could not prove to be the relay it should be",
            Down::Said(CloseCode::GoingAway) => "is going away",
            Down::Said(CloseCode::Refused) => "does not admit this key",
            Down::Said(CloseCode::Limit) => "is at its limit",
            Down::Said(_) => "ended the connection",
        })
    }
}
