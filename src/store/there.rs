//! What stands where something is to be put.

use super::replace::is_empty_directory;
use super::stamp::Stamp;
use crate::transfer::fault::Fault;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use rustix::io::Errno;

/// What a name stands for at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum There {
    /// Nothing.
    Nothing,
    /// A regular file.
    File(Stamp),
    /// A directory, with something in it or not.
    Directory {
        /// Nothing.
        empty: bool,
    },
    /// A symbolic link and its target.
    Link(Vec<u8>),
    /// Something else.
    Other,
}

impl There {
    /// What has this name in the directory.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn at(directory: &OwnedFd, name: &[u8]) -> Result<Self, Fault> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Self::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Self::File(Stamp::of(&stat)),
            FileType::Directory => Self::Directory { empty: is_empty_directory(directory, name)? },
            FileType::Symlink => Self::Link(readlinkat(directory, name, Vec::new())?.into_bytes()),
            _ => Self::Other,
        })
    }
}
