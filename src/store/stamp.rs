//! What tells one version of a file from another.

use crate::transfer::item::Mtime;
use rustix::fs::{FileType, Stat};

/// What identifies one version of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Length in bytes; 0 unless a regular file.
    pub size: u64,
    /// Permission bits, 0o777 at most: set-id and sticky bits do not travel.
    pub mode: u16,
    /// Last modification of the content.
    pub mtime: Mtime,
    /// Last change of anything about it, by the clock of its file system: nobody sets this one back.
    pub changed: Mtime,
    /// Device and inode number: where it lives.
    pub identity: (u64, u64),
    /// Fewer blocks than its size needs: worth asking for holes.
    pub sparse: bool,
    /// No blocks at all: empty, one hole, kept within its inode, or made up by the kernel when it is read.
    pub blockless: bool,
}

impl Stamp {
    /// The stamp within a `stat`.
    #[must_use]
    pub(crate) fn of(stat: &Stat) -> Self {
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
        let nanos = |nanos| u32::try_from(nanos).unwrap_or(0).min(999_999_999);
        Self {
            size: if regular { length } else { 0 },
            mode: u16::try_from(stat.st_mode & 0o777).unwrap_or(0),
            mtime: Mtime { seconds: stat.st_mtime, nanos: nanos(stat.st_mtime_nsec) },
            changed: Mtime { seconds: stat.st_ctime, nanos: nanos(stat.st_ctime_nsec) },
            identity: (stat.st_dev, stat.st_ino),
            sparse: regular && blocks.saturating_mul(512) < length,
            blockless: regular && blocks == 0,
        }
    }

    /// Same file, same length, same time of modification. Permissions and names may have changed.
    #[must_use]
    pub(crate) fn same_version(&self, other: &Self) -> bool {
        self.size == other.size && self.mtime == other.mtime && self.identity == other.identity
    }
}
