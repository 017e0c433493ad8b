//! Where a file has data, and where holes.

use super::stamp::Stamp;
use crate::transfer::fault::Fault;
use crate::transfer::hash::ContentHash;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::{Errno, pread};

/// How much is read at once for hashing.
const READ_BYTES: usize = 256 << 10;

/// A stretch of a file, from the offset asked about to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
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

/// Which stretch of data or hole begins at `offset` of a sparse file, as far as `end`.
#[must_use]
pub(crate) fn extent_of(file: impl AsFd, offset: u64, end: u64) -> Extent {
    match seek(&file, SeekFrom::Data(offset)) {
        Ok(data) if data > offset => Extent::Hole { until: data.min(end) },
        Ok(_) => match seek(&file, SeekFrom::Hole(offset)) {
            Ok(hole) if hole > offset => Extent::Data { until: hole.min(end) },
            _ => Extent::Data { until: end },
        },
        // Nothing but a hole up to the end.
        Err(Errno::NXIO) => Extent::Hole { until: end },
        // A file system without SEEK_DATA: then it is all data.
        Err(_) => Extent::Data { until: end },
    }
}

/// Feeds the bytes from `offset` to `until` to a hash state, reading none of a hole.
///
/// # Errors
/// [`Fault::Changed`] if the file ends before, or what reading says.
pub(crate) fn hash_range(file: &OwnedFd, hasher: &mut ContentHash, mut offset: u64, until: u64) -> Result<(), Fault> {
    let stamp = Stamp::of(&fstat(file)?);
    if stamp.sparse && stamp.size < until {
        return Err(Fault::Changed);
    }
    while offset < until {
        let extent = if stamp.sparse { extent_of(file, offset, until) } else { Extent::Data { until } };
        match extent {
            Extent::Hole { until } => {
                hasher.update_zeros(until - offset);
                offset = until;
            }
            Extent::Data { until } => {
                hash_data(file, hasher, offset, until)?;
                offset = until;
            }
        }
    }
    Ok(())
}

fn hash_data(file: &OwnedFd, hasher: &mut ContentHash, mut offset: u64, until: u64) -> Result<(), Fault> {
    let at_once = |left: u64| usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
    let mut buffer = vec![0; at_once(until.saturating_sub(offset))];
    while offset < until {
        let wanted = at_once(until - offset);
        match pread(file, &mut buffer[..wanted], offset) {
            Ok(0) => return Err(Fault::Changed),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                offset += u64::try_from(count).map_err(|_| Fault::Io)?;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
