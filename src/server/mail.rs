//! What workers send each other: queues without locks, and one wake-up a batch.
//!
//! An inbox is bounded. What does not fit waits at whoever sends it, who goes on with everything else: how much that can be is
//! bounded by the machine (`relay/across.rs`), which does not listen to whoever has much under way. So no worker waits for
//! another, and two that are both full empty each other's.

use super::conn::Conn;
use crate::net::reactor::Waker;
use crate::relay::{ConnId, MovingLink, Newcomer, Policy, WorkerMessage};
use crossbeam_queue::ArrayQueue;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Packages that fit into an inbox. Beyond it the sender keeps them.
pub(super) const INBOX_MAX: usize = 1024;

/// Something for another worker.
pub(super) enum Package {
    /// For a link or a circuit.
    Message(WorkerMessage),
    /// A connection that was accepted and placed there.
    Accepted(Newcomer, Conn),
    /// A link that moves there.
    Arrival(Conn, MovingLink),
    /// A connection that was accepted, with a request for a link that is there.
    Joins(ConnId, Conn),
    /// A policy that was read from disk; for the worker that watches signals.
    Policy(Box<Policy>),
}

/// Where a worker finds what others sent.
pub(super) struct Inbox {
    queue: ArrayQueue<Package>,
    waker: Arc<Waker>,
    /// Set while a wake-up is on its way, so that a batch costs one.
    woken: AtomicBool,
}

impl Inbox {
    /// An inbox whose worker is woken by `waker`.
    pub(super) fn new(waker: Arc<Waker>) -> Inbox {
        Inbox { queue: ArrayQueue::new(INBOX_MAX), waker, woken: AtomicBool::new(false) }
    }

    /// Puts a package in; gives it back if there is no room.
    pub(super) fn put(&self, package: Package) -> Result<(), Package> {
        self.queue.push(package)
    }

    /// Wakes the worker, unless somebody has.
    pub(super) fn wake(&self) -> io::Result<()> {
        if self.woken.swap(true, Ordering::AcqRel) { Ok(()) } else { self.waker.wake() }
    }

    /// Called by the worker before it looks: what comes later wakes it again.
    pub(super) fn awake(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// The next package.
    pub(super) fn take(&self) -> Option<Package> {
        self.queue.pop()
    }

    /// Packages in it now.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

/// What one worker has for the others, in order.
pub(super) struct Outbox {
    inboxes: Arc<[Inbox]>,
    kept: Vec<VecDeque<Package>>,
}

impl Outbox {
    /// An empty outbox for these workers.
    pub(super) fn new(inboxes: Arc<[Inbox]>) -> Outbox {
        let kept = inboxes.iter().map(|_| VecDeque::new()).collect();
        Outbox { inboxes, kept }
    }

    /// Queues a package.
    pub(super) fn put(&mut self, worker: usize, package: Package) {
        self.kept[worker].push_back(package);
    }

    /// Hands over what fits and wakes whoever got something.
    pub(super) fn ship(&mut self) -> io::Result<()> {
        for (kept, inbox) in self.kept.iter_mut().zip(self.inboxes.iter()) {
            let before = kept.len();
            while let Some(package) = kept.pop_front() {
                if let Err(back) = inbox.put(package) {
                    kept.push_front(back);
                    break;
                }
            }
            if kept.len() < before {
                inbox.wake()?;
            }
        }
        Ok(())
    }

    /// Packages that did not fit.
    pub(super) fn len(&self) -> usize {
        self.kept.iter().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::reactor::Reactor;
    use crate::net::testkit::WHILE;
    use crate::relay::{EndId, LinkId, ToEnd};

    fn fin(n: u32) -> Package {
        let end = EndId { worker: 0, link: LinkId::new(1), circuit: n };
        Package::Message(WorkerMessage::ToEnd(end, ToEnd::Fin, None))
    }

    #[test]
    fn a_batch_costs_one_wake_up_and_what_does_not_fit_keeps_its_order() {
        let mut reactor = Reactor::new(8).unwrap();
        let inboxes: Arc<[Inbox]> = [Inbox::new(Arc::clone(reactor.waker()))].into();
        let mut outbox = Outbox::new(Arc::clone(&inboxes));
        let count = u32::try_from(INBOX_MAX + 300).unwrap();
        (0..count).for_each(|n| outbox.put(0, fin(n)));
        outbox.ship().unwrap();
        assert_eq!(outbox.len(), 300);
        let mut seen = 0;
        while seen < count {
            reactor.wait(Some(WHILE)).unwrap();
            assert!(inboxes[0].woken.load(Ordering::Acquire), "nothing more is to wake it before it has looked");
            inboxes[0].awake();
            while let Some(package) = inboxes[0].take() {
                let Package::Message(WorkerMessage::ToEnd(end, ToEnd::Fin, None)) = package else { panic!() };
                assert_eq!(end.circuit, seen);
                seen += 1;
            }
            outbox.ship().unwrap();
        }
        assert_eq!(outbox.len(), 0);
    }
}
