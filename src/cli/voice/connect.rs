//! Words of every tool that connects: how relays and peers fail it.

use crate::app::client::{CloseCode, Down, Failure};
use crate::cli::exit::Exit;
use crate::cli::report::Fault;

/// What to do about a relay that is another one than was meant.
const COMPARE_ID: &str = "compare the id in the relay's address with the one vp-relay prints";

/// Why the node could not do it.
pub(super) fn node_fault(failure: Failure) -> Fault {
    match failure {
        Failure::NoRelay(Down::Impostor) => {
            Fault::new(Exit::Integrity, "the relay could not prove to be the one in its address").hint(COMPARE_ID)
        }
        Failure::NoRelay(Down::Unproven) => no_relay(Down::Unproven).hint(COMPARE_ID),
        Failure::NoRelay(why) => no_relay(why),
        Failure::RefusedByRelay(CloseCode::Refused) => Fault::new(Exit::Config, "the relay does not admit this key")
            .hint("the relay's operator admits it by a line in the file given with --allow"),
        Failure::RefusedByRelay(_) => Fault::new(Exit::Config, "the relay turned this connection down"),
        Failure::PeerAbsent => {
            Fault::new(Exit::PeerAbsent, "the peer is not there, or does not serve this application")
        }
        Failure::RefusedByPeer(CloseCode::Limit) => {
            Fault::new(Exit::PeerAbsent, "the relay or the peer is at its limit of calls")
        }
        Failure::RefusedByPeer(_) => Fault::new(Exit::Refused, "the peer refused the call"),
        Failure::PeerUnauthentic => {
            Fault::new(Exit::Integrity, "the other end could not prove to be the peer that was called")
        }
        Failure::SessionGone => left(),
    }
}

fn no_relay(why: Down) -> Fault {
    Fault::new(Exit::NoRelay, format!("no relay could be used: it {why}"))
}

/// The peer's process was told to end, or killed: whoever tries again may find another.
fn left() -> Fault {
    Fault::new(Exit::PeerAbsent, "the peer's process ended before everything was settled")
}

/// Why the peer ended the session.
pub(super) fn closed_fault(code: CloseCode) -> Fault {
    match code {
        CloseCode::Refused => Fault::new(Exit::Refused, "the peer refused"),
        CloseCode::NotHere => Fault::new(Exit::Refused, "the peer does not export this, or not to us"),
        CloseCode::TargetRefused => Fault::new(Exit::Failed, "the target refuses connections"),
        CloseCode::TargetUnreachable => Fault::new(Exit::Failed, "the peer cannot reach the target"),
        CloseCode::GoingAway => left(),
        CloseCode::Protocol => Fault::new(Exit::Integrity, "the peer says that we broke the protocol"),
        CloseCode::Failed => Fault::new(Exit::Failed, "the program at the far side failed"),
        _ => Fault::new(Exit::Failed, "the peer ended the session before it had everything"),
    }
}
