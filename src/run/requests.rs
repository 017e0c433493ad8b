//! A client's link by requests: its connections, in the making and made, and whose bytes go where.
//!
//! ```text
//! sockets ─▶ carriers ─▶ the one whose turn it is ─▶ input ─▶ node
//! sockets ◀─ carriers ◀─ the one that a POST has  ◀─ output ◀ node
//! ```

use super::approach::{Approach, Approached, Arrival, Means};
use super::dialled::{Dial, Parting, on_the_way, refused};
use super::way::{Hindrance, Obstacle, ProxyServer, Way};
use crate::carrier::proxy::{Destination, PlainLogin, Refusal, plain_login};
use crate::carrier::{Carrier, ClientEnd, End, Lack, Line, OWN_SLICES, Target, TlsClient};
use crate::names::{ProxyScheme, RelayAddress, Scheme};
use crate::net::child::Child;
use crate::net::dial::Lookups;
use crate::net::reactor::{Reactor, Ready};
use crate::net::slots::Slot;
use crate::net::socket::Socket;
use crate::net::{Read, Written};
use crate::node::{Down, Fault, Node};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Turns of the end before the time is looked at again.
const LAST_TURNS: usize = 64;

/// See the module.
pub(super) struct Requests {
    end: ClientEnd<Slot, Socket>,
    to: RelayAddress,
    way: Way,
    /// A proxy that passes requests on as they are, and how it stands with its login.
    plain: Option<(ProxyServer, Login)>,
    dialling: Option<Dialling>,
    /// A POST waits for a connection.
    lacks_line: bool,
    /// The ends of the first connection.
    ends: Option<(SocketAddr, SocketAddr)>,
    /// The commands whose streams connections are, or were.
    commands: Vec<Child>,
}

/// How it stands with who asks at a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Login {
    /// It has not asked.
    Unasked,
    /// It has, and there is something to be said anew.
    Due,
    Said,
}

struct Dialling {
    key: Slot,
    approach: Approach,
    carrier: Carrier,
}

/// What is needed to make connections.
pub(super) struct Needs<'a> {
    /// Where events are from.
    pub reactor: &'a Reactor,
    /// The name of the last connection that was made here.
    pub key: &'a mut Slot,
    /// Names that the resolver owes an answer for.
    pub lookups: &'a mut Lookups,
    /// Whom to believe.
    pub tls: Option<&'a TlsClient>,
}

/// What came.
pub(super) enum Came {
    /// So many bytes were read, and so many of the link's are in front.
    Bytes {
        /// All of them.
        wire: usize,
        /// Those of the link.
        link: usize,
    },
    /// Nothing now.
    Nothing,
}

impl Requests {
    /// One that is to begin.
    pub(super) fn new(now: Instant, to: &RelayAddress, way: &Way) -> Requests {
        let usual_port = to.scheme.map_or(to.port, Scheme::default_port);
        let target = Target { host: &to.host, port: to.port, path: &to.path, usual_port };
        let mut end = ClientEnd::new(now, &target);
        let plain = match way {
            Way::Proxy(server)
                if server.named.address.scheme == ProxyScheme::Http && to.scheme == Some(Scheme::Http) =>
            {
                end.ask_proxy();
                Some((server.clone(), Login::Unasked))
            }
            _ => None,
        };
        Requests {
            end,
            plain,
            to: to.clone(),
            way: way.clone(),
            dialling: None,
            lacks_line: false,
            ends: None,
            commands: Vec::new(),
        }
    }

    /// Gives it up. Its commands are left.
    pub(super) fn give_up(self, lookups: &mut Lookups) -> Vec<Child> {
        if let Some(dialling) = self.dialling {
            dialling.approach.give_up(lookups);
        }
        self.commands
    }

    /// Nobody will wait for its commands.
    pub(super) fn kill(&self) {
        self.commands.iter().for_each(Child::kill);
    }

    /// Something is ready. False if that is not of this link.
    pub(super) fn handle_ready(&mut self, ready: Ready) -> bool {
        if let Some(dialling) = self.dialling.as_mut().filter(|dialling| dialling.key.token() == ready.token) {
            dialling.approach.handle_ready(ready);
            return true;
        }
        let line = self.end.line_mut(Slot::of(ready.token));
        let is_ours = line.is_some();
        if let Some(line) = line {
            line.socket.handle_ready(ready);
        }
        is_ours
    }

