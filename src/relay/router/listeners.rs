//! Which links listen to what. Names are bounded for a link, for a peer and in all, beyond a few that each peer may have.
//!
//! A link that goes listens to nothing from then on, and none of its names counts. That they are forgotten takes time, and is
//! done some at a time; two at least for each that is new, so that there are never more than those that may count.

use super::admission::Source;
use super::reserve::Reserve;
use super::roster::{Attached, Links};
use super::sizes::in_tree;
use super::tried::Tried;
use crate::identity::PeerId;
use crate::relay::LinkId;
use crate::wire::Name;
use crate::wire::limits::LISTENERS_MAX;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// Names of all links, beyond [`NAMES_FREE_PER_PEER`] of each peer. What that takes is in [`TABLES_BYTES_MAX`](super::beyond::TABLES_BYTES_MAX).
pub const NAMES_MAX: usize = 262_144;
/// Names that a peer may have however many others have: what it asks for must not depend on them. With as many peers as there
/// may be links it is as much again.
pub const NAMES_FREE_PER_PEER: usize = 16;
/// Names of all peers of one source, where anybody may attach: a key costs nothing there. A sixteenth of all.
pub const NAMES_PER_SOURCE_MAX: usize = NAMES_MAX / 16;
/// Names of all links of one peer: as many as sixteen links may have.
pub const NAMES_PER_PEER_MAX: usize = 16 * LISTENERS_MAX;
/// Or so many for each of its links, if that is more, and likewise of a source: whoever may have so many links can use each. A
/// process that receives has three: its application, that by which it finds others of its key, and its calls back.
pub const NAMES_PER_LINK: usize = 4;

/// What a name takes at worst.
pub(super) const NAME_BYTES: usize = in_tree(size_of::<((Key, LinkId), u64)>()) + in_tree(size_of::<(LinkId, Key)>());

/// A name of a peer, by its hash: a name is up to 64 bytes, a peer 32, and there are many. Whoever wants to meet another peer's
/// has 2^128 hashes to try; two that are alike, both of his own making, are his own loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u8; 16]);

impl Key {
    fn new(peer: &PeerId, name: &Name) -> Key {
        let (kind, bytes): (u8, &[u8]) = match name {
            Name::App(app) => (0, app.as_str().as_bytes()),
            Name::Session(id) => (1, id),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(peer.as_bytes()).update(&[kind]).update(bytes);
        let mut key = [0; 16];
        hasher.finalize_xof().fill(&mut key);
        Key(key)
    }
}

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

/// Names of a link that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forgotten {
    /// So many were forgotten.
    pub names: usize,
    /// Whether there are more.
    pub has_more: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Listeners {
    /// Since when each link listens to each name, the newest link of a name last.
    by_name: BTreeMap<(Key, LinkId), u64>,
    by_link: BTreeSet<(LinkId, Key)>,
    /// How many each link listens to; one that is gone to none.
    links: HashMap<LinkId, usize>,
    /// Links that are gone, and of whose names some are in the trees.
    left: BTreeSet<LinkId>,
    by_peer: HashMap<PeerId, usize>,
    by_source: HashMap<Source, usize>,
    listened: u64,
    reserve: Reserve,
}

impl Default for Listeners {
    fn default() -> Listeners {
        Listeners {
            by_name: BTreeMap::new(),
            by_link: BTreeSet::new(),
            links: HashMap::new(),
            left: BTreeSet::new(),
            by_peer: HashMap::new(),
            by_source: HashMap::new(),
            listened: 0,
            reserve: Reserve::new(NAMES_FREE_PER_PEER, NAMES_MAX),
        }
    }
}

impl Listeners {
    /// A link listens to a name. Whether that is new.
    pub(super) fn add(&mut self, link: LinkId, of: Attached, among: Links, name: &Name) -> Result<bool, TooMany> {
        let Attached { peer, source, .. } = of;
        self.listened += 1;
        let key = Key::new(&peer, name);
        if let Some(since) = self.by_name.get_mut(&(key, link)) {
            *since = self.listened;
            return Ok(false);
        }
        let held = self.by_peer.get(&peer).copied().unwrap_or(0);
        let of_source = source.map_or(0, |source| self.by_source.get(&source).copied().unwrap_or(0));
        if of_source >= NAMES_PER_SOURCE_MAX.max(NAMES_PER_LINK * among.of_source) {
            return Err(TooMany);
        }
        let of_link = self.links.get(&link).copied().unwrap_or(0);
        let most = NAMES_PER_PEER_MAX.max(NAMES_PER_LINK * among.of_peer);
        if of_link >= LISTENERS_MAX || held >= most || !self.reserve.has_room(held) {
            return Err(TooMany);
        }
        if let Some(&gone) = self.left.first() {
            self.forget_left(gone, 2);
        }
        self.reserve.add(held);
        *self.by_peer.entry(peer).or_default() += 1;
        if let Some(source) = source {
            *self.by_source.entry(source).or_default() += 1;
        }
        *self.links.entry(link).or_default() += 1;
        self.by_link.insert((link, key));
        self.by_name.insert((key, link), self.listened);
        Ok(true)
    }

