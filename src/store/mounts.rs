//! Which file system each directory of a transfer was on when it was first looked at. Whatever is mounted in the receiver's
//! directory by then belongs to it; what is mounted, or taken away, under a transfer that has been there is not followed.

use crate::transfer::fault::Fault;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, fstat, makedev, openat, statx, syncfs};
use rustix::io::Errno;
use std::collections::HashMap;

/// File systems of one transfer: each is a descriptor.
const MOUNTS_MAX: usize = 64;
/// Directories that are known at once: as many as a transfer has items, in a table of 40 MB.
const DIRECTORIES_MAX: usize = 1 << 20;

/// What tells one mount from all others, as long as a descriptor of it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    /// None where the system does not tell.
    mount: Option<u64>,
}

impl Identity {
    fn of(directory: &OwnedFd) -> Result<Self, Errno> {
        // Not every kernel knows the number, and not every filter lets the call pass.
        match statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
            Ok(stat) if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 => {
                Ok(Self { device: makedev(stat.stx_dev_major, stat.stx_dev_minor), mount: Some(stat.stx_mnt_id) })
            }
            _ => Ok(Self { device: fstat(directory)?.st_dev, mount: described(directory) }),
        }
    }
}

/// The mount's number as `/proc` tells it.
fn described(directory: &OwnedFd) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", directory.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

struct Mount {
    identity: Identity,
    /// Where it was found, below the root.
    at: Vec<u8>,
    /// Its first directory. While this is open, no other mount gets the same numbers, and no failure to write is missed.
    pin: OwnedFd,
}

/// The mounts that a transfer has come upon.
pub(super) struct Mounts {
    all: Vec<Mount>,
    /// By the hashes of the paths of directories, places in that list.
    known: HashMap<[u8; 16], u16>,
}

impl Mounts {
    /// Begins with the root's.
    pub(super) fn of_root(root: &OwnedFd) -> Result<Self, Errno> {
        let mut mounts = Self { all: Vec::new(), known: HashMap::new() };
        let first = Mount { identity: Identity::of(root)?, at: Vec::new(), pin: pin(root)? };
        mounts.all.push(first);
        mounts.known.insert(short_hash(b""), 0);
        Ok(mounts)
    }

    /// Looks at a directory that was opened at this path.
    ///
    /// # Errors
    /// [`Fault::Parent`] if it was on another mount the last time.
    pub(super) fn look(&mut self, path: &[u8], directory: &OwnedFd) -> Result<(), Fault> {
        let identity = Identity::of(directory)?;
        let index = match self.all.iter().position(|mount| mount.identity == identity) {
            Some(index) => index,
            None if self.all.len() >= MOUNTS_MAX => return Err(Fault::NoDescriptors),
            None => {
                self.all.push(Mount { identity, at: path.to_vec(), pin: pin(directory)? });
                self.all.len() - 1
            }
        };
        let index = u16::try_from(index).map_err(|_| Fault::NoDescriptors)?;
        let room = self.known.len() < DIRECTORIES_MAX;
        match self.known.get(&short_hash(path)) {
            Some(known) if *known == index => Ok(()),
            Some(_) => Err(Fault::Parent),
            None if !room => Err(Fault::TooMany),
            None => {
                self.known.insert(short_hash(path), index);
                Ok(())
            }
        }
    }

    /// Where this directory's mount was found, if it has been looked at.
    pub(super) fn top_of(&self, path: &[u8]) -> Option<&[u8]> {
        Some(&self.all.get(usize::from(self.of(path)?))?.at)
    }

    /// The mount of a directory, if that has been looked at.
    fn of(&self, path: &[u8]) -> Option<u16> {
        self.known.get(&short_hash(path)).copied()
    }

    /// Notes that a directory is where its parent is: it has just been made there.
    pub(super) fn made(&mut self, path: &[u8], parent: &[u8], directory: &OwnedFd) -> Result<(), Fault> {
        if let Some(index) = self.of(parent)
            && self.known.len() < DIRECTORIES_MAX
        {
            self.known.entry(short_hash(path)).or_insert(index);
        }
        self.look(path, directory)
    }

    /// Writes everything on the file systems of these directories to their disks. Those that have not been looked at have
    /// got nothing.
    ///
    /// # Errors
    /// The first failure since a mount was come upon.
    pub(super) fn sync<'p>(&self, directories: impl Iterator<Item = &'p [u8]>) -> Result<(), Fault> {
        let mut devices = Vec::new();
        for index in directories.filter_map(|path| self.of(path)) {
            let Some(mount) = self.all.get(usize::from(index)) else { continue };
            if !devices.contains(&mount.identity.device) {
                devices.push(mount.identity.device);
                syncfs(&mount.pin)?;
            }
        }
        Ok(())
    }
}

/// A descriptor of our own for a directory, good for syncing.
fn pin(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn short_hash(path: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    blake3::Hasher::new().update(path).finalize_xof().fill(&mut hash);
    hash
}
