//! The directories of a transfer, which get their permissions and times when everything is in them.

use crate::store::attributes::Attributes;
use crate::store::inbox::{Inbox, Overwrite};
use crate::store::leftovers;
use crate::store::maker::{Fresh, Made};
use crate::transfer::Fault;
use crate::transfer::path::TreePath;

/// Memory for their paths, which are kept until then: 400,000 of a hundred bytes.
const BYTES_MAX: usize = 64 << 20;
/// What one costs beside its path.
const DIRECTORY_BYTES: usize = 64;

/// One that is not finished.
struct Unfinished {
    path: TreePath,
    announced: Attributes,
    /// It gets the announced permissions, if it is the sender's.
    sets_mode: bool,
    /// This run has made it, and left it so.
    fresh: Option<Fresh>,
}

/// The directories of one transfer.
pub(crate) struct Directories {
    unfinished: Vec<Unfinished>,
    /// For further ones.
    pub bytes_left: usize,
}

impl Default for Directories {
    fn default() -> Self {
        Self { unfinished: Vec::new(), bytes_left: BYTES_MAX }
    }
}

impl Directories {
    /// Takes the memory for one.
    ///
    /// # Errors
    /// [`Fault::TooMany`] if there is none left.
    pub(super) fn reserve(&mut self, path: &TreePath) -> Result<(), Fault> {
        let price = path.as_bytes().len() + DIRECTORY_BYTES;
        self.bytes_left = self.bytes_left.checked_sub(price).ok_or(Fault::TooMany)?;
        Ok(())
    }

    /// Adds one that is there by now; the permission bits that it will have. One that the sender has made before keeps those
    /// that it has, unless they are to be replaced or are those that an interrupted transfer of the same tree would have left.
    pub(super) fn add(&mut self, path: &TreePath, (made, overwrite): (Made, Overwrite), announced: Attributes) -> u16 {
        let (sets_mode, stays) = match made {
            Made::New(_) => (true, announced.mode),
            Made::Already { mode, own } => {
                let sets_mode = mode == announced.mode | 0o700 || overwrite == Overwrite::Yes;
                (sets_mode, if own && sets_mode { announced.mode } else { mode })
            }
        };
        self.unfinished.push(Unfinished { path: path.clone(), announced, sets_mode, fresh: made.fresh() });
        stays
    }

    /// Everything is in them. What could not be done.
    pub(super) fn finish(&mut self, inbox: &mut Inbox, sender: &[u8; 32]) -> Vec<(TreePath, Fault)> {
        let mut directories = std::mem::take(&mut self.unfinished);
        // Deepest first: setting one directory's time must be the last change in it, and a
        // directory that its owner may not enter any more hides what is below.
        directories.sort_by_cached_key(|directory| std::cmp::Reverse(directory.path.depth()));
        let mut faults = Vec::new();
        // Done is what is found at its place, not what went into something that was there a moment ago.
        inbox.look_anew();
        for Unfinished { path, announced, sets_mode, fresh } in &directories {
            leftovers::clear_whole(inbox, sender, Some(path));
            // Asked again: another run of the same sender may have been about to make it when this one came there, and its owner
            // may have come meanwhile.
            let own = inbox.is_made_by_sender(path, *fresh);
            let mode = (own && *sets_mode).then_some(announced.mode);
            match inbox.finish_directory(path, mode, own.then_some(announced.mtime)) {
                // Whoever sends it again finds what is missing.
                Err(Fault::Parent) => faults.push((path.clone(), Fault::NotFound)),
                // One that was there before is there, whatever becomes of it.
                _ if fresh.is_none() => {}
                Ok(unkept) => inbox.note_unkept(path.parent(), unkept),
                Err(fault) => faults.push((path.clone(), fault)),
            }
        }
        leftovers::clear_whole(inbox, sender, None);
        inbox.close_up();
        if let Some(top) = directories.last()
            && let Err(fault) = inbox.sync_all(directories.iter().map(|directory| directory.path.as_bytes()))
        {
            faults.push((top.path.clone(), fault));
        }
        faults
    }
}
