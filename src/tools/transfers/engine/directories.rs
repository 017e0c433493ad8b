//! The directories of a transfer, which get their permissions and times when everything is in them.

use crate::store::attributes::Attributes;
use crate::store::inbox::{Inbox, Made, Overwrite};
use crate::store::journal::Journal;
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
    /// The permissions that it gets. None: it was there and stays as it is.
    mode: Option<u16>,
    /// By this run, or by one of the same sender that was interrupted.
    made: bool,
}

/// The directories of one transfer.
pub(crate) struct Directories {
    unfinished: Vec<Unfinished>,
    journal: Journal,
    /// For further ones.
    pub bytes_left: usize,
}

impl Directories {
    /// Of this run of this sender.
    pub fn new(sender: &[u8; 32], run: u64) -> Self {
        Self { unfinished: Vec::new(), journal: Journal::new(sender, run), bytes_left: BYTES_MAX }
    }

    /// Takes the memory for one.
    ///
    /// # Errors
    /// [`Fault::TooMany`] if there is none left.
    pub fn reserve(&mut self, path: &TreePath) -> Result<(), Fault> {
        let price = path.as_bytes().len() + DIRECTORY_BYTES;
        self.bytes_left = self.bytes_left.checked_sub(price).ok_or(Fault::TooMany)?;
        Ok(())
    }

    /// Adds one that is there by now. What was there before is not the sender's to change; where everything may be replaced,
    /// its owner still has the access that he had. The permission bits with which it stays if they are not the announced ones.
    pub fn add(
        &mut self,
        inbox: &mut Inbox,
        path: &TreePath,
        (made, overwrite): (Made, Overwrite),
        announced: Attributes,
    ) -> Option<u16> {
        let (made, mode, stays) = match made {
            Made::New => {
                self.journal.note(inbox, path);
                (true, Some(announced.mode), announced.mode)
            }
            Made::Already { .. } if self.journal.is_unfinished(inbox, path) => {
                (true, Some(announced.mode), announced.mode)
            }
            Made::Already { mode, own: true } if overwrite == Overwrite::Yes => {
                let kept = announced.mode | mode & 0o700;
                (false, Some(kept), kept)
            }
            Made::Already { mode, .. } => (false, None, mode),
        };
        self.unfinished.push(Unfinished { path: path.clone(), announced, mode, made });
        (stays != announced.mode).then_some(stays)
    }

    /// Everything is in them. What could not be done.
    pub fn finish(&mut self, inbox: &mut Inbox) -> Vec<(TreePath, Fault)> {
        let mut directories = std::mem::take(&mut self.unfinished);
        // Deepest first: setting one directory's time must be the last change in it, and a
        // directory that its owner may not enter any more hides what is below.
        directories.sort_by_cached_key(|directory| std::cmp::Reverse(directory.path.depth()));
        let mut faults = Vec::new();
        // Done is what is found at its place, not what went into something that was there a moment ago.
        inbox.look_anew();
        self.journal.look_anew();
        for Unfinished { path, announced, mode, made } in &directories {
            // Also what a run of the same sender made that was under way when this one came there.
            let ours = self.journal.is_unfinished(inbox, path) || *made;
            let mode = if ours { Some(announced.mode) } else { *mode };
            let finished = inbox.finish_directory(path, mode.map(|mode| Attributes { mode, ..*announced }));
            match finished {
                // Whoever sends it again finds what is missing.
                Err(Fault::Parent) => faults.push((path.clone(), Fault::NotFound)),
                // One that was there before may belong to somebody else: then it stays as it is.
                _ if !ours => {}
                Ok(unkept) => inbox.note_unkept(path.parent(), unkept),
                Err(fault) => faults.push((path.clone(), fault)),
            }
        }
        inbox.close_up();
        if let Some(top) = directories.last()
            && let Err(fault) = inbox.sync_all(directories.iter().map(|directory| directory.path.as_bytes()))
        {
            faults.push((top.path.clone(), fault));
        }
        self.journal.finish(inbox);
        faults
    }
}
