//! What all workers of a relay share, behind one lock; and a worker's way to it.

use super::admission::{Admission, ComesFrom, Crowded, Evicted, Placed};
use super::facts::Fact;
use super::policy::Policy;
use super::{Load, Order, Router};
use crate::relay::ConnId;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Connections that are not authenticated, and the router, which knows links alone.
#[derive(Debug)]
pub(crate) struct Common(Mutex<State>);

#[derive(Debug)]
struct State {
    admission: Admission,
    router: Router,
}

impl Common {
    /// For `workers` workers, at least one.
    pub(crate) fn new(policy: Policy, workers: usize) -> Arc<Common> {
        let workers = workers.max(1);
        let state = State { admission: Admission::new(workers), router: Router::new(policy, workers) };
        Arc::new(Common(Mutex::new(state)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in another worker leaves the state whole between its calls; the relay goes on for the rest.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each worker carries; a link counts as its connection does.
    pub(crate) fn load(&self) -> Vec<Load> {
        let state = self.lock();
        let loads = state.router.load().iter().zip(state.admission.load());
        loads.map(|(load, unauthenticated)| Load { links: load.links + unauthenticated, ..*load }).collect()
    }
}

/// How one worker asks the router, and what the router ordered.
pub(crate) struct RouterHandle {
    common: Arc<Common>,
    orders: VecDeque<Order>,
    facts: VecDeque<Fact>,
    timeout: Option<Instant>,
}

impl RouterHandle {
    /// A worker's own.
    pub(crate) fn new(common: Arc<Common>) -> RouterHandle {
        RouterHandle { common, orders: VecDeque::new(), facts: VecDeque::new(), timeout: None }
    }

    /// Asks the router something and queues its orders.
    pub(crate) fn ask<T>(&mut self, question: impl FnOnce(&mut Router, &mut Vec<Order>) -> T) -> T {
        let mut orders = Vec::new();
        let (answer, timeout) = {
            let mut state = self.common.lock();
            let answer = question(&mut state.router, &mut orders);
            self.facts.extend(std::iter::from_fn(|| state.router.poll_fact()));
            (answer, state.router.next_timeout())
        };
        self.timeout = timeout;
        self.orders.extend(orders);
        answer
    }

    /// An order from elsewhere.
    pub(crate) fn put_order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// The next order to carry out.
    pub(crate) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// The next thing that has happened because this worker asked.
    pub(crate) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// When the router has something to do, as far as this worker knows.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// A connection came in: it goes to the worker with the fewest.
    pub(crate) fn place(&self, now: Instant, from: ComesFrom) -> Result<Placed, Crowded> {
        let mut state = self.common.lock();
        let State { admission, router } = &mut *state;
        let links: Vec<usize> = router.load().iter().map(|load| load.links).collect();
        admission.enter(now, from, &links)
    }

    /// A front has said where a connection comes from.
    pub(crate) fn settle(&self, now: Instant, conn: ConnId, source: IpAddr) -> Result<Option<Evicted>, Crowded> {
        self.common.lock().admission.settle(now, conn, source)
    }

    /// A connection is authenticated or gone. False if it was neither admitted nor known any more.
    pub(crate) fn leave(&self, conn: ConnId) -> bool {
        self.common.lock().admission.leave(conn)
    }
}
