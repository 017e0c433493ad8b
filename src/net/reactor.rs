//! The one loop: the poll of one thread, what wakes it from others, and the machines that it drives.
//!
//! ```text
//! events, time, work and flush ──▶ busy: again, without waiting
//!        ▲                    └──▶ idle: asleep, or awake for a moment where that pays off, until an event or its time
//!        └─────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A [`Host`] is what it drives: a client's node and tool, the links of a relay's worker, thousands of attachments. The loop
//! looks at the clocks before anything is told what time it is: a process can be stopped anywhere (Ctrl-Z, a debugger, a machine
//! that sleeps), and whatever was due meanwhile is nobody's fault.
//!
//! It hosts whatever is registered under its own token. A token stands for one thing and never again for another, so that
//! what is still heard of something that has gone reaches nobody: it is a number that is not given out twice, or a key of
//! [`super::slots`].

use super::pauses::Pauses;
use super::wait::Waiter;
use mio::event::Event;
use mio::{Events, Poll};
pub use mio::{Registry, Token, Waker};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The waker's token, of which nobody hears.
const WAKER: Token = Token(0);
/// Tokens from 1 up to here are for what a loop itself has one of: its signals, its listeners, a connection to a relay.
pub(crate) const FIRST_TOKEN: usize = 16;

/// What the system says of something that was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its token.
    pub token: Token,
    /// A read may find something.
    pub readable: bool,
    /// A write may find room.
    pub writable: bool,
    /// The other side writes no more.
    pub read_closed: bool,
    /// The other side reads no more.
    pub write_closed: bool,
    /// An error waits for the next read or write.
    pub error: bool,
}

impl Ready {
    fn of(event: &Event) -> Ready {
        Ready {
            token: event.token(),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            write_closed: event.is_write_closed(),
            error: event.is_error(),
        }
    }

    /// Whether a read may tell something: bytes, an end or an error.
    pub(crate) fn is_for_reader(&self) -> bool {
        self.readable || self.read_closed || self.error
    }

    /// Whether a write may tell something: room or an error.
    pub(crate) fn is_for_writer(&self) -> bool {
        self.writable || self.write_closed || self.error
    }
}

/// What the clocks say as a turn begins.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The one that waits are measured by.
    pub now: Instant,
    /// That of the calendar.
    pub calendar: SystemTime,
    /// This process was stopped for a while since the turn before.
    pub paused: bool,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// There is more to do at once.
    Busy,
    /// There is nothing to do before an event, or before [`Host::next_timeout`].
    Idle,
    /// There is nothing to do any more.
    Over,
}

/// What the loop drives, in this order in each turn.
pub trait Host {
    /// So many busy turns come one after the other before the loop looks for events again.
    const TURNS_MAX: usize = 1;

    /// The clocks were looked at.
    fn handle_clocks(&mut self, _: Clocks) {}

    /// Other threads may have sent something.
    fn handle_mail(&mut self, _now: Instant) {}

    /// Something is ready.
    fn handle_ready(&mut self, reactor: &Reactor, now: Instant, ready: Ready);

    /// Time has passed. It may be that nothing is due.
    fn handle_timeout(&mut self, now: Instant);

    /// Does what can be done without waiting, up to a fairness budget.
    ///
    /// # Errors
    /// What nothing survives; the loop ends with it.
    fn turn(&mut self, reactor: &mut Reactor, now: Instant) -> io::Result<Flow>;

    /// When to take a turn without an event; None: never.
    fn next_timeout(&self) -> Option<Instant>;
}

/// See the module's text.
#[derive(Debug)]
pub struct Reactor {
    poll: Poll,
    events: Events,
    /// What was found and nobody has taken yet.
    ready: VecDeque<Ready>,
    waker: Arc<Waker>,
    waiter: Waiter,
    pauses: Pauses,
}

