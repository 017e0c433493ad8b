//! Who is attached, by which links from where, and how many circuits each peer and each worker has.

use super::admission::Source;
use crate::identity::PeerId;
use crate::relay::LinkId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A link moves to the worker of its partner unless that worker has this many circuit ends more than its own. Sharing a
/// worker saves the hop between threads; a hub with many callers should still use every core.
const CROWDING_MAX: usize = 8;

/// What a worker carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Links.
    pub links: usize,
    /// Ends of circuits.
    pub circuits: usize,
}

/// A link, as it is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    /// Whose it is.
    pub peer: PeerId,
    /// Its worker.
    pub worker: usize,
    /// Where it comes from, if links from there are counted.
    pub source: Option<Source>,
}

/// How many links there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    /// Those of the peer.
    pub of_peer: usize,
    /// Those of its source, if that is counted.
    pub of_source: usize,
}

#[derive(Debug)]
struct Link {
    attached: Attached,
    /// The next odd number for an INCOMING; None when all are used up.
    next_circuit: Option<u32>,
    /// Circuits asked for or open.
    circuits: u32,
    /// Those of them that it has asked for.
    asked: u32,
    /// Circuits offered to it. They are no part of what its peer may have: others ask for them.
    offered: u32,
}

#[derive(Debug, Default)]
struct Holding {
    links: Vec<LinkId>,
    /// Circuits asked for or open, of all its links.
    circuits: u32,
}

/// What comes from one source.
#[derive(Debug, Default)]
struct Origin {
    links: usize,
    /// Circuits that those asked for, open or not.
    asked: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Roster {
    links: HashMap<LinkId, Link>,
    peers: HashMap<PeerId, Holding>,
    sources: HashMap<Source, Origin>,
    load: Vec<Load>,
}

impl Roster {
    /// Nobody, at so many workers.
    pub(super) fn new(workers: usize) -> Roster {
        let load = vec![Load::default(); workers];
        Roster { links: HashMap::new(), peers: HashMap::new(), sources: HashMap::new(), load }
    }

    /// A link came.
    pub(super) fn add(&mut self, link: LinkId, attached: Attached) {
        self.peers.entry(attached.peer).or_default().links.push(link);
        self.load[attached.worker].links += 1;
        if let Some(source) = attached.source {
            self.sources.entry(source).or_default().links += 1;
        }
        self.links.insert(link, Link { attached, next_circuit: Some(1), circuits: 0, asked: 0, offered: 0 });
    }

    /// A link is gone.
    pub(super) fn remove(&mut self, link: LinkId) -> Option<Attached> {
        let Link { attached, circuits, asked, offered, .. } = self.links.remove(&link)?;
        let load = &mut self.load[attached.worker];
        load.links -= 1;
        load.circuits -= usize::try_from(circuits + offered).unwrap_or(0);
        if let Some(holding) = self.peers.get_mut(&attached.peer) {
            holding.links.retain(|&other| other != link);
            holding.circuits -= circuits;
            if holding.links.is_empty() {
                self.peers.remove(&attached.peer);
            }
        }
        if let Some(source) = attached.source
            && let Entry::Occupied(mut origin) = self.sources.entry(source)
        {
            origin.get_mut().links -= 1;
            origin.get_mut().asked -= asked;
            (origin.get().links == 0).then(|| origin.remove());
        }
        Some(attached)
    }

    /// A link.
    pub(super) fn get(&self, link: LinkId) -> Option<&Attached> {
        self.links.get(&link).map(|link| &link.attached)
    }

    /// The worker of an attached link.
    pub(super) fn worker_of(&self, link: LinkId) -> Option<usize> {
        self.get(link).map(|attached| attached.worker)
    }

    /// How many links there are.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// All peers.
    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    /// The links of a peer, with their workers.
    pub(super) fn links(&self, peer: &PeerId) -> impl Iterator<Item = (LinkId, usize)> {
        let links = self.peers.get(peer).into_iter().flat_map(|holding| &holding.links);
        links.filter_map(|link| Some((*link, self.worker_of(*link)?)))
    }

    /// Where a peer is, if links from there are counted: the first of its links that are there.
    pub(super) fn source_of(&self, peer: &PeerId) -> Option<Source> {
        let first = self.peers.get(peer)?.links.first()?;
        self.get(*first)?.source
    }

