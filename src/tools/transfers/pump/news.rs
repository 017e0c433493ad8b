//! What an engine wants people to know, and what it has come to.

use crate::store::attributes::Unkept;
use crate::store::links::LeftLinks;
use crate::store::omit::LeftOut;
use crate::tools::transfers::Ending;
use crate::tools::transfers::engine::Item;
use crate::transfer::messages::ItemOutcome;
use crate::transfer::outcome::{Failure, Unlike};
use crate::transfer::status::Counts;
use std::path::PathBuf;

/// How far the engine is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progressed {
    /// Bytes that are dealt with.
    pub bytes: u64,
    /// Those of them that did not have to be moved.
    pub bytes_skipped: u64,
    /// Of so many, where known.
    pub bytes_total: Option<u64>,
    /// Items that are settled.
    pub items: u64,
    /// Of so many, where known.
    pub items_total: Option<u64>,
    /// The item under way, as bytes of unknown origin.
    pub current: Vec<u8>,
}

/// What the engine wants people to know.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// How far it is, if that changed.
    pub progress: Option<Progressed>,
    /// Items that did not come about.
    pub failures: Vec<Failure>,
    /// What was left out: keys, and all else if each item is to be told.
    pub left_out: Vec<LeftOut>,
    /// The directory of a file system that did not keep the attributes of some, and which.
    pub unkept: Option<(PathBuf, Unkept)>,
    /// Items that were there and keep another mode or time.
    pub unlike: Option<Unlike>,
    /// Links that were left out, once they are counted.
    pub left_links: Option<LeftLinks>,
    /// Items that came to their end, if each is to be told.
    pub items: Vec<Item>,
    /// What it has come to: the items are those that were told, whether each was or not.
    pub so_far: SoFar,
}

/// What an engine has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SoFar {
    /// Items by their end.
    pub counts: Counts,
    /// Items that could not even be offered.
    pub left_out: u32,
    /// Bytes of content that were moved.
    pub bytes: u64,
}

impl SoFar {
    /// With the items as the end has them, once that is known.
    pub(crate) fn or_end(self, ending: Option<&Ending>) -> SoFar {
        ending.map_or(self, |end| SoFar { counts: end.counts, left_out: end.skipped, ..self })
    }

    pub(super) fn count(&mut self, outcome: ItemOutcome) {
        match outcome {
            ItemOutcome::Committed => self.counts.committed += 1,
            ItemOutcome::Exists | ItemOutcome::ExistsUnlike => self.counts.exists += 1,
            ItemOutcome::Refused(_) => self.counts.refused += 1,
            ItemOutcome::Failed(_) => self.counts.failed += 1,
        }
    }
}
