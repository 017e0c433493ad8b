//! Directories of our own, made for the sender, that do not let us work in them, as a tree may well have them. They do for as
//! long as it takes, and then are again as they were. The owner alone gets more meanwhile, whatever happens to us: the next
//! transfer of the same tree finds them as an interrupted one leaves them, and gives them the announced permissions. Those
//! that somebody else has closed stay closed.

use super::maker::Maker;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, chmod, fchmod, fstat};
use rustix::io::Errno;
use std::collections::BTreeMap;

/// What the owner needs to list, fill and pass a directory.
const WORK: u16 = 0o700;
/// Memory for the paths of those that are open at once.
const BYTES_MAX: usize = 16 << 20;

/// Those that are open, and the permissions they had; by depth, so that the deepest are closed first: a closed one hides what
/// is below.
#[derive(Default)]
pub(super) struct Permits {
    /// Without one all are somebody else's.
    pub sender: Option<Maker>,
    before: BTreeMap<(usize, Vec<u8>), u16>,
    bytes: usize,
}

fn key(path: &[u8]) -> (usize, Vec<u8>) {
    (path.iter().filter(|byte| **byte == b'/').count(), path.to_vec())
}

impl Permits {
    /// Lets us work in this directory, if it is ours and the sender's, and did not. The root, of which the path is empty, is
    /// whoever's who named it.
    pub(super) fn open_up(&mut self, path: &[u8], directory: &OwnedFd) {
        let Ok(stat) = fstat(directory) else { return };
        let mode = u16::try_from(stat.st_mode & 0o7777).unwrap_or(0);
        let ours = stat.st_uid == rustix::process::geteuid().as_raw();
        if path.is_empty() || !ours || mode & WORK == WORK || self.bytes + path.len() > BYTES_MAX {
            return;
        }
        let known = self.is_senders(directory);
        // Where this is refused, whoever needs it is told what he was told before.
        if known == Some(false) || set(directory, mode | WORK).is_err() {
            return;
        }
        // One that may not be read does not say whose it is before it is opened.
        if known.is_none() && self.is_senders(directory) != Some(true) {
            let _ = set(directory, mode);
            return;
        }
        self.before.entry(key(path)).or_insert_with(|| {
            self.bytes += path.len();
            mode
        });
    }

    /// Whether the sender has made it, or nothing ever says who made one there. None: it may not be asked.
    fn is_senders(&self, directory: &OwnedFd) -> Option<bool> {
        let Some(sender) = self.sender else { return Some(false) };
        match sender.is_known_to_have_made(directory) {
            Err(Errno::ACCESS) => None,
            Err(Errno::NOTSUP | Errno::NOSYS) => Some(true),
            known => Some(known == Ok(true)),
        }
    }

    /// The permissions that a directory had before it was opened up.
    pub(super) fn before(&self, path: &[u8]) -> Option<u16> {
        self.before.get(&key(path)).copied()
    }

    /// The same; it is up to the caller to give them back.
    pub(super) fn take(&mut self, path: &[u8]) -> Option<u16> {
        let mode = self.before.remove(&key(path))?;
        self.bytes -= path.len();
        Some(mode)
    }

    /// The deepest of those that are open.
    pub(super) fn deepest(&self) -> Option<Vec<u8>> {
        self.before.last_key_value().map(|((_, path), _)| path.clone())
    }
}

/// Also of a directory that was opened only to be passed.
fn set(directory: &OwnedFd, mode: u16) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(u32::from(mode));
    match fchmod(directory, mode) {
        Err(Errno::BADF) => chmod(format!("/proc/self/fd/{}", directory.as_raw_fd()), mode),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::super::beneath::{WAY, step};
    use super::*;
    use rustix::fs::{CWD, OFlags, openat};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_of_ours_is_opened_once_and_the_deepest_is_closed_first() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("a/b")).unwrap();
        let set_mode = |path: &str, mode| fs::set_permissions(home.path().join(path), fs::Permissions::from_mode(mode));
        let mode = |path: &str| fs::metadata(home.path().join(path)).unwrap().permissions().mode() & 0o7777;
        let root = openat(CWD, home.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let a = step(&root, b"a", WAY).unwrap();
        let b = step(&a, b"b", OFlags::RDONLY).unwrap();
        let (own, tight) = (mode(""), [("a", 0o111), ("a/b", 0o1550)]);
        tight.iter().rev().for_each(|(path, mode)| set_mode(path, *mode).unwrap());
        set_mode("", 0o500).unwrap();
        let mut permits = Permits::default();
        permits.open_up(b"a", &a);
        let (sender, other) = (Maker::new([1; 32]), Maker::new([2; 32]));
        other.sign(&b);
        permits.sender = Some(sender);
        permits.open_up(b"a", &a);
        permits.open_up(b"a/b", &b);
        assert_eq!(([mode("a"), mode("a/b")], permits.deepest()), ([0o111, 0o1550], None), "somebody else's");
        tight.iter().for_each(|(path, mode)| set_mode(path, *mode | 0o700).unwrap());
        for path in ["a", "a/b"] {
            sender.sign(&openat(CWD, home.path().join(path), OFlags::RDONLY, Mode::empty()).unwrap());
        }
        tight.iter().rev().for_each(|(path, mode)| set_mode(path, *mode).unwrap());
        for _ in 0..2 {
            permits.open_up(b"", &root);
            permits.open_up(b"a", &a);
            permits.open_up(b"a/b", &b);
        }
        assert_eq!([mode(""), mode("a"), mode("a/b")], [0o500, 0o711, 0o1750]);
        assert_eq!(
            [permits.before(b"a"), permits.before(b"a/b"), permits.before(b"")],
            [Some(0o111), Some(0o1550), None]
        );
        // Narrowed by somebody else meanwhile: what it was before we came counts.
        set_mode("a", 0).unwrap();
        permits.open_up(b"a", &a);
        assert_eq!(permits.deepest().as_deref(), Some(&b"a/b"[..]));
        assert_eq!([permits.take(b"a/b"), permits.take(b"a"), permits.take(b"a")], [Some(0o1550), Some(0o111), None]);
        assert_eq!((permits.deepest(), permits.bytes), (None, 0));
        set_mode("", own).unwrap();
    }
}
