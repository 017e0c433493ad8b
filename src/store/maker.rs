//! Which directories a sender has made here: those are its to give permissions and a time, and no other.
//!
//! ```text
//!  user.vp.maker = blake3(sender, inode number, mode), the first 16 bytes
//! ```
//! It is an extended attribute of the directory itself: so it lasts as long as that does, through any number of runs, takes no
//! file and no table, and goes with it. The number ties it to this very directory, as copies take attributes along. The mode is
//! the one that the sender's transfers gave it last: if it has another, its owner has given it that, and it is his from then on.
//!
//! Without a valid mark a directory is as one that somebody else made: it costs the sender its permissions and time there, never
//! somebody else his own. That is so where a file system has no such attributes, where somebody has removed it, where the receiver
//! may not read the directory and so not its attributes, and where a run was killed between the mark and the mode. Where there is
//! no mark, a run still knows what it has made itself ([`Fresh`]).

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr, fstat, getxattr, setxattr};
use rustix::io::Errno;

const ATTRIBUTE: &str = "user.vp.maker";
const MARK_BYTES: usize = 16;

/// Whether a directory had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    /// It is new.
    New(Fresh),
    /// It was there.
    Already {
        /// Its permission bits, 0o777 at most.
        mode: u16,
        /// The same sender made it.
        own: bool,
    },
}

impl Made {
    /// What this run has made, if it did.
    pub(crate) fn fresh(self) -> Option<Fresh> {
        match self {
            Self::New(fresh) => Some(fresh),
            Self::Already { .. } => None,
        }
    }
}

/// A directory as the run that made it has left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fresh {
    inode: u64,
    mode: u16,
}

impl Fresh {
    pub(super) fn of(directory: &OwnedFd) -> Result<Self, Errno> {
        let stat = fstat(directory)?;
        Ok(Self { inode: stat.st_ino, mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0) })
    }

    /// Its mode, 0o7777 at most.
    pub(super) fn mode(self) -> u16 {
        self.mode
    }

    /// Whether this is still that one, and nobody has given it another mode.
    pub(super) fn is(self, directory: &OwnedFd) -> bool {
        Self::of(directory) == Ok(self)
    }
}

/// A sender, as the maker of directories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker {
    key: [u8; 32],
    /// What the system says of every attribute.
    #[cfg(test)]
    refused: Option<Errno>,
}

impl Maker {
    /// Whoever has this key.
    #[must_use]
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            #[cfg(test)]
            refused: None,
        }
    }

    /// The same, on file systems that refuse attributes so.
    #[cfg(test)]
    pub(super) fn where_refused(mut self, errno: Errno) -> Self {
        self.refused = Some(errno);
        self
    }

    #[cfg(test)]
    fn check_refused(self) -> Result<(), Errno> {
        self.refused.map_or(Ok(()), Err)
    }

    fn mark(self, directory: Fresh) -> [u8; MARK_BYTES] {
        let mut mark = [0; MARK_BYTES];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.key).update(&directory.inode.to_le_bytes()).update(&directory.mode.to_le_bytes());
        hasher.finalize_xof().fill(&mut mark);
        mark
    }

    /// Notes that it has made the directory, and that this is the mode that it has, or is about to get.
    ///
    /// # Errors
    /// What the system says: [`Errno::ACCESS`] of a directory that may not be written, [`Errno::NOTSUP`] where there are no
    /// such attributes.
    pub(super) fn sign(self, directory: &OwnedFd, mode: u16) -> Result<(), Errno> {
        #[cfg(test)]
        self.check_refused()?;
        let mark = self.mark(Fresh { mode, ..Fresh::of(directory)? });
        match fsetxattr(directory, ATTRIBUTE, &mark, XattrFlags::empty()) {
            // One that was opened only to be passed.
            Err(Errno::BADF) => setxattr(way_to(directory), ATTRIBUTE, &mark, XattrFlags::empty()),
            done => done,
        }
    }

    /// Whether it has made the directory and given it the mode that it has, as far as is known.
    pub(super) fn has_made(self, directory: &OwnedFd) -> bool {
        let Ok(is) = Fresh::of(directory) else { return false };
        self.mark_of(directory).is_ok_and(|mark| mark == Some(self.mark(is)))
    }

    fn mark_of(self, directory: &OwnedFd) -> Result<Option<[u8; MARK_BYTES]>, Errno> {
        #[cfg(test)]
        self.check_refused()?;
        // One byte more, so that a longer one is none.
        let mut there = [0; MARK_BYTES + 1];
        let length = match fgetxattr(directory, ATTRIBUTE, &mut there[..]) {
            Err(Errno::BADF) => getxattr(way_to(directory), ATTRIBUTE, &mut there[..]),
            length => length,
        }?;
        Ok(if length == MARK_BYTES { there.first_chunk().copied() } else { None })
    }
}

/// A name for what a descriptor stands for.
fn way_to(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn open(path: &Path) -> OwnedFd {
        openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    fn sign(maker: Maker, path: &Path) {
        let directory = open(path);
        maker.sign(&directory, Fresh::of(&directory).unwrap().mode).unwrap();
    }

    #[test]
    fn it_is_known_again_by_the_same_sender_wherever_the_directory_goes_and_in_no_copy() {
        let home = tempfile::tempdir().unwrap();
        let [made, moved, copy] = ["made", "moved", "copy"].map(|name| home.path().join(name));
        fs::create_dir(&made).unwrap();
        let (one, two) = (Maker::new([1; 32]), Maker::new([2; 32]));
        assert!(!one.has_made(&open(&made)), "nobody has said so");
        sign(one, &made);
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

    #[test]
    fn whoever_gives_it_another_mode_makes_it_his_own_until_he_takes_that_back() {
        let home = tempfile::tempdir().unwrap();
        let made = home.path().join("made");
        fs::create_dir(&made).unwrap();
        let (sender, fresh) = (Maker::new([1; 32]), Fresh::of(&open(&made)).unwrap());
        sign(sender, &made);
        let before = fs::metadata(&made).unwrap().permissions();
        assert!(sender.has_made(&open(&made)) && fresh.is(&open(&made)));
        for other in [0o700, 0o555, 0o1755, 0o2755] {
            fs::set_permissions(&made, fs::Permissions::from_mode(other)).unwrap();
            assert!(!sender.has_made(&open(&made)) && !fresh.is(&open(&made)), "{other:o}");
        }
        fs::set_permissions(&made, before).unwrap();
        assert!(sender.has_made(&open(&made)) && fresh.is(&open(&made)));
    }

    #[test]
    fn where_there_are_no_attributes_only_the_run_that_made_it_knows() {
        let home = tempfile::tempdir().unwrap();
        let made = home.path().join("made");
        fs::create_dir(&made).unwrap();
        sign(Maker::new([1; 32]), &made);
        for errno in [Errno::NOTSUP, Errno::NOSYS, Errno::PERM, Errno::ACCESS, Errno::IO] {
            let sender = Maker::new([1; 32]).where_refused(errno);
            assert_eq!(sender.sign(&open(&made), 0o755), Err(errno));
            assert!(!sender.has_made(&open(&made)));
        }
        let fresh = Fresh::of(&open(&made)).unwrap();
        fs::rename(&made, home.path().join("aside")).unwrap();
        fs::create_dir(&made).unwrap();
        assert!(!fresh.is(&open(&made)), "another has its name");
        assert!(fresh.is(&open(&home.path().join("aside"))));
    }
}
