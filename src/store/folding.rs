//! Directories that take names which differ only in case for one: there nothing of a transfer may replace something else of it.

use super::fault::Fault;
use super::names::TreePath;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, statat};
use std::collections::HashMap;

/// In directories that fold case, or may: what got its name here, or had it already, by device and inode, with a hash of its
/// path.
#[derive(Default)]
pub(super) struct Landed(HashMap<(u64, u64), [u8; 16]>);

impl Landed {
    /// Makes sure that `part`, which is about to get the name in `path`, replaces nothing that has come under another one.
    pub fn check(&mut self, directory: &OwnedFd, part: &[u8], path: &TreePath) -> Result<(), Fault> {
        let name = short_hash(path);
        if let Some((there, _)) = identity(directory, path.name())
            && self.0.get(&there).is_some_and(|landed| *landed != name)
        {
            return Err(Fault::Duplicate);
        }
        if let Some((ours, _)) = identity(directory, part) {
            self.0.insert(ours, name);
        }
        Ok(())
    }

    /// Counts what is at `path` as something that has landed there. `folds`: for sure.
    ///
    /// # Errors
    /// [`Fault::Duplicate`] if it has under another name.
    pub fn count(&mut self, directory: &OwnedFd, path: &TreePath, folds: bool) -> Result<(), Fault> {
        if let Some((there, is_only_name)) = identity(directory, path.name()) {
            let name = short_hash(path);
            let landed = *self.0.entry(there).or_insert(name);
            if landed != name && folds && is_only_name {
                return Err(Fault::Duplicate);
            }
        }
        Ok(())
    }
}

/// Device and inode of what has this name, and whether it has no other.
fn identity(directory: &OwnedFd, name: &[u8]) -> Option<((u64, u64), bool)> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(((stat.st_dev, stat.st_ino), stat.st_nlink == 1))
}

/// Whether what has this name is found, too, where capitals and small letters are exchanged. None if that shows nothing:
/// it is gone, its name has no letters, or it has a second name, which may be that one.
pub(super) fn folds_case(directory: &OwnedFd, name: &[u8]) -> Option<bool> {
    let exchange = |byte: &u8| if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { *byte };
    let exchanged: Vec<u8> = name.iter().map(exchange).collect();
    let (ours, is_only_name) = identity(directory, name).filter(|_| exchanged != name)?;
    match identity(directory, &exchanged) {
        Some((found, _)) if found == ours => is_only_name.then_some(true),
        _ => Some(false),
    }
}

fn short_hash(path: &TreePath) -> [u8; 16] {
    let mut hash = [0; 16];
    blake3::Hasher::new().update(path.as_bytes()).finalize_xof().fill(&mut hash);
    hash
}
