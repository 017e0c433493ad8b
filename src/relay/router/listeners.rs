//! Which links listen to what. Names are bounded for a link, for a peer and in all, beyond a few that each peer may have.

use super::admission::Source;
use super::reserve::Reserve;
use super::roster::Attached;
use crate::identity::PeerId;
use crate::relay::LinkId;
use crate::wire::Name;
use crate::wire::limits::LISTENERS_MAX;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// Names of all links, beyond [`NAMES_FREE_PER_PEER`] of each peer. Each takes about 400 bytes.
pub const NAMES_MAX: usize = 262_144;
/// Names that a peer may have however many others have: what it asks for must not depend on them. With as many peers as there
/// may be links it is as much again.
pub const NAMES_FREE_PER_PEER: usize = 16;
/// Names of all peers of one source, where anybody may attach: a key costs nothing there. A sixteenth of all.
pub const NAMES_PER_SOURCE_MAX: usize = NAMES_MAX / 16;
/// Names of all links of one peer: as many as sixteen links may have.
pub const NAMES_PER_PEER_MAX: usize = 16 * LISTENERS_MAX;

/// A link that listens to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    /// Which link.
    pub link: LinkId,
    /// How often anybody had said LISTEN when it said so last: one that says it again is another listener.
    pub since: u64,
}

/// A name would be one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// See the module.
#[derive(Debug)]
pub(super) struct Listeners {
    /// By name, the newest last.
    by_name: HashMap<(PeerId, Name), Vec<Listener>>,
    by_link: HashMap<LinkId, HashSet<Name>>,
    by_peer: HashMap<PeerId, usize>,
    by_source: HashMap<Source, usize>,
    listened: u64,
    reserve: Reserve,
}

impl Default for Listeners {
    fn default() -> Listeners {
        Listeners {
            by_name: HashMap::new(),
            by_link: HashMap::new(),
            by_peer: HashMap::new(),
            by_source: HashMap::new(),
            listened: 0,
            reserve: Reserve::new(NAMES_FREE_PER_PEER, NAMES_MAX),
        }
    }
}

impl Listeners {
    /// A link listens to a name. Whether that is new.
    pub(super) fn add(&mut self, link: LinkId, of: Attached, name: &Name) -> Result<bool, TooMany> {
        let Attached { peer, source, .. } = of;
        self.listened += 1;
        let listener = Listener { link, since: self.listened };
        let names = self.by_link.get(&link);
        if names.is_some_and(|names| names.contains(name)) {
            let listeners = self.by_name.get_mut(&(peer, name.clone())).into_iter().flatten();
            listeners.filter(|known| known.link == link).for_each(|known| *known = listener);
            return Ok(false);
        }
        let held = self.by_peer.get(&peer).copied().unwrap_or(0);
        let of_source = source.map_or(0, |source| self.by_source.get(&source).copied().unwrap_or(0));
        if of_source >= NAMES_PER_SOURCE_MAX {
            return Err(TooMany);
        }
        let of_link = names.map_or(0, HashSet::len);
        if of_link >= LISTENERS_MAX || held >= NAMES_PER_PEER_MAX || !self.reserve.has_room(held) {
            return Err(TooMany);
        }
        self.reserve.add(held);
        *self.by_peer.entry(peer).or_default() += 1;
        if let Some(source) = source {
            *self.by_source.entry(source).or_default() += 1;
        }
        self.by_link.entry(link).or_default().insert(name.clone());
        self.by_name.entry((peer, name.clone())).or_default().push(listener);
        Ok(true)
    }

    /// A link does not listen to a name any more. Whether it did.
    pub(super) fn remove(&mut self, link: LinkId, of: Attached, name: &Name) -> bool {
        let Some(names) = self.by_link.get_mut(&link) else { return false };
        let was_there = names.remove(name);
        if names.is_empty() {
            self.by_link.remove(&link);
        }
        if was_there {
            self.forget(link, of, name.clone());
        }
        was_there
    }

    /// A link is gone.
    pub(super) fn remove_all(&mut self, link: LinkId, of: Attached) {
        for name in self.by_link.remove(&link).unwrap_or_default() {
            self.forget(link, of, name);
        }
    }

    fn forget(&mut self, link: LinkId, of: Attached, name: Name) {
        let Attached { peer, source, .. } = of;
        if let Some(Entry::Occupied(mut held)) = source.map(|source| self.by_source.entry(source)) {
            *held.get_mut() -= 1;
            (*held.get() == 0).then(|| held.remove());
        }
        if let Some(held) = self.by_peer.get_mut(&peer) {
            self.reserve.subtract(*held, 1);
            *held -= 1;
            if *held == 0 {
                self.by_peer.remove(&peer);
            }
        }
        let key = (peer, name);
        if let Some(links) = self.by_name.get_mut(&key) {
            links.retain(|other| other.link != link);
            if links.is_empty() {
                self.by_name.remove(&key);
            }
        }
    }

    /// The number of the last LISTEN of anybody.
    pub(super) fn last(&self) -> u64 {
        self.listened
    }

    /// The newest link of a peer that listened to a name at that time and still does, apart from these.
    pub(super) fn newest_until(
        &self,
        last: u64,
        (peer, name): (PeerId, &Name),
        apart_from: &[Listener],
    ) -> Option<Listener> {
        let links = self.by_name.get(&(peer, name.clone()))?;
        links.iter().rev().find(|listener| listener.since <= last && !apart_from.contains(listener)).copied()
    }

    /// Names beyond those that each peer may have in any case.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.reserve.held()
    }

    /// Whether nobody listens to anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.by_link.is_empty() && self.by_peer.is_empty() && self.by_source.is_empty()
    }
}
