//! Which directories a sender has made here: those are its to give permissions and a time, and no other.
//!
//! ```text
//!  user.vp.maker = blake3(sender, inode number), the first 16 bytes
//! ```
//! It is an extended attribute of the directory itself: so it lasts as long as that does, through any number of runs, takes no
//! file and no table, and goes with it. The number ties it to this very directory, as copies take attributes along. Where a
//! file system has none of these, or somebody has removed it, a directory is as one that somebody else made: it costs the
//! sender its permissions and time there, never somebody else his own.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr, fstat, getxattr};
use rustix::io::Errno;

const ATTRIBUTE: &str = "user.vp.maker";
const MARK_BYTES: usize = 16;

/// Whether a directory had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    /// It is new.
    New,
    /// It was there.
    Already {
        /// Its permission bits, 0o777 at most.
        mode: u16,
        /// The same sender made it.
        own: bool,
    },
}

/// A sender, as the maker of directories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker([u8; 32]);

impl Maker {
    /// Whoever has this key.
    #[must_use]
    pub(crate) fn new(sender: [u8; 32]) -> Self {
        Self(sender)
    }

    fn mark(self, directory: &OwnedFd) -> Result<[u8; MARK_BYTES], Errno> {
        let mut mark = [0; MARK_BYTES];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(&fstat(directory)?.st_ino.to_le_bytes());
        hasher.finalize_xof().fill(&mut mark);
        Ok(mark)
    }

    /// Notes that it has made the directory, where that can be noted.
    pub(super) fn sign(self, directory: &OwnedFd) {
        if let Ok(mark) = self.mark(directory) {
            let _ = fsetxattr(directory, ATTRIBUTE, &mark, XattrFlags::empty());
        }
    }

    /// Whether it has made the directory, as far as is known.
    pub(super) fn has_made(self, directory: &OwnedFd) -> bool {
        self.is_known_to_have_made(directory) == Ok(true)
    }

    /// The same.
    ///
    /// # Errors
    /// What the system says: [`Errno::ACCESS`] of a directory that may not be read, [`Errno::NOTSUP`] where there are no such
    /// attributes.
    pub(super) fn is_known_to_have_made(self, directory: &OwnedFd) -> Result<bool, Errno> {
        // One byte more, so that a longer one is none.
        let mut there = [0; MARK_BYTES + 1];
        let length = match fgetxattr(directory, ATTRIBUTE, &mut there[..]) {
            // One that was opened only to be passed.
            Err(Errno::BADF) => getxattr(format!("/proc/self/fd/{}", directory.as_raw_fd()), ATTRIBUTE, &mut there[..]),
            length => length,
        };
        match length {
            Ok(MARK_BYTES) => Ok(self.mark(directory)? == there[..MARK_BYTES]),
            Ok(_) | Err(Errno::NODATA | Errno::RANGE) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use std::fs;
    use std::path::Path;

    fn open(path: &Path) -> OwnedFd {
        openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn it_is_known_again_by_the_same_sender_wherever_the_directory_goes_and_in_no_copy() {
        let home = tempfile::tempdir().unwrap();
        let [made, moved, copy] = ["made", "moved", "copy"].map(|name| home.path().join(name));
        fs::create_dir(&made).unwrap();
        let (one, two) = (Maker::new([1; 32]), Maker::new([2; 32]));
        assert!(!one.has_made(&open(&made)), "nobody has said so");
        one.sign(&open(&made));
        fs::rename(&made, &moved).unwrap();
        assert_eq!([one, two].map(|sender| sender.has_made(&open(&moved))), [true, false]);
        let passed = openat(CWD, &moved, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert_eq!([one, two].map(|sender| sender.has_made(&passed)), [true, false]);
        fs::create_dir(&copy).unwrap();
        let mut mark = [0; MARK_BYTES];
        fgetxattr(open(&moved), ATTRIBUTE, &mut mark[..]).unwrap();
        fsetxattr(open(&copy), ATTRIBUTE, &mark, XattrFlags::CREATE).unwrap();
        assert!(!one.has_made(&open(&copy)), "another directory");
        for other in [&[mark.as_slice(), &[0]].concat()[..], &mark[..15], b""] {
            fsetxattr(open(&moved), ATTRIBUTE, other, XattrFlags::empty()).unwrap();
            assert!(!one.has_made(&open(&moved)));
        }
    }
}
