//! On whose account a connection has its turns.

use crate::identity::PeerId;
use crate::relay::router::admission::Source;

/// Somebody who has a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    /// All who have not said who they are.
    Strangers,
    /// Those of an address.
    Source(Source),
    /// A peer.
    Peer(PeerId),
}

impl Owner {
    /// Whoever has a share of what peers have: this peer, or its address where anybody may attach, for a key costs nothing there.
    pub(crate) fn of_peer(peer: PeerId, source: Option<Source>) -> Owner {
        source.map_or(Owner::Peer(peer), Owner::Source)
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// With whom it shares what they have together; None: with nobody.
    pub group: Option<Owner>,
    /// Whose it is.
    pub owner: Owner,
}

impl Account {
    /// That of a connection whose client has not said who it is.
    pub(crate) fn of_stranger(source: Source) -> Account {
        Account { group: Some(Owner::Strangers), owner: Owner::Source(source) }
    }

    /// That of a link of this peer; `source` where anybody may attach, for a key costs nothing there.
    pub(crate) fn of_peer(peer: PeerId, source: Option<Source>) -> Account {
        Account { group: source.map(Owner::Source), owner: Owner::Peer(peer) }
    }
}
