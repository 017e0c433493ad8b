//! A whole relay without threads and sockets, for simulations and tests: every worker in one place, virtual time.

mod under_way;

use super::ComesFrom;
use super::events::{Event, MovingLink};
use super::output::SLICES_MAX;
use super::pace::MayRead;
use super::router::Load;
use super::router::admission::{Newcomer, Placed};
use super::router::common::Common;
use super::router::facts::Fact;
use super::worker::Forwarder;
use super::{Budget, ConnId, Policy, Pool, Reader, WorkerIndex};
use crate::identity::Identity;
#[cfg(feature = "canaries")]
use crate::wire::{Control, Features};
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use under_way::{Package, UnderWay};

/// A relay as a machine. Drain [`RelayCore::poll_output`] of every link and [`RelayCore::poll_closed`] after each call.
pub struct RelayCore {
    workers: Vec<Forwarder>,
    readers: Vec<Reader>,
    common: Arc<Common>,
    pub(super) budget: Arc<Budget>,
    homes: BTreeMap<ConnId, usize>,
    closed: VecDeque<ConnId>,
    facts: VecDeque<Fact>,
    under_way: UnderWay,
    /// The first link that moves stays here, with the worker that it leaves, where a test means to lose it.
    pub(super) stopped: Option<Option<Stopped>>,
}

/// A link that was stopped on its way from one worker to another.
type Stopped = ((usize, usize), MovingLink);

impl RelayCore {
    /// A relay of this identity; bodies take at most `memory_bytes`; `workers` (at least one) take turns.
    pub fn new(identity: Identity, policy: Policy, memory_bytes: usize, workers: usize) -> RelayCore {
        let workers = workers.max(1);
        let (identity, budget) = (Arc::new(identity), Budget::new(memory_bytes));
        let common = Common::new(policy, workers);
        let worker = |worker| {
            let pool = Pool::new(Arc::clone(&budget));
            let reader = Reader::new(Arc::clone(&pool));
            let place = WorkerIndex { worker, workers };
            (Forwarder::new(place, Arc::clone(&identity), Arc::clone(&common), pool), reader)
        };
        let (workers, readers) = (0..workers).map(worker).unzip();
        RelayCore {
            workers,
            readers,
            common,
            budget,
            homes: BTreeMap::new(),
            closed: VecDeque::new(),
            facts: VecDeque::new(),
            under_way: UnderWay::default(),
            stopped: None,
        }
    }

    /// Its connection was lost while it moved.
    #[cfg(test)]
    pub(super) fn lose_stopped(&mut self, now: Instant) {
        if let Some(((from, _), moving)) = self.stopped.take().flatten() {
            self.workers[from].handle_lost(now, moving);
        }
        self.settle(now);
    }

    /// It arrives; nobody has had a turn yet.
    #[cfg(test)]
    pub(super) fn land_stopped(&mut self, now: Instant) {
        if let Some(((_, to), moving)) = self.stopped.take().flatten() {
            self.homes.insert(moving.conn(), to);
            self.workers[to].handle_arrival(now, moving);
        }
    }

    /// From now on workers look only now and then what has come from others, and have a turn, as threads do that are kept from
    /// running; the same in each run with this seed. [`RelayCore::next_timeout`] says that there is more.
    pub fn set_slow(&mut self, seed: u64) {
        (self.under_way.is_slow, self.under_way.dice) = (true, seed);
    }

    /// Has workers do all that there is to do, however slow they are.
    pub fn catch_up(&mut self, now: Instant) {
        for worker in 0..self.workers.len() {
            self.collect(now, worker);
        }
        let mut rounds = 0..1 << 20;
        loop {
            assert!(rounds.next().is_some(), "workers have something for each other for ever");
            while let Some((to, package)) = self.under_way.take() {
                self.arrive(now, to, package);
                self.collect(now, to);
            }
            // Somebody may have waited for others to do that.
            for worker in 0..self.workers.len() {
                self.workers[worker].begin_turn(now);
                self.collect(now, worker);
            }
            if self.under_way.is_empty() {
                self.under_way.again_at = None;
                return;
            }
        }
    }