impl Reactor {
    /// One that takes so many events at a time.
    ///
    /// # Errors
    /// The system lacks descriptors.
    pub fn new(events_max: usize) -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (events, ready) = (Events::with_capacity(events_max), VecDeque::new());
        let pauses = Pauses::new(Instant::now(), SystemTime::now());
        Ok(Reactor { poll, events, ready, waker, waiter: Waiter::default(), pauses })
    }

    /// Drives a host until it is over.
    ///
    /// # Errors
    /// The host's, or the system's readiness facility fails, which nothing survives.
    pub fn run<H: Host>(&mut self, host: &mut H) -> io::Result<()> {
        loop {
            let mut flow = Flow::Busy;
            for _ in 0..H::TURNS_MAX {
                flow = self.turn(host)?;
                if flow != Flow::Busy {
                    break;
                }
            }
            // The poll rounds up to its own unit, so that nobody is woken just before his time, only to wait again.
            let timeout = match flow {
                Flow::Busy => Some(Duration::ZERO),
                Flow::Idle => host.next_timeout().map(|at| at.saturating_duration_since(Instant::now())),
                Flow::Over => return Ok(()),
            };
            self.pauses.expect(timeout);
            self.wait(timeout)?;
        }
    }

    fn turn<H: Host>(&mut self, host: &mut H) -> io::Result<Flow> {
        let (now, calendar) = (Instant::now(), SystemTime::now());
        host.handle_clocks(Clocks { now, calendar, paused: self.pauses.notice(now, calendar) });
        host.handle_mail(now);
        while let Some(ready) = self.poll_ready() {
            host.handle_ready(self, now, ready);
        }
        host.handle_timeout(now);
        host.turn(self, now)
    }

    /// Where to register what is to be heard of.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Ends a wait from another thread.
    pub fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// So many bytes were read or written since the last wait: a loop that moves bulk does not stay awake for what is next.
    pub(crate) fn note_bytes(&mut self, count: usize) {
        self.waiter.note_bytes(count);
    }

    /// Waits until something is ready, the waker is used, a signal came or the time is over; None: as long as that takes. It
    /// may also return for nothing.
    ///
    /// # Errors
    /// The system's readiness facility fails, which nothing survives.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.waiter.wait(&mut self.poll, &mut self.events, timeout) {
            Ok(()) => self.ready.extend(self.events.iter().filter(|event| event.token() != WAKER).map(Ready::of)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The next that is ready.
    pub(crate) fn poll_ready(&mut self) -> Option<Ready> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::register;
    use mio::Interest;
    use std::io::Write;
    use std::time::Instant;

    #[test]
    fn what_is_registered_is_told_of_by_its_token_with_its_end_and_the_waker_of_nobody() {
        let mut reactor = Reactor::new(8).unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        register(reactor.registry(), &reader, Token(FIRST_TOKEN), Interest::READABLE).unwrap();
        reactor.waker().wake().unwrap();
        reactor.wait(None).unwrap();
        assert_eq!(reactor.poll_ready(), None);
        writer.write_all(b"x").unwrap();
        let mut next = || loop {
            reactor.wait(None).unwrap();
            if let Some(ready) = reactor.poll_ready() {
                break ready;
            }
        };
        let ready = next();
        assert!(ready.token == Token(FIRST_TOKEN) && ready.readable && ready.is_for_reader(), "{ready:?}");
        assert!(!ready.read_closed && !ready.is_for_writer(), "{ready:?}");
        drop(writer);
        assert!(next().read_closed);
    }

    #[test]
    fn a_wait_for_nothing_ends_in_time_and_finds_nothing() {
        let mut reactor = Reactor::new(8).unwrap();
        let began = Instant::now();
        reactor.wait(Some(Duration::from_millis(3))).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(2));
        assert_eq!(reactor.poll_ready(), None);
    }

    /// A host that notes what it is told, and takes these turns.
    struct Scripted<F: FnMut(Instant) -> io::Result<Flow>> {
        told: Vec<&'static str>,
        at: Option<Instant>,
        turns: F,
    }

    impl<F: FnMut(Instant) -> io::Result<Flow>> Host for Scripted<F> {
        const TURNS_MAX: usize = 3;

        fn handle_clocks(&mut self, _: Clocks) {
            self.told.push("clocks");
        }

        fn handle_mail(&mut self, _: Instant) {
            self.told.push("mail");
        }

        fn handle_ready(&mut self, _: &Reactor, _: Instant, _: Ready) {
            self.told.push("ready");
        }

        fn handle_timeout(&mut self, _: Instant) {
            self.told.push("time");
        }

        fn turn(&mut self, _: &mut Reactor, now: Instant) -> io::Result<Flow> {
            self.told.push("turn");
            (self.turns)(now)
        }

        fn next_timeout(&self) -> Option<Instant> {
            self.at
        }
    }

    #[test]
    fn a_host_is_told_of_clocks_mail_events_and_time_before_each_turn_and_of_events_after_so_many_that_were_busy() {
        let mut reactor = Reactor::new(8).unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        register(reactor.registry(), &reader, Token(FIRST_TOKEN), Interest::READABLE).unwrap();
        writer.write_all(b"x").unwrap();
        let mut count = 0;
        let turns = |_| {
            count += 1;
            Ok(if count == 4 { Flow::Over } else { Flow::Busy })
        };
        let mut host = Scripted { told: Vec::new(), at: None, turns };
        reactor.run(&mut host).unwrap();
        let (quiet, last) = (["clocks", "mail", "time", "turn"], ["clocks", "mail", "ready", "time", "turn"]);
        assert_eq!(host.told, [&quiet[..], &quiet, &quiet, &last].concat());
    }

    #[test]
    fn a_host_that_is_idle_is_woken_at_its_time_and_not_before_and_its_failure_ends_the_loop() {
        let mut reactor = Reactor::new(8).unwrap();
        let at = Instant::now() + Duration::from_micros(2_700);
        let mut turns_at = Vec::new();
        let turns = |now| {
            turns_at.push(now);
            if now < at { Ok(Flow::Idle) } else { Err(io::Error::other("enough")) }
        };
        let error = reactor.run(&mut Scripted { told: Vec::new(), at: Some(at), turns }).unwrap_err();
        assert_eq!(error.to_string(), "enough");
        assert!(turns_at.len() <= 2 && turns_at.last().is_some_and(|last| *last >= at), "{turns_at:?} for {at:?}");
    }
}
