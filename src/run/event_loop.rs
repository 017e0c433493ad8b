//! The loop of every tool that connects: one poll, one carrier, one node, and the tool's own ends.
//!
//! ```text
//! socket ─▶ input ─▶ node ─▶ session ─▶ tool ─▶ its sinks
//! socket ◀─ output ◀ node ◀─ session ◀─ tool ◀─ its sources
//! ```
//!
//! A turn does what can be done without waiting, then waits for the first of: an event, a timeout of the node or the tool.

use super::farewell::Ending;
use super::pauses::Pauses;
use super::reminder::Reminder;
use crate::names::RelayAddress;
use crate::net::dial::{Dialer, Dialled};
use crate::net::reaper::adopt_orphans;
use crate::net::signals::{Came, HUP, INT, Request, Signals, TERM, USR1};
use crate::net::wait::Waiter;
use crate::node::{Event, Node};
use crate::transfer::TransferError;
use crate::wire::limits::{CONTROL_BODY_MAX, DATA_BODY_MAX, SEALED_HEADER_BYTES};
use mio::net::TcpStream;
use mio::{Events, Poll, Registry, Token, Waker};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What a tool is configured with and may hear of, so that nobody above needs the machines themselves.
pub use super::news::{Item, Joined, Notice, Transfer};
pub use crate::net::passed::{Passed, PassedSocket, take_passed};
pub use crate::net::signals::{XCPU, outlive_file_limit};
pub use crate::net::tcp::Place;
pub use crate::node::{Aim, Callers, Config, Down, Failure, Kind, Sharing, Step, Wait};
pub use crate::session::{LANE_LIFE, Times};
pub use crate::wire::CloseCode;

const WAKER: Token = Token(0);
const CARRIER: Token = Token(1);
const SIGNALS: Token = Token(2);
/// First token that a tool may use for its own ends.
pub const FIRST_TOKEN: usize = 8;

/// One read of the carrier: a whole DATA frame and what may be left of a control frame.
const INPUT_BYTES: usize = DATA_BODY_MAX + 2 * (CONTROL_BODY_MAX + SEALED_HEADER_BYTES);
/// Turns without looking at events, so that a busy carrier starves neither signals nor timeouts.
const BUSY_TURNS: usize = 16;
/// At the end the relay is given so long to read our last words.
const PARTING_TIME: Duration = Duration::from_millis(300);

/// Why a tool ended without success.
#[derive(Debug)]
pub enum ToolError {
    /// The node could not do it.
    Node(Failure),
    /// The session ended before its work: no path came back in time.
    Expired,
    /// The sender's process was gone and its peer began anew, after a part had gone to standard output.
    BegunAnew,
    /// The receiver's process ended in the middle, and no other took its place in time.
    NotBack,
    /// The peer may no more call us.
    CastOut,
    /// The peer broke the protocol.
    Protocol(&'static str),
    /// The peer ended the session with this code.
    PeerClosed(CloseCode),
    /// The program that a session was joined to failed, here, with this status.
    Command(i32),
    /// The program at the far side failed, with this status where it is known.
    FarCommand(Option<i32>),
    /// The transfer ended before its end.
    Transfer(TransferError),
    /// The transfer came to its end, but not every item is there.
    Items(Ending),
    /// There was no item to transfer.
    NothingToDo,
    /// The part of this program that deals with files came to a bad end.
    Broken,
    /// The command that was to be run could not be.
    CannotRun(io::Error),
    /// The command that was run ended with this status.
    Exited(u8),
    /// The command that was run was ended by this signal.
    Killed(i32),
    /// Standard output was closed by its reader.
    OutputGone,
    /// Reading or writing here failed.
    Io(&'static str, io::Error),
    /// A signal ended it.
    Signal(i32),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ToolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ToolError::Io(_, error) | ToolError::CannotRun(error) => Some(error),
            ToolError::Transfer(error) => Some(error),
            _ => None,
        }
    }
}

impl From<TransferError> for ToolError {
    fn from(error: TransferError) -> ToolError {
        ToolError::Transfer(error)
    }
}

