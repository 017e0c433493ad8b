//! What becomes of symbolic links in what is sent.

use crate::transfer::fault::DanglingLink;
use rustix::fd::BorrowedFd;
use rustix::fs::readlinkat;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// As many links as the system follows on one way.
const CHAIN_MAX: usize = 40;

/// What to do with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Links {
    /// They are sent as links, but for those that lead out of what is sent, which are left out: at the receiver they would
    /// lead to something else, and it takes none.
    #[default]
    Keep,
    /// They are left out.
    Skip,
    /// What they lead to is sent in their place.
    Follow,
}

/// Links that a walk has left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftLinks {
    /// Which ones were to be.
    pub links: Links,
    /// How many.
    pub count: u64,
    /// The path of the first, any bytes.
    pub first: Vec<u8>,
}

impl LeftLinks {
    /// None yet.
    pub(crate) fn new(links: Links) -> Self {
        Self { links, count: 0, first: Vec::new() }
    }

    /// One more.
    pub(crate) fn add(&mut self, path: &[u8]) {
        if self.count == 0 {
            self.first = path.to_vec();
        }
        self.count += 1;
    }
}

/// The link that is called so in a directory, if it leads to nothing, as the system says by this when it is followed.
pub(super) fn dangling((directory, name): (BorrowedFd<'_>, &Path), errno: Errno) -> Option<DanglingLink> {
    if !matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) {
        return None;
    }
    let is_loop = errno == Errno::LOOP;
    let mut target = readlinkat(directory, name, Vec::new()).ok()?.into_bytes();
    let mut at = name.to_owned();
    for _ in 1..if is_loop { 1 } else { CHAIN_MAX } {
        at = at.parent().unwrap_or(Path::new("")).join(OsStr::from_bytes(&target));
        let Ok(next) = readlinkat(directory, &at, Vec::new()) else { break };
        target = next.into_bytes();
    }
    Some(DanglingLink { target, is_loop })
}
