//! The loop of every tool that connects: one reactor, one carrier, one node, and the tool's own ends.
//!
//! ```text
//! socket ─▶ input ─▶ node ─▶ session ─▶ tool ─▶ its sinks
//! socket ◀─ output ◀ node ◀─ session ◀─ tool ◀─ its sources
//! ```
//!
//! A turn does what can be done without waiting, then waits for the first of: an event, a timeout of the node or the tool.

use super::carrier::{Carrier, Dial, Parting};
use super::news::News;

use super::reminder::Reminder;
use super::tool::{Context, Listener, RunError, Tool};
use crate::names::RelayAddress;
use crate::net::pauses::Pauses;
use crate::net::reactor::{Reactor, Ready};
use crate::net::reaper::adopt_orphans;
use crate::net::signals::{HUP, INT, Request, Signals, TERM, USR1, XCPU};
use crate::net::slots::Slot;
use crate::node::{Config, Down, Event, Node};
use std::error::Error;
use std::io;
use std::time::{Duration, Instant, SystemTime};

/// Events taken in one turn.
const EVENTS: usize = 256;
/// The keys of what a client has of its own.
const SIGNALS: Slot = Slot::own(1);
const CARRIER: Slot = Slot::own(2);

/// Turns without looking at events, so that a busy carrier starves neither signals nor timeouts.
const BUSY_TURNS: usize = 16;
/// At the end the relay is given so long to read our last words.
const PARTING_TIME: Duration = Duration::from_millis(300);

/// The loop.
pub(crate) struct Client {
    reactor: Reactor,
    node: Node,
    relays: Vec<RelayAddress>,
    /// The relay to which the carrier leads, or led last.
    relay: usize,
    carrier: Carrier,
    signals: Signals,
    interrupted: bool,
    pauses: Pauses,
    reminder: Reminder,
}

impl Client {
    /// A loop around a node. `config.relays` are the ids of `relays`, in the same order.
    pub(crate) fn new(config: Config, relays: Vec<RelayAddress>) -> io::Result<Client> {
        adopt_orphans()?;
        let reactor = Reactor::new(EVENTS)?;
        let signals = Signals::new(&[HUP, INT, TERM, USR1, XCPU])?;
        signals.register(reactor.registry(), SIGNALS.token())?;
        Ok(Client {
            reactor,
            node: Node::new(Instant::now(), config),
            relays,
            relay: 0,
            carrier: Carrier::new(CARRIER),
            signals,
            interrupted: false,
            pauses: Pauses::new(Instant::now(), SystemTime::now()),
            reminder: Reminder::new(Instant::now()),
        })
    }

    /// Catches these signals too, which a tool means to hand over.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn catch(&mut self, signals: &[i32]) -> io::Result<()> {
        signals.iter().try_for_each(|signal| self.signals.add(*signal))
    }

    /// Drives `tool` to its end.
    pub(crate) fn run<T: Tool>(&mut self, tool: &mut T, news: &mut Listener<'_, T>) -> Result<(), T::Error> {
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
            self.reactor.wait(wait).map_err(|error| RunError::Io("waiting for events", error))?;
            while let Some(ready) = self.reactor.poll_ready() {
                self.handle_ready(tool, news, ready)?;
            }
        }
    }

    /// Lets go of the relay in an orderly way. A connection closed with input unread is reset by the kernel, and a reset can
    /// overtake what we said last, for which the peer waits.
    fn part(&mut self) {
        let until = Instant::now() + PARTING_TIME;
        let mut said_all = false;
        loop {
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            let wait = match self.carrier.part(now, &mut self.node, &mut said_all) {
                Parting::Gone => return,
                Parting::Busy => Duration::ZERO,
                Parting::Waits => left,
            };
            if left.is_zero() || self.reactor.wait(Some(wait)).is_err() {
                return;
            }
            // Whatever it is, the carrier is looked at, and nothing else matters any more.
            while self.reactor.poll_ready().is_some() {}
        }
    }

    fn is_waiting<T: Tool>(&self, tool: &T) -> bool {
        !self.node.has_met() || tool.is_waiting()
    }

    fn next_timeout<T: Tool>(&self, tool: &T) -> Option<Instant> {
        let reminder = self.is_waiting(tool).then_some(self.reminder.at());
        [self.node.next_timeout(), tool.next_timeout(), self.carrier.next_timeout(), reminder]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_ready<T: Tool>(
        &mut self,
        tool: &mut T,
        news: &mut Listener<'_, T>,
        ready: Ready,
    ) -> Result<(), T::Error> {
        if self.carrier.handle_ready(ready) {
            return Ok(());
        }
        match Slot::of(ready.token) {
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
            // A connection of the carrier's that has gone.
            slot if slot.is_own() => {}
            _ => tool.handle_ready(&mut self.context(Instant::now(), news), ready),
        }
        Ok(())
    }

    fn context<'a, T: Tool>(&'a mut self, now: Instant, news: &'a mut Listener<'_, T>) -> Context<'a, T> {
        let (registry, waker) = (self.reactor.registry(), self.reactor.waker());
        Context { now, node: &mut self.node, registry, waker, news }
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
        if self.is_waiting(tool) && self.reminder.take(now) {
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
            Event::RelayDown { relay, why, fault } => {
                let fault = fault.as_ref().map(|fault| -> &(dyn Error + 'static) { &*fault.0 });
                news(News::RelayDown(&self.relays[*relay], *why, fault));
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

    fn drive_line(&mut self, now: Instant, news: &mut dyn FnMut(News<'_>)) {
        if !self.node.wants_carrier() {
            self.carrier.hang_up();
        }
        let dial = if let Some(relay) = self.node.poll_dial(now) {
            self.relay = relay;
            let address = &self.relays[relay];
            news(News::Dialling(address));
            Some(self.carrier.dial(now, &self.reactor, (address.host.as_str(), address.port)))
        } else {
            self.carrier.advance(now, &self.reactor)
        };
        match dial {
            None | Some(Dial::Resolving) => {}
            Some(Dial::Connecting) => self.node.handle_resolved(),
            Some(Dial::Up(ends)) => {
                if let Some((here, there)) = ends {
                    news(News::Connected(here, there));
                }
                self.node.handle_connected(now);
            }
            Some(Dial::Failed(fault)) => self.node.handle_fault(now, Down::Unreachable, fault),
        }
    }

    fn receive(&mut self, now: Instant) -> bool {
        let moved = self.carrier.receive(now, &mut self.node);
        self.reactor.note_bytes(moved.unwrap_or_default());
        moved.is_some()
    }

    fn send(&mut self, now: Instant) -> bool {
        let moved = self.carrier.send(now, &mut self.node);
        self.reactor.note_bytes(moved.unwrap_or_default());
        moved.is_some()
    }
}
