//! Goes on with what an earlier run has left unfinished.

use super::attributes;
use super::copy::copy_bytes;
use super::extent::hash_range;
use super::inbox::Inbox;
use super::part::{LiveRun, PartFile, PartName, WRITABLE, claim, is_private, may_be_waiting, open_unfinished};
use crate::transfer::fault::Fault;
use crate::transfer::hash::ContentHash;
use crate::transfer::path::TreePath;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, fstat, fstatvfs, renameat, statat, unlinkat};
use std::cmp::Reverse;
use std::num::NonZeroU64;
use std::time::SystemTime;

/// A hash state at every so many bytes at most; see [`Adopted::checkpoints`].
const CHECKPOINT_STEP_BYTES: u64 = 1 << 20;
/// A copy of what another run still writes may take this part of the room that is left: both go on growing.
const COPY_PART: u64 = 2;

/// Hash states over growing prefixes of a file: the length, and the state after that many bytes.
pub(crate) type Checkpoints = Vec<(u64, ContentHash)>;

/// An unfinished file that is ours now: of an earlier run, or a copy of what another one has written so far.
#[derive(Debug)]
pub(crate) struct Adopted {
    file: OwnedFd,
    length: u64,
}

/// Takes over the longest unfinished file of this very version, if there is one. Of one that another run still writes, what
/// is there so far is copied: that run may be waiting for a sender that is long dead, and may wait for minutes. Where a copy
/// would take most of the room, the next longest serves, or none: then the transfer begins at the beginning. One that a run
/// of another process may have finished is copied, too, if there is room.
///
/// # Errors
/// What listing the directory says. A file that cannot be taken over is no error: it is not there.
pub(crate) fn adopt(inbox: &mut Inbox, path: &TreePath, ours: PartName) -> Result<Option<Adopted>, Fault> {
    adopt_within(inbox, path, ours, &Now { time: SystemTime::now(), free_bytes })
}

/// What a test says of its surroundings.
struct Now<F> {
    time: SystemTime,
    free_bytes: F,
}

fn adopt_within(
    inbox: &mut Inbox,
    path: &TreePath,
    ours: PartName,
    now: &Now<impl Fn(&OwnedFd) -> u64>,
) -> Result<Option<Adopted>, Fault> {
    let directory = inbox.directory(path.parent())?;
    let mut parts = inbox.parts_for(path.parent(), &ours.key)?;
    parts.retain(|theirs| theirs.key == ours.key && theirs.run != ours.run);
    parts.sort_by_cached_key(|theirs| {
        let stat = statat(&*directory, theirs.to_string(), AtFlags::SYMLINK_NOFOLLOW);
        Reverse(stat.map_or(0, |stat| stat.st_size))
    });
    if !parts.is_empty() {
        inbox.directory_to_fill(path.parent())?;
    }
    for theirs in parts {
        let Ok(file) = open_unfinished(&directory, &theirs) else {
            continue;
        };
        let is_free = !LiveRun::is(theirs.run) && claim(&file, &directory, &theirs).is_ok();
        let stat = fstat(&file)?;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        if !is_free || may_be_waiting(&theirs, &stat, now.time) {
            let is_of_use = is_private(&stat) && length > 0 && length <= (now.free_bytes)(&directory) / COPY_PART;
            if is_of_use && let Ok(copy) = copy_of(&file, length, &directory, ours) {
                return Ok(Some(copy));
            }
        }
        if !is_free {
            continue;
        }
        let (old, new) = (theirs.to_string(), ours.to_string());
        if is_private(&stat) && renameat(&*directory, old, &*directory, new).is_ok() {
            inbox.forget_part(path.parent(), &theirs);
            if stat.st_mode & WRITABLE.as_raw_mode() != WRITABLE.as_raw_mode() {
                // Where that is refused, permissions mean nothing.
                attributes::set(&file, Some(0o600), None)?;
            }
            return Ok(Some(Adopted { file, length }));
        }
    }
    Ok(None)
}

/// Room that is left on the file system of this directory.
fn free_bytes(directory: &OwnedFd) -> u64 {
    fstatvfs(directory).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Copies the first `length` bytes of a file that somebody else appends to into one of our own. Whether they are the
/// right ones is for the sender to say, as with every unfinished file.
fn copy_of(theirs: &OwnedFd, length: u64, directory: &OwnedFd, ours: PartName) -> Result<Adopted, Fault> {
    let copy = PartFile::create(directory, &ours)?;
    let copied = copy_bytes(theirs, &copy.file, length);
    if copied.is_err() {
        let _ = unlinkat(directory, ours.to_string(), AtFlags::empty());
    }
    copied.map(|()| Adopted { file: copy.file.into(), length })
}

impl Adopted {
    /// Hashes what is there, up to `size`, and keeps at most `count` states on the way, the last
    /// at the end: after a power cut the tail may be zeros, and an earlier state may still fit.
    /// Empty if nothing is there.
    ///
    /// # Errors
    /// What reading says.
    pub(crate) fn checkpoints(self, size: u64, count: NonZeroU64) -> Result<Checkpoints, Fault> {
        let length = self.length.min(size);
        let step = length.div_ceil(count.get()).max(CHECKPOINT_STEP_BYTES);
        let mut states = Vec::new();
        let mut hasher = ContentHash::default();
        let mut offset = 0;
        while offset < length {
            let until = (offset + step).min(length);
            hash_range(&self.file, &mut hasher, offset, until)?;
            offset = until;
            states.push((offset, hasher.checkpoint()));
        }
        Ok(states)
    }
}

#[cfg(test)]
#[path = "tests/adopt.rs"]
mod tests;
