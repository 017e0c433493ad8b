//! Where connections come in: listeners, TCP or Unix.

use super::options::Purpose;
use super::passed::PassedSocket;
use super::tcp::{Place, Socket};
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Connections the kernel completes ahead of us: the usual `somaxconn`, for bursts of thousands a second.
const BACKLOG: i32 = 4096;

/// Where applications connect to.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix. Its name is removed with it, unless somebody has put another socket there.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Its name.
        path: PathBuf,
        /// Device and inode of what we made.
        made: Option<(u64, u64)>,
    },
}

impl Listener {
    /// Listens. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The place is in use, not of this machine, or needs privileges.
    pub fn bind(at: &Place) -> io::Result<Listener> {
        match at {
            Place::Tcp(address) => Listener::of_std(bind(*address)?),
            Place::Unix(path) => {
                remove_dead(path)?;
                let listener = UnixListener::bind(path)?;
                Ok(Listener::Unix { listener, path: path.clone(), made: identity_of(path) })
            }
        }
    }

    /// Takes a listener that somebody else bound.
    ///
    /// # Errors
    /// It cannot be made non-blocking, or it has no name that anybody could connect to.
    pub fn of_passed(socket: PassedSocket) -> io::Result<Listener> {
        match socket {
            PassedSocket::Tcp(listener) => Listener::of_std(listener),
            PassedSocket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                let path = address.as_pathname().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?.to_owned();
                Ok(Listener::Unix { listener: UnixListener::from_std(listener), path, made: None })
            }
        }
    }

    fn of_std(listener: std::net::TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener::Tcp(TcpListener::from_std(listener)))
    }

    /// Where it is: with the port the system chose, if the port was 0.
    ///
    /// # Errors
    /// The system does not say.
    pub fn place(&self) -> io::Result<Place> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Place::Tcp),
            Listener::Unix { path, .. } => Ok(Place::Unix(path.clone())),
        }
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    /// None can be had now: mostly, descriptors are short.
    pub fn try_accept(&self, purpose: Purpose) -> io::Result<Option<Socket>> {
        loop {
            let result = match self {
                Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Socket::Tcp(stream)),
                Listener::Unix { listener, .. } => listener.accept().map(|(stream, _)| Socket::Unix(stream)),
            };
            match result {
                Ok(Socket::Tcp(stream)) if purpose.prepare(&stream).is_err() => {} // It is gone already.
                Ok(socket) => return Ok(Some(socket)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Lets events with `token` tell of connections.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Listener::Unix { listener, .. } => listener.register(registry, token, Interest::READABLE),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix { path, made, .. } = self {
            if made.is_some() && *made == identity_of(path) {
                // Nobody connects to a file that is left over, so failing harms nobody.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
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

/// Binds an address: IPv6 ones for IPv6 and IPv4 alike if they are unspecified (`[::]`).
///
/// # Errors
/// The address is in use, or not of this machine, or needs privileges.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Whoever restarts must get its port back while old connections linger.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn a_dead_socket_file_is_replaced_a_live_one_is_not_and_ours_goes_with_us() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a file without a listener");
        let ours = Listener::bind(&Place::Unix(path.clone())).unwrap();
        assert_eq!(Listener::bind(&Place::Unix(path.clone())).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(ours);
        assert!(!path.exists());
        std::fs::write(&path, "a file of somebody").unwrap();
        assert!(Listener::bind(&Place::Unix(path.clone())).is_err());
        assert!(path.exists());
    }
}
