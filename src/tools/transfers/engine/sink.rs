//! Where a receiver puts what it gets: a directory (`tree`) or a writer
//! (`writer`). Sinks know files; the protocol is the receiver's.

use crate::store::adopt::Checkpoints;
use crate::store::attributes::Unkept;
use crate::store::owed::Owed;
use crate::transfer::Fault;
use crate::transfer::item::{Kind, Mtime};
use crate::transfer::messages::{Hash, IfDifferent, ItemOutcome};
use crate::transfer::path::TreePath;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Instant;

/// One item whose names have been checked.
#[derive(Debug)]
pub(crate) struct Offered {
    pub index: u32,
    pub path: TreePath,
    pub kind: Kind,
    /// Of a file, as announced; unknown for a stream.
    pub size: Option<u64>,
    pub mode: Option<u16>,
    pub mtime: Option<Mtime>,
    /// Of a file whose content has come and was right.
    pub hash: Option<Hash>,
}

/// What a sink makes of an offered item.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Its content is wanted, from any of these states on.
    Want(Checkpoints),
    /// A file that may be the same.
    Have(Hash, IfDifferent),
    /// Nothing more is needed, but it is not safe before the next commit.
    Taken,
}

/// An item's end.
#[derive(Debug)]
pub(crate) struct Settled {
    pub index: u32,
    pub path: TreePath,
    pub outcome: ItemOutcome,
    /// The last name it got, if it is not the one it came with.
    pub renamed: Option<Vec<u8>>,
}

/// A run that the hook is owed.
#[derive(Debug)]
pub(crate) enum Owing {
    /// Now or never.
    Once,
    /// Until it succeeds, in whichever transfer.
    Noted(Owed),
}

/// Where content goes.
pub(crate) trait Sink {
    /// Whether it takes more than one file.
    fn takes_several(&self) -> bool {
        true
    }

    /// What to do about an item, keeping at most so many checkpoints.
    fn look(&mut self, now: Instant, item: &Offered, checkpoints: NonZeroU64) -> Result<Verdict, Fault>;

    /// Gets ready for a stream called so.
    fn begin_stream(&mut self, name: &[u8]) -> Result<Offered, Fault>;

    /// Gets ready for the content of an item from this offset on.
    fn begin(&mut self, item: &Offered, offset: u64) -> Result<(), Fault>;

    /// Takes content.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// Takes so many zeros.
    fn skip(&mut self, zeros: u64) -> Result<(), Fault>;

    /// The content was complete and right. `None`: safe with the next commit.
    fn complete(&mut self, now: Instant, item: Offered) -> Result<Option<Settled>, Fault>;

    /// A file that was here already is what the sender has. `None`: safe with the next commit.
    fn keep(&mut self, now: Instant, item: Offered) -> Option<Settled>;

    /// The rest of the content will not come.
    fn abandon(&mut self, item: &Offered, fault: Fault);

    /// When [`Self::commit`] should be called at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// Makes safe what has been taken.
    fn commit(&mut self) -> Vec<Settled>;

    /// Nothing more comes; what went wrong with items already reported.
    fn finish(&mut self) -> Vec<(TreePath, Fault)>;

    /// The run that the hook is owed for what the sender calls so, and which is whole. None if an earlier one succeeded. Waits
    /// while another transfer makes it, unless that is given up.
    fn owed(&mut self, _name: &[u8], _given_up: &dyn Fn() -> bool) -> Result<Option<Owing>, Fault> {
        Ok(Some(Owing::Once))
    }

    /// The directory of a file system that did not keep the attributes of what came, and which.
    fn unkept(&self) -> Option<&(PathBuf, Unkept)> {
        None
    }

    /// Of a command that ended before it had everything: 0 if it only wanted no more.
    fn command_status(&self) -> Option<i32> {
        None
    }
}
