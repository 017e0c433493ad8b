//! What the sink has taken of a stream, as the one item of its transfer.

use crate::tools::transfers::Ending;
use crate::tools::transfers::engine::{Item, ItemKind};
use crate::transfer::hash::ContentHash;
use crate::transfer::messages::ItemOutcome;
use std::time::Instant;

/// See the module's text.
pub(in crate::tools::recv) struct Taken {
    /// What the sender calls it.
    pub name: Vec<u8>,
    /// Bytes of it.
    pub bytes: u64,
    /// No more of them are wanted.
    bytes_max: Option<u64>,
    /// Its hash so far, and since when it comes, if somebody wants to know.
    watched: Option<(Box<ContentHash>, Instant)>,
}

impl Taken {
    /// Nothing yet, and at most so many bytes.
    pub(in crate::tools::recv) fn new(name: &[u8], bytes_max: Option<u64>) -> Taken {
        Taken { name: name.to_vec(), bytes: 0, bytes_max, watched: None }
    }

    /// Computes its hash from now on.
    pub(in crate::tools::recv) fn watch(&mut self, now: Instant) {
        self.watched = Some((Box::default(), now));
    }

    /// Whether so many bytes more are too many.
    pub(in crate::tools::recv) fn is_exceeded_by(&self, count: usize) -> bool {
        let wanted = u64::try_from(count).unwrap_or(u64::MAX).saturating_add(self.bytes);
        self.bytes_max.is_some_and(|most| wanted > most)
    }

    /// The sink has taken these.
    pub(in crate::tools::recv) fn add(&mut self, bytes: &[u8]) {
        self.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        if let Some((hasher, _)) = &mut self.watched {
            hasher.update(bytes);
        }
    }

    /// The item that ended so, if that is wanted.
    pub(in crate::tools::recv) fn item(&self, ending: &Ending) -> Option<Item> {
        let (hasher, since) = self.watched.as_ref()?;
        let outcome = match (ending.counts.committed, ending.first_fault) {
            (0, Some(fault)) => fault.into(),
            _ => ItemOutcome::Committed,
        };
        let hash = (outcome == ItemOutcome::Committed).then(|| hasher.hash());
        let (path, bytes) = (self.name.clone(), self.bytes);
        let kind = Some(ItemKind::Stream);
        Some(Item { path, kind, bytes, hash, renamed: None, outcome, dangling: None, took: since.elapsed() })
    }
}
