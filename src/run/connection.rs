//! One connection of a client to a relay, in the making or made.
//!
//! ```text
//! socket ─▶ carrier ─▶ input ─▶ node
//! socket ◀─ carrier ◀─ output ◀ node
//! ```
//!
//! A connection knows nothing of others: it has a token of its own each time it is dialled, so events of one that has gone reach
//! nobody.

use super::approach::{Approach, Approached, Arrival, Means};
use super::dialled::{Dial, Parting, closed, down, leads_nowhere, on_the_way, refused};
use super::leavers::Leavers;
use super::requests::{Came, Needs, Requests};
use super::way::{Hindrance, Way};
use crate::carrier::proxy::Destination;
use crate::carrier::{Carrier, HELD_MAX, OWN_SLICES, Target, TlsClient};
use crate::names::{RelayAddress, Scheme};
use crate::net::child::Child;
use crate::net::dial::Lookups;
use crate::net::reactor::{Reactor, Ready};
use crate::net::slots::Slot;
use crate::net::socket::Socket;
use crate::net::{Read, Written};
use crate::node::{Down, Fault, Node};
use crate::wire::limits::{CONTROL_BODY_MAX, DATA_BODY_MAX, SEALED_HEADER_BYTES};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One read: a whole DATA frame, what may be left of a control frame, and what a carrier puts in front.
const INPUT_BYTES: usize = DATA_BODY_MAX + 2 * (CONTROL_BODY_MAX + SEALED_HEADER_BYTES) + HELD_MAX;
/// Reads of the farewell before the time is looked at again.
const LAST_READS: usize = 64;
/// Writes of our last words before it is.
const LAST_WRITES: usize = 64;
/// A command whose streams have ended may take so long to end itself, and to say why.
const COMMAND_TIME: Duration = Duration::from_secs(1);

/// See the module's text.
pub(super) struct Connection {
    key: Slot,
    state: State,
    /// Names of relays that the resolver owes an answer for.
    lookups: Lookups,
    input: Vec<u8>,
    filled: usize,
    /// Whom to believe, where TLS is asked for.
    tls: Option<TlsClient>,
    /// Some of that came right behind the carrier's handshake, or the carrier's end did, and the node has not had it.
    is_unheard: bool,
    /// The command whose standard streams the socket is.
    command: Option<Child>,
    leavers: Leavers,
}

enum State {
    Down,
    Dialling(Approach, Carrier),
    /// The carrier has a handshake of its own, below the link's.
    Opening(Socket, Carrier),
    Up(Socket, Carrier),
    /// Several connections by which requests go, and whether there is a link by them.
    Requests(Box<Requests>, bool),
    /// Its command has closed its streams before there was a link, and is to say by its end, until then, why.
    Ending(Instant),
}

impl Connection {
    /// Without a connection. Its events have the keys of this place.
    pub(super) fn new(place: Slot, tls: Option<TlsClient>) -> Connection {
        Connection {
            key: place,
            state: State::Down,
            lookups: Lookups::default(),
            input: vec![0; INPUT_BYTES],
            filled: 0,
            tls,
            is_unheard: false,
            command: None,
            leavers: Leavers::default(),
        }
    }

    /// Lets go of the connection.
    pub(super) fn hang_up(&mut self, now: Instant) {
        match std::mem::replace(&mut self.state, State::Down) {
            State::Dialling(approach, _) => approach.give_up(&mut self.lookups),
            State::Requests(requests, _) => {
                let commands = requests.give_up(&mut self.lookups);
                commands.into_iter().for_each(|command| self.leavers.add(now, command));
            }
            State::Down | State::Opening(..) | State::Up(..) | State::Ending(_) => {}
        }
        (self.filled, self.is_unheard) = (0, false);
        if let Some(command) = self.command.take() {
            self.leavers.add(now, command);
        }
    }

    /// Begins a new connection, by this way.
    pub(super) fn dial(&mut self, now: Instant, reactor: &Reactor, (to, way): (&RelayAddress, &Way)) -> Dial {
        self.hang_up(now);
        if let Some(Scheme::Http | Scheme::Https) = to.scheme {
            self.state = State::Requests(Box::new(Requests::new(now, to, way)), false);
            return self.advance(now, reactor).unwrap_or(Dial::Opening);
        }
        self.key = self.key.successor();
        let Some(carrier) = self.carrier(to) else { return Dial::Refused(Down::NotTls, None) };
        let to = Destination { host: to.host.clone(), port: to.port };
        let means = Means { reactor, token: self.key.token(), lookups: &mut self.lookups };
        let approached = Approach::start(now, means, way, &to);
        self.take(now, approached, carrier)
    }

