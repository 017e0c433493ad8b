//! Permissions and times of what is written, on file systems that keep them and on those that do not: FAT, many in user
//! space, those of other systems over a network. A file that is whole and has its name is not given up for them.

use super::stamp::Stamp;
use crate::transfer::fault::Fault;
use crate::transfer::item::Mtime;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, fchmod, fstat, futimens, openat, unlinkat};
use rustix::io::Errno;

/// What a file system was asked to keep, and refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unkept {
    /// Permission bits.
    pub permissions: bool,
    /// The time of the last modification.
    pub times: bool,
}

impl Unkept {
    /// Whether it keeps everything.
    #[must_use]
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// What either of two was refused.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self { permissions: self.permissions | other.permissions, times: self.times | other.times }
    }
}

/// Whether a file system says so that it does not have what it was asked for. Some say the same to whoever does not own a
/// file; then others keep it for him.
pub(super) fn is_lacking(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
}

/// Sets what is given, as far as the file system has it.
///
/// # Errors
/// Whatever else the system says.
pub(super) fn set(file: impl AsFd, mode: Option<u16>, mtime: Option<Mtime>) -> Result<Unkept, Fault> {
    let refused = |done: Result<(), Errno>| match done {
        Ok(()) => Ok(false),
        Err(errno) if is_lacking(errno) => Ok(true),
        Err(errno) => Err(Fault::from(errno)),
    };
    let times = mtime.map_or(Ok(()), |mtime| futimens(&file, &times(mtime)));
    let permissions = mode.map_or(Ok(()), |mode| fchmod(&file, Mode::from_raw_mode(u32::from(mode))));
    Ok(Unkept { permissions: refused(permissions)?, times: refused(times)? })
}

/// The same of a directory, which keeps what else its mode says: that its group goes to what is made in it, and that nobody
/// removes there what is not his. Permissions that it has are not set: where set-group-ID bits may not be set, as in hardened
/// services, there is a refusal less.
///
/// # Errors
/// As for [`set`].
pub(super) fn set_of_directory(directory: &OwnedFd, mode: Option<u16>, mtime: Option<Mtime>) -> Result<Unkept, Fault> {
    let before = u16::try_from(fstat(directory)?.st_mode & 0o7777).unwrap_or(0);
    let mode = mode.map(|mode| mode & 0o777 | before & 0o7000);
    set(directory, mode.filter(|mode| *mode != before), mtime)
}

/// Both times of a file for the kernel: access now-ish does not matter, so it is left alone.
#[must_use]
pub(crate) fn times(mtime: Mtime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}

/// What was announced of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits, 0o777 at most.
    pub mode: u16,
    /// Time of modification.
    pub mtime: Mtime,
}

impl Attributes {
    /// Whether a file has others. Where its time has no fraction of a second, its file system may keep none, and no odd seconds
    /// either, as FAT does.
    #[must_use]
    pub(crate) fn differ_from(&self, stamp: &Stamp) -> bool {
        let rough = stamp.mtime.nanos == 0 && self.mtime.seconds.abs_diff(stamp.mtime.seconds) < 2;
        self.mode != stamp.mode || (self.mtime != stamp.mtime && !rough)
    }

    /// These as far as they are kept, and what a file has instead of the others.
    #[must_use]
    pub(crate) fn kept(self, unkept: Unkept, stamp: &Stamp) -> Self {
        Self {
            mode: if unkept.permissions { stamp.mode } else { self.mode },
            mtime: if unkept.times { stamp.mtime } else { self.mtime },
        }
    }

    /// What of these a directory's file system would not keep: it is tried out on an empty file. That has no name, so that the
    /// directory keeps its time, or where all files have names this one, which nobody else has. Where it cannot be made, nothing
    /// is known to be lost.
    pub(super) fn unkept_in(self, directory: &OwnedFd, name: &str) -> Unkept {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match openat(directory, ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(probe) => self.unkept_by(&probe),
            Err(_) => self.unkept_by_named(directory, name),
        }
    }

    fn unkept_by_named(self, directory: &OwnedFd, name: &str) -> Unkept {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(probe) = openat(directory, name, flags, Mode::RUSR | Mode::WUSR) else { return Unkept::default() };
        let unkept = self.unkept_by(&probe);
        // One that stays is an unfinished file of ours, which goes when it is old.
        let _ = unlinkat(directory, name, AtFlags::empty());
        unkept
    }

    fn unkept_by(self, probe: &OwnedFd) -> Unkept {
        let shown = self.set(probe).and_then(|_| Ok(Stamp::of(&fstat(probe)?)));
        shown.map_or(Unkept::default(), |shown| Unkept {
            permissions: shown.mode != self.mode,
            times: shown.mtime != self.mtime,
        })
    }

    /// Gives a file these, as far as it has others; what its file system does not keep.
    ///
    /// # Errors
    /// Whatever else the system says.
    pub(crate) fn set(&self, file: impl AsFd) -> Result<Unkept, Fault> {
        let stamp = Stamp::of(&fstat(&file)?);
        let (mode, mtime) = (Some(self.mode), Some(self.mtime));
        set(file, mode.filter(|mode| *mode != stamp.mode), mtime.filter(|mtime| *mtime != stamp.mtime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_system_lacks_is_no_failure_and_a_failing_disk_is_one() {
        let lacking = [Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP];
        assert!(lacking.into_iter().all(is_lacking));
        let failing = [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::STALE, Errno::BADF, Errno::NODEV];
        assert!(!failing.into_iter().any(is_lacking));
    }

    #[test]
    fn what_is_kept_is_tried_out_and_nothing_stays_of_that() {
        let home = tempfile::tempdir().unwrap();
        let directory = OwnedFd::from(std::fs::File::open(home.path()).unwrap());
        let announced = Attributes { mode: 0o751, mtime: Mtime { seconds: 1_000, nanos: 5 } };
        assert_eq!(announced.unkept_in(&directory, "probe"), Unkept::default());
        assert_eq!(announced.unkept_by_named(&directory, "probe"), Unkept::default());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
        std::fs::write(home.path().join("probe"), "somebody's").unwrap();
        assert_eq!(announced.unkept_by_named(&directory, "probe"), Unkept::default());
        assert_eq!(std::fs::read(home.path().join("probe")).unwrap(), b"somebody's");
        let stamp = Stamp::of(&fstat(std::fs::File::open(home.path().join("probe")).unwrap()).unwrap());
        let nothing = Unkept { permissions: true, times: true };
        assert!(announced.differ_from(&stamp) && !announced.kept(nothing, &stamp).differ_from(&stamp));
        assert!(announced.kept(Unkept { permissions: true, times: false }, &stamp).differ_from(&stamp));
    }

    #[test]
    fn a_time_that_a_file_system_could_not_keep_is_no_other_one() {
        let home = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(home.path().join("f")).unwrap();
        let differ = |theirs: (i64, u32), ours: (i64, u32)| {
            let [theirs, ours] = [theirs, ours].map(|(seconds, nanos)| Mtime { seconds, nanos });
            futimens(&file, &times(ours)).unwrap();
            let stamp = Stamp::of(&fstat(&file).unwrap());
            Attributes { mode: stamp.mode, mtime: theirs }.differ_from(&stamp)
        };
        assert!(!differ((1_001, 5), (1_001, 5)) && !differ((1_001, 5), (1_001, 0)) && !differ((1_001, 5), (1_000, 0)));
        assert!(differ((1_002, 0), (1_000, 0)) && differ((1_001, 5), (1_001, 4)) && differ((0, 0), (1_000, 0)));
    }
}
