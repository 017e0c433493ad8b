//! Unfinished files: named so that a later run finds them, owned so that no two runs share one.
//!
//! ```text
//!  .vp-part.<32 hex: blake3(sender, path)>.<16 hex: blake3(size, mtime)>.<16 hex: this run>
//! ```
//! The first field finds everything that was ever meant for one target, the second tells the
//! version. The third makes the name ours alone: a later run takes an unfinished file over by
//! renaming it, which succeeds once, and a run renames to a final name only what still has the
//! name it gave. What another run still writes is copied, never taken. So a final name can only get
//! bytes that the same run has verified. There is no state beside the file: what it holds is hashed
//! again, and the sender says how much of it fits.

use super::attributes::{self, Unkept, is_lacking};
use super::copy::copy_by_reading;
use super::stamp::Stamp;
use crate::transfer::fault::Fault;
use crate::transfer::item::Mtime;
use crate::transfer::path::{PART_PREFIX, TreePath};
use rustix::fd::OwnedFd;
use rustix::fs::{Advice, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::fs::{fadvise, flock, fstat, ftruncate, openat, statat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Unfinished files are kept for so long: who has not come back after a month does not need to go on where he was.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What is finished waits so long at most for its batch to be synced, unless a disk is very slow.
const WAITS_FOR: Duration = Duration::from_secs(30);
/// A file that somebody has locked is asked for so many times, with so long a pause: a fork takes
/// less, and another run's transfer is not waited for.
const LOCK_ATTEMPTS_MAX: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// Permissions of a file while it is unfinished: nobody else's business, and writable for the run that goes on with it.
pub(super) const WRITABLE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Written bytes are pushed towards the disk in steps of this, so that the final sync finds
/// little left to do.
const WRITE_BEHIND_BYTES: u64 = 8 << 20;

/// Which version of which target an unfinished file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartKey {
    target: u128,
    version: u64,
}

impl PartKey {
    /// The key of this version of this path from this sender.
    #[must_use]
    pub(crate) fn new(sender: &[u8; 32], path: &TreePath, size: u64, mtime: Mtime) -> Self {
        Self { target: Self::target_of(sender, path), version: version_of(size, mtime) }
    }

    /// What is the same for all versions of it.
    pub(super) fn target_of(sender: &[u8; 32], path: &TreePath) -> u128 {
        let (mut target, mut wide) = (blake3::Hasher::new(), [0; 16]);
        target.update(sender).update(path.as_bytes()).finalize_xof().fill(&mut wide);
        u128::from_be_bytes(wide)
    }

    /// Which path from which sender.
    pub(super) fn target(&self) -> u128 {
        self.target
    }

    /// Meant for a version of this size and time.
    pub(super) fn is_version(&self, size: u64, mtime: Mtime) -> bool {
        self.version == version_of(size, mtime)
    }

    /// Meant for the same path from the same sender.
    #[must_use]
    pub(crate) fn same_target(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

fn version_of(size: u64, mtime: Mtime) -> u64 {
    let (mut version, mut narrow) = (blake3::Hasher::new(), [0; 8]);
    version.update(&size.to_le_bytes());
    version.update(&mtime.seconds.to_le_bytes()).update(&mtime.nanos.to_le_bytes());
    version.finalize_xof().fill(&mut narrow);
    u64::from_be_bytes(narrow)
}

/// The runs that this process makes. What is finished waits unlocked for its batch, as a batch has more files than a process
/// descriptors: so a lock alone does not say that somebody still needs a file.
static LIVE: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// A run of this process, for as long as this is kept: no other takes its unfinished files over.
#[derive(Debug)]
pub(crate) struct LiveRun(u64);

impl LiveRun {
    /// One that begins.
    #[must_use]
    pub(crate) fn begin(run: u64) -> Self {
        live().insert(run);
        Self(run)
    }

    /// Whether a run of this process has this number.
    pub(super) fn is(run: u64) -> bool {
        live().contains(&run)
    }
}

impl Drop for LiveRun {
    fn drop(&mut self) {
        live().remove(&self.0);
    }
}

fn live() -> MutexGuard<'static, BTreeSet<u64>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of an unfinished file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartName {
    /// What it is for.
    pub key: PartKey,
    /// The run it belongs to.
    pub run: u64,
}

impl PartName {
    /// Reads a directory entry; `None` if it is something else.
    #[must_use]
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(name).ok()?.strip_prefix(PART_PREFIX)?;
        let mut fields = text.split('.');
        let target = u128::from_str_radix(fields.next()?, 16).ok()?;
        let version = u64::from_str_radix(fields.next()?, 16).ok()?;
        let run = u64::from_str_radix(fields.next()?, 16).ok()?;
        let parsed = Self { key: PartKey { target, version }, run };
        // Only what we would write ourselves: removing must hit the very file that was listed.
        (parsed.to_string() == text_of(name)?).then_some(parsed)
    }
}

/// The unfinished files in a directory.
pub(super) fn list_parts(directory: &OwnedFd) -> Result<Vec<PartName>, Fault> {
    let mut parts = Vec::new();
    // One that was opened only to be passed may be one that can be listed all the same.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(openat(directory, c".", flags, Mode::empty())?)? {
        parts.extend(PartName::parse(entry?.file_name().to_bytes()));
    }
    Ok(parts)
}

