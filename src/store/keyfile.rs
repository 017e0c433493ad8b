//! Key files on disk: refused when others can read them, written whole, never overwritten by accident.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::stamp::Stamp;
use crate::identity::Identity;
use crate::names::keyfile;

/// Longest key file: the key itself and room for comments. Bounds what is read of a file that is none.
pub(crate) const FILE_MAX: usize = 4096;
/// What is read at most.
const READ_LIMIT: u64 = 4097;
/// Bits of a mode that let anyone but the owner in.
const OTHERS_MASK: u32 = 0o077;
/// Mode of a new key file.
const MODE: u32 = 0o600;
/// Mode of a directory made for one.
const DIRECTORY_MODE: u32 = 0o700;

/// Whether [`create`] may replace a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overwrite {
    /// Whatever has the name, even a symbolic link to nowhere, stays as it is.
    Never,
    /// A regular file of that name is replaced in one step.
    Replace,
}

/// Reads an identity from a key file.
///
/// # Errors
/// [`LoadError`]: it cannot be read, is not a regular file, others may read it, or its text is no key.
pub fn load(path: &Path) -> Result<Identity, LoadError> {
    let (bytes, mode) = contents(path)?;
    // What is no key at all is not to be told of its permissions.
    let identity = keyfile::read(&bytes).map_err(LoadError::Parse)?;
    if mode & OTHERS_MASK != 0 {
        return Err(LoadError::Exposed { mode });
    }
    Ok(identity)
}

/// What a short file of secrets holds, and its mode.
pub(super) fn contents(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), LoadError> {
    // A pipe or terminal of that name must not make us wait for a writer, or become ours.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let flags = i32::try_from(flags).map_err(|_| LoadError::Io(io::ErrorKind::InvalidInput.into()))?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(LoadError::NotRegular);
    }
    // One byte more than allowed tells a file that is too long from one that just fits, without a second look. The
    // buffer has room for all of it, so the secret is not left behind in one that was outgrown.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX + 1));
    file.take(READ_LIMIT).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_MAX {
        return Err(LoadError::TooLong);
    }
    Ok((bytes, metadata.mode() & 0o7777))
}

/// Whether a file of this length and mode is looked at for a key: what [`create`] writes, wherever it was copied to, and
/// whatever only its owner may read, as [`load`] demands.
#[must_use]
pub(crate) fn may_be_one(stamp: &Stamp) -> bool {
    let is_short = (keyfile::TEXT_BYTES[3]..READ_LIMIT).contains(&stamp.size);
    is_short && (u32::from(stamp.mode) & OTHERS_MASK == 0 || keyfile::TEXT_BYTES.contains(&stamp.size))
}

/// Whether a file holds what looks like a key. One that cannot be read does not.
#[must_use]
pub(crate) fn is_one(file: OwnedFd) -> bool {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX + 1));
    File::from(file).take(READ_LIMIT).read_to_end(&mut bytes).is_ok() && keyfile::looks_like_key(&bytes)
}

/// Writes a new key file with mode 0600. It appears whole or not at all, and survives a crash once this returns.
///
/// # Errors
/// [`CreateError`]. Nothing is left behind, unless it is only the directory that could not be synced.
pub(crate) fn create(path: &Path, identity: &Identity, overwrite: Overwrite) -> Result<(), CreateError> {
    path.file_name().ok_or(CreateError::NoName)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Told apart before any work; the race against somebody who makes the name now is decided by `publish`.
    match (fs::symlink_metadata(path), overwrite) {
        (Ok(_), _) if path.is_dir() => return Err(CreateError::Directory),
        (Ok(_), Overwrite::Never) => return Err(CreateError::Exists),
        (Ok(metadata), Overwrite::Replace) if !metadata.is_file() => {
            return Err(CreateError::NotRegular);
        }
        _ => {}
    }
    // Named after the new id, so that no two writers ever meet.
    let temporary_name = format!(".vp-key-{}.tmp", identity.id());
    let temporary = Temporary::create(parent.join(temporary_name))?;
    temporary.write(keyfile::encode(identity).as_bytes())?;
    temporary.publish(path, overwrite)?;
    // The name is only durable when its directory is.
    File::open(parent)?.sync_all()?;
    Ok(())
}

/// Makes a directory that a key belongs into, with those above it, all for the owner only. One that is there stays as it is.
///
/// # Errors
/// What the system says.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

/// A file under a temporary name, which goes away unless it is published.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path)?;
        Ok(Self { path, file })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)?;
        self.file.sync_all()
    }

    fn publish(self, path: &Path, overwrite: Overwrite) -> Result<(), CreateError> {
        match overwrite {
            // link(2) fails if the name exists, whatever it is, on every file system that has modes.
            Overwrite::Never => fs::hard_link(&self.path, path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => CreateError::Exists,
                _ => CreateError::Io(error),
            }),
            Overwrite::Replace => Ok(fs::rename(&self.path, path)?),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing to remove, and a failure here leaves a file that only its owner can read.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why a key file was not loaded.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be opened or read.
    Io(io::Error),
    /// A directory, pipe, socket or device.
    NotRegular,
    /// Group or others may access it.
    Exposed {
        /// Its permission bits.
        mode: u32,
    },
    /// More than 4096 bytes.
    TooLong,
    /// What it says is no key.
    Parse(keyfile::KeyFileError),
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Why a key file was not written.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// It cannot be written.
    Io(io::Error),
    /// Something has this name.
    Exists,
    /// A directory has this name.
    Directory,
    /// What has this name is no regular file, and is not replaced even when asked to.
    NotRegular,
    /// The path ends in no name.
    NoName,
}

