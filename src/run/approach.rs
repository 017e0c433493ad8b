//! A socket to a relay's port in the making, by whichever way.
//!
//! ```text
//! straight   dialler ─────────────────────────────▶ socket
//! proxy      dialler ─▶ socket ─▶ proxy's machine ─▶ socket, and what came behind the proxy's answer
//! command    its standard streams ────────────────▶ socket, and the command
//! ```

use super::way::{Hindrance, Obstacle, ProxyServer, Way};
use crate::carrier::proxy::{Destination, Proxy, Step};
use crate::net::child::{Child, spawn_joined};
use crate::net::dial::{Dialer, Dialled, Lookups, To};
use crate::net::reactor::{Reactor, Ready, Token};
use crate::net::socket::Socket;
use crate::net::{Read, Written};
use crate::node::{Down, Fault};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// One read of what a proxy says: its answers are short.
const READ_BYTES: usize = 4096;

/// What is needed to begin, and to go on.
pub(super) struct Means<'a> {
    /// Where events are from.
    pub reactor: &'a Reactor,
    /// The token of all its events.
    pub token: Token,
    /// Names that the resolver owes an answer for.
    pub lookups: &'a mut Lookups,
}

/// See the module.
pub(super) enum Approach {
    /// To the relay itself.
    Straight(Dialer),
    /// To the proxy.
    ToProxy(Dialer, Box<Detour>),
    /// The proxy is asked.
    Asking(Socket, Box<Detour>),
}

/// A proxy on the way.
pub(super) struct Detour {
    server: ProxyServer,
    proxy: Proxy,
}

/// How far it is.
pub(super) enum Approached {
    /// It is to be looked at again after an event, or at [`Approach::next_timeout`]; without what that would fail, if it does.
    Later(Approach, Down),
    /// It has come about.
    Here(Arrival),
    /// It has not.
    Failed(Down, Fault),
}

/// A socket that leads to the relay.
pub(super) struct Arrival {
    /// The socket.
    pub socket: Socket,
    /// What came behind a proxy's answer.
    pub surplus: Vec<u8>,
    /// The command whose standard streams it is, if it is that.
    pub command: Option<Child>,
}

impl Arrival {
    fn of(socket: Socket) -> Approached {
        Approached::Here(Arrival { socket, surplus: Vec::new(), command: None })
    }
}

impl Approach {
    /// Begins.
    pub(super) fn start(now: Instant, means: Means<'_>, way: &Way, to: &Destination) -> Approached {
        match way {
            Way::Straight => {
                let to = To { host: &to.host, port: to.port, lookups: means.lookups };
                straight(Dialer::start(now, means.reactor, means.token, to))
            }
            Way::Proxy(server) => {
                let detour = Box::new(Detour { proxy: server.ask(to), server: server.clone() });
                detour.dial(now, means)
            }
            Way::Command(command) => {
                let joined = spawn_joined(command).and_then(|mut joined| {
                    joined.socket.register(means.reactor.registry(), means.token)?;
                    joined.child.register(means.reactor.registry(), means.token)?;
                    Ok(joined)
                });
                match joined {
                    Ok(joined) => Approached::Here(Arrival {
                        socket: joined.socket,
                        surplus: Vec::new(),
                        command: Some(joined.child),
                    }),
                    Err(error) => failed(Obstacle { proxy: None, what: Hindrance::NotStarted(error) }),
                }
            }
        }
    }

    /// Looks how far it is.
    pub(super) fn advance(self, now: Instant, means: Means<'_>) -> Approached {
        match self {
            Approach::Straight(dialer) => straight(dialer.advance(now, means.reactor.registry())),
            Approach::ToProxy(dialer, detour) => {
                let dialled = dialer.advance(now, means.reactor.registry());
                detour.take(now, dialled, means)
            }
            Approach::Asking(socket, detour) => detour.ask(now, socket, means),
        }
    }

    /// Something is ready.
    pub(super) fn handle_ready(&mut self, ready: Ready) {
        if let Approach::Asking(socket, _) = self {
            socket.handle_ready(ready);
        }
    }

