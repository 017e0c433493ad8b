//! The directories below a receiver's root, reached one name after the other, without symbolic links. The last few stay open,
//! so that most items cost no resolving.

use super::beneath::{WAY, step};
use super::fault::Fault;
use super::mounts::Mounts;
use super::part::PartName;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::rc::Rc;

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
    /// Whether names that differ only in case are one; found out when first asked.
    pub folds_case: Option<bool>,
}

/// The root, and those below it that were used last.
pub(super) struct Folders {
    root: Rc<OwnedFd>,
    recent: Vec<Folder>,
    pub mounts: Mounts,
}

impl Folders {
    /// Opens the root, which must exist. Links in this one path are followed.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = openat(CWD, root, DIRECTORY, Mode::empty())?;
        let mounts = Mounts::of_root(&root)?;
        Ok(Self { root: Rc::new(root), recent: Vec::new(), mounts })
    }

    /// Keeps one open that was just made, or reached.
    fn remember(&mut self, path: &[u8], directory: Rc<OwnedFd>, parts: Option<Vec<PartName>>) {
        self.recent.truncate(OPEN_DIRECTORIES_MAX - 1);
        self.recent.insert(0, Folder { path: path.to_vec(), directory, parts, folds_case: None });
    }

    /// The one at this path, if it is open.
    pub fn if_open(&mut self, path: &[u8]) -> Option<&mut Folder> {
        self.recent.iter_mut().find(|folder| folder.path == path)
    }

    /// The one at this path below the root; empty means the root.
    ///
    /// # Errors
    /// [`Fault::Parent`] unless it is a directory reached without links, on the mount on which it was found first.
    pub fn held(&mut self, path: &[u8]) -> Result<&mut Folder, Fault> {
        if let Some(at) = self.recent.iter().position(|folder| folder.path == path) {
            self.recent[..=at].rotate_right(1);
        } else {
            let directory = if path.is_empty() { Rc::clone(&self.root) } else { Rc::new(self.reach(path)?) };
            self.remember(path, directory, None);
        }
        Ok(&mut self.recent[0])
    }

    /// Opens what is at this path from the root on, and looks at every directory on the way.
    fn reach(&mut self, path: &[u8]) -> Result<OwnedFd, Fault> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
        let (mut here, mut begin) = (None, 0);
        for end in ends {
            let parent = here.as_ref().unwrap_or(&*self.root);
            let flags = if end == path.len() { DIRECTORY } else { WAY };
            let directory = match step(parent, &path[begin..end], flags) {
                Err(Errno::NOENT) => return Err(Fault::Parent),
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
    pub fn take_in(&mut self, parent: &[u8], path: &[u8], name: &[u8]) -> Result<Rc<OwnedFd>, Fault> {
        let directory = step(&Rc::clone(&self.held(parent)?.directory), name, DIRECTORY)?;
        self.mounts.made(path, parent, &directory)?;
        let directory = Rc::new(directory);
        self.remember(path, Rc::clone(&directory), Some(Vec::new()));
        Ok(directory)
    }
}
