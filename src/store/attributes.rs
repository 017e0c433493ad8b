//! Permissions and times of what is written, on file systems that keep them and on those that do not: FAT, many in user
//! space, those of other systems over a network. A file that is whole and has its name is not given up for them.

use super::fault::Fault;
use super::source::{Mtime, Stamp};
use rustix::fd::AsFd;
use rustix::fs::{Mode, Timespec, Timestamps, fchmod, fstat, futimens};
use rustix::io::Errno;

/// What a file system was asked to keep, and refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unkept {
    /// Permission bits.
    pub permissions: bool,
    /// The time of the last modification.
    pub times: bool,
}

impl Unkept {
    /// Whether it keeps everything.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// What either of two was refused.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
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

/// Both times of a file for the kernel: access now-ish does not matter, so it is left alone.
#[must_use]
pub fn times(mtime: Mtime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}

/// What was announced of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, 0o777 at most.
    pub mode: u16,
    /// Time of modification.
    pub mtime: Mtime,
}

impl Attributes {
    /// Whether a file has others. Where its time has no fraction of a second, its file system may keep none, and no odd seconds
    /// either, as FAT does.
    #[must_use]
    pub fn differ_from(&self, stamp: &Stamp) -> bool {
        let rough = stamp.mtime.nanos == 0 && self.mtime.seconds.abs_diff(stamp.mtime.seconds) < 2;
        self.mode != stamp.mode || (self.mtime != stamp.mtime && !rough)
    }

    /// Gives a file these, as far as it has others; what its file system does not keep.
    ///
    /// # Errors
    /// Whatever else the system says.
    pub fn set(&self, file: impl AsFd) -> Result<Unkept, Fault> {
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