    /// All that is on its way arrives, and at the worker of this connection, which has input, nobody can be read then. How many
    /// were looked at.
    #[cfg(test)]
    pub(super) fn starve(&mut self, now: Instant, conn: ConnId) -> usize {
        while let Some((to, package)) = self.under_way.take() {
            self.arrive(now, to, package);
        }
        let Some(&worker) = self.homes.get(&conn) else { return 0 };
        self.workers[worker].begin_turn(now);
        self.workers[worker].handle_readable(conn);
        let looked = self.workers[worker].leave_unread(now, conn);
        self.gather(worker);
        looked
    }

    /// The most that anybody has told ends at other workers which these have not dealt with.
    #[cfg(test)]
    pub(super) fn most_under_way(&self) -> usize {
        self.workers.iter().map(|worker| worker.conns.switch.payers.most()).max().unwrap_or(0)
    }

    /// Where a connection is.
    #[cfg(test)]
    pub(super) fn worker_of(&self, conn: ConnId) -> Option<usize> {
        self.homes.get(&conn).copied()
    }

    /// For how many links orders wait that came before them.
    #[cfg(test)]
    pub(super) fn early_links(&self) -> usize {
        self.workers.iter().map(|worker| worker.conns.switch.early_links()).sum()
    }

    /// Names other features than this version has to all that come.
    #[cfg(feature = "canaries")]
    pub fn set_features(&mut self, features: &Features) {
        self.workers.iter_mut().for_each(|worker| worker.set_features(features.clone()));
    }

    /// Says something to a client.
    #[cfg(feature = "canaries")]
    pub fn say(&mut self, now: Instant, conn: ConnId, message: Control) {
        if let Some(&worker) = self.homes.get(&conn) {
            self.workers[worker].say(now, conn, message);
            self.settle(now);
        }
    }

    /// A connection from `source` came in. None if there is no place for it.
    pub fn handle_accept(&mut self, now: Instant, source: IpAddr) -> Option<ConnId> {
        let Placed { conn: id, worker, .. } = self.workers[0].greet(now, ComesFrom::Client(source))?;
        self.homes.insert(id, worker);
        self.workers[worker].handle_accepted(now, Newcomer::new(id, ComesFrom::Client(source)));
        self.settle(now);
        Some(id)
    }

    /// Whether a connection should be read now. A relay that is not asked still bounds what it holds: it ends circuits.
    pub fn may_read(&self, conn: ConnId) -> MayRead {
        if self.under_way.moving.contains(&conn) {
            return MayRead::Later;
        }
        self.homes.get(&conn).map_or(MayRead::Never, |&worker| self.workers[worker].may_read(conn))
    }

    /// Bytes came in and were not handed over, because of [`RelayCore::may_read`].
    pub fn handle_unread(&mut self, now: Instant, conn: ConnId) {
        if let Some(&worker) = self.homes.get(&conn) {
            self.workers[worker].handle_unread(now, conn);
            self.settle(now);
        }
    }

    /// Bytes came in; all are taken.
    pub fn handle_bytes(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        self.land(now, conn);
        if let Some(&worker) = self.homes.get(&conn) {
            self.workers[worker].handle_bytes(now, conn, bytes);
            self.settle(now);
        }
    }

    /// A read found so many bytes, all of them its carrier's own.
    #[cfg(test)]
    pub(crate) fn handle_overhead(&mut self, now: Instant, conn: ConnId, bytes: usize) {
        self.land(now, conn);
        if let Some(&worker) = self.homes.get(&conn) {
            self.workers[worker].handle_overhead(now, conn, bytes);
            self.workers[worker].handle_blocks(now, conn, &[], 0);
            self.settle(now);
        }
    }

