//! What happened to a node, for the tool.

use super::key::Key;
use super::{CircuitStep, Down, Failure, Fault, Sharing};
use crate::identity::PeerId;
use crate::names::AppName;

/// What happened, for the tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The link to a relay is up.
    RelayUp {
        /// Its place in the list of relays.
        relay: usize,
    },
    /// The link to a relay is gone, or did not come up.
    RelayDown {
        /// Its place in the list of relays.
        relay: usize,
        /// Why.
        why: Down,
        /// What the driver has said of it.
        fault: Option<Fault>,
    },
    /// The relay has registered the application: callers find it now.
    Listening {
        /// The application.
        app: AppName,
    },
    /// Another process with our key receives the same.
    Shared {
        /// The application.
        app: AppName,
        /// Who came to whom.
        how: Sharing,
    },
    /// The peer is not there; the relay will tell when it is.
    Waiting {
        /// The session.
        key: Key,
    },
    /// The peer is there, but nothing there answers to the application, or not to us. The relay will tell when it does.
    NotServed {
        /// The session.
        key: Key,
    },
    /// The relay or the peer has no room for the call now. It is called again later.
    Limited {
        /// The session.
        key: Key,
    },
    /// The session is up.
    Up {
        /// The session.
        key: Key,
        /// Who is at the other end, proven.
        peer: PeerId,
        /// The application that was called.
        app: AppName,
    },
    /// The session has no lane and waits for one.
    Lost {
        /// The session.
        key: Key,
    },
    /// The session has a lane again.
    Resumed {
        /// The session.
        key: Key,
    },
    /// The session asked for did not come up, or came to an end for a reason outside of it.
    Failed {
        /// The session.
        key: Key,
        /// Why.
        why: Failure,
    },
    /// Somebody called who may not.
    TurnedAway {
        /// By the relay's word.
        peer: PeerId,
        /// The application that was called.
        app: AppName,
    },
    /// Nothing more can come of this node.
    Fatal {
        /// Why.
        why: Failure,
    },
    /// Something of a circuit, for whoever looks for a fault.
    Circuit {
        /// Its number on the present link.
        number: u32,
        /// What.
        step: CircuitStep,
    },
}