impl From<io::Error> for CreateError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;
    use crate::names::keyfile::KeyFileErrorKind;

    fn directory() -> TempDir {
        TempDir::new().expect("a directory")
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).expect("readable");
        entries.map(|entry| entry.expect("entry").file_name().into_string().expect("text")).collect()
    }

    fn write(path: &Path, bytes: &[u8], mode: u32) {
        fs::write(path, bytes).expect("writable");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }

    #[test]
    fn what_is_created_loads_and_only_the_owner_can_read_it() {
        let directory = directory();
        let path = directory.path().join("key");
        let identity = Identity::generate();
        create(&path, &identity, Overwrite::Never).expect("creates");
        assert_eq!(load(&path).expect("loads").id(), identity.id());
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o600, 1));
        assert_eq!(names(&directory), ["key"]);
    }

    #[test]
    fn nothing_is_overwritten_unless_asked() {
        let directory = directory();
        let path = directory.path().join("key");
        let (old, new) = (Identity::generate(), Identity::generate());
        create(&path, &old, Overwrite::Never).expect("creates");
        assert!(matches!(create(&path, &new, Overwrite::Never), Err(CreateError::Exists)));
        assert_eq!(load(&path).expect("loads").id(), old.id());
        create(&path, &new, Overwrite::Replace).expect("replaces");
        assert_eq!(load(&path).expect("loads").id(), new.id());
        assert_eq!(names(&directory), ["key"]);
    }

    #[test]
    fn links_and_directories_are_neither_followed_nor_replaced() {
        let directory = directory();
        let (dangling, target) = (directory.path().join("dangling"), directory.path().join("target"));
        symlink(&target, &dangling).expect("links");
        let identity = Identity::generate();
        assert!(matches!(create(&dangling, &identity, Overwrite::Never), Err(CreateError::Exists)));
        assert!(matches!(create(&dangling, &identity, Overwrite::Replace), Err(CreateError::NotRegular)));
        assert!(!target.exists());
        let folder = directory.path().join("folder");
        fs::create_dir(&folder).expect("makes");
        assert!(matches!(create(&folder, &identity, Overwrite::Replace), Err(CreateError::Directory)));
        assert!(matches!(create(Path::new("/"), &identity, Overwrite::Never), Err(CreateError::NoName)));
        assert_eq!(names(&directory).len(), 2);
    }

    #[test]
    fn the_name_taken_at_the_last_moment_is_not_replaced() {
        let directory = directory();
        let path = directory.path().join("key");
        let temporary = Temporary::create(directory.path().join(".key.tmp")).expect("creates");
        temporary.write(b"ours").expect("writes");
        write(&path, b"theirs", 0o600);
        assert!(matches!(temporary.publish(&path, Overwrite::Never), Err(CreateError::Exists)));
        assert_eq!(fs::read(&path).expect("there"), b"theirs");
        assert_eq!(names(&directory), ["key"]);
    }

    #[test]
    fn a_key_that_others_can_access_is_refused() {
        let directory = directory();
        let path = directory.path().join("key");
        create(&path, &Identity::generate(), Overwrite::Never).expect("creates");
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            assert!(matches!(load(&path), Err(LoadError::Exposed { mode: found }) if found == mode));
        }
        for mode in [0o600, 0o400, 0o700] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            assert!(load(&path).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_key_file_is_named() {
        let directory = directory();
        let path = directory.path().join("key");
        assert!(matches!(load(&path), Err(LoadError::Io(error)) if error.kind() == io::ErrorKind::NotFound));
        assert!(matches!(load(directory.path()), Err(LoadError::NotRegular)));
        write(&path, b"# nothing\n", 0o600);
        assert!(matches!(load(&path), Err(LoadError::Parse(error)) if error.line == 1));
        write(&path, &[0xff; 10], 0o600);
        assert!(matches!(load(&path), Err(LoadError::Parse(error)) if error.kind == KeyFileErrorKind::NotText));
        write(&path, &[b'#'; FILE_MAX + 1], 0o600);
        assert!(matches!(load(&path), Err(LoadError::TooLong)));
        let mut text = keyfile::encode(&Identity::generate()).as_bytes().to_vec();
        text.resize(FILE_MAX, b'\n');
        write(&path, &text, 0o600);
        assert!(load(&path).is_ok());
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_a_writer() {
        let directory = directory();
        let path = directory.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::RUSR, 0).expect("makes");
        assert!(matches!(load(&path), Err(LoadError::NotRegular)));
    }

    #[test]
    fn a_directory_for_keys_is_its_owners_alone() {
        let directory = directory();
        let (upper, lower) = (directory.path().join("upper"), directory.path().join("upper/lower"));
        make_directory(&lower).expect("makes");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o7777;
        assert_eq!((mode(&upper), mode(&lower)), (0o700, 0o700));
        fs::set_permissions(&lower, fs::Permissions::from_mode(0o755)).expect("ours");
        make_directory(&lower).expect("is there");
        assert_eq!(mode(&lower), 0o755, "what is there is somebody's choice");
        write(&directory.path().join("file"), b"", 0o600);
        assert!(make_directory(&directory.path().join("file")).is_err());
    }

    #[test]
    fn a_missing_directory_leaves_nothing() {
        let directory = directory();
        let path = directory.path().join("missing/key");
        assert!(matches!(create(&path, &Identity::generate(), Overwrite::Never), Err(CreateError::Io(_))));
        assert!(names(&directory).is_empty());
    }
}
