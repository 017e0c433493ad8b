//! Reads one file of which nothing may change while it is read.

use super::fault::Fault;
use super::part::hash_range;
use super::source::{Found, Stamp, open};
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{Advice, SeekFrom, fadvise, fstat, seek};
use rustix::io::{Errno, pread};

/// Read-ahead is asked for from this size on; below, one read takes the whole file.
const READ_AHEAD_FROM_BYTES: u64 = 1 << 20;

/// A stretch of a file, from the offset asked about to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Bytes to read.
    Data {
        /// Offset of the first byte after the stretch.
        until: u64,
    },
    /// Zeros that take no room on disk.
    Hole {
        /// Offset of the first byte after the stretch.
        until: u64,
    },
}

/// An open source file, pinned to the version the walk had seen.
#[derive(Debug)]
pub struct SourceFile {
    file: OwnedFd,
    /// When it was opened.
    stamp: Stamp,
}

impl SourceFile {
    /// Opens the file.
    ///
    /// # Errors
    /// [`Fault::Changed`] if it is not what the walk had seen, or what the system says.
    pub fn open(found: &Found) -> Result<Self, Fault> {
        let file = open(found)?;
        let stamp = Stamp::of(&fstat(&file)?);
        if !stamp.same_version(&found.stamp) {
            return Err(Fault::Changed);
        }
        let source = Self { file, stamp };
        if source.stamp.size >= READ_AHEAD_FROM_BYTES {
            // Only advice: a file system that cannot take it is read all the same.
            let _ = fadvise(&source.file, 0, None, Advice::Sequential);
        }
        Ok(source)
    }

    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Makes sure, when everything is read, that what was read is one version of the file: nobody has written it since it
    /// was opened, not even somebody who put its time of modification back. `hash` is of what was read.
    ///
    /// # Errors
    /// [`Fault::Changed`] if somebody has, or what the system says.
    pub fn check_unchanged(&self, hash: &[u8; 32]) -> Result<(), Fault> {
        let now = Stamp::of(&fstat(&self.file)?);
        if !now.same_version(&self.stamp) {
            return Err(Fault::Changed);
        }
        if now.changed == self.stamp.changed {
            return Ok(());
        }
        // It got another name or other permissions, as a log that is rotated. Or it was written, and looks as if not.
        let mut again = blake3::Hasher::new();
        self.hash(&mut again, 0, self.size())?;
        let settled = Stamp::of(&fstat(&self.file)?);
        if is_untouched(&now, &settled) && again.finalize() == *hash { Ok(()) } else { Err(Fault::Changed) }
    }

    /// Which stretch of data or hole begins at `offset`, which lies below the size.
    ///
    /// # Errors
    /// What the system says.
    pub fn extent(&self, offset: u64) -> Result<Extent, Fault> {
        let size = self.stamp.size;
        if !self.stamp.sparse {
            return Ok(Extent::Data { until: size });
        }
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Ok(Extent::Hole { until: data.min(size) }),
            Ok(_) => match seek(&self.file, SeekFrom::Hole(offset)) {
                Ok(hole) if hole > offset => Ok(Extent::Data { until: hole.min(size) }),
                _ => Ok(Extent::Data { until: size }),
            },
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => Ok(Extent::Hole { until: size }),
            // A file system without SEEK_DATA: then it is all data.
            Err(_) => Ok(Extent::Data { until: size }),
        }
    }

    /// Feeds the bytes from `offset` to `until` to a hash state.
    ///
    /// # Errors
    /// As for [`Self::read_onto`].
    pub fn hash(&self, hasher: &mut blake3::Hasher, offset: u64, until: u64) -> Result<(), Fault> {
        hash_range(&self.file, hasher, offset, until)
    }

    /// Appends up to `max` bytes from `offset` to the buffer, within its capacity or growing it by
    /// `max`. One system call; returns how many bytes came, never 0.
    ///
    /// # Errors
    /// [`Fault::Changed`] at an end of file before its time, or what the system says.
    pub fn read_onto(&self, buffer: &mut Vec<u8>, offset: u64, max: usize) -> Result<usize, Fault> {
        let begin = buffer.len();
        let spare = buffer.capacity() - begin;
        let count = loop {
            let done = if spare > 0 && spare <= max {
                // The usual case for large files: straight into memory nobody has zeroed.
                pread(&self.file, spare_capacity(buffer), offset)
            } else {
                buffer.resize(begin + max, 0);
                pread(&self.file, &mut buffer[begin..], offset)
            };
            match done {
                Err(Errno::INTR) => buffer.truncate(begin),
                Err(errno) => {
                    buffer.truncate(begin);
                    return Err(errno.into());
                }
                Ok(count) => break count,
            }
        };
        buffer.truncate(begin + count);
        if count == 0 { Err(Fault::Changed) } else { Ok(count) }
    }
}