    /// How many links a peer has.
    pub(super) fn links_of(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |holding| holding.links.len())
    }

    /// How many links come from there.
    pub(super) fn links_from(&self, source: Source) -> usize {
        self.sources.get(&source).map_or(0, |origin| origin.links)
    }

    /// How many circuits links from there have asked for, open or not.
    pub(super) fn asked_from(&self, source: Source) -> u32 {
        self.sources.get(&source).map_or(0, |origin| origin.asked)
    }

    /// How many links there are of its peer, and of its source.
    pub(super) fn among(&self, attached: &Attached) -> Links {
        let of_source = attached.source.map_or(0, |source| self.links_from(source));
        Links { of_peer: self.links_of(&attached.peer), of_source }
    }

    /// How many circuits a peer has that are asked for or open. None if it has no link.
    pub(super) fn circuits_of(&self, peer: &PeerId) -> Option<u32> {
        self.peers.get(peer).map(|holding| holding.circuits)
    }

    /// Whether a link has asked for no circuit, has none, and was offered none.
    pub(super) fn is_idle(&self, link: LinkId) -> bool {
        self.links.get(&link).is_none_or(|link| link.circuits + link.offered == 0)
    }

    /// Sends a link to the worker of this partner, unless that has much to do, or the link was offered a circuit. Its worker so
    /// far and the other one. What it has asked for goes with it; it must have no circuit that is open.
    pub(super) fn relocate(&mut self, link: LinkId, partner: LinkId) -> Option<(usize, usize)> {
        let there = self.worker_of(partner)?;
        let Link { attached, circuits, offered, .. } = self.links.get_mut(&link)?;
        let (here, load) = (attached.worker, &mut self.load);
        let is_crowded = load[there].circuits > load[here].circuits + CROWDING_MAX;
        if here == there || *offered > 0 || is_crowded {
            return None;
        }
        attached.worker = there;
        let asked = usize::try_from(*circuits).unwrap_or(0);
        load[here].links -= 1;
        load[there].links += 1;
        load[here].circuits -= asked;
        load[there].circuits += asked;
        Some((here, there))
    }

    /// A link asks for a circuit.
    pub(super) fn ask(&mut self, link: LinkId) {
        self.hold(link);
        let Some(link) = self.links.get_mut(&link) else { return };
        link.asked += 1;
        if let Some(origin) = link.attached.source.and_then(|source| self.sources.get_mut(&source)) {
            origin.asked += 1;
        }
    }

    /// A link has taken a circuit that it was offered.
    pub(super) fn hold(&mut self, link: LinkId) {
        let Some(link) = self.links.get_mut(&link) else { return };
        link.circuits += 1;
        self.load[link.attached.worker].circuits += 1;
        if let Some(holding) = self.peers.get_mut(&link.attached.peer) {
            holding.circuits += 1;
        }
    }

    /// So many circuits of a link have ended that it had asked for, and so many that it had taken.
    pub(super) fn release(&mut self, link: LinkId, asked: u32, taken: u32) {
        let Some(link) = self.links.get_mut(&link) else { return };
        let asked = asked.min(link.asked);
        link.asked -= asked;
        if let Some(origin) = link.attached.source.and_then(|source| self.sources.get_mut(&source)) {
            origin.asked -= asked;
        }
        let count = asked.saturating_add(taken).min(link.circuits);
        link.circuits -= count;
        self.load[link.attached.worker].circuits -= usize::try_from(count).unwrap_or(0);
        if let Some(holding) = self.peers.get_mut(&link.attached.peer) {
            holding.circuits -= count;
        }
    }

    /// A link is offered a circuit: its worker, and the number that this uses up. None if all are used up.
    pub(super) fn offer(&mut self, link: LinkId) -> Option<(usize, u32)> {
        let link = self.links.get_mut(&link)?;
        let number = link.next_circuit?;
        link.next_circuit = number.checked_add(2);
        link.offered += 1;
        self.load[link.attached.worker].circuits += 1;
        Some((link.attached.worker, number))
    }

    /// It has it no more.
    pub(super) fn end_offer(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.offered -= 1;
            self.load[link.attached.worker].circuits -= 1;
        }
    }

    /// What each worker carries.
    pub(super) fn load(&self) -> &[Load] {
        &self.load
    }
}