    /// When to look again even without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match self {
            Approach::Straight(dialer) | Approach::ToProxy(dialer, _) => dialer.next_timeout(),
            Approach::Asking(..) => None,
        }
    }

    /// Gives it up.
    pub(super) fn give_up(self, lookups: &mut Lookups) {
        match self {
            Approach::Straight(dialer) | Approach::ToProxy(dialer, _) => dialer.give_up(lookups),
            Approach::Asking(..) => {}
        }
    }
}

fn straight(dialled: Dialled) -> Approached {
    match dialled {
        Dialled::Later(dialer) => {
            let lacks = if dialer.is_resolved() { Down::Unanswered } else { Down::Unresolved };
            Approached::Later(Approach::Straight(dialer), lacks)
        }
        Dialled::Connected(socket) => Arrival::of(socket),
        Dialled::Failed(error) => Approached::Failed(Down::Unreachable, Fault::System(Arc::new(error))),
    }
}

fn failed(obstacle: Obstacle) -> Approached {
    let lasts = matches!(&obstacle.what, Hindrance::Refused(refusal) if refusal.lasts());
    let why = if lasts { Down::ProxyLogin } else { Down::Unreachable };
    Approached::Failed(why, Fault::System(Arc::new(obstacle.into_error())))
}

impl Detour {
    /// Begins a connection to the proxy.
    fn dial(self: Box<Self>, now: Instant, means: Means<'_>) -> Approached {
        let address = &self.server.named.address;
        let to = To { host: &address.host, port: address.port, lookups: &mut *means.lookups };
        let dialled = Dialer::start(now, means.reactor, means.token, to);
        self.take(now, dialled, means)
    }

    fn take(self: Box<Self>, now: Instant, dialled: Dialled, means: Means<'_>) -> Approached {
        match dialled {
            Dialled::Later(dialer) => Approached::Later(Approach::ToProxy(dialer, self), Down::ProxyMute),
            Dialled::Connected(socket) => self.ask(now, socket, means),
            Dialled::Failed(error) => self.fail(Hindrance::Io(error)),
        }
    }

    /// Says to the proxy what there is to say, and hears what it answers.
    fn ask(mut self: Box<Self>, now: Instant, mut socket: Socket, means: Means<'_>) -> Approached {
        let mut input = [0; READ_BYTES];
        loop {
            match self.proxy.step() {
                Step::Waits => {}
                Step::Open => return Arrival::of(socket),
                Step::Refused(refusal) => {
                    let refusal = refusal.clone();
                    return self.fail(Hindrance::Refused(refusal));
                }
                Step::Anew => {
                    self.proxy.begin_anew();
                    return self.dial(now, means);
                }
            }
            match self.exchange(&mut socket, &mut input) {
                Ok(Read::Bytes(count)) => {
                    let used = self.proxy.handle_bytes(&input[..count]);
                    if *self.proxy.step() == Step::Open {
                        let surplus = input[used..count].to_vec();
                        return Approached::Here(Arrival { socket, surplus, command: None });
                    }
                }
                Ok(Read::End) => self.proxy.handle_end(),
                Ok(Read::Later) => return Approached::Later(Approach::Asking(socket, self), Down::ProxyMute),
                // Who closes with input unread resets.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.proxy.handle_end(),
                Err(error) => return self.fail(Hindrance::Io(error)),
            }
        }
    }

    /// Writes what there is, and reads once. Who hears no more may have said why.
    fn exchange(&mut self, socket: &mut Socket, input: &mut [u8]) -> io::Result<Read> {
        while !self.proxy.output().is_empty() && socket.is_writable() {
            match socket.try_write(self.proxy.output()) {
                Ok(Written::Bytes(count)) => self.proxy.handle_written(count),
                Ok(Written::Later | Written::Gone) => break,
                Err(error) => {
                    return match socket.try_read(input) {
                        Ok(Read::Bytes(count)) => Ok(Read::Bytes(count)),
                        _ => Err(error),
                    };
                }
            }
        }
        if socket.is_readable() { socket.try_read(input) } else { Ok(Read::Later) }
    }

    fn fail(self: Box<Self>, what: Hindrance) -> Approached {
        failed(Obstacle { proxy: Some(self.server.named), what })
    }
}