/// Nobody did anything to the file in between. Its blocks do not count: a file system may allocate them when it likes.
fn is_untouched(before: &Stamp, after: &Stamp) -> bool {
    after.same_version(before) && after.changed == before.changed
}

#[cfg(test)]
mod tests {
    use super::super::source::{Mtime, Walk};
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    fn found(path: &std::path::Path) -> Found {
        Walk::new(vec![path.to_path_buf()]).flatten().next().unwrap()
    }

    #[test]
    fn reads_within_capacity_and_beyond() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        fs::write(&path, b"0123456789").unwrap();
        let source = SourceFile::open(&found(&path)).unwrap();
        let mut buffer = Vec::with_capacity(4);
        assert_eq!(source.read_onto(&mut buffer, 0, 10), Ok(4));
        assert_eq!(source.read_onto(&mut buffer, 4, 2), Ok(2));
        assert_eq!(buffer, b"012345");
        assert_eq!(source.read_onto(&mut buffer, 10, 2), Err(Fault::Changed));
        assert_eq!(buffer, b"012345");
    }

    #[test]
    fn a_change_is_noticed_before_and_after() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        fs::write(&path, b"one").unwrap();
        let seen = found(&path);
        let source = SourceFile::open(&seen).unwrap();
        let hash = blake3::hash(b"one").into();
        assert_eq!(source.check_unchanged(&hash), Ok(()));
        fs::write(&path, b"four").unwrap();
        assert_eq!(source.check_unchanged(&hash), Err(Fault::Changed));
        assert_eq!(SourceFile::open(&seen).unwrap_err(), Fault::Changed);
    }

    #[test]
    fn putting_the_time_back_hides_a_change_only_from_before_the_file_is_opened() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        fs::write(&path, b"one").unwrap();
        let seen = found(&path);
        let meddle = |text: &[u8]| {
            let file = File::options().write(true).open(&path).unwrap();
            let before = Stamp::of(&fstat(&file).unwrap()).changed;
            // The clock of a file system ticks a hundred times a second or so.
            while Stamp::of(&fstat(&file).unwrap()).changed == before {
                file.write_all_at(text, 0).unwrap();
                rustix::fs::futimens(&file, &super::super::inbox::times(seen.stamp.mtime)).unwrap();
            }
        };
        meddle(b"two");
        // Whatever it was before: what is read from here on is of one piece.
        let source = SourceFile::open(&seen).unwrap();
        let hash = blake3::hash(b"two").into();
        assert_eq!(source.check_unchanged(&hash), Ok(()));
        meddle(b"six");
        assert_eq!(source.check_unchanged(&hash), Err(Fault::Changed));
        assert!(SourceFile::open(&seen).is_ok());
    }

    #[test]
    fn another_name_and_other_permissions_are_no_change() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        fs::write(&path, b"one").unwrap();
        let source = SourceFile::open(&found(&path)).unwrap();
        let before = source.stamp.changed;
        while Stamp::of(&fstat(&source.file).unwrap()).changed == before {
            fs::rename(&path, home.path().join("log.1")).unwrap();
            fs::rename(home.path().join("log.1"), &path).unwrap();
            rustix::fs::fchmod(&source.file, rustix::fs::Mode::RUSR).unwrap();
        }
        assert_eq!(source.check_unchanged(blake3::hash(b"one").as_bytes()), Ok(()));
        assert_eq!(source.check_unchanged(blake3::hash(b"torn").as_bytes()), Err(Fault::Changed));
    }

    #[test]
    fn blocks_that_are_allocated_late_are_no_change() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("f"), b"one").unwrap();
        let late = found(&home.path().join("f")).stamp;
        let early = Stamp { sparse: !late.sparse, ..late };
        assert!(is_untouched(&early, &late) && is_untouched(&late, &early));
        let seconds = late.mtime.seconds + 1;
        for other in [
            Stamp { size: 4, ..late },
            Stamp { mtime: Mtime { seconds, ..late.mtime }, ..late },
            Stamp { changed: Mtime { seconds, ..late.changed }, ..late },
            Stamp { identity: (late.identity.0, 0), ..late },
        ] {
            assert!(!is_untouched(&late, &other), "{other:?}");
        }
    }

    #[test]
    fn holes_are_found_from_any_offset() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        let file = File::create(&path).unwrap();
        file.set_len(4 << 20).unwrap();
        file.write_all_at(&[1; 65_536], 1 << 20).unwrap();
        let source = SourceFile::open(&found(&path)).unwrap();
        assert_eq!(source.extent(0), Ok(Extent::Hole { until: 1 << 20 }));
        assert_eq!(source.extent(1 << 20), Ok(Extent::Data { until: (1 << 20) + 65_536 }));
        assert_eq!(source.extent(2 << 20), Ok(Extent::Hole { until: 4 << 20 }));
    }
}
