//! One connection of a client to a relay, in the making or made.
//!
//! ```text
//! socket ─▶ input ─▶ node
//! socket ◀─ output ◀ node
//! ```
//!
//! Whatever is to stand between the socket and the node's link, as TLS would, belongs here. A line knows nothing of other lines:
//! it has a token of its own for each connection, so events of one that has gone reach nobody.

use crate::net::dial::{Dialer, Dialled};
use crate::net::reactor::{Reactor, Ready};
use crate::net::slots::Slot;
use crate::net::socket::Socket;
use crate::net::{Read, Written};
use crate::node::{Down, Node};
use crate::wire::limits::{CONTROL_BODY_MAX, DATA_BODY_MAX, SEALED_HEADER_BYTES};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// One read: a whole DATA frame and what may be left of a control frame.
const INPUT_BYTES: usize = DATA_BODY_MAX + 2 * (CONTROL_BODY_MAX + SEALED_HEADER_BYTES);
/// Reads of the farewell before the time is looked at again.
const LAST_READS: usize = 64;

/// See the module's text.
pub struct Line {
    key: Slot,
    state: State,
    input: Vec<u8>,
    filled: usize,
    /// Why the last connection failed or broke, until somebody asks.
    fault: Option<io::Error>,
}

enum State {
    Down,
    Dialling(Dialer),
    Up(Socket),
}

/// How a connection in the making is.
pub enum Dial {
    /// The name is being looked up: to be looked at again after an event, or at [`Line::next_timeout`].
    Resolving,
    /// The same, when the addresses are known and one of them has to answer.
    Connecting,
    /// It has come about; its two ends, ours and the relay's.
    Up(Option<(SocketAddr, SocketAddr)>),
    /// It has not: [`Line::take_fault`] says why.
    Failed,
}

/// How a connection is that both sides are about to close.
pub enum Parting {
    /// It waits for the relay to read or to close.
    Waits,
    /// More may have come from the relay.
    Busy,
    /// There is none any more.
    Gone,
}

impl Line {
    /// Without a connection. Its events have the keys of this place.
    pub fn new(place: Slot) -> Line {
        Line { key: place, state: State::Down, input: vec![0; INPUT_BYTES], filled: 0, fault: None }
    }

    /// Lets go of the connection.
    pub fn hang_up(&mut self) {
        (self.state, self.filled) = (State::Down, 0);
    }

    /// Begins a new connection to a host and port.
    pub fn dial(&mut self, now: Instant, reactor: &Reactor, to: (&str, u16)) -> Dial {
        self.hang_up();
        self.key = self.key.successor();
        self.take(Dialer::start(now, reactor, self.key.token(), to))
    }

    /// Looks how the connection in the making is; None if there is none.
    pub fn advance(&mut self, now: Instant, reactor: &Reactor) -> Option<Dial> {
        if !matches!(self.state, State::Dialling(_)) {
            return None;
        }
        let State::Dialling(dialer) = std::mem::replace(&mut self.state, State::Down) else { return None };
        Some(self.take(dialer.advance(now, reactor.registry())))
    }

    fn take(&mut self, dialled: Dialled) -> Dial {
        match dialled {
            Dialled::Later(dialer) => {
                let dial = if dialer.is_resolved() { Dial::Connecting } else { Dial::Resolving };
                self.state = State::Dialling(dialer);
                dial
            }
            Dialled::Connected(socket) => {
                let ends = socket.addresses();
                self.state = State::Up(socket);
                Dial::Up(ends)
            }
            Dialled::Failed(error) => {
                self.fault = Some(error);
                Dial::Failed
            }
        }
    }

    /// Why the last connection failed or broke, once.
    pub fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// When to look at a connection in the making even without an event.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Dialling(dialer) => dialer.next_timeout(),
            State::Down | State::Up(_) => None,
        }
    }

    /// Something is ready. False if that is not of this line.
    pub fn handle_ready(&mut self, ready: Ready) -> bool {
        if ready.token != self.key.token() {
            return false;
        }
        if let State::Up(socket) = &mut self.state {
            socket.handle_ready(ready);
        }
        true
    }

    /// Reads once, and gives the node what came. How many bytes those were; None if there was nothing to do.
    pub fn receive(&mut self, now: Instant, node: &mut Node) -> Option<usize> {
        let State::Up(socket) = &mut self.state else { return None };
        if !socket.is_readable() {
            return None;
        }
        match socket.try_read(&mut self.input[self.filled..]) {
            Ok(Read::Bytes(count)) => {
                let filled = self.filled + count;
                let used = node.handle_bytes(now, &self.input[..filled]);
                self.input.copy_within(used..filled, 0);
                self.filled = filled - used;
                return Some(count);
            }
            Ok(Read::Later) => return None,
            Ok(Read::End) => {}
            Err(error) => self.fault = Some(error),
        }
        node.handle_down(now, Down::Closed);
        Some(0)
    }

    /// Writes once of what the node has to say. How many bytes those were; None if there was nothing to do.
    pub fn send(&mut self, now: Instant, node: &mut Node) -> Option<usize> {
        let State::Up(socket) = &mut self.state else { return None };
        if !socket.is_writable() {
            return None;
        }
        let output = node.poll_output(now);
        if output.is_empty() {
            return None;
        }
        match socket.try_write(output) {
            Ok(Written::Bytes(count)) => {
                node.handle_written(now, count);
                return Some(count);
            }
            Ok(Written::Later) => {
                node.handle_written(now, 0);
                return None;
            }
            Ok(Written::Gone) => {}
            Err(error) => self.fault = Some(error),
        }
        node.handle_down(now, Down::Closed);
        Some(0)
    }

    /// A part of the end: writes what is left to say, and then that nothing follows, which `said_all` remembers; throws away
    /// what comes.
    pub fn part(&mut self, now: Instant, node: &mut Node, said_all: &mut bool) -> Parting {
        if let State::Up(socket) = &mut self.state {
            socket.rouse();
        }
        if !*said_all {
            while self.send(now, node).is_some() {}
        }
        let State::Up(socket) = &mut self.state else { return Parting::Gone };
        if !*said_all && socket.is_writable() {
            socket.finish();
            *said_all = true;
        }
        match socket.discard(LAST_READS) {
            true => Parting::Gone,
            false if socket.is_readable() => Parting::Busy,
            false => Parting::Waits,
        }
    }
}