    /// When to look at it even without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.dialling {
            // What waits for time to pass may wait for that, too.
            Some(dialling) => dialling.approach.next_timeout(),
            None => self.end.next_timeout(),
        }
    }

    /// How it has ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end.end()
    }

    /// Goes on with it: makes the connections that are wanting, and asks for what is to be asked for. What came of the link before it
    /// stood is put into `room`, if there is some; how much.
    pub(super) fn go_on(&mut self, now: Instant, mut needs: Needs<'_>, room: &mut [u8]) -> (Dial, usize) {
        let was_up = room.is_empty();
        let (mut dial, mut heard) = (self.advance(now, &mut needs), 0);
        while !was_up && heard == 0 && self.end.end().is_none() && matches!(dial, Dial::Opening) {
            match self.read(now, room) {
                Came::Bytes { link, .. } => heard = link,
                Came::Nothing => break,
            }
            if let Some((why, fault)) = self.log_in(now) {
                return (Dial::Failed(why, fault), 0);
            }
            if self.take_due() {
                dial = self.advance(now, &mut needs);
            }
        }
        if !was_up && let (Dial::Opening, Some(end)) = (&dial, self.end.end()) {
            return (refused(end, self.end.take_distrust()), 0);
        }
        match dial {
            Dial::Opening if self.end.is_open() => (Dial::Up(self.ends), heard),
            dial => (dial, heard),
        }
    }

    fn advance(&mut self, now: Instant, needs: &mut Needs<'_>) -> Dial {
        self.commands.retain_mut(|command| matches!(command.try_wait(), Ok(None)));
        let Needs { reactor, key, lookups, tls } = needs;
        let reactor: &Reactor = reactor;
        let approached = match self.dialling.take() {
            Some(Dialling { key, approach, carrier }) => {
                let means = Means { reactor, token: key.token(), lookups };
                Some((key, approach.advance(now, means), carrier))
            }
            None if self.end.ask_down(now) == Lack::Line || self.lacks_line => {
                let Some(carrier) = self.carrier(*tls) else { return Dial::Refused(Down::NotTls, None) };
                **key = key.successor();
                let means = Means { reactor, token: key.token(), lookups };
                let approached = match &self.plain {
                    Some((server, _)) => {
                        let address = &server.named.address;
                        let to = Destination { host: address.host.clone(), port: address.port };
                        Approach::start(now, means, &Way::Straight, &to)
                    }
                    None => {
                        let to = Destination { host: self.to.host.clone(), port: self.to.port };
                        Approach::start(now, means, &self.way, &to)
                    }
                };
                Some((**key, approached, carrier))
            }
            None => None,
        };
        let lacks = match approached {
            None => None,
            Some((key, Approached::Later(approach, lacks), carrier)) => {
                self.dialling = Some(Dialling { key, approach, carrier });
                Some(if self.plain.is_some() { Down::ProxyMute } else { lacks })
            }
            Some((key, Approached::Here(arrival), carrier)) => {
                self.arrive(now, key, (arrival, carrier));
                None
            }
            Some((_, Approached::Failed(why, fault), _)) => return self.fail(why, fault),
        };
        self.flush();
        lacks.map_or(Dial::Opening, on_the_way)
    }

    /// A connection cannot be made, and if it leads to a proxy, that is not the relay's fault.
    fn fail(&self, why: Down, fault: Fault) -> Dial {
        match (&self.plain, fault) {
            (Some((server, _)), Fault::System(error)) => {
                let what = Arc::into_inner(error).unwrap_or_else(|| io::ErrorKind::Other.into());
                let obstacle = Obstacle { proxy: Some(server.named.clone()), what: Hindrance::Io(what) };
                Dial::Failed(why, Fault::System(Arc::new(obstacle.into_error())))
            }
            (_, fault) => Dial::Failed(why, fault),
        }
    }

    /// Where a proxy has asked who asks, tells it. None: it has not, or hears that now.
    fn log_in(&mut self, now: Instant) -> Option<(Down, Fault)> {
        let head = self.end.take_wanted()?;
        let (server, login) = self.plain.as_mut()?;
        let told = match login {
            Login::Unasked => plain_login(&head, server.login.as_deref()),
            Login::Due | Login::Said => Err(Refusal::LoginRefused),
        };
        *login = Login::Due;
        let refusal = match told {
            Ok(PlainLogin::Say(value)) => {
                self.end.begin_again(now, Some(value));
                return None;
            }
            Ok(PlainLogin::Tunnel) => {
                self.end.begin_again(now, None);
                return None;
            }
            Err(refusal) => refusal,
        };
        let why = if refusal.lasts() { Down::ProxyLogin } else { Down::Unreachable };
        let obstacle = Obstacle { proxy: Some(server.named.clone()), what: Hindrance::Refused(refusal) };
        Some((why, Fault::System(Arc::new(obstacle.into_error()))))
    }

    /// Whether it is to be looked at once more, as it begins again.
    fn take_due(&mut self) -> bool {
        let Some((_, login)) = &mut self.plain else { return false };
        let is_due = *login == Login::Due;
        if is_due {
            *login = Login::Said;
            if !self.end.asks_proxy() {
                self.plain = None;
            }
        }
        is_due
    }

    fn arrive(&mut self, now: Instant, key: Slot, (arrival, carrier): (Arrival, Carrier)) {
        let Arrival { socket, mut surplus, command } = arrival;
        self.commands.extend(command);
        self.ends = self.ends.or_else(|| socket.addresses());
        self.end.add(now, Line { key, socket, carrier });
        // Behind a proxy's answer may only be what TLS has to say, or a fault.
        self.end.handle_wire(now, key, &mut surplus);
        // Whether it still waits, it says when it is looked at next.
        self.lacks_line = false;
        self.end.ask_down(now);
    }

    /// What carries requests as the address says. None: no certificate could be for its host, or TLS was not foreseen.
    fn carrier(&self, tls: Option<&TlsClient>) -> Option<Carrier> {
        match self.to.scheme {
            Some(Scheme::Https) => Carrier::asking().over_tls(tls?, &self.to.host).ok(),
            _ => Some(Carrier::asking()),
        }
    }

    /// Reads once into `room`, what is for the link first.
    pub(super) fn read(&mut self, now: Instant, room: &mut [u8]) -> Came {
        while let Some(key) = self.readable() {
            let Some(line) = self.end.line_mut(key) else { break };
            let held = line.carrier.put_back(room);
            match line.socket.try_read(&mut room[held..]) {
                Ok(Read::Bytes(count)) => {
                    let link = self.end.handle_wire(now, key, &mut room[..held + count]);
                    self.end.ask_down(now);
                    self.flush();
                    return Came::Bytes { wire: count, link };
                }
                Ok(Read::Later) => {}
                Ok(Read::End) | Err(_) => {
                    self.end.handle_end(key);
                }
            }
        }
        Came::Nothing
    }

    fn readable(&mut self) -> Option<Slot> {
        let readable = self.end.lines_mut().filter(|line| line.socket.is_readable()).map(|line| line.key);
        let readable: Vec<Slot> = readable.collect();
        readable.into_iter().find(|key| self.end.may_read(*key))
    }

    /// Writes once of what the link shows; how much of that the kernel took. None if there was nothing to do.
    pub(super) fn write(&mut self, now: Instant, link: &[u8]) -> Option<usize> {
        let had_lacked = self.lacks_line;
        self.lacks_line = self.end.ask_up(now, link.len()) == Lack::Line;
        let written = self.write_link(link);
        self.flush();
        // Whoever makes connections is to be asked at once.
        written.or((self.lacks_line && !had_lacked && self.dialling.is_none()).then_some(0))
    }

    fn write_link(&mut self, link: &[u8]) -> Option<usize> {
        let key = self.end.writing()?;
        let line = self.end.line_mut(key).filter(|line| line.socket.is_writable())?;
        let link = [IoSlice::new(link)];
        let mut wire = [IoSlice::new(&[]); 1 + OWN_SLICES];
        let used = line.carrier.wrap(&link, &mut wire);
        if used == 0 {
            // Its key is used up: what it had begun to say is said by no other.
            if line.carrier.end().is_some() {
                self.end.handle_end(key);
            }
            return None;
        }
        match line.socket.try_write_vectored(&wire[..used]) {
            Ok(Written::Bytes(count)) => Some(self.end.handle_written(key, count)),
            Ok(Written::Later) => None,
            Ok(Written::Gone) | Err(_) => {
                self.end.handle_end(key);
                None
            }
        }
    }

    /// Writes what its connections have to say of their own, as far as the kernel takes it.
    fn flush(&mut self) {
        let writing = self.end.writing();
        let due = |line: &&mut Line<Slot, Socket>| {
            Some(line.key) != writing && line.carrier.has_own() && line.socket.is_writable()
        };
        loop {
            let Some(line) = self.end.lines_mut().find(due) else { return };
            let key = line.key;
            let mut wire = [IoSlice::new(&[]); OWN_SLICES];
            let used = line.carrier.wrap(&[], &mut wire);
            match line.socket.try_write_vectored(&wire[..used]) {
                Ok(Written::Bytes(count)) => {
                    self.end.handle_written(key, count);
                }
                Ok(Written::Later) => {}
                Ok(Written::Gone) | Err(_) => {
                    self.end.handle_end(key);
                }
            }
        }
    }

    /// A part of the end: writes what is left to say, and that nothing follows, and waits until the relay has answered that. What comes
    /// is thrown away, in `scrap`.
    pub(super) fn part(&mut self, now: Instant, node: &mut Node, scrap: &mut [u8]) -> Parting {
        // Nobody tells of them any more.
        self.end.lines_mut().for_each(|line| line.socket.rouse());
        self.end.close();
        for _ in 0..LAST_TURNS {
            let has_read = matches!(self.read(now, scrap), Came::Bytes { .. });
            if self.end.end().is_some() || self.end.is_heard() {
                return Parting::Gone;
            }
            let output = if node.wants_carrier() { node.poll_output(now) } else { &[] };
            let written = self.write(now, output);
            if let Some(count) = written.filter(|_| node.wants_carrier()) {
                node.handle_written(now, count);
            }
            if !has_read && written.is_none_or(|count| count == 0) {
                return Parting::Waits;
            }
        }
        Parting::Busy
    }
}
