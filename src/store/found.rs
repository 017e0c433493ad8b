//! What a walk has found, and how it is opened again.

use super::beneath::Nearby;
use super::links;
use super::stamp::Stamp;
use crate::transfer::fault::{DanglingLink, Fault};
use crate::transfer::item::Kind;
use crate::transfer::path::TreePath;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// How to open a found file again.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Named by the user; links in the path are followed, as anywhere on a command line.
    Named(PathBuf),
    /// Below a directory the user named; no link is followed.
    Below(Rc<OwnedFd>),
    /// The same, but whatever links are on the way are followed.
    Through(Rc<OwnedFd>),
}

/// One item to offer.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Where it belongs at the receiver.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// Which version was seen.
    pub stamp: Stamp,
    /// How to open it.
    pub origin: Origin,
    /// Its size is known only when it has been read: see [`super::read::measure_by_reading`].
    pub unmeasured: bool,
}

impl Found {
    pub(super) fn file(path: TreePath, stamp: Stamp, origin: Origin) -> Self {
        Self { path, kind: Kind::File, stamp, origin, unmeasured: false }
    }
}

/// One item that cannot be offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Its path as far as known, for people; any bytes.
    pub path: Vec<u8>,
    /// Why.
    pub fault: Fault,
    /// The link that it is, if that is why.
    pub dangling: Option<DanglingLink>,
}

impl Skipped {
    pub(super) fn new(path: Vec<u8>, fault: Fault) -> Self {
        Self { path, fault, dangling: None }
    }

    /// What is called so in a directory cannot be looked at, for this reason.
    pub(super) fn unseen(path: Vec<u8>, at: (BorrowedFd<'_>, &Path), errno: Errno) -> Self {
        let dangling = links::dangling(at, errno);
        let fault = if dangling.is_some() { Fault::NotFound } else { errno.into() };
        Self { path, fault, dangling }
    }
}

/// What a walk comes to next.
pub(crate) type WalkItem = Result<Found, Skipped>;

/// Opens a found file for reading. A fifo put there meanwhile does not block, and a link is not followed unless it was
/// before.
///
/// # Errors
/// What the system says, as a fault of this item.
pub(crate) fn open(found: &Found, nearby: &mut Nearby) -> Result<OwnedFd, Fault> {
    match &found.origin {
        Origin::Named(path) => Ok(openat(CWD, path, READ, Mode::empty())?),
        Origin::Through(root) => Ok(openat(&**root, found.path.below_first(), READ, Mode::empty())?),
        Origin::Below(root) => Ok(nearby.open(root, found.path.below_first(), READ)?),
    }
}
