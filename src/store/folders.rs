//! The directories below a receiver's root, reached one name after the other, without symbolic links. The last few stay open,
//! so that most items cost no resolving.

use super::beneath::{WAY, step};
use super::folding::Case;
use super::mounts::Mounts;
use super::part::{PartName, list_parts, remove_forsaken};
use super::permits::Permits;
use crate::transfer::fault::Fault;
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

/// Directories kept open: a walk's way down is rarely deeper, and 1,024 descriptors are usual.
const OPEN_DIRECTORIES_MAX: usize = 32;

/// How a directory is opened.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// One that is open.
pub(super) struct Folder {
    path: Vec<u8>,
    pub directory: Rc<OwnedFd>,
    /// Unfinished files of earlier runs; listed when first asked for.
    pub parts: Option<Vec<PartName>>,
    /// What names that differ only in case are taken for; found out when first asked.
    pub case: Option<Case>,
}

/// The root, and those below it that were used last.
pub(super) struct Folders {
    root: Rc<OwnedFd>,
    recent: Vec<Folder>,
    pub mounts: Mounts,
    pub permits: Permits,
}

impl Folders {
    /// Opens the root, which must exist. Links in this one path are followed.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let root = openat(CWD, root, DIRECTORY, Mode::empty())?;
        let mounts = Mounts::of_root(&root)?;
        Ok(Self { root: Rc::new(root), recent: Vec::new(), mounts, permits: Permits::default() })
    }

    /// Keeps one open that was just made, or reached.
    fn remember(&mut self, path: &[u8], directory: Rc<OwnedFd>, parts: Option<Vec<PartName>>) {
        self.recent.truncate(OPEN_DIRECTORIES_MAX - 1);
        self.recent.insert(0, Folder { path: path.to_vec(), directory, parts, case: None });
    }

    /// The one at this path, if it is open.
    pub(super) fn if_open(&mut self, path: &[u8]) -> Option<&mut Folder> {
        self.recent.iter_mut().find(|folder| folder.path == path)
    }

    /// The one at this path below the root; empty means the root.
    ///
    /// # Errors
    /// [`Fault::Parent`] unless it is a directory reached without links, on the mount on which it was found first.
    pub(super) fn held(&mut self, path: &[u8]) -> Result<&mut Folder, Fault> {
        if let Some(at) = self.recent.iter().position(|folder| folder.path == path) {
            self.recent[..=at].rotate_right(1);
        } else {
            let directory = if path.is_empty() { Rc::clone(&self.root) } else { Rc::new(self.reach(path)?) };
            self.remember(path, directory, None);
        }
        Ok(&mut self.recent[0])
    }

    /// Lets go of those that are open: what has been moved, or mounted, over one of them shows when it is reached again.
    pub(super) fn let_go(&mut self) {
        self.recent.clear();
    }

    /// Opens what is at this path from the root on, and looks at every directory on the way.
    fn reach(&mut self, path: &[u8]) -> Result<OwnedFd, Fault> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
        let (mut here, mut begin) = (None, 0);
        for end in ends {
            let parent = here.as_ref().unwrap_or(&*self.root);
            let flags = if end == path.len() { DIRECTORY } else { WAY };
            let directory = match enter(&mut self.permits, parent, Below { path: &path[..end], begin }, flags) {
                Err(Errno::NOENT) => return Err(Fault::Parent),
                // It may not be listed, and so not say whose it is; what may be done in it all the same shows when that is done.
                Err(Errno::ACCESS) => step(parent, &path[begin..end], WAY)?,
                opened => opened?,
            };
            self.mounts.look(&path[..end], &directory)?;
            (here, begin) = (Some(directory), end + 1);
        }
        here.ok_or(Fault::Parent)
    }

    /// Takes in the directory that was just made at this path.
    ///
    /// # Errors
    /// What opening it says; [`Fault::Parent`] if something was mounted there at once.
    pub(super) fn take_in(&mut self, parent: &[u8], path: &[u8], name: &[u8]) -> Result<Rc<OwnedFd>, Fault> {
        let directory = step(&Rc::clone(&self.held(parent)?.directory), name, DIRECTORY)?;
        self.mounts.made(path, parent, &directory)?;
        let directory = Rc::new(directory);
        self.remember(path, Rc::clone(&directory), Some(Vec::new()));
        Ok(directory)
    }

    /// The one at this path, in which names are about to be made, changed or removed.
    ///
    /// # Errors
    /// As for [`Self::held`].
    pub(super) fn fillable(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Fault> {
        let directory = Rc::clone(&self.held(path)?.directory);
        let access = Access::WRITE_OK | Access::EXEC_OK;
        if accessat(&directory, c".", access, AtFlags::empty()) == Err(Errno::ACCESS) {
            self.permits.open_up(path, &directory);
        }
        Ok(directory)
    }

    /// Unfinished files in the directory at this path. Those that nobody will ask for any more go when it is first looked at.
    ///
    /// # Errors
    /// As for [`Self::held`], or what listing it says.
    pub(super) fn parts(&mut self, parent: &[u8]) -> Result<&[PartName], Fault> {
        let held = self.held(parent)?;
        if held.parts.is_none() {
            let mut parts = match list_parts(&held.directory) {
                // Where names cannot be read, an unfinished file is not found again, and the file begins anew.
                Err(Fault::Denied) => Vec::new(),
                parts => parts?,
            };
            let now = SystemTime::now();
            parts.retain(|part| !remove_forsaken(&held.directory, part, now));
            held.parts = Some(parts);
        }
        Ok(held.parts.as_deref().unwrap_or_default())
    }

    /// Takes an unfinished file off the list: it has been taken over, or removed.
    pub(super) fn forget_part(&mut self, parent: &[u8], name: &PartName) {
        if let Some(held) = self.if_open(parent)
            && let Some(parts) = &mut held.parts
        {
            parts.retain(|part| part != name);
        }
    }

    /// Gives all directories that were opened up the permissions that they had.
    pub(super) fn close_up(&mut self) {
        while let Some(path) = self.permits.deepest() {
            // What has gone meanwhile needs none.
            let directory = self.held(&path).map(|folder| Rc::clone(&folder.directory));
            if let (Some(mode), Ok(directory)) = (self.permits.take(&path), directory) {
                self.permits.close(&directory, mode);
            }
        }
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        self.close_up();
    }
}

/// A directory by its path below the root.
struct Below<'a> {
    path: &'a [u8],
    /// Where its own name begins in that.
    begin: usize,
}

/// Enters a directory. If it is ours, or that in which it is, and does not let us in, it is opened up.
fn enter(permits: &mut Permits, parent: &OwnedFd, below: Below<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let Below { path, begin } = below;
    let name = &path[begin..];
    let mut entered = step(parent, name, flags);
    if entered.as_ref().err() == Some(&Errno::ACCESS) {
        permits.open_up(&path[..begin.saturating_sub(1)], parent);
        let way = step(parent, name, WAY)?;
        permits.open_up(path, &way);
        entered = step(parent, name, flags);
    }
    entered
}