    /// A link does not listen to a name any more. Whether it did.
    pub(super) fn remove(&mut self, link: LinkId, of: Attached, name: &Name) -> bool {
        let key = Key::new(&of.peer, name);
        if !self.by_link.remove(&(link, key)) {
            return false;
        }
        self.by_name.remove(&(key, link));
        count_down(&mut self.links, link, 1);
        self.discount(of, 1);
        true
    }

    /// A link is gone. Its names are to be forgotten.
    pub(super) fn leave(&mut self, link: LinkId, of: Attached) {
        if let Some(names) = self.links.remove(&link) {
            self.discount(of, names);
            self.left.insert(link);
        }
    }

    /// Forgets names of a link that is gone, so many at most.
    pub(super) fn forget_left(&mut self, link: LinkId, most: usize) -> Forgotten {
        if !self.left.contains(&link) {
            return Forgotten { names: 0, has_more: false };
        }
        let all = (link, Key([0; 16]))..=(link, Key([0xff; 16]));
        let keys: Vec<Key> = self.by_link.range(all.clone()).take(most).map(|(_, key)| *key).collect();
        let names = keys.len();
        for key in keys {
            self.by_link.remove(&(link, key));
            self.by_name.remove(&(key, link));
        }
        let has_more = self.by_link.range(all).next().is_some();
        if !has_more {
            self.left.remove(&link);
        }
        Forgotten { names, has_more }
    }

    fn discount(&mut self, Attached { peer, source, .. }: Attached, names: usize) {
        if let Some(source) = source {
            count_down(&mut self.by_source, source, names);
        }
        let held = self.by_peer.get(&peer).copied().unwrap_or(0);
        self.reserve.subtract(held, names);
        count_down(&mut self.by_peer, peer, names);
    }

    /// The number of the last LISTEN of anybody.
    pub(super) fn last(&self) -> u64 {
        self.listened
    }

    /// The newest link of a peer that listened to a name at that time and still does, apart from these.
    pub(super) fn newest_until(&self, last: u64, of: (PeerId, &Name), apart_from: &Tried) -> Option<Listener> {
        let mut known = self.all_of(of).rev();
        let newest = known.find(|listener| listener.since <= last && !apart_from.contains(listener.since))?;
        (!apart_from.is_full_of(|| self.sinces(of))).then_some(newest)
    }

    /// Since when anybody listens to a name of a peer, for each link that does.
    pub(super) fn sinces(&self, of: (PeerId, &Name)) -> impl Iterator<Item = u64> {
        self.all_of(of).map(|listener| listener.since)
    }

    fn all_of(&self, (peer, name): (PeerId, &Name)) -> impl DoubleEndedIterator<Item = Listener> {
        let key = Key::new(&peer, name);
        let all = self.by_name.range((key, LinkId::new(0))..=(key, LinkId::new(u64::MAX)));
        let all = all.filter(|((_, link), _)| self.links.contains_key(link));
        all.map(|(&(_, link), &since)| Listener { link, since })
    }

    /// Names beyond those that each peer may have in any case.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.reserve.held()
    }

    /// How many are kept, also of links that are gone.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.by_name.len()
    }

    /// Whether nobody listens to anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let no_link = self.by_name.is_empty() && self.by_link.is_empty() && self.left.is_empty();
        no_link && self.links.is_empty() && self.by_peer.is_empty() && self.by_source.is_empty()
    }
}

/// So many less of somebody's, who is forgotten with the last.
fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, usize>, whose: K, less: usize) {
    if let Entry::Occupied(mut count) = counts.entry(whose) {
        *count.get_mut() -= less;
        (*count.get() == 0).then(|| count.remove());
    }
}
