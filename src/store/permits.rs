//! Directories that the sender has made in an earlier run, and that do not let us work in them, as a tree may well have them. They
//! do for as long as it takes, and then are again as they were. The owner alone gets more meanwhile, whatever happens to us: the
//! next transfer of the same tree finds them as an interrupted one leaves them, and gives them the announced permissions.
//!
//! Only what says itself that this sender made it is opened ([`Maker::has_made`]): nothing of somebody else's gets another mode,
//! not even for a moment to look whose it is.

use super::attributes::{Unkept, is_lacking};
use super::maker::{Fresh, Maker};
use crate::transfer::fault::Fault;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, chmod, fchmod, fstat};
use rustix::io::Errno;
use std::collections::BTreeMap;

/// What the owner needs to list, fill and pass a directory.
const WORK: u16 = 0o700;
/// Of that, what it needs to mark it.
const WRITE: u16 = 0o200;
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

fn mode_of(directory: &OwnedFd) -> Result<u16, Errno> {
    Ok(Fresh::of(directory)?.mode())
}

impl Permits {
    /// Whether the sender has made this directory, and nobody has changed its mode since.
    pub(super) fn is_senders(&self, directory: &OwnedFd) -> bool {
        self.sender.is_some_and(|sender| sender.has_made(directory))
    }

    /// Lets us work in this directory, if it is ours and the sender's, and did not. The root, of which the path is empty, is
    /// whoever's who named it.
    pub(super) fn open_up(&mut self, path: &[u8], directory: &OwnedFd) {
        let Ok(stat) = fstat(directory) else { return };
        let Ok(mode) = mode_of(directory) else { return };
        let ours = stat.st_uid == rustix::process::geteuid().as_raw();
        if path.is_empty() || !ours || mode & WORK == WORK || self.bytes + path.len() > BYTES_MAX {
            return;
        }
        if !self.is_senders(directory) {
            return;
        }
        // Where this is refused, whoever needs it is told what he was told before.
        if self.give(directory, mode | WORK).is_err() || !self.is_senders(directory) {
            let _ = set(directory, mode);
            return;
        }
        self.before.entry(key(path)).or_insert_with(|| {
            self.bytes += path.len();
            mode
        });
    }

    /// Gives a directory of the sender's this mode, and has it say so. One that may not be written takes no mark, so that is done
    /// before it is narrowed, and after it is widened. Whoever is killed in between leaves it to its owner.
    ///
    /// # Errors
    /// What the system says of the mode.
    pub(super) fn give(&self, directory: &OwnedFd, mode: u16) -> Result<(), Errno> {
        let before = mode_of(directory)?;
        if mode == before && self.is_senders(directory) {
            return Ok(());
        }
        let sign = |mode| self.sender.map_or(Err(Errno::NOTSUP), |sender| sender.sign(directory, mode));
        let mut signed = sign(mode);
        if signed == Err(Errno::ACCESS) && (before | mode) & WRITE == 0 {
            set(directory, before | WRITE)?;
            signed = sign(mode);
        }
        let done = if mode_of(directory)? == mode { Ok(()) } else { set(directory, mode) };
        // Some file systems take a mode and have another.
        let now = mode_of(directory)?;
        if signed.is_err() || now != mode {
            // Without the mark it is somebody else's from now on.
            let _ = sign(now);
        }
        done
    }

    /// Notes of a directory that was made just now that it is the sender's.
    pub(super) fn sign(&self, directory: &OwnedFd, fresh: Fresh) {
        if let Some(sender) = self.sender {
            let _ = sender.sign(directory, fresh.mode());
        }
    }

    /// Gives a directory of the sender's these permissions at the end of a run; what its file system does not keep. What else its
    /// mode says stays.
    ///
    /// # Errors
    /// Whatever else the system says.
    pub(super) fn finish(&self, directory: &OwnedFd, permissions: u16) -> Result<Unkept, Fault> {
        let mode = permissions & 0o777 | mode_of(directory)? & 0o7000;
        match self.give(directory, mode) {
            Err(errno) if !is_lacking(errno) => Err(errno.into()),
            done => Ok(Unkept { permissions: done.is_err(), times: false }),
        }
    }

