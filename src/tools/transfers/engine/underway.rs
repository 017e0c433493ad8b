//! What is known of an item while it is under way, for whoever wants to hear of its end.

use super::progress::{ItemEnd, ItemKind};
use crate::transfer::item::Kind;
use crate::transfer::messages::{Hash, ItemOutcome};
use std::time::Instant;

/// One item that has not come to its end.
#[derive(Debug)]
pub(crate) struct Underway {
    pub kind: ItemKind,
    pub bytes: u64,
    /// Of the content that is at both ends, once that is known.
    pub hash: Option<Hash>,
    /// Since when there is work on it.
    pub since: Instant,
    /// The last name that it got at the receiver, if that is not the one it was offered with.
    pub renamed: Option<Vec<u8>>,
}

impl Underway {
    /// An item that is announced now, with so many bytes of content.
    pub(super) fn new(kind: ItemKind, bytes: u64) -> Self {
        Self { kind, bytes, hash: None, since: Instant::now(), renamed: None }
    }

    /// How it ended.
    pub(super) fn end<'a>(&'a self, path: &'a [u8], outcome: ItemOutcome) -> ItemEnd<'a> {
        let is_there = matches!(outcome, ItemOutcome::Committed | ItemOutcome::Exists | ItemOutcome::ExistsUnlike);
        ItemEnd {
            path,
            kind: Some(self.kind),
            bytes: self.bytes,
            hash: self.hash.filter(|_| is_there),
            renamed: self.renamed.as_deref(),
            outcome,
            dangling: None,
            took: self.since.elapsed(),
        }
    }
}

impl From<&Kind> for ItemKind {
    fn from(kind: &Kind) -> Self {
        match kind {
            Kind::File => Self::File,
            Kind::Directory => Self::Directory,
            Kind::Link(_) => Self::Link,
        }
    }
}
