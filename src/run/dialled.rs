//! How connections to a relay come about, and how they end, whatever they are made of.

use super::way::{Hindrance, Obstacle};
use crate::carrier::{Carrier, Distrust, Doubt, End, TlsEnd};
use crate::node::{Down, Fault};
use std::net::SocketAddr;
use std::sync::Arc;

/// How a connection in the making is.
pub(super) enum Dial {
    /// The name is being looked up: to be looked at again after an event, or at the time that it names.
    Resolving,
    /// The same, when the addresses are known and one of them has to answer.
    Connecting,
    /// The same, when one has and is to say that it carries links.
    Opening,
    /// The same, when something on the way is to answer, as what is lacked without.
    OnTheWay(Down),
    /// It has come about; its two ends, ours and the relay's.
    Up(Option<(SocketAddr, SocketAddr)>),
    /// It has not, and why.
    Failed(Down, Fault),
    /// It has, and carries no link; what more is known of why.
    Refused(Down, Option<Fault>),
    /// It has, and broke before it could.
    Broken(Fault),
}

/// How a connection is that both sides are about to close.
pub(super) enum Parting {
    /// It waits for the relay to read or to close.
    Waits,
    /// More may have come from the relay.
    Busy,
    /// There is none any more.
    Gone,
}

/// How a connection in the making is that fails for want of this, if it does.
pub(super) fn on_the_way(lacks: Down) -> Dial {
    match lacks {
        Down::Unresolved => Dial::Resolving,
        Down::Unanswered => Dial::Connecting,
        other => Dial::OnTheWay(other),
    }
}

/// What the end of a carrier is to a node.
pub(super) fn down(end: End) -> Down {
    match end {
        End::Closed => Down::Closed,
        End::NotTaken(status) => Down::NotTaken(status),
        End::Broken(_) | End::NotFound | End::Tls(TlsEnd::Broken) => Down::Damaged,
        End::Tls(TlsEnd::Untrusted) => Down::Untrusted(Doubt::Unusable),
        End::Tls(TlsEnd::Told(alert)) => Down::TlsAlert(alert),
        End::Tls(TlsEnd::UsedUp) => Down::KeyUsedUp,
        End::Tls(TlsEnd::NotTls | TlsEnd::Incompatible) => Down::NotTls,
    }
}

/// What it is to a node that the socket of a carrier has ended: how TLS has, says more.
pub(super) fn closed(carrier: &Carrier) -> Down {
    carrier.end().filter(|end| matches!(end, End::Tls(_))).map_or(Down::Closed, down)
}

/// A connection whose carrier came to this end before it was open, with what was wrong with a certificate, if something was.
pub(super) fn refused(end: End, distrust: Option<Distrust>) -> Dial {
    match distrust {
        Some(distrust) => Dial::Refused(Down::Untrusted(distrust.doubt), Some(Fault::Certificate(Arc::new(distrust)))),
        None => Dial::Refused(down(end), None),
    }
}

/// What a command is in the way by.
pub(super) fn leads_nowhere(what: Hindrance) -> Dial {
    Dial::Failed(Down::Unreachable, Fault::System(Arc::new(Obstacle { proxy: None, what }.into_error())))
}
