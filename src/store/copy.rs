//! Copies stretches of files: by the kernel, which may share them on disk, or by reading.

use super::attributes::is_lacking;
use super::extent::{Extent, extent_of};
use super::stamp::Stamp;
use crate::transfer::fault::Fault;
use rustix::fd::OwnedFd;
use rustix::fs::{copy_file_range, fstat, ftruncate};
use rustix::io::{Errno, pread};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How much is read at once where the system does not copy.
const READ_BYTES: usize = 256 << 10;

/// What is a hole there is none of it copied, and becomes one here.
pub(super) fn copy_bytes(from: &OwnedFd, to: &File, length: u64) -> Result<(), Fault> {
    let sparse = Stamp::of(&fstat(from)?).sparse;
    let mut offset = 0;
    while offset < length {
        let extent = if sparse { extent_of(from, offset, length) } else { Extent::Data { until: length } };
        let (Extent::Data { until } | Extent::Hole { until }) = extent;
        if let Extent::Data { .. } = extent {
            copy_data(from, to, offset, until)?;
        }
        offset = until;
    }
    if sparse { Ok(ftruncate(to, length)?) } else { Ok(()) }
}

fn copy_data(from: &OwnedFd, to: &File, offset: u64, until: u64) -> Result<(), Fault> {
    let (mut read, mut written) = (offset, offset);
    while written < until {
        let left = usize::try_from(until - written).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), left) {
            Ok(0) => return Err(Fault::Changed),
            Ok(_) | Err(Errno::INTR) => {}
            // Not between these two, or not on this system: then as ever.
            Err(errno) if is_lacking(errno) || errno == Errno::XDEV => {
                return copy_by_reading(from, to, written, until);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

pub(super) fn copy_by_reading(from: &OwnedFd, to: &File, mut offset: u64, length: u64) -> Result<(), Fault> {
    let mut buffer = vec![0; READ_BYTES];
    while offset < length {
        let most = usize::try_from(length - offset).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        match pread(from, &mut buffer[..most], offset) {
            Ok(0) => return Err(Fault::Changed),
            Ok(count) => {
                to.write_all_at(&buffer[..count], offset)?;
                offset += u64::try_from(count).map_err(|_| Fault::Io)?;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
