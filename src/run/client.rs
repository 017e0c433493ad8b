//! The client of every tool that connects: one carrier, one node, and the tool's own ends, which one loop drives.
//!
//! ```text
//! socket ─▶ input ─▶ node ─▶ session ─▶ tool ─▶ its sinks
//! socket ◀─ output ◀ node ◀─ session ◀─ tool ◀─ its sources
//! ```

use super::connection::Connection;
use super::dialled::{Dial, Parting};
use super::leavers::PATIENCE;
use super::news::News;
use super::reminder::Reminder;
use super::tool::{Context, Doing, Listener, RunError, Tool};
use super::way::Way;
use crate::carrier::TlsClient;
use crate::names::RelayAddress;
use crate::net::reactor::{Clocks, Flow, Host, Reactor, Ready};
use crate::net::reaper::adopt_orphans;
use crate::net::signals::{HUP, INT, Request, Signals, TERM, USR1, XCPU};
use crate::net::slots::Slot;
use crate::node::{Config, Down, Event, Node};
use std::io;
use std::time::{Duration, Instant, SystemTime};

/// Events taken in one turn.
const EVENTS: usize = 256;
/// The keys of what a client has of its own.
const SIGNALS: Slot = Slot::own(1);
const CONNECTION: Slot = Slot::own(2);

/// Busy turns without looking at events: each costs a system call, and a busy carrier has none to tell.
const BUSY_TURNS: usize = 16;
/// At the end the relay is given so long to read our last words.
const PARTING_TIME: Duration = Duration::from_millis(300);

/// A client that has not begun yet.
pub(crate) struct Client {
    reactor: Reactor,
    line: Line,
    signals: Signals,
}

impl Client {
    /// A loop around a node. `config.relays` are the ids of `relays`, in the same order; `tls` is for those that ask for it.
    pub(crate) fn new(config: Config, relays: Vec<(RelayAddress, Way)>, tls: Option<TlsClient>) -> io::Result<Client> {
        adopt_orphans()?;
        let reactor = Reactor::new(EVENTS)?;
        let signals = Signals::new(&[HUP, INT, TERM, USR1, XCPU])?;
        signals.register(reactor.registry(), SIGNALS.token())?;
        let node = Node::new(Instant::now(), config);
        let (relays, ways) = relays.into_iter().unzip();
        let line = Line {
            node,
            relays,
            ways,
            relay: 0,
            has_come_through: false,
            connection: Connection::new(CONNECTION, tls),
        };
        Ok(Client { reactor, line, signals })
    }

    /// Catches these signals too, which a tool means to hand over.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn catch(&mut self, signals: &[i32]) -> io::Result<()> {
        signals.iter().try_for_each(|signal| self.signals.add(*signal))
    }

    /// Drives `tool` to its end.
    pub(crate) fn run<T: Tool>(self, tool: &mut T, news: &mut Listener<'_, T>) -> Result<(), T::Error> {
        let Client { mut reactor, line, signals } = self;
        let reminder = Reminder::new(Instant::now());
        let mut running = Running { line, signals, reminder, tool, news, interrupted: false, end: Conclusion::None };
        let now = Instant::now();
        running.tool.start(&mut context(now, &mut running.line.node, &reactor, running.news));
        reactor.run(&mut running).map_err(|error| RunError::Io(Doing::AwaitEvents, error))?;
        let Running { line, end, .. } = running;
        match end {
            Conclusion::Killed(signal) => Err(RunError::Signal(signal).into()),
            // A loop that ends without that has not done what was asked for.
            Conclusion::None => Err(RunError::Io(Doing::AwaitEvents, io::ErrorKind::Interrupted.into()).into()),
            Conclusion::Of(outcome) => {
                let until = Instant::now() + PARTING_TIME;
                // If it fails, the relay reads on its own.
                let _ = reactor.run(&mut Leaving { line, until, said_all: false, is_gone: false });
                outcome
            }
        }
    }
}

fn context<'a, T: Tool>(
    now: Instant,
    node: &'a mut Node,
    reactor: &'a Reactor,
    news: &'a mut Listener<'_, T>,
) -> Context<'a, T> {
    Context { now, node, registry: reactor.registry(), waker: reactor.waker(), news }
}

