//! The loop of every tool that connects: one poll, one carrier, one node, and the tool's own ends.
//!
//! ```text
//! socket ─▶ input ─▶ node ─▶ session ─▶ tool ─▶ its sinks
//! socket ◀─ output ◀ node ◀─ session ◀─ tool ◀─ its sources
//! ```
//!
//! A turn does what can be done without waiting, then waits for the first of: an event, a timeout of the node or the tool.

use super::news::News;
use super::pauses::Pauses;
use super::reminder::Reminder;
use super::tool::{Context, Listener, RunError, Tool};
use crate::names::RelayAddress;
use crate::net::dial::{Dialer, Dialled};
use crate::net::reaper::adopt_orphans;
use crate::net::signals::{HUP, INT, Request, Signals, TERM, USR1, XCPU};
use crate::net::wait::Waiter;
use crate::node::{Config, Down, Event, Node};
use crate::wire::limits::{CONTROL_BODY_MAX, DATA_BODY_MAX, SEALED_HEADER_BYTES};
use mio::net::TcpStream;
use mio::{Events, Poll, Token, Waker};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const WAKER: Token = Token(0);
const CARRIER: Token = Token(1);
const SIGNALS: Token = Token(2);
/// First token that a tool may use for its own ends.
pub use crate::net::slots::FIRST_TOKEN;

/// One read of the carrier: a whole DATA frame and what may be left of a control frame.
const INPUT_BYTES: usize = DATA_BODY_MAX + 2 * (CONTROL_BODY_MAX + SEALED_HEADER_BYTES);
/// Turns without looking at events, so that a busy carrier starves neither signals nor timeouts.
const BUSY_TURNS: usize = 16;
/// At the end the relay is given so long to read our last words.
const PARTING_TIME: Duration = Duration::from_millis(300);

enum Line {
    Down,
    Dialling(Dialer),
    /// `ended`: an event said that nothing comes after what is there.
    Up {
        stream: TcpStream,
        readable: bool,
        writable: bool,
        ended: bool,
    },
}

/// The loop.
pub struct Client {
    poll: Poll,
    waiter: Waiter,
    waker: Arc<Waker>,
    node: Node,
    relays: Vec<RelayAddress>,
    relay: usize,
    line: Line,
    last_error: Option<io::Error>,
    signals: Signals,
    interrupted: bool,
    pauses: Pauses,
    input: Vec<u8>,
    filled: usize,
    reminder: Reminder,
}

impl Client {
    /// A loop around a node. `config.relays` are the ids of `relays`, in the same order.
    pub fn new(config: Config, relays: Vec<RelayAddress>) -> io::Result<Client> {
        adopt_orphans()?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let signals = Signals::new(&[HUP, INT, TERM, USR1, XCPU])?;
        signals.register(poll.registry(), SIGNALS)?;
        Ok(Client {
            poll,
            waiter: Waiter::default(),
            waker,
            node: Node::new(Instant::now(), config),
            relays,
            relay: 0,
            line: Line::Down,
            last_error: None,
            signals,
            interrupted: false,
            pauses: Pauses::new(Instant::now(), SystemTime::now()),
            input: vec![0; INPUT_BYTES],
            filled: 0,
            reminder: Reminder::new(Instant::now()),
        })
    }

    /// Catches these signals too, which a tool means to hand over.
    ///
    /// # Errors
    /// What the system says.
    pub fn catch(&mut self, signals: &[i32]) -> io::Result<()> {
        signals.iter().try_for_each(|signal| self.signals.add(*signal))
    }

