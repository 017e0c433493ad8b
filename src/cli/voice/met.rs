//! Whom a tool has met, and by which application.

use crate::identity::PeerId;
use std::collections::BTreeSet;

/// See the module's text.
#[derive(Default)]
pub(super) struct Met {
    last: Option<PeerId>,
    ever: BTreeSet<(PeerId, String)>,
}

impl Met {
    /// It has met this one. Whether for the first time.
    pub(super) fn meet(&mut self, peer: &PeerId, app: &str) -> bool {
        self.last = Some(*peer);
        self.ever.insert((*peer, app.to_owned()))
    }

    /// Whether it has ever met this one.
    pub(super) fn knows(&self, peer: &PeerId, app: &str) -> bool {
        self.ever.contains(&(*peer, app.to_owned()))
    }

    /// Whom it has met last.
    pub(super) fn last(&self) -> Option<&PeerId> {
        self.last.as_ref()
    }
}
