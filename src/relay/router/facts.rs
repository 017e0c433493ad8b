//! What the router tells whoever watches the relay.

use super::admission::Source;
use super::circuits::{CircuitInfo, Closed};
use crate::identity::PeerId;
use crate::relay::ids::LinkId;
use crate::relay::why_link_ended::EndReason;
use crate::wire::Name;
use std::sync::Arc;

/// Something that has happened. A relay knows no more than this of what its clients do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A client was admitted.
    Attached {
        /// Its link.
        link: LinkId,
        /// Who it is.
        peer: PeerId,
        /// Where it comes from, where anybody may attach.
        source: Option<Source>,
    },
    /// A client's link has ended, and with it all that it listened to.
    Detached {
        /// Its link.
        link: LinkId,
        /// Who it was.
        peer: PeerId,
        /// Where it came from, where anybody may attach.
        source: Option<Source>,
        /// Why.
        why: EndReason,
    },
    /// A client answers to a name.
    Listening {
        /// Its link.
        link: LinkId,
        /// Who it is.
        peer: PeerId,
        /// Where it comes from, where anybody may attach.
        source: Option<Source>,
        /// What can be called there.
        name: Name,
    },
    /// A client answers to a name no more.
    Unlistened {
        /// Its link.
        link: LinkId,
        /// Who it is.
        peer: PeerId,
        /// Where it comes from, where anybody may attach.
        source: Option<Source>,
        /// What could be called there.
        name: Name,
    },
    /// A circuit was accepted.
    Opened(Arc<CircuitInfo>),
    /// A circuit is closed.
    Closed(Closed),
}

impl Fact {
    /// The peer that brought it about: of a circuit the caller.
    pub(crate) fn peer(&self) -> PeerId {
        match self {
            Fact::Attached { peer, .. }
            | Fact::Detached { peer, .. }
            | Fact::Listening { peer, .. }
            | Fact::Unlistened { peer, .. } => *peer,
            Fact::Opened(info) => info.from,
            Fact::Closed(closed) => closed.info.from,
        }
    }

    /// Where that peer is, where anybody may attach: a key costs nothing there.
    pub(crate) fn source(&self) -> Option<Source> {
        match self {
            Fact::Attached { source, .. }
            | Fact::Detached { source, .. }
            | Fact::Listening { source, .. }
            | Fact::Unlistened { source, .. } => *source,
            Fact::Opened(info) => info.source,
            Fact::Closed(closed) => closed.info.source,
        }
    }
}
