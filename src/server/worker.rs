//! One thread of the relay: its loop, its sockets, its [`Forwarder`].
//!
//! A turn: take what others sent; look at events; let time pass; read what is ready and write at once what came of
//! it; do what the machine asks; send others what is theirs. Whose turn it is to be read and written, and how much work a turn
//! is, says the machine. If that is not all that there is, the next turn does not wait.

use super::Trouble;
use super::conn::Conn;
use super::handle::handle_signals;
use super::left_undone::LeftUndone;
use super::life::Stage;
use super::linger::LINGER;
use super::log::LogLine;
use super::mail::{INBOX_MAX, Outbox, Package};
use super::placing::{Asked, Place, Placing};
use super::requests::Got;
use super::shared::Shared;
use super::sockets::{Heard, Sockets, say_last};
use crate::carrier::{End, Visitor};
use crate::identity::Identity;
use crate::net::Written;
use crate::net::accept::Acceptor;
use crate::net::listen::Accepted;
use crate::net::reactor::{Flow, Host, Reactor, Ready, Registry};
use crate::net::signals::Signals;
use crate::net::slots::Slot;
use crate::relay::{
    ComesFrom, ConnId, Event, Forwarder, MovingLink, Newcomer, Placed, Pool, Reader, SLICES_MAX, Work, WorkerIndex,
};
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Signals, for the first worker.
pub(super) const SIGNALS: Slot = Slot::own(1);
/// Listeners, for the first worker.
pub(super) const LISTENERS: Slot = Slot::own(2);

/// Events taken in one turn.
pub(super) const EVENTS: usize = 1024;
/// Packages of other workers taken in one turn that wait for their turns: all that an inbox holds. Of others fewer are taken, a
/// few tenths of a millisecond of work.
const MAIL_MAX: usize = INBOX_MAX;
/// What is done at once takes as long as so many of those.
const AT_ONCE: usize = 4;
/// And a connection that comes: the system has to be told.
const COMER: usize = 32;
/// Output is written right after input of this size, while it is still in the cache; smaller input gathers until the end of
/// the turn, so that many small pieces for one link leave in one write.
const WRITE_SOON_BYTES: usize = 32 * 1024;
/// What is written so soon, at most: before anything else what has just come in, then what others have waiting.
const SOON: Work = Work::micros(250);
/// What is written at the end of a turn, at most.
const WRITING: Work = Work::micros(500);
/// A worker that looks so much later than it was due was stopped, or had no processor.
const LATE: Duration = Duration::from_millis(500);
/// How soon to look again while nobody is read because memory is used up, or while another worker is behind.
const UNREAD_WAIT: Duration = Duration::from_millis(2);

/// A worker and the loop that drives it: what one thread has.
pub(super) struct Thread {
    /// The loop, whose waker is that of the worker's inbox.
    pub reactor: Reactor,
    pub worker: Worker,
}

impl Thread {
    /// Works until the relay has ended.
    ///
    /// # Errors
    /// The system's readiness facility fails, which nothing survives.
    pub(super) fn run(mut self) -> io::Result<()> {
        self.reactor.run(&mut self.worker)
    }
}

/// A worker.
pub(super) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    forwarder: Forwarder,
    sockets: Sockets,
    reader: Reader,
    outbox: Outbox,
    /// The relay's listeners; the first worker has them while it accepts.
    acceptor: Option<Acceptor>,
    /// The process's signals, if they are this relay's; the first worker has them.
    signals: Option<Signals>,
    turn: LeftUndone,
    /// Connections that came in this turn, and that it began to drain: what they led to has to be with the others first.
    come: usize,
    stage: Stage,
}

impl Host for Worker {
    fn handle_mail(&mut self, now: Instant) {
        if self.shared.life.stage() != self.stage {
            self.enter(now, self.shared.life.stage());
        }
        self.take_mail(now);
    }

