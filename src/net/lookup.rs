//! Names and their addresses: the system's resolver, in a thread of its own, because it may take as long as it likes.

use mio::Waker;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Weak};
use std::thread;

type Answer = io::Result<Vec<SocketAddr>>;

/// A name that is being looked up.
#[derive(Debug)]
pub(crate) struct Lookup {
    answer: Receiver<Answer>,
    thread: Running,
}

/// The thread of a lookup, which cannot be stopped: it lives until the resolver has answered, also when the lookup was dropped.
#[derive(Clone, Debug)]
pub(crate) struct Running(Weak<()>);

/// What the thread holds.
#[derive(Debug)]
pub(crate) struct Asked {
    answer: Sender<Answer>,
    /// Dropped with the thread, also if it panics.
    _life: Arc<()>,
}

impl Lookup {
    /// Begins. `waker` wakes the loop when the answer is there.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(crate) fn start(host: &str, waker: &Arc<Waker>) -> io::Result<Lookup> {
        let (asked, lookup) = Lookup::new();
        let (host, waker) = (host.to_owned(), Arc::clone(waker));
        thread::Builder::new().name("resolver".into()).spawn(move || {
            asked.answer(addresses_of(&host));
            let _ = waker.wake();
        })?;
        Ok(lookup)
    }

    /// One without a thread yet, and what that needs.
    pub(crate) fn new() -> (Asked, Lookup) {
        let (sender, receiver) = channel();
        let life = Arc::new(());
        let thread = Running(Arc::downgrade(&life));
        (Asked { answer: sender, _life: life }, Lookup { answer: receiver, thread })
    }

    /// One with its answer.
    pub(crate) fn answered(answer: Answer) -> Lookup {
        let (asked, lookup) = Lookup::new();
        asked.answer(answer);
        lookup
    }

    /// Its thread.
    pub(crate) fn thread(&self) -> Running {
        self.thread.clone()
    }

    /// The answer, once it is there: at least one address, each with port 0.
    pub(crate) fn poll(&self) -> Option<Answer> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

impl Running {
    /// Whether the thread has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Asked {
    /// The resolver's answer. With that the thread counts as ended, before the loop is woken.
    pub(super) fn answer(self, answer: Answer) {
        // The loop may have given up and gone: then nobody needs the answer.
        let _ = self.answer.send(answer);
    }
}

fn addresses_of(host: &str) -> Answer {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for found in (host, 0).to_socket_addrs()? {
        if !addresses.contains(&found) {
            addresses.push(found);
        }
    }
    if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testkit::{WHILE, until};
    use mio::{Events, Poll, Token};

    #[test]
    fn a_thread_is_over_when_the_loop_is_woken_with_its_answer() {
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(1)).unwrap());
        let lookup = Lookup::start("127.0.0.1", &waker).unwrap();
        let mut events = Events::with_capacity(1);
        until(|| {
            poll.poll(&mut events, Some(WHILE)).unwrap();
            (!events.is_empty()).then_some(())
        });
        assert!(lookup.thread().is_over());
        assert_eq!(lookup.poll().unwrap().unwrap(), ["127.0.0.1:0".parse().unwrap()]);
    }

    #[test]
    fn a_thread_lives_on_when_nobody_waits_for_its_answer_any_more() {
        let (asked, lookup) = Lookup::new();
        let thread = lookup.thread();
        drop(lookup);
        assert!(!thread.is_over());
        asked.answer(Ok(Vec::new()));
        assert!(thread.is_over());
        let (asked, lookup) = Lookup::new();
        drop(asked);
        assert!(lookup.thread().is_over() && lookup.poll().unwrap().is_err(), "it has ended without an answer");
    }
}
