//! Where connections come in: listeners, TCP or Unix.

use super::endpoint::Endpoint;
use super::options::Purpose;
use super::passed::PassedSocket;
use super::socket::Socket;
use super::socket_file::{self, Access, BACKLOG, ListenError};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Where applications connect to.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP.
    Tcp {
        /// The socket.
        listener: TcpListener,
        /// No interface has its address yet.
        absent: bool,
    },
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

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Its socket, ready for its purpose.
    pub socket: Socket,
    /// Where it comes from, if it is TCP.
    pub from: Option<SocketAddr>,
}

/// What the kernel gave.
enum Taken {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    /// Listens. A socket file that nobody listens on any more is replaced; `access` says for whom the new one is.
    ///
    /// # Errors
    /// The place is in use, or needs privileges.
    pub(crate) fn bind(at: &Endpoint, four: &FourPorts, access: Access) -> Result<Listener, ListenError> {
        match at {
            Endpoint::Tcp(address) => Ok(bind(*address, four).and_then(Listener::of_bound)?),
            Endpoint::Unix(path) => {
                let listener = socket_file::bind(path, access)?;
                let made = socket_file::identity_of(path);
                Ok(Listener::Unix { listener: UnixListener::from_std(listener), path: path.clone(), made })
            }
        }
    }

