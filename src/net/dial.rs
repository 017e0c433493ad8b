//! Connections to relays: the name looked up, then a walk over its addresses, and never a wait.

use super::lookup::Lookup;
use super::options::Purpose;
use super::place::Place;
use super::reactor::Reactor;
use super::socket::Socket;
use super::walk::{Walk, Walked};
use mio::{Registry, Token};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

enum Step {
    Resolving(Lookup),
    Walking(Walk),
}

/// A connection in the making. Whoever makes it says when it has taken too long.
pub(crate) struct Dialer {
    step: Step,
    port: u16,
    token: Token,
}

/// How far a dialler is.
pub(crate) enum Dialled {
    /// Call again after the next event or [`Dialer::next_timeout`].
    Later(Dialer),
    /// Connected.
    Connected(Socket),
    /// No address worked; why.
    Failed(io::Error),
}

impl Dialer {
    /// Starts towards `host`, a name or an address, and a port. Events have `token`; the loop is woken when the name is resolved.
    pub(crate) fn start(now: Instant, reactor: &Reactor, token: Token, to: (&str, u16)) -> Dialled {
        let (host, port) = to;
        let step = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => Step::walk(token, [SocketAddr::new(address, port)]),
            Err(_) => match Lookup::start(host, reactor.waker()) {
                Ok(lookup) => Step::Resolving(lookup),
                Err(error) => return Dialled::Failed(error),
            },
        };
        Dialer { step, port, token }.advance(now, reactor.registry())
    }

    /// Looks how far it is.
    pub(crate) fn advance(mut self, now: Instant, registry: &Registry) -> Dialled {
        if let Step::Resolving(lookup) = &self.step {
            match lookup.poll() {
                None => return Dialled::Later(self),
                Some(Err(error)) => return Dialled::Failed(error),
                Some(Ok(addresses)) => {
                    let port = self.port;
                    let addresses = addresses.into_iter().map(|mut address| {
                        address.set_port(port);
                        address
                    });
                    self.step = Step::walk(self.token, addresses);
                }
            }
        }
        let Step::Walking(walk) = &mut self.step else { return Dialled::Later(self) };
        match walk.advance(now, registry) {
            Walked::Later => Dialled::Later(self),
            Walked::Failed(error) => Dialled::Failed(error),
            Walked::Reached(socket) => Dialled::Connected(socket),
        }
    }

    /// Whether the addresses are known, so that it is for one of them to answer.
    pub(crate) fn is_resolved(&self) -> bool {
        matches!(self.step, Step::Walking(_))
    }

    /// When to look again even without an event.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.step {
            Step::Walking(walk) => walk.next_timeout(),
            Step::Resolving(_) => None,
        }
    }
}

impl Step {
    fn walk(token: Token, addresses: impl IntoIterator<Item = SocketAddr>) -> Step {
        Step::Walking(Walk::new(Purpose::Link, token, addresses.into_iter().map(Place::Tcp)))
    }
}
