//! Connected sockets of unmodified applications, TCP or Unix, and the listeners they come in by.

use super::passed::PassedSocket;
use super::{Read, Written};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connections the kernel completes ahead of us: the usual `somaxconn`, for bursts of thousands a second.
const BACKLOG: i32 = 4096;
/// An application's machine that is gone is noticed in the end, but far later than any application would: ten minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(300);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 10;

/// Where a socket is, or shall be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An address and port.
    Tcp(SocketAddr),
    /// A name in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    /// `127.0.0.1:5432`, `unix:/run/db`. A path may hold anything: escape it before a person sees it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => address.fmt(f),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connected socket, or one that is about to be.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Unix. It has no reset: the other end sees an end, or an error if it was writing.
    Unix(UnixStream),
}

impl Socket {
    /// Begins to connect.
    ///
    /// # Errors
    /// It is known already that this leads nowhere.
    pub fn connect(to: &Place) -> io::Result<Socket> {
        Ok(match to {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                prepare(&stream)?;
                Socket::Tcp(stream)
            }
            Place::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        })
    }

    /// Whether the connection has come about.
    ///
    /// # Errors
    /// It will not, and why.
    pub fn is_connected(&self) -> io::Result<bool> {
        let Socket::Tcp(stream) = self else { return Ok(true) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// The connection is broken: nothing more comes or goes.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<Read> {
        loop {
            let result = match self {
                Socket::Tcp(stream) => stream.read(into),
                Socket::Unix(stream) => stream.read(into),
            };
            return match result {
                Ok(0) => Ok(Read::End),
                Ok(count) => Ok(Read::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Later),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Writes what fits.
    ///
    /// # Errors
    /// The connection is broken: nothing more comes or goes.
    pub fn try_write(&mut self, from: &[u8]) -> io::Result<Written> {
        loop {
            let result = match self {
                Socket::Tcp(stream) => stream.write(from),
                Socket::Unix(stream) => stream.write(from),
            };
            return match result {
                Ok(count) => Ok(Written::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Written::Later),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Nothing follows what was written.
    pub fn finish(&self) {
        // It fails only if the connection is broken already, which the next read or write tells.
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Closes with a reset, so that the other end takes nothing for an end that is none.
    pub fn abort(self) {
        if let Socket::Tcp(stream) = &self {
            // Without it the close is an orderly end, which is wrong but all that is left.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// The two ends of a TCP connection: ours, theirs.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Socket::Tcp(stream) => Some((stream.local_addr().ok()?, stream.peer_addr().ok()?)),
            Socket::Unix(_) => None,
        }
    }

    /// Lets events with `token` tell of it.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Socket::Tcp(stream) => stream.register(registry, token, interest),
            Socket::Unix(stream) => stream.register(registry, token, interest),
        }
    }
}

/// Options of a connection to an application.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    // What comes out of a stream was sent as it is: waiting for more would only add latency.
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

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
    pub fn try_accept(&self) -> io::Result<Option<Socket>> {
        loop {
            let result = match self {
                Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Socket::Tcp(stream)),
                Listener::Unix { listener, .. } => listener.accept().map(|(stream, _)| Socket::Unix(stream)),
            };
            match result {
                Ok(Socket::Tcp(stream)) if prepare(&stream).is_err() => {} // It is gone already.
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

/// Lets this process have as many descriptors as it may: the usual soft limit of 1024 is for programs that use
/// select(2). Yields how many that are.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    // If it fails fewer connections are served, and whoever accepts them says so when it comes to that.
    let reached = if raised.is_ok() { limit.maximum } else { limit.current };
    reached.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    /// Both ends of a connection, the accepted one as we have it.
    fn pair() -> (std::net::TcpStream, Socket) {
        let listener = Listener::bind(&Place::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let Place::Tcp(address) = listener.place().unwrap() else { panic!("TCP was asked for") };
        let theirs = std::net::TcpStream::connect(address).unwrap();
        let ours = loop {
            if let Some(socket) = listener.try_accept().unwrap() {
                break socket;
            }
        };
        (theirs, ours)
    }

    #[test]
    fn an_abort_is_a_reset_and_a_drop_is_an_end() {
        let (mut theirs, ours) = pair();
        ours.abort();
        assert_eq!(theirs.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let (mut theirs, ours) = pair();
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_finished_socket_still_reads() {
        let (mut theirs, mut ours) = pair();
        ours.finish();
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
        theirs.write_all(b"x").unwrap();
        let mut byte = [0];
        while ours.try_read(&mut byte).unwrap() == Read::Later {}
        assert_eq!(&byte, b"x");
    }

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

    #[test]
    fn nobody_there_is_an_error_at_once_or_soon() {
        let free = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let place = Place::Tcp(free.local_addr().unwrap());
        drop(free);
        let refused = Socket::connect(&place).and_then(|socket| {
            loop {
                if socket.is_connected()? {
                    return Ok(());
                }
            }
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