    /// What carries a link as this address says. None: no certificate could be for its host, or TLS was not foreseen.
    fn carrier(&self, to: &RelayAddress) -> Option<Carrier> {
        let RelayAddress { host, port, path, scheme, .. } = to;
        let inside = match scheme {
            Some(scheme @ (Scheme::Ws | Scheme::Wss)) => {
                Carrier::websocket(&Target { host, port: *port, path, usual_port: scheme.default_port() })
            }
            _ => Carrier::plain(),
        };
        match scheme {
            Some(Scheme::Tls | Scheme::Wss) => inside.over_tls(self.tls.as_ref()?, host).ok(),
            _ => Some(inside),
        }
    }

    /// Looks how the connection in the making is; None if there is none.
    pub(super) fn advance(&mut self, now: Instant, reactor: &Reactor) -> Option<Dial> {
        self.leavers.look(now);
        if matches!(self.state, State::Down | State::Up(..)) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Down) {
            State::Dialling(approach, carrier) => {
                let means = Means { reactor, token: self.key.token(), lookups: &mut self.lookups };
                let approached = approach.advance(now, means);
                Some(self.take(now, approached, carrier))
            }
            State::Opening(socket, carrier) => Some(self.open(now, socket, carrier)),
            State::Ending(until) => self.end_command(now, until),
            State::Requests(requests, is_up) => self.go_on(now, reactor, (requests, is_up)),
            State::Down | State::Up(..) => None,
        }
    }

    /// Goes on with a link by requests.
    fn go_on(
        &mut self,
        now: Instant,
        reactor: &Reactor,
        (mut requests, was_up): (Box<Requests>, bool),
    ) -> Option<Dial> {
        let needs = Needs { reactor, key: &mut self.key, lookups: &mut self.lookups, tls: self.tls.as_ref() };
        let input = if was_up { &mut [][..] } else { &mut self.input[self.filled..] };
        let (dial, heard) = requests.go_on(now, needs, input);
        self.filled += heard;
        self.is_unheard |= heard > 0;
        let is_up = was_up || matches!(dial, Dial::Up(_));
        self.state = State::Requests(requests, is_up);
        match dial {
            Dial::Failed(_, fault) if was_up => Some(Dial::Broken(fault)),
            Dial::Up(_) | Dial::Resolving | Dial::Connecting | Dial::Opening | Dial::OnTheWay(_) if was_up => None,
            dial => Some(dial),
        }
    }

    fn take(&mut self, now: Instant, approached: Approached, carrier: Carrier) -> Dial {
        match approached {
            Approached::Later(approach, lacks) => {
                self.state = State::Dialling(approach, carrier);
                on_the_way(lacks)
            }
            Approached::Here(arrival) => self.arrive(now, arrival, carrier),
            Approached::Failed(why, fault) => Dial::Failed(why, fault),
        }
    }

    fn arrive(&mut self, now: Instant, arrival: Arrival, mut carrier: Carrier) -> Dial {
        let Arrival { socket, surplus, command } = arrival;
        self.command = command;
        let surplus = &surplus[..surplus.len().min(self.input.len())];
        self.input[..surplus.len()].copy_from_slice(surplus);
        self.filled = carrier.handle_wire(&mut self.input[..surplus.len()]);
        self.open(now, socket, carrier)
    }

    /// The command has closed its streams before there was a link.
    fn end_command(&mut self, now: Instant, until: Instant) -> Option<Dial> {
        let ended = self.command.as_mut().and_then(|command| command.try_wait().ok().flatten());
        match ended {
            Some(ended) => {
                self.command = None;
                Some(leads_nowhere(Hindrance::Ended(ended)))
            }
            None if until <= now => Some(leads_nowhere(Hindrance::Closed)),
            None => {
                self.state = State::Ending(until);
                None
            }
        }
    }

    /// Goes on with the carrier's own handshake, if it has one.
    fn open(&mut self, now: Instant, mut socket: Socket, mut carrier: Carrier) -> Dial {
        while !carrier.is_open() {
            if let Some(end) = carrier.end() {
                // It is told what it is to know; whether it hears that changes nothing.
                let _ = flush(&mut socket, &mut carrier);
                return refused(end, carrier.distrust());
            }
            let held = carrier.put_back(&mut self.input);
            let read = flush(&mut socket, &mut carrier).and_then(|()| match socket.is_readable() {
                true => socket.try_read(&mut self.input[held..]),
                false => Ok(Read::Later),
            });
            match read {
                Ok(Read::Bytes(count)) => self.filled = carrier.handle_wire(&mut self.input[..held + count]),
                Ok(Read::Later) => {
                    self.state = State::Opening(socket, carrier);
                    return Dial::Opening;
                }
                Ok(Read::End) | Err(_) if self.command.is_some() => {
                    let until = now + COMMAND_TIME;
                    return self.end_command(now, until).unwrap_or(Dial::Opening);
                }
                Ok(Read::End) => return Dial::Refused(Down::Closed, None),
                Err(error) => return Dial::Broken(Fault::System(Arc::new(error))),
            }
        }
        let ends = socket.addresses();
        self.is_unheard = self.filled > 0 || carrier.end().is_some();
        self.state = State::Up(socket, carrier);
        Dial::Up(ends)
    }

    /// When to look at a connection in the making even without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let at = match &self.state {
            State::Dialling(approach, _) => approach.next_timeout(),
            State::Ending(until) => Some(*until),
            State::Requests(requests, _) => requests.next_timeout(),
            State::Down | State::Opening(..) | State::Up(..) => None,
        };
        at.into_iter().chain(self.leavers.next_timeout()).min()
    }

    /// Something is ready. False if that is not of this connection.
    pub(super) fn handle_ready(&mut self, ready: Ready) -> bool {
        if let State::Requests(requests, _) = &mut self.state {
            return requests.handle_ready(ready);
        }
        if ready.token != self.key.token() {
            return false;
        }
        match &mut self.state {
            State::Opening(socket, _) | State::Up(socket, _) => socket.handle_ready(ready),
            State::Dialling(approach, _) => approach.handle_ready(ready),
            State::Down | State::Requests(..) | State::Ending(_) => {}
        }
        true
    }

    /// Reads once, and gives the node what came. How many bytes those were; None if there was nothing to do.
    pub(super) fn receive(&mut self, now: Instant, node: &mut Node) -> Option<usize> {
        if let State::Requests(_, true) = &self.state {
            return self.receive_parts(now, node);
        }
        let State::Up(socket, carrier) = &mut self.state else { return None };
        if std::mem::take(&mut self.is_unheard) {
            let count = self.filled;
            self.hear(now, node, count);
            return Some(count);
        }
        if !socket.is_readable() {
            return None;
        }
        let room = &mut self.input[self.filled..];
        let held = carrier.put_back(room);
        match socket.try_read(&mut room[held..]) {
            Ok(Read::Bytes(count)) => {
                let link = carrier.handle_wire(&mut room[..held + count]);
                self.filled += link;
                self.hear(now, node, link);
                return Some(count);
            }
            Ok(Read::Later) => return None,
            // Why there was no link, its command knows better.
            Ok(Read::End) | Err(_) if self.command.is_some() && !node.is_attached() => {
                self.state = State::Ending(now + COMMAND_TIME);
            }
            Ok(Read::End) => node.handle_down(now, closed(carrier)),
            Err(error) => node.handle_fault(now, Down::Closed, Fault::System(Arc::new(error))),
        }
        Some(0)
    }

    /// The carrier has had something, and so many bytes of the link with it.
    fn hear(&mut self, now: Instant, node: &mut Node, link: usize) {
        let State::Up(socket, carrier) = &mut self.state else { return };
        let end = carrier.end();
        if end.is_some() {
            // It is told what it is to know; whether it hears that changes nothing.
            let _ = flush(socket, carrier);
        }
        self.feed(now, node, link);
        if let Some(end) = end {
            node.handle_down(now, down(end));
        }
    }

    /// Reads once where requests make up the link, and gives the node what came.
    fn receive_parts(&mut self, now: Instant, node: &mut Node) -> Option<usize> {
        let State::Requests(requests, _) = &mut self.state else { return None };
        if std::mem::take(&mut self.is_unheard) {
            let count = self.filled;
            self.feed(now, node, count);
            return Some(count);
        }
        let came = requests.read(now, &mut self.input[self.filled..]);
        let end = requests.end();
        let moved = match came {
            Came::Bytes { wire, link } => {
                self.filled += link;
                self.feed(now, node, link);
                Some(wire)
            }
            Came::Nothing => None,
        };
        if let Some(end) = end {
            self.state = State::Down;
            node.handle_down(now, down(end));
            return Some(moved.unwrap_or_default());
        }
        moved
    }

    /// Writes once of what the node has to say, where requests make up the link.
    fn send_parts(&mut self, now: Instant, node: &mut Node) -> Option<usize> {
        let State::Requests(requests, _) = &mut self.state else { return None };
        if !node.wants_carrier() {
            // What it said is said again by its next link, if need be.
            return None;
        }
        let output = node.poll_output(now);
        let has_output = !output.is_empty();
        let written = requests.write(now, output);
        if has_output {
            node.handle_written(now, written.unwrap_or_default());
        }
        written
    }

    /// Gives the node what has come, so many bytes of the link the last time.
    fn feed(&mut self, now: Instant, node: &mut Node, link: usize) {
        // What the carrier says itself is no life of the link.
        if link == 0 {
            return;
        }
        let used = node.handle_bytes(now, &self.input[..self.filled]);
        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
    }

    /// Writes once of what the node has to say, or its carrier. How many bytes those were; None if there was nothing to do.
    pub(super) fn send(&mut self, now: Instant, node: &mut Node) -> Option<usize> {
        if let State::Requests(_, true) = &self.state {
            return self.send_parts(now, node);
        }
        let State::Up(socket, carrier) = &mut self.state else { return None };
        if !socket.is_writable() {
            return None;
        }
        let has_output = !node.poll_output(now).is_empty();
        let is_held = node.wants_carrier();
        if !is_held {
            // What it said is said again by its next link, if need be. The carrier may have a copy, of which nothing is counted.
            carrier.let_go();
        }
        if !has_output && !carrier.has_own() {
            return None;
        }
        let output = if has_output { node.poll_output(now) } else { &[] };
        let fault = match write(socket, carrier, output) {
            Ok(Written::Bytes(count)) => {
                if is_held {
                    node.handle_written(now, count);
                }
                return Some(count);
            }
            Ok(Written::Later) => {
                if is_held {
                    node.handle_written(now, 0);
                }
                return None;
            }
            Ok(Written::Gone) => None,
            Err(error) => Some(Fault::System(Arc::new(error))),
        };
        if self.command.is_some() && !node.is_attached() {
            self.state = State::Ending(now + COMMAND_TIME);
            return Some(0);
        }
        let closed = closed(carrier);
        // What the carrier has to say itself would be tried again for ever.
        self.state = State::Down;
        match fault {
            None => node.handle_down(now, closed),
            Some(fault) => node.handle_fault(now, Down::Closed, fault),
        }
        Some(0)
    }

    /// A part of the end: writes what is left to say, and then that nothing follows, which `said_all` remembers; throws away
    /// what comes.
    pub(super) fn part(&mut self, now: Instant, node: &mut Node, said_all: &mut bool) -> Parting {
        if let State::Requests(requests, true) = &mut self.state {
            return requests.part(now, node, &mut self.input);
        }
        if let State::Up(socket, _) = &mut self.state {
            socket.rouse();
        }
        let mut writes = 0;
        while !*said_all && self.send(now, node).is_some() {
            writes += 1;
            if writes == LAST_WRITES {
                return Parting::Busy;
            }
        }
        let State::Up(socket, carrier) = &mut self.state else { return Parting::Gone };
        if !*said_all && socket.is_writable() {
            carrier.close();
            // It says no more than the end that follows.
            let _ = flush(socket, carrier);
            socket.finish();
            *said_all = true;
        }
        match socket.discard(LAST_READS) {
            true => Parting::Gone,
            false if socket.is_readable() => Parting::Busy,
            false => Parting::Waits,
        }
    }

    /// A further part of the end: those commands that it went through have some time for theirs. Whether none is left.
    pub(super) fn see_off(&mut self, now: Instant) -> bool {
        self.leavers.look(now);
        self.leavers.is_empty()
    }
}

