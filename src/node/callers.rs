//! Who may call.

use crate::identity::PeerId;
use crate::names::AppName;

/// Who may open sessions to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Nobody calls.
    Nobody,
    /// These.
    Only(Vec<PeerId>),
    /// For each application its own. Whoever may call one is told nothing of the others.
    Each(Vec<(AppName, Vec<PeerId>)>),
}

impl Callers {
    /// Whether this peer may call this application.
    pub(super) fn admit(&self, peer: &PeerId, app: &AppName) -> bool {
        match self {
            Callers::Nobody => false,
            Callers::Only(peers) => peers.contains(peer),
            Callers::Each(apps) => apps.iter().any(|(known, peers)| known == app && peers.contains(peer)),
        }
    }

    /// Whether it may call anything.
    pub(super) fn admit_at_all(&self, peer: &PeerId) -> bool {
        match self {
            Callers::Nobody => false,
            Callers::Only(peers) => peers.contains(peer),
            Callers::Each(apps) => apps.iter().any(|(_, peers)| peers.contains(peer)),
        }
    }
}