/// Whether nobody will go on with an unfinished file of ours: nothing has been written to it for as long as [`KEPT_FOR`].
/// Its time of modification may be that of the file it is for, as that is set just before it gets its name; then the time of
/// its last reading is still that of its making.
fn is_forsaken(stat: &Stat, now: SystemTime) -> bool {
    let touched = Duration::from_secs(stat.st_mtime.max(stat.st_atime).try_into().unwrap_or(0));
    let age = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(touched);
    age > KEPT_FOR && (is_private(stat) || is_link(stat))
}

/// One that was to replace something, and of which the run was killed.
fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink && stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Removes an unfinished file that nobody will ask for any more, and that nobody writes. True if it is gone.
pub(super) fn remove_forsaken(directory: &OwnedFd, name: &PartName, now: SystemTime) -> bool {
    let stat = statat(directory, name.to_string(), AtFlags::SYMLINK_NOFOLLOW);
    let is_unlinked = || unlinkat(directory, name.to_string(), AtFlags::empty()).is_ok();
    match stat {
        Ok(stat) if is_forsaken(&stat, now) && is_link(&stat) => is_unlinked(),
        Ok(stat) if is_forsaken(&stat, now) => {
            let Ok(file) = open_unfinished(directory, name) else { return false };
            let is_free = claim(&file, directory, name).is_ok();
            is_free && fstat(&file).is_ok_and(|stat| is_forsaken(&stat, now)) && is_unlinked()
        }
        _ => false,
    }
}

/// Whether it is finished since a moment ago: then a run of another process may be about to give it its name, and does not
/// hold the lock any more.
pub(super) fn may_be_waiting(name: &PartName, stat: &Stat, now: SystemTime) -> bool {
    let Stamp { size, mtime, changed, .. } = Stamp::of(stat);
    let changed = Duration::from_secs(changed.seconds.try_into().unwrap_or(0));
    let age = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(changed);
    name.key.is_version(size, mtime) && age <= WAITS_FOR
}

/// Removes an unfinished file of ours that no run has in hand. True if it is gone.
pub(super) fn remove_idle(directory: &OwnedFd, name: &PartName, now: SystemTime) -> bool {
    let Ok(file) = open_unfinished(directory, name) else { return false };
    let is_idle = !LiveRun::is(name.run) && claim(&file, directory, name).is_ok();
    is_idle
        && fstat(&file).is_ok_and(|stat| is_private(&stat) && !may_be_waiting(name, &stat, now))
        && unlinkat(directory, name.to_string(), AtFlags::empty()).is_ok()
}

fn text_of(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok()
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PartKey { target, version } = self.key;
        write!(f, "{PART_PREFIX}{target:032x}.{version:016x}.{:016x}", self.run)
    }
}

/// Opens an unfinished file for reading, and for writing if it permits that: one that was complete when its run was
/// killed has the permissions of the finished file already, and may be for reading only.
pub(super) fn open_unfinished(directory: &OwnedFd, name: &PartName) -> Result<OwnedFd, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |how| openat(directory, name.to_string(), flags | how, Mode::empty());
    // Some file systems lock only what is open for writing.
    open(OFlags::RDWR).or_else(|errno| if errno == Errno::ACCESS { open(OFlags::RDONLY) } else { Err(errno) })
}