    /// Gives a directory the mode that it had before it was opened up, unless its owner has given it another since.
    pub(super) fn close(&self, directory: &OwnedFd, before: u16) {
        if self.is_senders(directory) {
            // What it has more is its owner's alone.
            let _ = self.give(directory, before);
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
    use super::super::privilege::without_privilege;
    use super::*;
    use rustix::fs::{CWD, OFlags, openat};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use tempfile::TempDir;

    const SENDER: Maker = Maker::new([1; 32]);

    /// A directory of a test's own.
    struct Home(TempDir);

    impl Home {
        /// With directories of these modes, which a sender has made.
        fn with(made: &[(&str, u16)], sender: Maker) -> Home {
            let home = Home(tempfile::tempdir().unwrap());
            for (path, mode) in made {
                fs::create_dir(home.path(path)).unwrap();
                Permits { sender: Some(sender), ..Permits::default() }.give(&home.open(path), *mode).unwrap();
            }
            home
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn set_mode(&self, path: &str, mode: u32) {
            fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn modes<const N: usize>(&self, paths: [&str; N]) -> [u32; N] {
            paths.map(|path| fs::metadata(self.path(path)).unwrap().permissions().mode() & 0o7777)
        }

        fn open(&self, path: &str) -> OwnedFd {
            open(&self.path(path))
        }
    }

    fn open(path: &Path) -> OwnedFd {
        openat(CWD, path, OFlags::RDONLY, Mode::empty()).unwrap()
    }

    fn permits(sender: Maker) -> Permits {
        Permits { sender: Some(sender), ..Permits::default() }
    }

    #[test]
    fn a_directory_of_the_senders_is_opened_once_and_the_deepest_is_closed_first() {
        without_privilege(|| {
            let home = Home::with(&[("a", 0o755)], SENDER);
            let below = home.path("a/b");
            fs::create_dir(&below).unwrap();
            permits(SENDER).give(&open(&below), 0o1550).unwrap();
            let b = open(&below);
            permits(SENDER).give(&home.open("a"), 0o511).unwrap();
            let (root, a) = (home.open(""), home.open("a"));
            home.set_mode("", 0o500);
            let mut permits = permits(SENDER);
            for _ in 0..2 {
                permits.open_up(b"", &root);
                permits.open_up(b"a", &a);
                permits.open_up(b"a/b", &b);
            }
            assert_eq!(home.modes(["", "a", "a/b"]), [0o500, 0o711, 0o1750]);
            let before = [&b"a"[..], b"a/b", b""].map(|path| permits.before(path));
            assert_eq!(before, [Some(0o511), Some(0o1550), None]);
            assert_eq!(permits.deepest().as_deref(), Some(&b"a/b"[..]));
            for (path, directory) in [(b"a/b".as_slice(), &b), (b"a", &a)] {
                let before = permits.take(path).unwrap();
                permits.close(directory, before);
                assert!(permits.is_senders(directory), "and so it can be opened again");
            }
            assert_eq!((permits.take(b"a"), permits.deepest(), permits.bytes), (None, None, 0));
            assert_eq!(fs::metadata(home.path("a")).unwrap().permissions().mode() & 0o7777, 0o511);
            home.set_mode("", 0o700);
            home.set_mode("a", 0o700);
        });
    }

    #[test]
    fn one_that_does_not_say_that_it_is_the_senders_never_gets_another_mode() {
        use std::os::unix::fs::MetadataExt;
        without_privilege(|| {
            let refused = [Errno::NOTSUP, Errno::NOSYS, Errno::ACCESS].map(|errno| SENDER.where_refused(errno));
            // Nobody's, another sender's, where nothing may be asked, and the sender's with a mode that its owner has given it.
            let (nobodys, senders) = (SENDER.where_refused(Errno::NOTSUP), SENDER);
            let cases = [(nobodys, SENDER), (Maker::new([2; 32]), SENDER), (senders, SENDER)];
            for (maker, sender) in cases.into_iter().chain(refused.map(|refused| (SENDER, refused))) {
                let home = Home::with(&[("a", 0o750)], maker);
                for mode in [0o555, 0o500, 0o311, 0o055, 0o000] {
                    let root = home.open("");
                    home.set_mode("a", mode);
                    let changed =
                        || fs::metadata(home.path("a")).map(|meta| (meta.ctime(), meta.ctime_nsec())).unwrap();
                    let before = changed();
                    let mut permits = permits(sender);
                    permits.open_up(b"a", &step(&root, b"a", WAY).unwrap());
                    assert_eq!((permits.deepest(), changed()), (None, before), "{mode:o}");
                }
                home.set_mode("a", 0o700);
            }
        });
    }

    #[test]
    fn one_that_its_owner_gives_another_mode_while_it_is_open_keeps_that() {
        without_privilege(|| {
            let home = Home::with(&[("a", 0o555)], SENDER);
            let a = home.open("a");
            let mut permits = permits(SENDER);
            permits.open_up(b"a", &a);
            home.set_mode("a", 0o500);
            permits.open_up(b"a", &a);
            let before = permits.take(b"a").unwrap();
            permits.close(&a, before);
            assert_eq!((home.modes(["a"]), before), ([0o500], 0o555));
        });
    }

    #[test]
    fn whatever_mode_it_gets_it_says_so_and_where_it_cannot_say_it_is_its_owners() {
        without_privilege(|| {
            for from in [0o755, 0o555, 0o500] {
                for to in [0o755, 0o555, 0o500, 0o700, 0o1777] {
                    let home = Home::with(&[("a", from)], SENDER);
                    permits(SENDER).give(&home.open("a"), to).unwrap();
                    assert!(SENDER.has_made(&home.open("a")), "{from:o} {to:o}");
                    assert_eq!(home.modes(["a"]), [u32::from(to)]);
                    let home = Home::with(&[("a", from)], SENDER);
                    permits(SENDER.where_refused(Errno::NOTSUP)).give(&home.open("a"), to).unwrap();
                    assert_eq!((SENDER.has_made(&home.open("a")), home.modes(["a"])), (from == to, [u32::from(to)]));
                }
            }
        });
    }
}