    /// Takes a listener that somebody else bound.
    ///
    /// # Errors
    /// It cannot be made non-blocking, or it has no name that anybody could connect to.
    pub(crate) fn of_passed(socket: PassedSocket) -> io::Result<Listener> {
        match socket {
            PassedSocket::Tcp(listener) => Listener::of_tcp(listener),
            PassedSocket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                let path = address.as_pathname().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?.to_owned();
                Ok(Listener::Unix { listener: UnixListener::from_std(listener), path, made: None })
            }
        }
    }

    /// Takes a listener for TCP.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub(crate) fn of_tcp(listener: std::net::TcpListener) -> io::Result<Listener> {
        Listener::of_bound(Bound { listener, absent: false })
    }

    fn of_bound(bound: Bound) -> io::Result<Listener> {
        bound.listener.set_nonblocking(true)?;
        Ok(Listener::Tcp { listener: TcpListener::from_std(bound.listener), absent: bound.absent })
    }

    /// Whether no interface has its address yet.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Listener::Tcp { absent: true, .. })
    }

    /// Where it is: with the port the system chose, if the port was 0.
    ///
    /// # Errors
    /// The system does not say.
    pub(crate) fn place(&self) -> io::Result<Endpoint> {
        match self {
            Listener::Tcp { listener, .. } => listener.local_addr().map(Endpoint::Tcp),
            Listener::Unix { path, .. } => Ok(Endpoint::Unix(path.clone())),
        }
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    /// None can be had now: mostly, descriptors are short.
    pub(crate) fn try_accept(&self, purpose: Purpose) -> io::Result<Option<Accepted>> {
        loop {
            let result = match self {
                Listener::Tcp { listener, .. } => listener.accept().map(|(stream, from)| Taken::Tcp(stream, from)),
                Listener::Unix { listener, .. } => listener.accept().map(|(stream, _)| Taken::Unix(stream)),
            };
            match result {
                Ok(Taken::Tcp(stream, _)) if purpose.prepare(&stream).is_err() => {} // It is gone already.
                Ok(Taken::Tcp(stream, from)) => {
                    return Ok(Some(Accepted { socket: Socket::of_tcp(stream), from: Some(from) }));
                }
                Ok(Taken::Unix(stream)) => {
                    return Ok(Some(Accepted { socket: Socket::of_unix(stream), from: None }));
                }
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
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp { listener, .. } => listener.register(registry, token, Interest::READABLE),
            Listener::Unix { listener, .. } => listener.register(registry, token, Interest::READABLE),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix { path, made, .. } = self {
            if made.is_some() && *made == socket_file::identity_of(path) {
                // Nobody connects to a file that is left over, so failing harms nobody.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Ports on which addresses of version 4 are listened on: `[::]` leaves these to them.
///
/// A socket of `[::]` serves both versions unless it is told not to, and then there is no room for one of `0.0.0.0`.
#[derive(Clone, Debug, Default)]
pub(crate) struct FourPorts(HashSet<u16>);

impl FourPorts {
    /// The ports of these places.
    pub(crate) fn of<'a>(places: impl IntoIterator<Item = &'a Endpoint>) -> FourPorts {
        let addresses = places.into_iter().filter_map(|place| match place {
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Unix(_) => None,
        });
        addresses.collect()
    }
}

impl FromIterator<SocketAddr> for FourPorts {
    fn from_iter<T: IntoIterator<Item = SocketAddr>>(addresses: T) -> FourPorts {
        // Port 0 becomes another one for each.
        let four = addresses.into_iter().filter(|address| address.is_ipv4() && address.port() != 0);
        FourPorts(four.map(|address| address.port()).collect())
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The socket.
    pub listener: std::net::TcpListener,
    /// No interface has its address: nobody reaches it before one has.
    pub absent: bool,
}

/// Listens on an address. One that no interface has yet, as at the start of a machine, is listened on all the same.
///
/// # Errors
/// The address is in use, or needs privileges.
pub(crate) fn bind(address: SocketAddr, four: &FourPorts) -> io::Result<Bound> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified() || four.0.contains(&address.port()))?;
    }
    // Whoever restarts must get its port back while old connections linger.
    socket.set_reuse_address(true)?;
    let bound = socket.bind(&address.into());
    let absent = matches!(&bound, Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable);
    if absent {
        match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
        socket.bind(&address.into())?;
    } else {
        bound?;
    }
    socket.listen(BACKLOG)?;
    Ok(Bound { listener: socket.into(), absent })
}

/// The addresses of `localhost`: of version 4, and of version 6 where the machine has it.
pub(crate) fn loopbacks() -> Vec<IpAddr> {
    let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let has_six = std::net::TcpListener::bind((six, 0)).is_ok();
    [IpAddr::V4(Ipv4Addr::LOCALHOST)].into_iter().chain(has_six.then_some(six)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn all_of_one_version_and_all_of_the_other_share_a_port_in_either_order() {
        for order in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"], ["127.0.0.1", "[::]"]] {
            // A port that the kernel gives for version 4 may be taken for version 6.
            let shared = (0..100).any(|_| {
                let port =
                    bind(address("127.0.0.1:0"), &FourPorts::default()).unwrap().listener.local_addr().unwrap().port();
                let both = order.map(|ip| address(&format!("{ip}:{port}")));
                let four: FourPorts = both.into_iter().collect();
                let bound = both.map(|address| bind(address, &four));
                bound.iter().all(Result::is_ok)
            });
            assert!(shared, "{order:?}");
        }
    }

    #[test]
    fn an_address_that_no_interface_has_is_listened_on_and_known_to_be_absent() {
        // Of the networks that are for documentation.
        for nowhere in ["203.0.113.7:0", "[2001:db8::7]:0"] {
            let bound = bind(address(nowhere), &FourPorts::default()).unwrap();
            assert!(bound.absent, "{nowhere}");
        }
        assert!(!bind(address("127.0.0.1:0"), &FourPorts::default()).unwrap().absent);
    }

    #[test]
    fn port_zero_becomes_a_port_and_both_families_reach_the_unspecified_address() {
        let listener = bind(address("[::]:0"), &FourPorts::default()).unwrap().listener;
        let port = listener.local_addr().unwrap().port();
        assert_ne!(port, 0);
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::net::TcpStream::connect(("::1", port)).unwrap();
    }

    #[test]
    fn a_port_comes_back_at_once() {
        let listener = bind(address("127.0.0.1:0"), &FourPorts::default()).unwrap().listener;
        let at = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(at).unwrap();
        let server = listener.accept().unwrap();
        drop((server, listener));
        bind(at, &FourPorts::default()).unwrap();
        drop(client);
    }

    #[test]
    fn a_port_that_another_listens_on_is_in_use() {
        let first = bind(address("127.0.0.1:0"), &FourPorts::default()).unwrap();
        let again = bind(first.listener.local_addr().unwrap(), &FourPorts::default());
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
