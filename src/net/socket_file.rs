//! Socket files: made for whom they are meant before anybody can connect to them.

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chmod, chownat, fchmod, fstat, open};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Connections the kernel completes ahead of us: the usual `somaxconn`, for bursts of thousands a second.
pub(super) const BACKLOG: i32 = 4096;

/// Who may connect to a socket file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// Its permissions; none: what the umask leaves of all.
    pub mode: Option<u32>,
    /// Its owner; none: whoever runs this.
    pub user: Option<u32>,
    /// Its group; none: as of any new file.
    pub group: Option<u32>,
}

/// Why nobody can be listened to.
#[derive(Debug)]
pub(crate) enum ListenError {
    /// The place is in use, or needs privileges.
    Listen(io::Error),
    /// The file cannot be given to the user, or the group, that was asked for.
    Owner(io::Error),
}

impl ListenError {
    /// What the system said.
    pub(crate) fn reason(&self) -> &io::Error {
        match self {
            ListenError::Listen(error) | ListenError::Owner(error) => error,
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason().source()
    }
}

impl From<io::Error> for ListenError {
    fn from(error: io::Error) -> ListenError {
        ListenError::Listen(error)
    }
}

impl From<rustix::io::Errno> for ListenError {
    fn from(error: rustix::io::Errno) -> ListenError {
        ListenError::Listen(error.into())
    }
}

/// Listens on a new socket file, or in the place of one that nobody listens on any more.
///
/// # Errors
/// See [`ListenError`]. Nothing is left over.
pub(crate) fn bind(path: &Path, access: Access) -> Result<UnixListener, ListenError> {
    remove_dead(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if access.mode.is_some() {
        // The file gets the mode of its socket: nobody's, until it has its owner.
        fchmod(&socket, Mode::empty())?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    // Until it listens nobody can connect, whatever the mode.
    let settled = settle(path, access).and_then(|()| Ok(socket.listen(BACKLOG)?));
    if let Err(error) = settled {
        // Nobody connects to a file that is left over, so failing harms nobody.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Gives a fresh socket file its owner, then its mode. Of the file itself, not of what its name may lead to by now.
fn settle(path: &Path, access: Access) -> Result<(), ListenError> {
    if access == Access::default() {
        return Ok(());
    }
    let file = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::Socket {
        return Err(io::Error::from(io::ErrorKind::AddrInUse).into());
    }
    let (user, group) = (access.user.map(Uid::from_raw), access.group.map(Gid::from_raw));
    if user.is_some() || group.is_some() {
        chownat(&file, "", user, group, AtFlags::EMPTY_PATH).map_err(|error| ListenError::Owner(error.into()))?;
    }
    if let Some(mode) = access.mode {
        // Kernels before 6.6 change a mode by name or by an open file only, and a socket's file cannot be opened.
        chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// Device and inode of what is there.
pub(crate) fn identity_of(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Removes a socket file without a listener. One with a listener, or another kind of file, stays in the way.
fn remove_dead(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return std::fs::remove_file(path),
            _ => return Err(io::Error::from(io::ErrorKind::AddrInUse)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::endpoint::Endpoint;
    use crate::net::listen::{FourPorts, Listener};
    use std::io::ErrorKind;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_dead_socket_file_is_replaced_a_live_one_is_not_and_ours_goes_with_us() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a file without a listener");
        let ours = Listener::bind(&Endpoint::Unix(path.clone()), &FourPorts::default(), Access::default()).unwrap();
        assert_eq!(
            Listener::bind(&Endpoint::Unix(path.clone()), &FourPorts::default(), Access::default())
                .unwrap_err()
                .reason()
                .kind(),
            ErrorKind::AddrInUse
        );
        drop(ours);
        assert!(!path.exists());
        std::fs::write(&path, "a file of somebody").unwrap();
        assert!(Listener::bind(&Endpoint::Unix(path.clone()), &FourPorts::default(), Access::default()).is_err());
        assert!(path.exists());
    }

    #[test]
    fn a_file_has_exactly_the_mode_and_the_owner_that_were_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let own = std::fs::metadata(directory.path()).unwrap();
        for mode in [0o777, 0o660, 0o606, 0] {
            let path = directory.path().join(format!("{mode:o}"));
            let access = Access { mode: Some(mode), user: Some(own.uid()), group: Some(own.gid()) };
            let _listener = bind(&path, access).unwrap();
            let made = std::fs::metadata(&path).unwrap();
            assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (mode, own.uid(), own.gid()));
            assert!(mode & 0o200 == 0 || UnixStream::connect(&path).is_ok());
        }
    }
}
