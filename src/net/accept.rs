//! Taking connections out of backlogs, some at a time, with a rest after an error.

use super::endpoint::Endpoint;
use super::listen::{Accepted, Listener};
use super::options::Purpose;
use mio::{Registry, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// How long accepting stops after an error: most are shortages, which a busy loop would only worsen.
const PAUSE: Duration = Duration::from_millis(100);
/// A shortage in which connections are turned away is reported once in this time, not once a pause.
const REPORT: Duration = Duration::from_secs(10);
/// Connections accepted in one turn, so that those that are there are served in between.
const BATCH: usize = 64;
/// Held open to be given up when descriptors run out: then a connection can be accepted and closed.
const RESERVE: &str = "/dev/null";

/// What becomes of connections while none can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// One after another is closed: whoever connects can go elsewhere, and learns at once that he should.
    TurnAway,
    /// They wait in the backlog: whoever connects has nowhere else to go.
    Wait,
}

/// Some listeners whose connections are all for one purpose.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    purpose: Purpose,
    shortage: Shortage,
    /// There if connections are turned away, and as far as a descriptor could be had.
    reserve: Option<File>,
    /// Something may wait in a backlog.
    ready: bool,
    paused_until: Option<Instant>,
    reported: Option<Instant>,
}

impl Acceptor {
    /// Of these listeners, whose backlogs may hold connections already.
    pub(crate) fn new(listeners: Vec<Listener>, purpose: Purpose, shortage: Shortage) -> Acceptor {
        let mut acceptor =
            Acceptor { listeners, purpose, shortage, reserve: None, ready: true, paused_until: None, reported: None };
        acceptor.keep_reserve();
        acceptor
    }

    /// Lets events with `token` tell of connections.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.listeners.iter_mut().try_for_each(|listener| listener.register(registry, token))
    }

    /// Where its listeners are.
    pub(crate) fn places(&self) -> impl Iterator<Item = Endpoint> {
        self.listeners.iter().filter_map(|listener| listener.place().ok())
    }

    /// Connections may wait.
    pub(crate) fn handle_ready(&mut self) {
        self.ready = true;
    }

    /// Whether connections may wait.
    pub(crate) fn has_waiting(&self) -> bool {
        self.ready
    }

    /// Whether to call [`Acceptor::accept`] now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.ready && self.paused_until.is_none_or(|until| until <= now)
    }

    /// When to accept again without an event.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.ready)
    }

    /// Takes connections out of the backlogs, up to a batch. An error is returned if it is time to report one.
    pub(crate) fn accept(&mut self, now: Instant, accepted: &mut Vec<Accepted>) -> Option<io::Error> {
        self.ready = false;
        for at in 0..self.listeners.len() {
            loop {
                if accepted.len() >= BATCH {
                    self.ready = true;
                    return None;
                }
                match self.listeners[at].try_accept(self.purpose) {
                    Ok(Some(connection)) => accepted.push(connection),
                    Ok(None) => break,
                    Err(error) => return self.rest(now, at).then_some(error),
                }
            }
        }
        None
    }

    /// Accepts nothing for a while. True if that is to be reported.
    fn rest(&mut self, now: Instant, at: usize) -> bool {
        if self.reserve.take().is_some() {
            drop(self.listeners[at].try_accept(self.purpose));
        }
        self.keep_reserve();
        self.ready = true;
        let is_new = self.paused_until.is_none_or(|until| until + PAUSE < now);
        self.paused_until = Some(now + PAUSE);
        let due = match self.shortage {
            Shortage::TurnAway => self.reported.is_none_or(|at| now >= at + REPORT),
            // Nothing is lost meanwhile, so once is enough: the first pause has no pause before it.
            Shortage::Wait => is_new,
        };
        self.reported = if due { Some(now) } else { self.reported };
        due
    }

    fn keep_reserve(&mut self) {
        if self.shortage == Shortage::TurnAway {
            self.reserve = File::open(RESERVE).ok();
        }
    }
}

/// Lets this process have as many descriptors as it may: the usual soft limit of 1024 is for programs that use
/// select(2). Yields how many that are.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    // If it fails fewer connections are served, and whoever accepts them says so when it comes to that.
    let reached = if raised.is_ok() { limit.maximum } else { limit.current };
    reached.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen::{FourPorts, bind};
    use std::net::SocketAddr;
    use std::net::TcpStream;

    fn acceptor(shortage: Shortage) -> (Acceptor, SocketAddr) {
        let bound = bind("127.0.0.1:0".parse().unwrap(), &FourPorts::default()).unwrap();
        let at = bound.listener.local_addr().unwrap();
        (Acceptor::new(vec![Listener::of_tcp(bound.listener).unwrap()], Purpose::Link, shortage), at)
    }

    #[test]
    fn a_batch_leaves_the_rest_for_the_next_turn() {
        let (mut acceptor, at) = acceptor(Shortage::TurnAway);
        let clients: Vec<_> = (0..BATCH + 3).map(|_| TcpStream::connect(at).unwrap()).collect();
        let (now, mut accepted) = (Instant::now(), Vec::new());
        assert!(acceptor.accept(now, &mut accepted).is_none() && acceptor.is_due(now));
        assert_eq!(accepted.len(), BATCH);
        assert_eq!(accepted[0].from, Some(clients[0].local_addr().unwrap()));
        let mut rest = Vec::new();
        assert!(acceptor.accept(now, &mut rest).is_none() && !acceptor.is_due(now));
        assert_eq!(rest.len() + BATCH, clients.len());
    }

    #[test]
    fn an_error_pauses_and_is_told_once_a_shortage_or_again_and_again_where_connections_are_turned_away() {
        for (shortage, expected) in [(Shortage::Wait, 1), (Shortage::TurnAway, 3)] {
            let (mut acceptor, at) = acceptor(shortage);
            let (mut now, mut told) = (Instant::now(), 0);
            let end = now + 2 * REPORT + PAUSE;
            let mut turned_away = 0;
            while now < end {
                let client = TcpStream::connect(at).unwrap();
                told += usize::from(acceptor.rest(now, 0));
                assert!(!acceptor.is_due(now) && acceptor.has_waiting());
                now = acceptor.next_timeout().unwrap();
                assert!(acceptor.is_due(now));
                client.set_nonblocking(true).unwrap();
                let peeked = client.peek(&mut [0]);
                turned_away += usize::from(!matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock));
            }
            assert_eq!(told, expected, "{shortage:?}");
            assert_eq!(turned_away > 0, shortage == Shortage::TurnAway);
            assert!(acceptor.rest(now + REPORT, 0), "a new one is told of");
        }
    }
}
