//! What a person may want to see while a transfer runs.

use crate::store::attributes::Unkept;
use crate::store::links::LeftLinks;
use crate::store::omit::LeftOut;
use crate::transfer::fault::DanglingLink;
use crate::transfer::messages::{Hash, ItemOutcome};
use crate::transfer::outcome::{Failure, Unlike};
use std::path::Path;
use std::time::Duration;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Snapshot<'a> {
    /// Content bytes that are dealt with: sent, received, or found to be there.
    pub bytes_done: u64,
    /// Those of them that were there already, or are holes: dealt with in no time, so that they say nothing about speed.
    pub bytes_skipped: u64,
    /// Of so many in all, where known.
    pub bytes_total: Option<u64>,
    /// Items that are settled, well or not.
    pub items_done: u64,
    /// Of so many in all, where known.
    pub items_total: Option<u64>,
    /// Path of the item under way, as bytes of unknown origin: escape before showing.
    pub current: &'a [u8],
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Bytes of a length that was not known before.
    Stream,
}

/// How one item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ItemEnd<'a> {
    /// Its path as the sender says it, as bytes of unknown origin; of a stream, its name, which may be empty.
    pub path: &'a [u8],
    /// What it is, where that is known.
    pub kind: Option<ItemKind>,
    /// Length of its content.
    pub bytes: u64,
    /// BLAKE3 of the content, if it is at both ends and was computed.
    pub hash: Option<Hash>,
    /// The last name that it got at the receiver, if that is another.
    pub renamed: Option<&'a [u8]>,
    /// What became of it.
    pub outcome: ItemOutcome,
    /// The link that it is, if that leads to nothing and this is why.
    pub dangling: Option<&'a DanglingLink>,
    /// How long there was work on it.
    pub took: Duration,
}

/// How one item ended: [`ItemEnd`], to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its path as the sender says it, as bytes of unknown origin; of a stream, its name, which may be empty.
    pub path: Vec<u8>,
    /// What it is, where that is known.
    pub kind: Option<ItemKind>,
    /// Length of its content.
    pub bytes: u64,
    /// BLAKE3 of the content, if it is at both ends and was computed.
    pub hash: Option<Hash>,
    /// The last name that it got at the receiver, if that is another.
    pub renamed: Option<Vec<u8>>,
    /// What became of it.
    pub outcome: ItemOutcome,
    /// The link that it is, if that leads to nothing and this is why.
    pub dangling: Option<DanglingLink>,
    /// How long there was work on it.
    pub took: Duration,
}

impl From<ItemEnd<'_>> for Item {
    fn from(end: ItemEnd<'_>) -> Item {
        Item {
            path: end.path.to_vec(),
            kind: end.kind,
            bytes: end.bytes,
            hash: end.hash,
            renamed: end.renamed.map(<[u8]>::to_vec),
            outcome: end.outcome,
            dangling: end.dangling.cloned(),
            took: end.took,
        }
    }
}

/// Is told how a transfer goes on; called often, so it should be quick.
pub(crate) trait Progress {
    /// Something moved.
    fn report(&mut self, at: Snapshot<'_>);

    /// An item came to its end, well or not.
    fn settled(&mut self, item: ItemEnd<'_>) {
        let _ = item;
    }

    /// An item could not be offered: this is all that becomes of it.
    fn skipped(&mut self, item: ItemEnd<'_>) {
        self.settled(item);
    }

    /// Everything has been walked, and these links were left out on the way.
    fn links_left_out(&mut self, links: &LeftLinks) {
        let _ = links;
    }

    /// An item will not come about, or something went wrong with it afterwards; the others go on.
    fn warn(&mut self, failure: &Failure) {
        let _ = failure;
    }

    /// This lies in what is sent, and is left out.
    fn left_out(&mut self, left_out: &LeftOut) {
        let _ = left_out;
    }

    /// A directory's file system did not keep what came with some items; once, at the end.
    fn unkept(&mut self, place: &Path, what: Unkept) {
        let _ = (place, what);
    }

    /// At the end: these were there, and keep what is different.
    fn remark(&mut self, unlike: &Unlike) {
        let _ = unlike;
    }
}

/// Nobody watches.
impl Progress for () {
    fn report(&mut self, _: Snapshot<'_>) {}
}

/// The figures of a snapshot, without its name.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub bytes_done: u64,
    pub bytes_skipped: u64,
    pub bytes_total: Option<u64>,
    pub items_done: u64,
    pub items_total: Option<u64>,
}

impl Meter {
    /// Counts bytes that need not be moved.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.bytes_done += bytes;
        self.bytes_skipped += bytes;
    }

    pub(crate) fn at<'a>(&self, current: &'a [u8]) -> Snapshot<'a> {
        Snapshot {
            bytes_done: self.bytes_done,
            bytes_skipped: self.bytes_skipped,
            bytes_total: self.bytes_total,
            items_done: self.items_done,
            items_total: self.items_total,
            current,
        }
    }
}