    /// Drives `tool` to its end.
    pub fn run<T: Tool>(&mut self, tool: &mut T, news: &mut Listener<'_, T>) -> Result<(), T::Error> {
        let mut events = Events::with_capacity(256);
        tool.start(&mut self.context(Instant::now(), news));
        loop {
            let mut busy = true;
            for _ in 0..BUSY_TURNS {
                busy = self.turn(tool, news);
                if let Some(outcome) = tool.outcome() {
                    self.part();
                    return outcome;
                }
                if !busy {
                    break;
                }
            }
            let now = Instant::now();
            let wait = if busy {
                Some(Duration::ZERO)
            } else {
                self.next_timeout(tool).map(|at| at.saturating_duration_since(now))
            };
            self.pauses.expect(wait);
            match self.waiter.wait(&mut self.poll, &mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(RunError::Io("waiting for events", error).into());
                }
                _ => {}
            }
            for event in &events {
                self.handle_ready(tool, news, event)?;
            }
        }
    }

    /// Lets go of the relay in an orderly way. A connection closed with input unread is reset by the kernel, and a reset can
    /// overtake what we said last, for which the peer waits.
    fn part(&mut self) {
        let until = Instant::now() + PARTING_TIME;
        let mut events = Events::with_capacity(8);
        let mut said_all = false;
        loop {
            let now = Instant::now();
            said_all = said_all || self.say_last_words(now);
            let Line::Up { stream, .. } = &mut self.line else { return };
            let gone = loop {
                match stream.read(&mut self.input) {
                    Ok(0) => break true,
                    Ok(_) => {}
                    Err(error) => break error.kind() != io::ErrorKind::WouldBlock,
                }
            };
            let left = until.saturating_duration_since(now);
            if gone || left.is_zero() {
                return;
            }
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
    }

    /// Writes what is pending, then the end. True when that is done.
    fn say_last_words(&mut self, now: Instant) -> bool {
        if let Line::Up { writable, .. } = &mut self.line {
            *writable = true;
        }
        while self.send(now) {}
        let Line::Up { stream, writable, .. } = &mut self.line else { return true };
        // Failing means that nobody is there to hear it.
        *writable && stream.shutdown(Shutdown::Write).is_ok()
    }

    fn next_timeout<T: Tool>(&self, tool: &T) -> Option<Instant> {
        let dialer = match &self.line {
            Line::Dialling(dialer) => dialer.next_timeout(),
            _ => None,
        };
        let reminder = (!self.node.has_met()).then_some(self.reminder.at());
        [self.node.next_timeout(), tool.next_timeout(), dialer, reminder].into_iter().flatten().min()
    }

    fn handle_ready<T: Tool>(
        &mut self,
        tool: &mut T,
        news: &mut Listener<'_, T>,
        event: &mio::event::Event,
    ) -> Result<(), T::Error> {
        match event.token() {
            WAKER => {}
            CARRIER => {
                if let Line::Up { readable, writable, ended, .. } = &mut self.line {
                    *ended |= event.is_read_closed() || event.is_error();
                    *readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                    *writable |= event.is_writable() || event.is_write_closed() || event.is_error();
                }
            }
            SIGNALS => {
                for came in self.signals.take() {
                    if tool.hand_over(&came) {
                        continue;
                    }
                    match came.request {
                        Request::End(signal) if std::mem::replace(&mut self.interrupted, true) => {
                            return Err(RunError::Signal(signal).into());
                        }
                        request => {
                            if let Request::End(_) = request {
                                news(News::Stopping.into());
                            }
                            tool.handle_signal(&mut self.context(Instant::now(), news), request);
                        }
                    }
                }
            }
            _ => tool.handle_ready(&mut self.context(Instant::now(), news), event),
        }
        Ok(())
    }

    fn context<'a, T: Tool>(&'a mut self, now: Instant, news: &'a mut Listener<'_, T>) -> Context<'a, T> {
        Context { now, node: &mut self.node, registry: self.poll.registry(), waker: &self.waker, news }
    }

    /// Everything that can be done without waiting, once. True if something moved.
    fn turn<T: Tool>(&mut self, tool: &mut T, news: &mut Listener<'_, T>) -> bool {
        let (now, calendar) = (Instant::now(), SystemTime::now());
        if self.pauses.notice(now, calendar) {
            self.node.handle_pause(now);
        }
        self.node.handle_clock(calendar.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs());
        if self.node.next_timeout().is_some_and(|at| at <= now) {
            self.node.handle_timeout(now);
        }
        if !self.node.has_met() && self.reminder.take(now) {
            news(News::StillWaiting.into());
        }
        self.drive_line(now, &mut |said| news(said.into()));
        let mut moved = self.receive(now);
        while let Some(event) = self.node.poll_event() {
            self.tell(&event, &mut |said| news(said.into()));
            tool.handle_event(&mut self.context(now, news), &event);
            moved = true;
        }
        moved |= tool.pump(&mut self.context(now, news));
        moved |= self.send(now);
        moved
    }

    fn tell(&mut self, event: &Event, news: &mut dyn FnMut(News<'_>)) {
        match event {
            Event::RelayUp { relay } => news(News::RelayUp(&self.relays[*relay])),
            Event::RelayDown { relay, why } => {
                news(News::RelayDown(&self.relays[*relay], *why, self.last_error.as_ref()));
                self.last_error = None;
            }
            Event::Up { peer, app, .. } => news(News::Up(*peer, app.as_str())),
            Event::TurnedAway { peer, app } => news(News::TurnedAway(*peer, app.as_str())),
            Event::Shared { app, how } => news(News::Shared(app.as_str(), *how, &self.relays[self.relay])),
            Event::Listening { app } => news(News::Attached(app.as_str())),
            Event::Waiting { key } => {
                if let Some((peer, app)) = self.node.called(*key) {
                    news(News::Waiting(peer, app.as_str()));
                }
            }
            Event::NotServed { key } => {
                if let Some((peer, app)) = self.node.called(*key) {
                    news(News::NotServed(peer, app.as_str()));
                }
            }
            Event::Lost { key } | Event::Resumed { key } => {
                if let Some(peer) = self.node.peer(*key) {
                    let lost = matches!(event, Event::Lost { .. });
                    news(if lost { News::Lost(peer) } else { News::Resumed(peer) });
                }
            }
            Event::Circuit { number, step } => news(News::Circuit(*number, step)),
            Event::Failed { .. } | Event::Fatal { .. } => {}
        }
    }

    fn drive_line(&mut self, now: Instant, news: &mut dyn FnMut(News<'_>)) {
        if !self.node.wants_carrier() {
            self.line = Line::Down;
            self.filled = 0;
        }
        if let Some(relay) = self.node.poll_dial(now) {
            self.relay = relay;
            self.filled = 0;
            let address = &self.relays[relay];
            news(News::Dialling(address));
            let to = (address.host.as_str(), address.port);
            let dialled = Dialer::start(now, self.poll.registry(), CARRIER, to, &self.waker);
            self.take_dialled(now, dialled, news);
        } else if let Line::Dialling(_) = self.line {
            let Line::Dialling(dialer) = std::mem::replace(&mut self.line, Line::Down) else { return };
            let dialled = dialer.advance(now, self.poll.registry());
            self.take_dialled(now, dialled, news);
        }
    }

    fn take_dialled(&mut self, now: Instant, dialled: Dialled, news: &mut dyn FnMut(News<'_>)) {
        match dialled {
            Dialled::Later(dialer) => self.line = Line::Dialling(dialer),
            Dialled::Connected(stream) => {
                if let (Ok(here), Ok(there)) = (stream.local_addr(), stream.peer_addr()) {
                    news(News::Connected(here, there));
                }
                self.line = Line::Up { stream, readable: true, writable: true, ended: false };
                self.node.handle_connected(now);
            }
            Dialled::Failed(error) => {
                self.line = Line::Down;
                self.last_error = Some(error);
                self.node.handle_down(now, Down::Unreachable);
            }
        }
    }

    fn receive(&mut self, now: Instant) -> bool {
        let Line::Up { stream, readable, ended, .. } = &mut self.line else { return false };
        if !*readable {
            return false;
        }
        match stream.read(&mut self.input[self.filled..]) {
            Ok(0) => self.node.handle_down(now, Down::Closed),
            Ok(count) => {
                self.waiter.note_bytes(count);
                // A read that could have taken more has taken all there was; what comes next brings an event.
                *readable = *ended || count == self.input.len() - self.filled;
                let filled = self.filled + count;
                let used = self.node.handle_bytes(now, &self.input[..filled]);
                self.input.copy_within(used..filled, 0);
                self.filled = filled - used;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *readable = false;
                return false;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.last_error = Some(error);
                self.node.handle_down(now, Down::Closed);
            }
        }
        true
    }

    fn send(&mut self, now: Instant) -> bool {
        let Line::Up { stream, writable, .. } = &mut self.line else { return false };
        let mut moved = false;
        while *writable {
            let output = self.node.poll_output(now);
            if output.is_empty() {
                break;
            }
            match stream.write(output) {
                Ok(count) => {
                    self.waiter.note_bytes(count);
                    self.node.handle_written(now, count);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.node.handle_written(now, 0);
                    *writable = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => moved = true,
                Err(error) => {
                    self.last_error = Some(error);
                    self.node.handle_down(now, Down::Closed);
                    return true;
                }
            }
        }
        moved
    }
}
