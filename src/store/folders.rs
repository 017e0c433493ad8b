//! The directories below a receiver's root, reached by `openat2` without symbolic links and without leaving the file system.
//! The last few stay open, so that most items cost no resolving.

use super::fault::Fault;
use super::part::PartName;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// Directories kept open: a walk's way down is rarely deeper, and 1,024 descriptors are usual.
const OPEN_DIRECTORIES_MAX: usize = 32;

/// How a directory is opened.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

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
}

impl Folders {
    /// Opens the root, which must exist. Links in this one path are followed.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = Rc::new(openat(CWD, root, DIRECTORY, Mode::empty())?);
        Ok(Self { root, recent: Vec::new() })
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Keeps one open that was just made, or reached.
    pub fn remember(&mut self, path: &[u8], directory: Rc<OwnedFd>, parts: Option<Vec<PartName>>) {
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
    /// [`Fault::Parent`] unless it is a directory reached without links.
    pub fn held(&mut self, path: &[u8]) -> Result<&mut Folder, Fault> {
        if let Some(at) = self.recent.iter().position(|folder| folder.path == path) {
            self.recent[..=at].rotate_right(1);
        } else {
            let directory = if path.is_empty() {
                Rc::clone(&self.root)
            } else {
                let flags = DIRECTORY | OFlags::NOFOLLOW;
                match openat2(&*self.root, path, flags, Mode::empty(), BENEATH) {
                    Ok(directory) => Rc::new(directory),
                    Err(Errno::NOENT) => return Err(Fault::Parent),
                    Err(errno) => return Err(errno.into()),
                }
            };
            self.remember(path, directory, None);
        }
        Ok(&mut self.recent[0])
    }
}
