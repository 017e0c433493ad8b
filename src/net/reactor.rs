//! The wait of a loop: the poll of one thread, what wakes it from others, and what it found ready.
//!
//! ```text
//! loop {
//!     reactor.wait(timeout)?;                            asleep, or awake for a moment where that pays off
//!     while let Some(ready) = reactor.poll_ready() { … } told by its token to the socket it is about
//!     …                                                  flush, then fill, each up to a fairness budget
//! }
//! ```
//!
//! It hosts whatever is registered under its own token. A token stands for one thing and never again for another, so that
//! what is still heard of something that has gone reaches nobody: it is a number that is not given out twice, or a key of
//! [`super::slots`].

use super::wait::Waiter;
use mio::event::Event;
use mio::{Events, Poll};
pub use mio::{Registry, Token, Waker};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The waker's token, of which nobody hears.
const WAKER: Token = Token(0);
/// Tokens from 1 up to here are for what a loop itself has one of: its signals, its listeners, a connection to a relay.
pub const FIRST_TOKEN: usize = 16;

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
    pub fn is_for_reader(&self) -> bool {
        self.readable || self.read_closed || self.error
    }

    /// Whether a write may tell something: room or an error.
    pub fn is_for_writer(&self) -> bool {
        self.writable || self.write_closed || self.error
    }
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
        Ok(Reactor { poll, events, ready, waker, waiter: Waiter::default() })
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
    pub fn note_bytes(&mut self, count: usize) {
        self.waiter.note_bytes(count);
    }

    /// Waits until something is ready, the waker is used, a signal came or the time is over; None: as long as that takes. It
    /// may also return for nothing.
    ///
    /// # Errors
    /// The system's readiness facility fails, which nothing survives.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.waiter.wait(&mut self.poll, &mut self.events, timeout) {
            Ok(()) => self.ready.extend(self.events.iter().filter(|event| event.token() != WAKER).map(Ready::of)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The next that is ready.
    pub fn poll_ready(&mut self) -> Option<Ready> {
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
}
