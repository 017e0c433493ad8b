//! What goes wrong with relays and calls.

use super::Kind;
use crate::carrier::{Distrust, Doubt};
use crate::wire::CloseCode;
use std::io::Error;
use std::sync::Arc;

/// Why a carrier or link is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// No connection could be made; the driver knows more.
    Unreachable,
    /// Its name was still being looked up.
    Unresolved,
    /// No connection had come about at the addresses that it has.
    Unanswered,
    /// A proxy on the way to it was to answer.
    ProxyMute,
    /// A proxy on the way to it wants to know who asks, and is not content with what it was told, if anything; the driver knows
    /// more. It is no use to ask again.
    ProxyLogin,
    /// The connection ended.
    Closed,
    /// The connection ended before the handshake did: a relay does that to who means another one.
    Unproven,
    /// What answered does not carry links as the relay's address says; the status of HTTP that it answered with, if it did.
    NotTaken(Option<u16>),
    /// What answered speaks no TLS, or none that could be agreed on.
    NotTls,
    /// It ended TLS with this alert (RFC 8446, 6.2).
    TlsAlert(u8),
    /// The key of TLS that we have with it has sealed as much as it may.
    KeyUsedUp,
    /// It showed a certificate that is not believed, for this reason; the driver knows more.
    Untrusted(Doubt),
    /// It took the connection, and nothing was heard of it.
    Mute,
    /// It has proven who it is, and was yet to say that it takes us in.
    Undecided,
    /// Nothing was heard for the dead time.
    Silent,
    /// It was lost while this process was stopped, or because it had been.
    Paused,
    /// What answered is no relay.
    NotRelay,
    /// What came was not this protocol, or was changed on the way.
    Damaged,
    /// The other side is not the relay it should be.
    Impostor,
    /// The relay said so, with this code.
    Said(CloseCode),
}

/// What the driver knows of how a carrier failed or broke, beyond its kind: it is told with that, and means nothing to the node.
#[derive(Clone, Debug)]
pub enum Fault {
    /// What the system says.
    System(Arc<Error>),
    /// What is wrong with the certificate that it showed.
    Certificate(Arc<Distrust>),
}

impl PartialEq for Fault {
    /// The very same one.
    fn eq(&self, other: &Fault) -> bool {
        match (self, other) {
            (Fault::System(one), Fault::System(other)) => Arc::ptr_eq(one, other),
            (Fault::Certificate(one), Fault::Certificate(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Fault {}

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
    /// The peer was reached, and had others to serve until the end.
    Unserved,
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