impl Drop for Connection {
    /// Nobody will wait for its command.
    fn drop(&mut self) {
        if let Some(command) = &self.command {
            command.kill();
        }
        if let State::Requests(requests, _) = &self.state {
            requests.kill();
        }
    }
}

/// Writes once of what the node has to say; how much of that the kernel took.
fn write(socket: &mut Socket, carrier: &mut Carrier, link: &[u8]) -> io::Result<Written> {
    if carrier.is_plain() {
        return socket.try_write(link);
    }
    let link = [IoSlice::new(link)];
    let mut wire = [IoSlice::new(&[]); 1 + OWN_SLICES];
    let used = carrier.wrap(&link, &mut wire);
    if used == 0 {
        // The carrier has ended.
        return Ok(Written::Gone);
    }
    Ok(match socket.try_write_vectored(&wire[..used])? {
        Written::Bytes(count) => Written::Bytes(carrier.handle_written(count)),
        other => other,
    })
}

/// Writes what the carrier has to say itself, as far as the kernel takes it.
fn flush(socket: &mut Socket, carrier: &mut Carrier) -> io::Result<()> {
    while carrier.has_own() && socket.is_writable() {
        let mut wire = [IoSlice::new(&[]); OWN_SLICES];
        let used = carrier.wrap(&[], &mut wire);
        match socket.try_write_vectored(&wire[..used])? {
            Written::Bytes(count) => carrier.handle_written(count),
            Written::Later | Written::Gone => break,
        };
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests/connection.rs"]
mod tests;
