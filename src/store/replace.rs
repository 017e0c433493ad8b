//! What takes the place of something of another kind: a file or link that of an empty directory, and the other way round. A
//! plain rename does neither.

use crate::transfer::fault::Fault;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, linkat, openat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

/// How an item has its final name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FinalName {
    /// It got this name.
    Named(Vec<u8>),
    /// It was there before under this name, or another transfer had put the same content there meanwhile.
    Already(Vec<u8>),
}

/// Whether the directory of this name holds nothing. One that may not be read is taken for one that does.
///
/// # Errors
/// [`Fault::NotFound`] if nothing has that name any more, or what the system says.
pub(super) fn is_empty_directory(directory: &OwnedFd, name: &[u8]) -> Result<bool, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => return Ok(false),
        found => found?,
    };
    for entry in Dir::read_from(&found)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Renames what is no directory to a name that a file, a link or an empty directory may have. Of the latter nothing can be
/// lost, so that it need not go in one step: whoever is killed in between finds the new one unfinished and goes on with it.
///
/// # Errors
/// [`Fault::NotEmpty`] if that directory holds something, or somebody has mounted something there; what the system says.
pub(super) fn rename_over(directory: &OwnedFd, from: &[u8], to: &[u8]) -> Result<(), Fault> {
    match renameat(directory, from, directory, to) {
        Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {}
        done => return done.map_err(part_gone),
    }
    match unlinkat(directory, to, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => renameat(directory, from, directory, to).map_err(part_gone),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Err(Fault::NotEmpty),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives an unfinished file a name that nothing has. There are two ways in which nothing is ever replaced; many file systems
/// have one of them. A third, to take the name with an empty file and to replace that, would show a file that is not whole,
/// and leave it there if we are killed.
///
/// # Errors
/// [`Fault::Exists`] if something has it; [`Fault::OnlyReplaces`] where there is neither way; what the system says.
pub(super) fn rename_to_free(directory: &OwnedFd, part: &str, name: &[u8]) -> Result<(), Fault> {
    let refused = match renameat_with(directory, part, directory, name, RenameFlags::NOREPLACE) {
        // The last is what filters answer to calls that they do not know.
        Err(errno @ (Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM)) => errno,
        done => return done.map_err(part_gone),
    };
    match linkat(directory, part, directory, name, AtFlags::empty()) {
        Ok(()) => {
            // The file has its name, and is whole. Another one that stays is nobody's business.
            let _ = unlinkat(directory, part, AtFlags::empty());
            Ok(())
        }
        Err(Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::MLINK) if refused == Errno::PERM => {
            Err(refused.into())
        }
        Err(Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::MLINK) => Err(Fault::OnlyReplaces),
        Err(errno) => Err(part_gone(errno)),
    }
}

/// Removes what stands where a directory is to be made and is none.
///
/// # Errors
/// [`Fault::Exists`] if it is one after all, or what the system says.
pub(super) fn remove_for_directory(directory: &OwnedFd, name: &[u8]) -> Result<(), Fault> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Somebody took over or removed what we were about to rename.
pub(super) fn part_gone(errno: Errno) -> Fault {
    if errno == Errno::NOENT { Fault::Busy } else { errno.into() }
}
