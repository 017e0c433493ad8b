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
    stamp: Stamp,
}

impl SourceFile {
    /// Opens the file.
    ///
    /// # Errors
    /// [`Fault::Changed`] if it is not what the walk had seen, or what the system says.
    pub fn open(found: &Found) -> Result<Self, Fault> {
        let source = Self { file: open(found)?, stamp: found.stamp };
        source.check_unchanged()?;
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

    /// Compares size, time of modification and inode with what the walk had seen.
    ///
    /// # Errors
    /// [`Fault::Changed`] if they differ, or what the system says.
    pub fn check_unchanged(&self) -> Result<(), Fault> {
        let now = Stamp::of(&fstat(&self.file)?);
        if now.same_version(&self.stamp) { Ok(()) } else { Err(Fault::Changed) }
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

#[cfg(test)]
mod tests {
    use super::super::source::Walk;
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
        assert_eq!(source.check_unchanged(), Ok(()));
        fs::write(&path, b"four").unwrap();
        assert_eq!(source.check_unchanged(), Err(Fault::Changed));
        assert_eq!(SourceFile::open(&seen).unwrap_err(), Fault::Changed);
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
