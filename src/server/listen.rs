//! Where connections come in.

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long accepting stops after an error: most are shortages, which a busy loop would only worsen.
const PAUSE: Duration = Duration::from_millis(100);
/// A shortage is reported once in this time, not once a pause.
const REPORT: Duration = Duration::from_secs(10);
/// Connections accepted in one turn, so that links are served in between.
const BATCH: usize = 64;
/// Held open to be given up when descriptors run out: then a connection can be accepted and closed, and its client
/// learns at once instead of waiting in a backlog that nobody empties.
const RESERVE: &str = "/dev/null";

/// All listeners of a relay.
pub struct Acceptor {
    listeners: Vec<TcpListener>,
    reserve: Option<File>,
    /// Something may wait in a backlog.
    pub ready: bool,
    paused_until: Option<Instant>,
    reported: Option<Instant>,
}

impl Acceptor {
    /// Registers `listeners` under `token`.
    pub fn new(listeners: Vec<std::net::TcpListener>, registry: &Registry, token: Token) -> io::Result<Acceptor> {
        let mut registered = Vec::new();
        for listener in listeners {
            listener.set_nonblocking(true)?;
            let mut listener = TcpListener::from_std(listener);
            registry.register(&mut listener, token, Interest::READABLE)?;
            registered.push(listener);
        }
        Ok(Acceptor {
            listeners: registered,
            reserve: File::open(RESERVE).ok(),
            ready: true,
            paused_until: None,
            reported: None,
        })
    }

    /// When to accept again without an event.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.ready)
    }

    /// Whether to call [`Acceptor::accept`] now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.ready && self.paused_until.is_none_or(|until| until <= now)
    }

    /// Takes connections out of the backlogs, up to a batch. An error is returned if it is time to report one.
    pub fn accept(&mut self, now: Instant, accepted: &mut Vec<(TcpStream, SocketAddr)>) -> Option<io::Error> {
        self.paused_until = None;
        self.ready = false;
        for listener in &self.listeners {
            loop {
                if accepted.len() >= BATCH {
                    self.ready = true;
                    return None;
                }
                match listener.accept() {
                    Ok(connection) => accepted.push(connection),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // The client gave up before we came.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        if self.reserve.take().is_some() {
                            // Closed at once: the client can go elsewhere.
                            drop(listener.accept());
                        }
                        self.reserve = File::open(RESERVE).ok();
                        self.ready = true;
                        self.paused_until = Some(now + PAUSE);
                        let due = self.reported.is_none_or(|at| now >= at + REPORT);
                        self.reported = if due { Some(now) } else { self.reported };
                        return due.then_some(error);
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen::FourPorts;
    use mio::Poll;

    fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
        crate::net::listen::bind(address, &FourPorts::default()).map(|bound| bound.listener)
    }

    #[test]
    fn port_zero_becomes_a_port_and_both_families_reach_the_unspecified_address() {
        let listener = bind("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_ne!(port, 0);
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::net::TcpStream::connect(("::1", port)).unwrap();
    }

    #[test]
    fn a_port_comes_back_at_once() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let server = listener.accept().unwrap();
        drop((server, listener));
        bind(address).unwrap();
        drop(client);
    }

    #[test]
    fn a_batch_leaves_the_rest_for_the_next_turn() {
        let poll = Poll::new().unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..BATCH + 3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut acceptor = Acceptor::new(vec![listener], poll.registry(), Token(1)).unwrap();
        let (now, mut accepted) = (Instant::now(), Vec::new());
        assert!(acceptor.accept(now, &mut accepted).is_none() && acceptor.is_due(now));
        assert_eq!(accepted.len(), BATCH);
        let mut rest = Vec::new();
        assert!(acceptor.accept(now, &mut rest).is_none() && !acceptor.is_due(now));
        assert_eq!(rest.len() + BATCH, clients.len());
    }
}