/// What a tool does with sessions.
pub trait Tool {
    /// The loop begins: ask the node for what the tool needs.
    fn start(&mut self, ctx: &mut Context<'_>);
    /// Something happened to the node.
    fn handle_event(&mut self, ctx: &mut Context<'_>, event: &Event);
    /// One of the tool's own ends has news.
    fn handle_ready(&mut self, ctx: &mut Context<'_>, event: &mio::event::Event);
    /// Moves what can be moved without waiting. True if anything was.
    fn pump(&mut self, ctx: &mut Context<'_>) -> bool;
    /// A signal came. Of those that end only the first is told; the second ends at once.
    fn handle_signal(&mut self, ctx: &mut Context<'_>, request: Request);
    /// Whether a signal is for a command that the tool runs, and that has it by now. Then it is nothing to us.
    fn hand_over(&mut self, _: &Came) -> bool {
        false
    }
    /// The end, once it has come.
    fn outcome(&mut self) -> Option<Result<(), ToolError>>;
    /// When to pump without an event.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

/// What a tool may use while it acts.
pub struct Context<'a> {
    /// Now.
    pub now: Instant,
    /// The node.
    pub node: &'a mut Node,
    /// Where to register ends, with tokens from [`FIRST_TOKEN`] on.
    pub registry: &'a Registry,
    /// Wakes the loop from another thread.
    pub waker: &'a Arc<Waker>,
    /// Where news for people goes.
    pub notices: &'a mut dyn FnMut(Notice<'_>),
}

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
    pub fn run(&mut self, tool: &mut dyn Tool, notices: &mut dyn FnMut(Notice<'_>)) -> Result<(), ToolError> {
        let mut events = Events::with_capacity(256);
        tool.start(&mut self.context(Instant::now(), notices));
        loop {
            let mut busy = true;
            for _ in 0..BUSY_TURNS {
                busy = self.turn(tool, notices);
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
                    return Err(ToolError::Io("waiting for events", error));
                }
                _ => {}
            }
            for event in &events {
                self.handle_ready(tool, notices, event)?;
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

    fn next_timeout(&self, tool: &dyn Tool) -> Option<Instant> {
        let dialer = match &self.line {
            Line::Dialling(dialer) => dialer.next_timeout(),
            _ => None,
        };
        let reminder = (!self.node.has_met()).then_some(self.reminder.at());
        [self.node.next_timeout(), tool.next_timeout(), dialer, reminder].into_iter().flatten().min()
    }

    fn handle_ready(
        &mut self,
        tool: &mut dyn Tool,
        notices: &mut dyn FnMut(Notice<'_>),
        event: &mio::event::Event,
    ) -> Result<(), ToolError> {
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
                            return Err(ToolError::Signal(signal));
                        }
                        request => {
                            if let Request::End(_) = request {
                                notices(Notice::Stopping);
                            }
                            tool.handle_signal(&mut self.context(Instant::now(), notices), request);
                        }
                    }
                }
            }
            _ => tool.handle_ready(&mut self.context(Instant::now(), notices), event),
        }
        Ok(())
    }

    fn context<'a>(&'a mut self, now: Instant, notices: &'a mut dyn FnMut(Notice<'_>)) -> Context<'a> {
        Context { now, node: &mut self.node, registry: self.poll.registry(), waker: &self.waker, notices }
    }

    /// Everything that can be done without waiting, once. True if something moved.
    fn turn(&mut self, tool: &mut dyn Tool, notices: &mut dyn FnMut(Notice<'_>)) -> bool {
        let (now, calendar) = (Instant::now(), SystemTime::now());
        if self.pauses.notice(now, calendar) {
            self.node.handle_pause(now);
        }
        self.node.handle_clock(calendar.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs());
        if self.node.next_timeout().is_some_and(|at| at <= now) {
            self.node.handle_timeout(now);
        }
        if !self.node.has_met() && self.reminder.take(now) {
            notices(Notice::StillWaiting);
        }
        self.drive_line(now, notices);
        let mut moved = self.receive(now);
        while let Some(event) = self.node.poll_event() {
            self.tell(&event, notices);
            tool.handle_event(&mut self.context(now, notices), &event);
            moved = true;
        }
        moved |= tool.pump(&mut self.context(now, notices));
        moved |= self.send(now);
        moved
    }

    fn tell(&mut self, event: &Event, notices: &mut dyn FnMut(Notice<'_>)) {
        match event {
            Event::RelayUp { relay } => notices(Notice::RelayUp(&self.relays[*relay])),
            Event::RelayDown { relay, why } => {
                notices(Notice::RelayDown(&self.relays[*relay], *why, self.last_error.as_ref()));
                self.last_error = None;
            }
            Event::Up { peer, app, .. } => notices(Notice::Up(*peer, app.as_str())),
            Event::TurnedAway { peer, app } => notices(Notice::TurnedAway(*peer, app.as_str())),
            Event::Shared { app, how } => notices(Notice::Shared(app.as_str(), *how, &self.relays[self.relay])),
            Event::Listening { app } => notices(Notice::Attached(app.as_str())),
            Event::Waiting { key } => {
                if let Some((peer, app)) = self.node.called(*key) {
                    notices(Notice::Waiting(peer, app.as_str()));
                }
            }
            Event::NotServed { key } => {
                if let Some((peer, app)) = self.node.called(*key) {
                    notices(Notice::NotServed(peer, app.as_str()));
                }
            }
            Event::Lost { key } | Event::Resumed { key } => {
                if let Some(peer) = self.node.peer(*key) {
                    let lost = matches!(event, Event::Lost { .. });
                    notices(if lost { Notice::Lost(peer) } else { Notice::Resumed(peer) });
                }
            }
            Event::Circuit { number, step } => notices(Notice::Circuit(*number, step)),
            Event::Failed { .. } | Event::Fatal { .. } => {}
        }
    }

    fn drive_line(&mut self, now: Instant, notices: &mut dyn FnMut(Notice<'_>)) {
        if !self.node.wants_carrier() {
            self.line = Line::Down;
            self.filled = 0;
        }
        if let Some(relay) = self.node.poll_dial(now) {
            self.relay = relay;
            self.filled = 0;
            let address = &self.relays[relay];
            notices(Notice::Dialling(address));
            let to = (address.host.as_str(), address.port);
            let dialled = Dialer::start(now, self.poll.registry(), CARRIER, to, &self.waker);
            self.take_dialled(now, dialled, notices);
        } else if let Line::Dialling(_) = self.line {
            let Line::Dialling(dialer) = std::mem::replace(&mut self.line, Line::Down) else { return };
            let dialled = dialer.advance(now, self.poll.registry());
            self.take_dialled(now, dialled, notices);
        }
    }

    fn take_dialled(&mut self, now: Instant, dialled: Dialled, notices: &mut dyn FnMut(Notice<'_>)) {
        match dialled {
            Dialled::Later(dialer) => self.line = Line::Dialling(dialer),
            Dialled::Connected(stream) => {
                if let (Ok(here), Ok(there)) = (stream.local_addr(), stream.peer_addr()) {
                    notices(Notice::Connected(here, there));
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
