//! Faults that tests plant in a receiver's directory, and counts that they read of it.

use crate::transfer::Fault;
use std::cell::RefCell;

/// See the module's text. Nothing unless a test says so.
#[derive(Default)]
pub(crate) struct Planted {
    /// Every directory takes names that differ only in case for one.
    pub folding: bool,
    /// Every sync fails so.
    pub sync_fault: Option<Fault>,
    /// What was synced so far.
    pub synced: RefCell<Vec<Synced>>,
}

impl Planted {
    /// Something is being synced.
    pub(super) fn note_sync(&self, what: Synced) -> Result<(), Fault> {
        self.synced.borrow_mut().push(what);
        self.sync_fault.map_or(Ok(()), Err)
    }
}

/// One thing that was synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Synced {
    /// The whole file systems.
    All,
    /// One file.
    File,
    /// The names in a directory.
    Directory(Vec<u8>),
}
