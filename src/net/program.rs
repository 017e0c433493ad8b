//! Where a program is that is to be run later: looked for as `execvp` will look for it, so that a slip is told of at once.

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where programs are if `PATH` says nothing: what the C library takes then.
const PATH_UNSET: &str = "/bin:/usr/bin";

/// Why there is nothing to be run by a name.
#[derive(Debug)]
pub(crate) enum Missing {
    /// There is no such program.
    NotFound,
    /// What is there is a directory.
    Directory,
    /// What is there cannot be run, for this reason.
    NotExecutable(io::Error),
}

/// Looks for a program, in the directories of `path` (the variable `PATH`) unless its name leads to it by a slash. That it is
/// found is no promise that it can be run.
///
/// # Errors
/// It cannot be run in any case.
pub(crate) fn find(program: &OsStr, path: Option<&OsStr>) -> Result<(), Missing> {
    if program.is_empty() {
        return Err(Missing::NotFound);
    }
    if program.as_bytes().contains(&b'/') {
        return look(Path::new(program));
    }
    let mut fault = Missing::NotFound;
    // An empty entry is the working directory.
    for directory in path.unwrap_or(OsStr::new(PATH_UNSET)).as_bytes().split(|byte| *byte == b':') {
        match look(&PathBuf::from(OsStr::from_bytes(directory)).join(program)) {
            Ok(()) => return Ok(()),
            // Another one may stand further on in the list; and a directory is not what anybody means.
            Err(Missing::NotExecutable(error)) => fault = Missing::NotExecutable(error),
            Err(Missing::NotFound | Missing::Directory) => {}
        }
    }
    Err(fault)
}

fn look(file: &Path) -> Result<(), Missing> {
    let seen = stat(file).and_then(|stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Err(Errno::ISDIR),
        FileType::RegularFile => accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS),
        _ => Err(Errno::ACCESS),
    });
    match seen {
        Ok(()) => Ok(()),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Err(Missing::NotFound),
        Err(Errno::ISDIR) => Err(Missing::Directory),
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => Err(Missing::NotExecutable(errno.into())),
        // A system that does not even let us look may still run it.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn file(at: &Path, mode: u32) {
        fs::write(at, "#!/bin/sh\n").unwrap();
        fs::set_permissions(at, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_program_is_found_where_the_system_would_find_it() {
        let world = tempfile::tempdir().unwrap();
        let at = |name: &str| world.path().join(name);
        for directory in ["one", "two", "one/folder"] {
            fs::create_dir(at(directory)).unwrap();
        }
        file(&at("one/plain"), 0o644);
        file(&at("one/both"), 0o644);
        file(&at("two/both"), 0o755);
        file(&at("two/good"), 0o755);
        symlink("nowhere", at("one/dangling")).unwrap();
        symlink("good", at("two/link")).unwrap();
        let path = OsString::from(format!("{}:{}", at("one").display(), at("two").display()));
        let found = |name: &str| find(OsStr::new(name), Some(&path));
        for good in ["good", "link", "both"] {
            assert!(found(good).is_ok(), "{good}");
        }
        for missing in ["nosuch", "dangling", "folder", ""] {
            assert!(matches!(found(missing), Err(Missing::NotFound)), "{missing}");
        }
        assert!(matches!(found("plain"), Err(Missing::NotExecutable(_))));
        // By a path nothing else is looked for.
        let named = |name: &str| find(at(name).as_os_str(), None);
        assert!(named("two/good").is_ok());
        assert!(matches!(named("one/both"), Err(Missing::NotExecutable(_))));
        assert!(matches!(named("one/folder"), Err(Missing::Directory)));
        for missing in ["one/good", "two/good/more", "one/dangling"] {
            assert!(matches!(named(missing), Err(Missing::NotFound)), "{missing}");
        }
        assert!(find(OsStr::new("sh"), None).is_ok(), "without PATH the system has one of its own");
    }
}