/// Somebody else's file, or one with a second name, might change behind our back.
pub(super) fn is_private(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_nlink == 1
        && stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Locks the file and makes sure that it still has this name. As nobody renames an unfinished file
/// without its lock, it is ours from here to the end of the lock. File systems without locks are
/// served without: the unique names still keep half-written files from final names.
///
/// A lock outlives its file where a child process was forked meanwhile, until that executes its
/// program; therefore the patience.
pub(super) fn claim(file: &OwnedFd, directory: &OwnedFd, name: &PartName) -> Result<(), Fault> {
    let mut patience = LOCK_ATTEMPTS_MAX;
    while let Err(Errno::WOULDBLOCK) = flock(file, FlockOperation::NonBlockingLockExclusive) {
        patience = patience.checked_sub(1).ok_or(Fault::Busy)?;
        std::thread::sleep(LOCK_PAUSE);
    }
    let held = fstat(file)?;
    match statat(directory, name.to_string(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(Fault::Busy),
        Err(errno) => Err(errno.into()),
    }
}

/// An unfinished file that is being written, from one offset onwards.
#[derive(Debug)]
pub(crate) struct PartFile {
    pub(super) file: File,
    offset: u64,
    pushed: u64,
    /// The length does not follow from the writes alone.
    set_length: bool,
}

impl PartFile {
    /// Makes a new, empty one; fails if the name exists, whatever it is.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn create(directory: &OwnedFd, name: &PartName) -> Result<Self, Fault> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = openat(directory, name.to_string(), flags | OFlags::CLOEXEC, WRITABLE)?;
        claim(&file, directory, name)?;
        Ok(Self { file: file.into(), offset: 0, pushed: 0, set_length: false })
    }

    /// Goes on with one that was adopted, and drops what lies behind `offset`.
    ///
    /// # Errors
    /// [`Fault::Busy`] if another run has taken it since, or what the system says.
    pub(crate) fn resume(directory: &OwnedFd, name: &PartName, offset: u64) -> Result<Self, Fault> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(directory, name.to_string(), flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(Fault::Busy),
            opened => opened?,
        };
        claim(&file, directory, name)?;
        if fstat(&file)?.st_size.unsigned_abs() != offset {
            match ftruncate(&file, offset) {
                // Not every file system makes a file shorter.
                Err(errno) if is_lacking(errno) => return Self::beginning_of(directory, name, offset),
                done => done?,
            }
        }
        Ok(Self { file: file.into(), offset, pushed: offset, set_length: false })
    }

    /// Puts the first bytes of an unfinished file of ours into a new one that takes its name.
    pub(super) fn beginning_of(directory: &OwnedFd, name: &PartName, length: u64) -> Result<Self, Fault> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let whole = openat(directory, name.to_string(), flags, Mode::empty())?;
        unlinkat(directory, name.to_string(), AtFlags::empty())?;
        let beginning = Self::create(directory, name)?;
        copy_by_reading(&whole, &beginning.file, 0, length)?;
        Ok(Self { offset: length, pushed: length, ..beginning })
    }

    /// Where the next byte goes.
    #[must_use]
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Writes all these bytes.
    ///
    /// # Errors
    /// What the system says; bytes written before that stay.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all_at(bytes, self.offset)?;
        self.offset += u64::try_from(bytes.len()).map_err(|_| Fault::Io)?;
        self.set_length = false;
        if self.offset - self.pushed >= WRITE_BEHIND_BYTES {
            // Starts write-back of what is dirty and waits for none of it: sync_file_range by a
            // name that rustix has. Without effect on tmpfs, and never more than advice.
            let length = NonZeroU64::new(self.offset - self.pushed);
            let _ = fadvise(&self.file, self.pushed, length, Advice::DontNeed);
            self.pushed = self.offset;
        }
        Ok(())
    }

    /// Leaves a hole.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.offset = self.offset.saturating_add(bytes);
        self.set_length = true;
    }

    /// Sets length, permissions and time of modification; the content is complete. Without
    /// permissions it stays private, without a time it was modified just now. What the file system does not keep of them is
    /// told.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn finish(self, mode: Option<u16>, mtime: Option<Mtime>) -> Result<(File, Unkept), Fault> {
        if self.set_length {
            match ftruncate(&self.file, self.offset) {
                // Not every file system makes a file longer without a byte at its end.
                Err(errno) if is_lacking(errno) && self.offset > 0 => self.file.write_all_at(&[0], self.offset - 1)?,
                done => done?,
            }
        }
        let unkept = attributes::set(&self.file, mode.map(|mode| mode & 0o777), mtime)?;
        Ok((self.file, unkept))
    }
}

#[cfg(test)]
#[path = "tests/part.rs"]
mod tests;
