//! What a receiver takes, and whom it tells what has come.

use crate::store::inbox::Overwrite;
use crate::transfer::item::Kind;
use crate::transfer::path::TreePath;

/// What a receiver takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ReceivePolicy {
    /// What happens where a name is taken.
    pub overwrite: Overwrite,
    /// Content bytes in all, at most.
    pub bytes_max: Option<u64>,
    /// Items in all, at most.
    pub items_max: Option<u32>,
}

/// One thing that the sender named and that is here now, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// Where it is, below the receiver's directory: a single name.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
}

/// Called for each [`Received`] when everything is safe, before the sender is told. Returns 0 or a
/// status that then travels to the sender as that of a failed command. In a directory it is called
/// again, in a later transfer of the same, until it has returned 0, and then no more.
pub(crate) type OnReceived<'a> = dyn FnMut(&Received) -> i32 + Send + 'a;

/// Whether nobody wants the outcome any more.
pub(super) type GivenUp = Box<dyn Fn() -> bool + Send>;
