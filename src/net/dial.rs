//! Outward connections: names resolved in a thread of their own, addresses tried one after the other, never a wait.

use mio::net::TcpStream;
use mio::{Interest, Registry, Token, Waker};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// One address gets this long while others are left to try.
const ADDRESS_TIME: Duration = Duration::from_secs(3);

enum Step {
    Resolving(Receiver<io::Result<Vec<SocketAddr>>>),
    Connecting { stream: TcpStream, since: Instant },
}

/// A connection in the making.
pub struct Dialer {
    step: Step,
    left: Vec<SocketAddr>,
    token: Token,
}

/// How far a dialler is.
pub enum Dialled {
    /// Call again after the next event or [`Dialer::next_timeout`].
    Later(Dialer),
    /// Connected.
    Connected(TcpStream),
    /// No address worked; why the last did not.
    Failed(io::Error),
}

impl Dialer {
    /// Starts towards `host`, a name or an address. `waker` wakes the loop when the name is resolved.
    pub fn start(now: Instant, registry: &Registry, token: Token, to: (&str, u16), waker: &Arc<Waker>) -> Dialled {
        let (host, port) = to;
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Self::connect_next(now, registry, token, vec![SocketAddr::new(address, port)], None);
        }
        let (sender, receiver) = channel();
        let (host, waker) = (host.to_owned(), Arc::clone(waker));
        let resolver = thread::Builder::new().name("resolver".into()).spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
            // The loop may have given up and gone: then nobody needs the answer.
            let _ = sender.send(found);
            let _ = waker.wake();
        });
        match resolver {
            Ok(_) => Dialled::Later(Dialer { step: Step::Resolving(receiver), left: Vec::new(), token }),
            Err(error) => Dialled::Failed(error),
        }
    }

    fn connect_next(
        now: Instant,
        registry: &Registry,
        token: Token,
        mut left: Vec<SocketAddr>,
        mut last: Option<io::Error>,
    ) -> Dialled {
        while !left.is_empty() {
            let address = left.remove(0);
            match Self::connect(registry, token, address) {
                Ok(stream) => {
                    return Dialled::Later(Dialer { step: Step::Connecting { stream, since: now }, left, token });
                }
                Err(error) => last = Some(error),
            }
        }
        Dialled::Failed(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
    }

    fn connect(registry: &Registry, token: Token, address: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        // Records are written whole, so waiting for more to send would only add latency.
        stream.set_nodelay(true)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    /// Looks how far it is.
    pub fn advance(mut self, now: Instant, registry: &Registry) -> Dialled {
        match self.step {
            Step::Resolving(ref receiver) => match receiver.try_recv() {
                Err(TryRecvError::Empty) => Dialled::Later(self),
                Err(TryRecvError::Disconnected) => Dialled::Failed(io::Error::other("the resolver ended")),
                Ok(Err(error)) => Dialled::Failed(error),
                Ok(Ok(addresses)) => Self::connect_next(now, registry, self.token, addresses, None),
            },
            Step::Connecting { mut stream, since } => {
                let failed = match stream.take_error() {
                    Ok(None) => match stream.peer_addr() {
                        Ok(_) => return Dialled::Connected(stream),
                        Err(error) if error.kind() != io::ErrorKind::NotConnected => Some(error),
                        Err(_) if !self.left.is_empty() && now >= since + ADDRESS_TIME => {
                            Some(io::Error::from(io::ErrorKind::TimedOut))
                        }
                        Err(_) => None,
                    },
                    Ok(Some(error)) | Err(error) => Some(error),
                };
                let Some(error) = failed else {
                    self.step = Step::Connecting { stream, since };
                    return Dialled::Later(self);
                };
                // The socket is dropped next; its registration goes with it.
                let _ = registry.deregister(&mut stream);
                Self::connect_next(now, registry, self.token, self.left, Some(error))
            }
        }
    }

    /// When to look again even without an event.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.step {
            Step::Connecting { since, .. } if !self.left.is_empty() => Some(*since + ADDRESS_TIME),
            _ => None,
        }
    }
}