    fn handle_ready(&mut self, _: &Reactor, now: Instant, ready: Ready) {
        match Slot::of(ready.token) {
            LISTENERS => {
                if let Some(acceptor) = &mut self.acceptor {
                    acceptor.handle_ready();
                }
            }
            SIGNALS => {
                if let Some(signals) = &mut self.signals {
                    handle_signals(now, signals, &self.shared);
                }
            }
            _ => {
                let Some(heard) = self.sockets.handle_ready(ready) else { return };
                let Heard { conn, is_readable, is_writable, is_over, has_gone } = heard;
                if is_writable {
                    self.forwarder.handle_writable(now, conn);
                }
                if is_readable {
                    self.forwarder.handle_readable(conn);
                }
                if is_over {
                    self.forwarder.handle_over(now, conn);
                }
                if has_gone {
                    self.handle_requests(now, conn);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(at) = self.forwarder.next_timeout().filter(|at| *at <= now) {
            if now > at + LATE {
                self.forwarder.handle_late(now);
            }
            self.forwarder.handle_timeout(now);
        }
        self.sockets.lingering.handle_timeout(now);
        self.placing().drop_absent(now);
    }

    fn turn(&mut self, reactor: &mut Reactor, now: Instant) -> io::Result<Flow> {
        self.accept(now);
        self.read(now);
        self.sockets.lingering.read_on();
        self.settle(now);
        (0..std::mem::take(&mut self.come)).for_each(|_| self.shared.handle_come());
        self.outbox.ship()?;
        self.turn.unshipped_until = (self.outbox.len() > 0).then(|| now + UNREAD_WAIT);
        reactor.note_bytes(self.turn.read_bytes);
        self.shared.forwarded[self.index].store(self.forwarder.forwarded_bytes(), Ordering::Relaxed);
        Ok(match self.has_ended(now) {
            true => Flow::Over,
            false if self.is_busy(now) => Flow::Busy,
            false => Flow::Idle,
        })
    }

    fn next_timeout(&self) -> Option<Instant> {
        let accept = self.acceptor.as_ref().and_then(Acceptor::next_timeout);
        let end = self.shared.life.deadline().filter(|_| self.stage == Stage::Draining);
        let next = [
            self.forwarder.next_timeout(),
            self.sockets.lingering.next_timeout(),
            self.sockets.next_timeout(),
            self.forwarder.next_turn(),
            self.turn.unread_until,
            self.turn.unshipped_until,
            accept,
            end,
        ];
        next.into_iter().flatten().min()
    }
}

impl Worker {
    /// A worker. Of its sockets the loop with this registry hears.
    pub(super) fn new(at: WorkerIndex, identity: Arc<Identity>, shared: Arc<Shared>, registry: Registry) -> Worker {
        let pool = Pool::new(Arc::clone(&shared.budget));
        Worker {
            index: at.worker,
            forwarder: Forwarder::new(at, identity, Arc::clone(&shared.common), Arc::clone(&pool)),
            sockets: Sockets::new(registry),
            reader: Reader::new(pool),
            outbox: Outbox::new(Arc::clone(&shared.inboxes)),
            shared,
            acceptor: None,
            signals: None,
            turn: LeftUndone::default(),
            come: 0,
            stage: Stage::Serving,
        }
    }

    /// Makes this the worker that accepts connections, and hears signals if there are any.
    pub(super) fn take_listeners(&mut self, acceptor: Acceptor, signals: Option<Signals>) {
        (self.acceptor, self.signals) = (Some(acceptor), signals);
    }

    /// Whether there is something to do already.
    fn is_busy(&self, now: Instant) -> bool {
        let unread = self.shared.inboxes[self.index].len() > 0;
        let waiting = self.acceptor.as_ref().is_some_and(|acceptor| acceptor.is_due(now));
        let is_read = self.forwarder.has_turns() && self.turn.unread_until.is_none();
        // Some of what was due is left.
        let is_late = self.forwarder.next_timeout().is_some_and(|at| at <= now);
        unread || waiting || is_read || is_late || self.forwarder.has_output() || self.sockets.lingering.is_busy()
    }

    fn enter(&mut self, now: Instant, stage: Stage) {
        self.stage = stage;
        self.acceptor = None;
        if stage == Stage::Draining {
            self.forwarder.handle_shutdown(now, self.patience(now));
            self.come += 1;
        }
    }

    /// Until when a client may take its last bytes and close: as long as there is when it is told to go elsewhere.
    fn patience(&self, now: Instant) -> Instant {
        let end = self.shared.life.deadline().filter(|_| self.stage == Stage::Draining);
        end.unwrap_or(now + LINGER)
    }

    fn has_ended(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Serving => false,
            Stage::Draining => {
                let under_way = self.shared.inboxes[self.index].len() + self.outbox.len();
                let empty = self.forwarder.is_empty() && self.sockets.lingering.is_empty() && under_way == 0;
                // A link that comes here is told here that it is to go elsewhere.
                (empty && !self.shared.life.may_come()) || self.shared.life.deadline().is_some_and(|at| at <= now)
            }
            Stage::Ended => true,
        }
    }

    fn take_mail(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let inbox = &shared.inboxes[self.index];
        inbox.awake();
        // What comes in meanwhile is for the next turn.
        let (mut there, mut left) = (inbox.len(), MAIL_MAX);
        while there > 0 && left > 0 {
            let Some(package) = inbox.take() else { break };
            let weight = match &package {
                Package::Message(message) if message.waits_its_turn() => 1,
                Package::Message(_) | Package::Policy(_) => AT_ONCE,
                Package::Accepted(..) | Package::Arrival(..) | Package::Joins(..) => COMER,
            };
            (there, left) = (there - 1, left.saturating_sub(weight));
            match package {
                Package::Message(message) => self.forwarder.handle_message(now, message),
                Package::Accepted(newcomer, conn) => {
                    self.take_in(now, newcomer, conn);
                    self.come += 1;
                }
                Package::Joins(key, conn) => {
                    self.place(now, key, conn);
                    self.come += 1;
                }
                Package::Policy(policy) => self.forwarder.set_policy(now, *policy),
                Package::Arrival(conn, moving) => {
                    self.take_over(now, conn, moving);
                    self.come += 1;
                }
            }
        }
    }

    /// A link that another worker sent here.
    fn take_over(&mut self, now: Instant, mut conn: Conn, moving: MovingLink) {
        if let Some(requests) = conn.requests_mut() {
            requests.move_to(self.index);
        }
        if self.sockets.take_in(moving.conn(), conn).is_err() {
            return self.forwarder.handle_lost(now, moving);
        }
        self.forwarder.handle_arrival(now, moving);
        if self.stage == Stage::Draining {
            // It was on its way when the others were told.
            self.forwarder.handle_shutdown(now, self.patience(now));
        }
    }

    /// A connection that was placed here.
    fn take_in(&mut self, now: Instant, newcomer: Newcomer, conn: Conn) {
        let id = newcomer.conn;
        self.forwarder.handle_accepted(now, newcomer);
        let serves = self.stage == Stage::Serving;
        let has_asked = conn.asked().is_some();
        if !serves || self.sockets.take_in(id, conn).is_err() {
            return self.forwarder.handle_closed(now, id);
        }
        if has_asked && self.handle_asked(now, id) {
            self.handle_requests(now, id);
        }
    }

    /// A connection has brought a request: for a link that it begins, or for one that is somewhere. Whether it is still here.
    fn handle_asked(&mut self, now: Instant, id: ConnId) -> bool {
        let asked = self.placing().handle_asked(now, id);
        if let Asked::Joins(conn) = asked {
            self.place(now, id, conn);
            return false;
        }
        matches!(asked, Asked::Begun)
    }

    /// A connection that is nobody's here has a request for a link, or is to be closed.
    fn place(&mut self, now: Instant, key: ConnId, conn: Conn) {
        let is_over = self.stage == Stage::Ended;
        match self.placing().place(key, conn) {
            Place::Here(link) => self.handle_requests(now, link),
            Place::Worker(worker, conn) if !is_over => self.send(worker, Package::Joins(key, conn)),
            Place::Anew(address, conn) => self.admit(now, address, conn),
            Place::Worker(_, conn) | Place::Nowhere(conn) => say_last(key, conn),
        }
    }

    fn placing(&mut self) -> Placing<'_> {
        Placing { worker: self.index, shared: &self.shared, forwarder: &mut self.forwarder, sockets: &mut self.sockets }
    }

    /// Something may have changed about a link that requests make up.
    fn handle_requests(&mut self, now: Instant, link: ConnId) {
        for (key, conn) in self.placing().look(now, link) {
            self.place(now, key, conn);
        }
    }

    fn accept(&mut self, now: Instant) {
        let Some(acceptor) = self.acceptor.as_mut().filter(|acceptor| acceptor.is_due(now)) else { return };
        let mut accepted = Vec::new();
        if let Some(error) = acceptor.accept(now, &mut accepted) {
            self.shared.log.line(LogLine::Trouble(Trouble::Accept(error)));
        }
        for Accepted { socket, from } in accepted {
            // It is none of TCP, and a relay has no others.
            let Some(address) = from.map(|from| from.ip()) else { continue };
            let visitor = Visitor::new(Arc::clone(&self.shared.fronts), address);
            self.admit(now, address, Conn::new(socket, visitor, self.shared.certificate.current()));
        }
    }

    /// Places a connection that has come from here.
    fn admit(&mut self, now: Instant, address: IpAddr, conn: Conn) {
        let is_front = self.shared.fronts.are_at(address);
        let from = if is_front { ComesFrom::Front(address) } else { ComesFrom::Client(address) };
        // Closed by being dropped, where there is no place for it.
        let Some(Placed { conn: id, worker, .. }) = self.forwarder.greet(now, from) else { return };
        let newcomer = Newcomer::new(id, from);
        if worker == self.index {
            self.take_in(now, newcomer, conn);
        } else {
            self.send(worker, Package::Accepted(newcomer, conn));
        }
    }

    /// Sends another worker a connection.
    fn send(&mut self, worker: usize, package: Package) {
        self.shared.life.handle_sent();
        self.outbox.put(worker, package);
    }

    fn read(&mut self, now: Instant) {
        self.turn = LeftUndone::default();
        self.forwarder.begin_turn(now);
        while let Some(id) = self.forwarder.poll_read(now) {
            if !self.reader.prepare() {
                self.forwarder.handle_starved(now);
                self.turn.unread_until = Some(now + UNREAD_WAIT);
                self.forwarder.leave_unread(now, id);
                return;
            }
            self.read_link(now, id);
        }
    }

    /// Reads a link once.
    fn read_link(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.sockets.get_mut(id) else { return };
        let (wire, link) = match conn.read(&mut self.reader, self.forwarder.read_most(id)) {
            Ok(Got::Bytes { wire, link }) => (wire, link),
            Ok(Got::Later) => {
                self.forwarder.handle_empty(id);
                return self.handle_requests(now, id);
            }
            Ok(Got::End) | Err(_) => {
                match conn.end() {
                    Some(_) => self.sockets.turn_away(id),
                    None => self.sockets.close(id),
                }
                return self.forwarder.handle_closed(now, id);
            }
        };
        // The rest of what came before a CLOSE may have to wait: the read after that tells of the end.
        let end = conn.end().filter(|end| *end != End::Closed);
        let has_asked = conn.asked().is_some();
        if let Some(source) = if has_asked { None } else { conn.take_source() } {
            self.forwarder.handle_source(now, id, source);
        }
        let Some(conn) = self.sockets.get_mut(id) else { return };
        if !conn.is_readable() {
            self.forwarder.handle_empty(id);
        }
        if conn.take_answered() {
            self.forwarder.handle_carrier_handshake(self.shared.certificate.signing());
        }
        if conn.is_sealed() {
            self.forwarder.handle_opened(wire);
        }
        let has_many = conn.has_many();
        self.turn.read_bytes += wire;
        if wire > link {
            self.forwarder.handle_overhead(now, id, wire - link);
        }
        if has_asked && !self.handle_asked(now, id) {
            return;
        }
        self.forwarder.handle_blocks(now, id, self.reader.blocks(), link);
        if end.is_some() {
            // It was told why, and what came is nothing that carries a link.
            self.sockets.turn_away(id);
            return self.forwarder.handle_garbage(now, id);
        }
        if has_many || has_asked {
            self.handle_requests(now, id);
        }
        self.turn.unwritten_bytes += link;
        if self.turn.unwritten_bytes >= WRITE_SOON_BYTES {
            self.turn.unwritten_bytes = 0;
            self.forwarder.begin_output(SOON);
            self.write(now);
        }
    }

    /// Writes what is ready to go out, as far as sockets take it and its turn goes.
    fn write(&mut self, now: Instant) {
        while let Some(id) = self.forwarder.poll_output() {
            let Some(conn) = self.sockets.get_mut(id).filter(|conn| conn.is_writable()) else { continue };
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let used = self.forwarder.output(now, id, &mut slices);
            if used == 0 {
                continue;
            }
            let is_sealed = conn.is_sealed();
            let count = match conn.write(&slices[..used]) {
                Ok(Written::Bytes(count)) => count,
                Ok(Written::Later) => 0,
                Ok(Written::Gone) | Err(_) => {
                    self.sockets.close(id);
                    self.forwarder.handle_closed(now, id);
                    continue;
                }
            };
            let has_gone = conn.has_gone();
            if is_sealed {
                self.forwarder.handle_sealed(count);
            }
            self.forwarder.handle_written(now, id, count);
            if has_gone {
                self.handle_requests(now, id);
            }
        }
    }

    /// Writes, and does what the machine asks for, until neither leads to the other.
    fn settle(&mut self, now: Instant) {
        self.forwarder.begin_output(WRITING);
        loop {
            self.write(now);
            let Some(event) = self.forwarder.poll_event() else { break };
            match event {
                Event::Close(id) => self.sockets.close(id),
                Event::Finish(id) => self.sockets.finish(self.patience(now), id),
                Event::Move(to, moving) => match self.sockets.release(moving.conn()) {
                    Some(conn) => self.send(to, Package::Arrival(conn, moving)),
                    None => self.forwarder.handle_lost(now, moving),
                },
                Event::Notice(newcomer, notice) => self.shared.log.notice(now, newcomer, notice),
                Event::Fact(fact) => self.shared.log.fact(now, &fact),
            }
        }
        while let Some((worker, message)) = self.forwarder.poll_message() {
            self.outbox.put(worker, Package::Message(message));
        }
    }
}

#[cfg(test)]
#[path = "tests/worker.rs"]
mod tests;
