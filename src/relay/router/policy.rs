//! Who may attach to a relay and how much each may hold.

use crate::identity::PeerId;
use crate::names::{ParseError, PeerLimits, Peers};
use std::collections::HashMap;

/// Circuits that peers of one source may ask for, where anybody may attach: a key costs nothing there, and no other table has each
/// of them. As many as sixteen peers may have where nothing else is said.
pub const CIRCUITS_PER_SOURCE_MAX: u32 = 16 * Limits::DEFAULT.circuits_per_peer;

/// What a relay allows where the allow file says nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Links in all.
    pub links: usize,
    /// Links of one peer: every running tool has one.
    pub links_per_peer: usize,
    /// Circuits of one peer that are open or asked for, over all its links.
    pub circuits_per_peer: u32,
}

impl Limits {
    /// Those of a relay that was told nothing else. A running tool has one link, and hundreds of sessions have a circuit
    /// each: a peer has room for them, and is far from taking what is there for all.
    pub(crate) const DEFAULT: Limits = Limits { links: 16_384, links_per_peer: 256, circuits_per_peer: 1024 };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}

/// What one peer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Links at a time.
    pub links: usize,
    /// Circuits at a time, over all its links.
    pub circuits: u32,
    /// Bytes a second that it may send, over all its links; None without a bound.
    pub rate: Option<u64>,
}

impl Share {
    /// Circuits that others may open to it: an eighth is left for what it asks for itself.
    pub(super) fn of_callers(&self) -> u32 {
        self.circuits - self.circuits / 8
    }

    /// Circuits that one caller may open to it: a quarter is left for the others.
    pub(super) fn of_one_caller(&self) -> u32 {
        self.circuits - self.circuits / 4
    }
}

#[derive(Clone, Debug)]
enum Allow {
    Anyone,
    Only(HashMap<PeerId, PeerLimits>),
}

/// Who may attach, with what share.
#[derive(Clone, Debug)]
pub struct Policy {
    allow: Allow,
    limits: Limits,
}

impl Policy {
    /// Everybody may attach.
    pub fn open(limits: Limits) -> Policy {
        Policy { allow: Allow::Anyone, limits }
    }

    /// Only `peers` may attach; their options are limits.
    ///
    /// # Errors
    /// An option that is no limit, with its place in the file.
    pub fn only(peers: &Peers, limits: Limits) -> Result<Policy, ParseError> {
        let mut table = HashMap::with_capacity(peers.len());
        for peer in peers {
            // The first line of a peer counts, as it does for its name.
            let own = peer.limits()?;
            table.entry(peer.id).or_insert(own);
        }
        Ok(Policy { allow: Allow::Only(table), limits })
    }

    /// The limits for everybody.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Links that may come from one source, where that is bounded: anybody may attach, and a key costs nothing. A sixteenth of
    /// all, but no fewer than one peer may have.
    pub(super) fn links_per_source(&self) -> Option<usize> {
        let most = (self.limits.links / 16).max(self.limits.links_per_peer);
        matches!(self.allow, Allow::Anyone).then_some(most)
    }

    /// Circuits that links of one source may ask for, where that is bounded, open or not; but no fewer than one peer may have.
    pub(super) fn circuits_per_source(&self) -> Option<u32> {
        let most = CIRCUITS_PER_SOURCE_MAX.max(self.limits.circuits_per_peer);
        matches!(self.allow, Allow::Anyone).then_some(most)
    }

    /// What `peer` may hold, None if it may not attach.
    pub fn share(&self, peer: &PeerId) -> Option<Share> {
        let own = match &self.allow {
            Allow::Anyone => PeerLimits::default(),
            Allow::Only(table) => *table.get(peer)?,
        };
        let links = own.links.map_or(self.limits.links_per_peer, |links| usize::try_from(links).unwrap_or(usize::MAX));
        Some(Share { links, circuits: own.circuits.unwrap_or(self.limits.circuits_per_peer), rate: own.rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
    }

    #[test]
    fn the_file_overrides_the_defaults_and_excludes_everybody_else() {
        let text = format!("east {} circuits=2 rate=1M\nwest {}\n", id(1), id(2));
        let policy = Policy::only(&Peers::parse(&text).unwrap(), Limits::default()).unwrap();
        let defaults = Limits::default();
        let east = Share { links: defaults.links_per_peer, circuits: 2, rate: Some(1 << 20) };
        assert_eq!(policy.share(&id(1)), Some(east));
        let west = Share { links: defaults.links_per_peer, circuits: defaults.circuits_per_peer, rate: None };
        assert_eq!(policy.share(&id(2)), Some(west));
        assert_eq!(policy.share(&id(3)), None);
        assert_eq!(Policy::open(defaults).share(&id(3)), Some(west));
    }

    #[test]
    fn an_option_that_is_no_limit_is_refused_with_its_place() {
        let text = format!("\neast {} colour=red\n", id(1));
        let error = Policy::only(&Peers::parse(&text).unwrap(), Limits::default()).unwrap_err();
        assert_eq!(error.line, 2);
    }
}
