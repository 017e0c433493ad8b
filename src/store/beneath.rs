//! Opens what lies below a directory, one name after the other: so no link is followed and nothing outside is reached,
//! whatever happens meanwhile. `openat2` would do it in one call, but is refused by old kernels, and by the filters of
//! containers and hardened services, which cannot look into its argument.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::rc::Rc;

/// A directory on the way: it need not be readable.
pub(super) const WAY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// Opens what has this one name in the directory, and is no link.
///
/// # Errors
/// What the system says, or [`Errno::XDEV`] for what is no name of something in it.
pub(super) fn step(directory: &OwnedFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
        return Err(Errno::XDEV);
    }
    openat(directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Opens what has this path below the directory; the empty path is the directory itself.
///
/// # Errors
/// As for [`step`]; a link on the way is [`Errno::NOTDIR`].
pub(super) fn open(root: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut names = path.split(|byte| *byte == b'/').peekable();
    let mut here: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let last = names.peek().is_none();
        here = Some(step(here.as_ref().unwrap_or(root), name, if last { flags } else { WAY })?);
    }
    here.ok_or(Errno::XDEV)
}

/// The directory below a root in which something was opened last. It stays open: most files follow others of the same one.
#[derive(Debug, Default)]
pub(crate) struct Nearby {
    last: Option<Reached>,
}

#[derive(Debug)]
struct Reached {
    root: Rc<OwnedFd>,
    path: Vec<u8>,
    directory: OwnedFd,
}

impl Nearby {
    /// Opens what has this path below the root, as [`open`] does.
    ///
    /// # Errors
    /// As for [`open`].
    pub(super) fn open(&mut self, root: &Rc<OwnedFd>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let Some(end) = path.iter().rposition(|byte| *byte == b'/') else { return step(root, path, flags) };
        let (parent, name) = (&path[..end], &path[end + 1..]);
        if let Some(last) = self.last.as_ref().filter(|last| Rc::ptr_eq(&last.root, root) && last.path == parent) {
            return step(&last.directory, name, flags);
        }
        let directory = open(root, parent, WAY)?;
        let last = self.last.insert(Reached { root: Rc::clone(root), path: parent.to_vec(), directory });
        step(&last.directory, name, flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_what_lies_below_is_reached() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "inside").unwrap();
        fs::write(home.path().join("secret"), "outside").unwrap();
        symlink("a", root.join("link")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("/proc/self/fd", root.join("magic")).unwrap();
        let directory = openat(CWD, &root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let reach = |path: &str| open(&directory, path.as_bytes(), OFlags::RDONLY).map(drop);
        assert_eq!(reach("a/b/file"), Ok(()));
        assert_eq!(reach("a/b/none"), Err(Errno::NOENT));
        assert_eq!(reach("a/b/file/x"), Err(Errno::NOTDIR));
        for link in ["link/b/file", "magic/0"] {
            assert_eq!(reach(link), Err(Errno::NOTDIR), "{link}");
        }
        assert_eq!(reach("out"), Err(Errno::LOOP));
        for astray in ["", "/", ".", "..", "../secret", "a/../../secret", "/etc/passwd", "a//b", "a/b/"] {
            assert_eq!(reach(astray), Err(Errno::XDEV), "{astray}");
        }
    }

    #[test]
    fn a_directory_at_hand_serves_what_is_in_it_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let root = |name: &str| {
            for directory in ["a/b", "c"] {
                fs::create_dir_all(home.path().join(name).join(directory)).unwrap();
                fs::write(home.path().join(name).join(directory).join("file"), [name, directory].join("/")).unwrap();
            }
            symlink("file", home.path().join(name).join("a/b/link")).unwrap();
            Rc::new(openat(CWD, home.path().join(name), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap())
        };
        let roots = [root("one"), root("two")];
        let mut nearby = Nearby::default();
        let mut reach = |root: usize, path: &str| {
            let opened = nearby.open(&roots[root], path.as_bytes(), OFlags::RDONLY)?;
            Ok(std::io::read_to_string(fs::File::from(opened)).unwrap())
        };
        assert_eq!(reach(0, "a/b/file").as_deref(), Ok("one/a/b"));
        assert_eq!(reach(1, "a/b/file").as_deref(), Ok("two/a/b"));
        assert_eq!([reach(1, "a/b/link"), reach(1, "a/b/none")], [Err(Errno::LOOP), Err(Errno::NOENT)]);
        for astray in ["a/b/..", "a/b/", "a/../c/file", "a//b/file", "/file", "..", ""] {
            assert_eq!(reach(1, astray), Err(Errno::XDEV), "{astray}");
        }
        assert_eq!(reach(1, "c/file").as_deref(), Ok("two/c"));
        // What has been reached without a link on the way is where it was, whatever takes its place.
        fs::rename(home.path().join("two/c"), home.path().join("two/d")).unwrap();
        symlink("../one/c", home.path().join("two/c")).unwrap();
        assert_eq!(reach(1, "c/file").as_deref(), Ok("two/c"));
        assert_eq!(reach(1, "d/file").as_deref(), Ok("two/c"));
        assert_eq!(reach(1, "c/file"), Err(Errno::NOTDIR));
    }

    #[test]
    fn a_directory_that_may_only_be_passed_is_passed() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("a")).unwrap();
        fs::write(home.path().join("a/file"), "").unwrap();
        fs::set_permissions(home.path().join("a"), fs::Permissions::from_mode(0o311)).unwrap();
        let root = openat(CWD, home.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert!(open(&root, b"a/file", OFlags::RDONLY).is_ok());
    }
}