/// How a client ends.
enum Conclusion<E> {
    /// It does not.
    None,
    /// By a second signal, at once.
    Killed(i32),
    /// As its tool says.
    Of(Result<(), E>),
}

/// A client and its tool, as the loop drives them.
struct Running<'a, 'n, T: Tool> {
    line: Line,
    signals: Signals,
    interrupted: bool,
    reminder: Reminder,
    tool: &'a mut T,
    news: &'a mut Listener<'n, T>,
    end: Conclusion<T::Error>,
}

impl<T: Tool> Host for Running<'_, '_, T> {
    /// A busy carrier starves neither signals nor timeouts.
    const TURNS_MAX: usize = BUSY_TURNS;

    fn handle_clocks(&mut self, clocks: Clocks) {
        if clocks.paused {
            self.line.node.handle_pause(clocks.now);
        }
        let since = clocks.calendar.duration_since(SystemTime::UNIX_EPOCH);
        self.line.node.handle_clock(since.unwrap_or_default().as_secs());
    }

    fn handle_ready(&mut self, reactor: &Reactor, now: Instant, ready: Ready) {
        if self.line.connection.handle_ready(ready) {
            return;
        }
        match Slot::of(ready.token) {
            SIGNALS => self.handle_signals(reactor, now),
            // A connection that has gone.
            slot if slot.is_own() => {}
            _ => self.tool.handle_ready(&mut context(now, &mut self.line.node, reactor, self.news), ready),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.line.node.next_timeout().is_some_and(|at| at <= now) {
            self.line.node.handle_timeout(now);
        }
        if self.is_waiting() && self.reminder.take(now) {
            (self.news)(News::StillWaiting.into());
        }
    }

    fn turn(&mut self, reactor: &mut Reactor, now: Instant) -> io::Result<Flow> {
        if let Conclusion::Killed(_) = self.end {
            return Ok(Flow::Over);
        }
        if self.tool.reload_at().is_some_and(|at| at <= now) {
            self.tool.handle_signal(&mut context(now, &mut self.line.node, reactor, self.news), Request::Refresh);
        }
        let moved = self.work(reactor, now);
        if let Some(outcome) = self.tool.outcome() {
            self.end = Conclusion::Of(outcome);
            return Ok(Flow::Over);
        }
        Ok(if moved { Flow::Busy } else { Flow::Idle })
    }

    fn next_timeout(&self) -> Option<Instant> {
        let reminder = self.is_waiting().then_some(self.reminder.at());
        let line = &self.line;
        [
            line.node.next_timeout(),
            self.tool.next_timeout(),
            line.connection.next_timeout(),
            reminder,
            self.tool.reload_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl<T: Tool> Running<'_, '_, T> {
    fn is_waiting(&self) -> bool {
        !self.line.node.has_met() || self.tool.is_waiting()
    }

    fn handle_signals(&mut self, reactor: &Reactor, now: Instant) {
        for came in self.signals.take() {
            if self.tool.hand_over(&came) {
                continue;
            }
            match came.request {
                Request::End(signal) if std::mem::replace(&mut self.interrupted, true) => {
                    self.end = Conclusion::Killed(signal);
                    return;
                }
                request => {
                    if let Request::End(_) = request {
                        (self.news)(News::Stopping.into());
                    }
                    let mut context = context(now, &mut self.line.node, reactor, self.news);
                    self.tool.handle_signal(&mut context, request);
                }
            }
        }
    }

    /// Everything that can be done without waiting, once. True if something moved.
    fn work(&mut self, reactor: &mut Reactor, now: Instant) -> bool {
        self.line.drive(now, reactor, &mut |said| (self.news)(said.into()));
        let mut moved = self.line.receive(now, reactor);
        while let Some(event) = self.line.node.poll_event() {
            self.line.tell(&event, &mut |said| (self.news)(said.into()));
            self.tool.handle_event(&mut context(now, &mut self.line.node, reactor, self.news), &event);
            moved = true;
        }
        moved |= self.tool.pump(&mut context(now, &mut self.line.node, reactor, self.news));
        moved |= self.line.send(now, reactor);
        moved
    }
}

/// A client that lets go of the relay in an orderly way. A connection closed with input unread is reset by the kernel, and a
/// reset can overtake what we said last, for which the peer waits. Then a command that led to the relay has its time to end.
struct Leaving {
    line: Line,
    until: Instant,
    said_all: bool,
    /// There is no connection any more.
    is_gone: bool,
}

impl Host for Leaving {
    // Whatever it is, the connection is looked at, and nothing else matters any more.
    fn handle_ready(&mut self, _: &Reactor, _: Instant, _: Ready) {}

    fn handle_timeout(&mut self, _: Instant) {}

    fn turn(&mut self, _: &mut Reactor, now: Instant) -> io::Result<Flow> {
        let Line { node, connection, .. } = &mut self.line;
        if !self.is_gone {
            match connection.part(now, node, &mut self.said_all) {
                Parting::Busy if now < self.until => return Ok(Flow::Busy),
                Parting::Waits if now < self.until => return Ok(Flow::Idle),
                Parting::Gone | Parting::Busy | Parting::Waits => {}
            }
            connection.hang_up(now);
            (self.is_gone, self.until) = (true, now + PATIENCE);
        }
        // One that takes longer is killed.
        Ok(if connection.see_off(now) || self.until <= now { Flow::Over } else { Flow::Idle })
    }

    fn next_timeout(&self) -> Option<Instant> {
        Some(self.until)
    }
}

/// A node and its connection to a relay.
struct Line {
    node: Node,
    relays: Vec<RelayAddress>,
    /// The way to each.
    ways: Vec<Way>,
    /// A relay was reached before. A proxy that asks for a login anew has trouble of its own, and it is worth a further try.
    has_come_through: bool,
    /// The relay to which the connection leads, or led last.
    relay: usize,
    connection: Connection,
}

impl Line {
    fn tell(&mut self, event: &Event, news: &mut dyn FnMut(News<'_>)) {
        match event {
            Event::RelayUp { relay } => {
                self.has_come_through = true;
                news(News::RelayUp(&self.relays[*relay]));
            }
            Event::RelayDown { relay, why, fault } => {
                news(News::RelayDown(&self.relays[*relay], *why, fault.as_ref()));
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
            Event::Limited { key } => {
                if let Some((peer, app)) = self.node.called(*key) {
                    news(News::Limited(peer, app.as_str()));
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

    fn drive(&mut self, now: Instant, reactor: &Reactor, news: &mut dyn FnMut(News<'_>)) {
        if !self.node.wants_carrier() {
            self.connection.hang_up(now);
        }
        let dial = if let Some(relay) = self.node.poll_dial(now) {
            self.relay = relay;
            let address = &self.relays[relay];
            news(News::Dialling(address));
            let way = &self.ways[relay];
            if !matches!(way, Way::Straight) {
                news(News::By(way));
            }
            Some(self.connection.dial(now, reactor, (address, way)))
        } else {
            self.connection.advance(now, reactor)
        };
        match dial {
            None | Some(Dial::Resolving) => {}
            Some(Dial::Connecting) => self.node.handle_resolved(),
            Some(Dial::Opening) => self.node.handle_reached(),
            Some(Dial::Up(ends)) => {
                if let Some((here, there)) = ends {
                    news(News::Connected(here, there));
                }
                self.node.handle_connected(now);
            }
            Some(Dial::Refused(why, None)) => self.node.handle_down(now, why),
            Some(Dial::Refused(why, Some(fault))) => self.node.handle_fault(now, why, fault),
            Some(Dial::Broken(fault)) => self.node.handle_fault(now, Down::Closed, fault),
            Some(Dial::OnTheWay(lacks)) => self.node.handle_on_the_way(lacks),
            Some(Dial::Failed(Down::ProxyLogin, fault)) if self.has_come_through => {
                self.node.handle_fault(now, Down::Unreachable, fault);
            }
            Some(Dial::Failed(why, fault)) => self.node.handle_fault(now, why, fault),
        }
    }

    fn receive(&mut self, now: Instant, reactor: &mut Reactor) -> bool {
        let moved = self.connection.receive(now, &mut self.node);
        reactor.note_bytes(moved.unwrap_or_default());
        moved.is_some()
    }

    fn send(&mut self, now: Instant, reactor: &mut Reactor) -> bool {
        let moved = self.connection.send(now, &mut self.node);
        reactor.note_bytes(moved.unwrap_or_default());
        moved.is_some()
    }
}