    /// As [`RelayCore::handle_bytes`], by way of its worker's reader, as from a socket. How many bytes were taken: fewer than
    /// all if memory is used up. No bytes: there was nothing to read.
    #[cfg(test)]
    pub(crate) fn handle_read(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            self.land(now, conn);
            let Some(&home) = self.homes.get(&conn) else { break };
            let (worker, reader) = (&mut self.workers[home], &mut self.readers[home]);
            if !reader.prepare() {
                worker.handle_starved(now);
                worker.handle_unread(now, conn);
                self.settle(now);
                return taken;
            }
            if bytes.is_empty() {
                worker.handle_empty(conn);
                break;
            }
            let mut filled = 0;
            for room in reader.rooms() {
                let rest = &bytes[taken + filled..];
                let count = rest.len().min(room.len());
                room[..count].copy_from_slice(&rest[..count]);
                filled += count;
            }
            worker.handle_blocks(now, conn, reader.blocks(), filled);
            self.settle(now);
            taken += filled;
            if taken == bytes.len() {
                break;
            }
        }
        bytes.len()
    }

    /// The carrier of a connection is broken or closed, and there is something to read before that shows.
    #[cfg(test)]
    pub(super) fn handle_over(&mut self, now: Instant, conn: ConnId) {
        if let Some(&worker) = self.homes.get(&conn) {
            self.workers[worker].handle_readable(conn);
            self.workers[worker].handle_over(now, conn);
            // Its turn, which finds that it is not to be read.
            self.workers[worker].begin_turn(now);
            while self.workers[worker].poll_read(now).is_some() {}
            self.settle(now);
        }
    }

    /// The carrier of a connection is gone.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId) {
        self.land(now, conn);
        if let Some(worker) = self.homes.remove(&conn) {
            self.workers[worker].handle_closed(now, conn);
            self.settle(now);
        }
    }

    /// Appends up to `max` bytes for a connection's carrier to `out`; returns how many.
    pub fn poll_output(&mut self, now: Instant, conn: ConnId, out: &mut Vec<u8>, max: usize) -> usize {
        let mut total = 0;
        // What is put in order is written at once: what the client may go on with then has its turn.
        while total < max
            && let Some(&worker) = self.homes.get(&conn)
        {
            let before = out.len();
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let used = self.workers[worker].output(now, conn, &mut slices);
            for slice in &slices[..used] {
                let room = max - total - (out.len() - before);
                out.extend_from_slice(&slice[..slice.len().min(room)]);
            }
            let count = out.len() - before;
            if count == 0 {
                break;
            }
            total += count;
            self.workers[worker].handle_written(now, conn, count);
            self.settle(now);
        }
        total
    }

    /// A connection that the relay has closed; what it had to say has been drained before.
    pub fn poll_closed(&mut self) -> Option<ConnId> {
        self.closed.pop_front()
    }

    /// Whether the relay has not closed a connection, nor been told that it is gone.
    #[cfg(test)]
    pub(crate) fn is_open(&self, conn: ConnId) -> bool {
        self.homes.contains_key(&conn)
    }

    /// What happened to links and circuits, in order.
    pub(crate) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// When [`RelayCore::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let workers = self.workers.iter();
        let due = workers.flat_map(|worker| [worker.next_timeout(), worker.next_turn()]);
        due.chain([self.under_way.again_at]).flatten().min()
    }

    /// Nobody looked: see [`Forwarder::handle_late`].
    #[cfg(test)]
    pub(super) fn handle_late(&mut self, now: Instant) {
        self.workers.iter_mut().for_each(|worker| worker.handle_late(now));
    }

    /// Its workers look once what is due; whether more is.
    #[cfg(test)]
    pub(super) fn look_once(&mut self, now: Instant) -> bool {
        self.workers.iter_mut().for_each(|worker| worker.handle_timeout(now));
        self.settle(now);
        self.workers.iter().any(|worker| worker.next_timeout().is_some_and(|at| at <= now))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for worker in &mut self.workers {
            worker.handle_timeout(now);
            let mut looks = 0..1 << 20;
            while worker.next_timeout().is_some_and(|at| at <= now) {
                assert!(looks.next().is_some(), "what is due is never done");
                worker.handle_timeout(now);
            }
        }
        self.settle(now);
    }

    /// Memory is used up: see [`Forwarder::handle_starved`].
    pub(crate) fn handle_starved(&mut self, now: Instant) {
        self.workers[0].handle_starved(now);
        self.settle(now);
    }

    /// A new policy: links that it leaves out are ended.
    pub(crate) fn set_policy(&mut self, now: Instant, policy: Policy) {
        self.workers[0].set_policy(now, policy);
        self.settle(now);
    }

    /// Ends every conn with GOING AWAY.
    #[cfg(test)]
    pub(crate) fn shut_down(&mut self, now: Instant) {
        self.workers.iter_mut().for_each(|worker| worker.handle_shutdown(now, now + super::switch::ENDING_MAX));
        self.settle(now);
    }

    /// How many answers wait for a connection's client, beyond what is in order for it.
    #[cfg(test)]
    pub(super) fn answers(&self, conn: ConnId) -> usize {
        self.homes.get(&conn).map_or(0, |&worker| self.workers[worker].answers(conn))
    }

    /// What each worker carries.
    pub fn load(&self) -> Vec<Load> {
        self.common.load()
    }

    /// Bytes in use for bodies, without the blocks that are there for the next read.
    pub fn used_bytes(&self) -> usize {
        self.budget.used_bytes() - self.readers.iter().map(Reader::free_bytes).sum::<usize>()
    }

    /// Carries messages and links between workers until none is left: in order from one worker to another, and in any order
    /// between different ones, as threads do.
    fn settle(&mut self, now: Instant) {
        if !self.under_way.is_slow {
            return self.catch_up(now);
        }
        for worker in 0..self.workers.len() {
            if self.under_way.below(2) == 0 {
                self.workers[worker].begin_turn(now);
                while self.workers[worker].poll_read(now).is_some() {}
            }
            self.gather(worker);
        }
        for _ in 0..self.under_way.below(4) {
            let Some((to, package)) = self.under_way.take() else { break };
            self.arrive(now, to, package);
        }
        let is_busy = |worker: &Forwarder| worker.has_turns() || worker.next_turn().is_some_and(|at| at <= now);
        let is_idle = self.under_way.is_empty() && !self.workers.iter().any(is_busy);
        self.under_way.again_at = (!is_idle).then_some(now);
    }

    /// A link that moves has to be where it goes before anybody hears more of it: until then that is with the kernel.
    fn land(&mut self, now: Instant, conn: ConnId) {
        while self.under_way.moving.contains(&conn)
            && let Some((to, package)) = self.under_way.take()
        {
            self.arrive(now, to, package);
        }
    }

    fn arrive(&mut self, now: Instant, to: usize, package: Package) {
        match package {
            Package::Message(message) => self.workers[to].handle_message(now, message),
            Package::Move(moving) => {
                self.under_way.moving.remove(&moving.conn());
                self.homes.insert(moving.conn(), to);
                self.workers[to].handle_arrival(now, moving);
            }
        }
        self.gather(to);
    }

    /// Gives a worker as many turns as it wants, and gathers what comes of that.
    fn collect(&mut self, now: Instant, from: usize) {
        let worker = &mut self.workers[from];
        // What was held goes on; nobody else stands in line here.
        let mut turns = 0..1 << 20;
        while worker.has_turns() || worker.next_turn().is_some_and(|at| at <= now) {
            assert!(turns.next().is_some(), "there is no end of turns");
            worker.begin_turn(now);
            while worker.poll_read(now).is_some() {}
        }
        self.gather(from);
    }

    /// Takes what a worker has for others, and what it says of its connections.
    fn gather(&mut self, from: usize) {
        let worker = &mut self.workers[from];
        while worker.poll_output().is_some() {}
        while let Some(event) = worker.poll_event() {
            match event {
                Event::Close(id) | Event::Finish(id) => {
                    self.homes.remove(&id);
                    self.closed.push_back(id);
                }
                Event::Move(to, moving) if self.stopped.as_ref().is_some_and(Option::is_none) => {
                    self.stopped = Some(Some(((from, to), moving)));
                }
                Event::Move(to, moving) => {
                    self.under_way.moving.insert(moving.conn());
                    self.under_way.put(from, to, Package::Move(moving));
                }
                Event::Notice(..) => {}
                Event::Fact(fact) => self.facts.push_back(fact),
            }
        }
        while let Some((to, message)) = self.workers[from].poll_message() {
            self.under_way.put(from, to, Package::Message(message));
        }
    }
}
