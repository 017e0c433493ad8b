//! Which links listen to what. Names are bounded for a link, for a peer and in all, beyond a few that each peer may have.

use super::reserve::Reserve;
use crate::identity::PeerId;
use crate::relay::LinkId;
use crate::wire::Name;
use crate::wire::limits::LISTENERS_MAX;
use std::collections::HashMap;

/// Names of all links, beyond [`NAMES_FREE_PER_PEER`] of each peer. Each takes about 400 bytes.
pub const NAMES_MAX: usize = 262_144;
/// Names that a peer may have however many others have: what it asks for must not depend on them. With as many peers as there
/// may be links it is as much again.
pub const NAMES_FREE_PER_PEER: usize = 16;
/// Names of all links of one peer: as many as sixteen links may have.
pub const NAMES_PER_PEER_MAX: usize = 16 * LISTENERS_MAX;

/// A name would be one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// See the module.
#[derive(Debug)]
pub(super) struct Listeners {
    /// Links by name, the newest last.
    by_name: HashMap<(PeerId, Name), Vec<LinkId>>,
    by_link: HashMap<LinkId, Vec<Name>>,
    by_peer: HashMap<PeerId, usize>,
    reserve: Reserve,
}

impl Default for Listeners {
    fn default() -> Listeners {
        Listeners {
            by_name: HashMap::new(),
            by_link: HashMap::new(),
            by_peer: HashMap::new(),
            reserve: Reserve::new(NAMES_FREE_PER_PEER, NAMES_MAX),
        }
    }
}

impl Listeners {
    /// A link of a peer listens to a name. Whether that is new.
    pub(super) fn add(&mut self, peer: PeerId, link: LinkId, name: &Name) -> Result<bool, TooMany> {
        let names = self.by_link.get(&link).map_or(&[][..], Vec::as_slice);
        if names.contains(name) {
            return Ok(false);
        }
        let held = self.by_peer.get(&peer).copied().unwrap_or(0);
        if names.len() >= LISTENERS_MAX || held >= NAMES_PER_PEER_MAX || !self.reserve.has_room(held) {
            return Err(TooMany);
        }
        self.reserve.add(held);
        *self.by_peer.entry(peer).or_default() += 1;
        self.by_link.entry(link).or_default().push(name.clone());
        self.by_name.entry((peer, name.clone())).or_default().push(link);
        Ok(true)
    }

    /// A link of a peer does not listen to a name any more. Whether it did.
    pub(super) fn remove(&mut self, peer: PeerId, link: LinkId, name: &Name) -> bool {
        let Some(names) = self.by_link.get_mut(&link) else { return false };
        let before = names.len();
        names.retain(|other| other != name);
        let was_there = names.len() < before;
        if names.is_empty() {
            self.by_link.remove(&link);
        }
        if was_there {
            self.forget(peer, link, name.clone());
        }
        was_there
    }

    /// A link of a peer is gone.
    pub(super) fn remove_all(&mut self, peer: PeerId, link: LinkId) {
        for name in self.by_link.remove(&link).unwrap_or_default() {
            self.forget(peer, link, name);
        }
    }

    fn forget(&mut self, peer: PeerId, link: LinkId, name: Name) {
        if let Some(held) = self.by_peer.get_mut(&peer) {
            self.reserve.subtract(*held, 1);
            *held -= 1;
            if *held == 0 {
                self.by_peer.remove(&peer);
            }
        }
        let key = (peer, name);
        if let Some(links) = self.by_name.get_mut(&key) {
            links.retain(|&other| other != link);
            if links.is_empty() {
                self.by_name.remove(&key);
            }
        }
    }

    /// The newest link of a peer that listens to a name, apart from these.
    pub(super) fn newest(&self, peer: PeerId, name: &Name, apart_from: &[LinkId]) -> Option<LinkId> {
        let links = self.by_name.get(&(peer, name.clone()))?;
        links.iter().rev().find(|link| !apart_from.contains(link)).copied()
    }

    /// Names beyond those that each peer may have in any case.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.reserve.held()
    }

    /// Whether nobody listens to anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.by_link.is_empty() && self.by_peer.is_empty()
    }
}
