//! Connected sockets of unmodified applications, TCP or Unix.

use super::options::Purpose;
use super::{Read, Written};
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

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
    pub fn connect(to: &Place, purpose: Purpose) -> io::Result<Socket> {
        Ok(match to {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                purpose.prepare(&stream)?;
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

    /// The socket itself, if it is TCP.
    pub fn into_tcp(self) -> Option<TcpStream> {
        match self {
            Socket::Tcp(stream) => Some(stream),
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
    use crate::net::listen::{FourPorts, Listener, bind};
    use crate::net::socket_file::Access;
    use std::io::ErrorKind;

    /// Both ends of a connection, the accepted one as we have it.
    fn pair() -> (std::net::TcpStream, Socket) {
        let listener =
            Listener::bind(&Place::Tcp("127.0.0.1:0".parse().unwrap()), &FourPorts::default(), Access::default())
                .unwrap();
        let Place::Tcp(address) = listener.place().unwrap() else { panic!("TCP was asked for") };
        let theirs = std::net::TcpStream::connect(address).unwrap();
        let ours = loop {
            if let Some(accepted) = listener.try_accept(Purpose::Link).unwrap() {
                break accepted.socket;
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
    fn nobody_there_is_an_error_at_once_or_soon() {
        let free = bind("127.0.0.1:0".parse().unwrap(), &FourPorts::default()).unwrap().listener;
        let place = Place::Tcp(free.local_addr().unwrap());
        drop(free);
        let refused = Socket::connect(&place, Purpose::Link).and_then(|socket| {
            loop {
                if socket.is_connected()? {
                    return Ok(());
                }
            }
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
