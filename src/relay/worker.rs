//! All connections of one worker: bytes in, bytes out.
//!
//! The grammar: `handle_*` tells facts, `poll_*` drains what they led to. Drain [`Forwarder::poll_event`],
//! [`Forwarder::poll_message`] and [`Forwarder::poll_output`] before waiting.

use super::across::Message;
use super::attached::Attachment;
use super::conns::{Conns, Due};
use super::events::{Event, MovingLink, Notice};
use super::fair::reading::Waits;
use super::fair::work::Work;
use super::greeting::{GREETING_CARRIED_MAX, Greetings};
use super::input::Input;
use super::intake::Held;
use super::memory::block::{Buffer, Pool};
use super::memory::cursor::Cursor;
use super::output::SLICES_MAX;
use super::router::admission::{ComesFrom, Crowded, Evicted, Newcomer, Placed};
use super::router::common::{Common, RouterHandle};
use super::router::policy::Policy;
use super::switch::{DUE_AT_ONCE, Switch, WorkerMessage};
use super::to_end::ToEnd;
use super::{ConnId, EndReason, LinkId, WorkerIndex};
use crate::identity::Identity;
#[cfg(feature = "canaries")]
use crate::wire::Control;
use crate::wire::{CloseCode, Features};
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After a time in which nobody looked, so long is what has come in meanwhile heard first: all sockets are read by then.
const HEARING_TIME: Duration = Duration::from_secs(1);

/// The connections of one worker.
pub(crate) struct Forwarder {
    identity: Arc<Identity>,
    pub(super) conns: Conns,
    /// Bodies that the kernel took in one write, by circuit; kept for its memory.
    freed: Vec<(u32, usize)>,
    forwarded_bytes: u64,
    /// Until then nothing is overdue.
    hearing_until: Option<Instant>,
}

impl Forwarder {
    /// One worker of those that share `common`.
    pub(crate) fn new(place: WorkerIndex, identity: Arc<Identity>, common: Arc<Common>, pool: Arc<Pool>) -> Forwarder {
        let switch = Switch::new(place, RouterHandle::new(common), pool);
        Forwarder {
            identity,
            conns: Conns::new(Greetings::new(Features::ours()), switch),
            freed: Vec::new(),
            forwarded_bytes: 0,
            hearing_until: None,
        }
    }

    /// From now on it names other features than this version has.
    #[cfg(feature = "canaries")]
    pub(super) fn set_features(&mut self, features: Features) {
        self.conns.greetings = Greetings::new(features);
    }

    /// Says something to a client.
    #[cfg(feature = "canaries")]
    pub(super) fn say(&mut self, now: Instant, conn: ConnId, message: Control) {
        if let Some(id) = self.conns.link_on(conn) {
            self.conns.switch.change(now, id, |attachment| attachment.outgoing.say(message));
        }
    }

    /// Bytes of circuits that came in so far.
    pub(crate) fn forwarded_bytes(&self) -> u64 {
        self.forwarded_bytes
    }

    /// Connections here.
    pub(crate) fn len(&self) -> usize {
        self.conns.greetings.len() + self.conns.switch.links.len()
    }

    /// Whether there is no connection here, nor anything to be done for one that was.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && self.conns.switch.leaving.is_empty()
    }

    /// How many answers wait for a client, beyond what is in order for it.
    #[cfg(test)]
    pub(super) fn answers(&self, conn: ConnId) -> usize {
        self.conns.switch.links.on(conn).map_or(0, |attachment| attachment.outgoing.answers())
    }

    /// What was done so far, by the book.
    #[cfg(test)]
    pub(super) fn work(&self) -> Work {
        self.conns.reading.line.passed
    }

    // Connections that come.

    /// A connection came in. None: it is to be closed. Its worker has to [`Forwarder::handle_accepted`] it.
    pub(crate) fn greet(&mut self, now: Instant, from: ComesFrom) -> Option<Placed> {
        let placed = match self.conns.switch.router.place(now, from) {
            Ok(placed) => placed,
            Err(Crowded(conn)) => {
                self.conns.notice(Newcomer::new(conn, from), Notice::Stranger(EndReason::Crowded));
                return None;
            }
        };
        // What a front has yet to say is told with that.
        if let ComesFrom::Client(_) = from {
            self.conns.notice(Newcomer::new(placed.conn, from), Notice::Accepted);
        }
        self.evict(now, placed.evicted);
        Some(placed)
    }

    /// A front has said where a connection comes from, or has said no more than that it has connected itself. It may have to go.
    pub(crate) fn handle_source(&mut self, now: Instant, conn: ConnId, source: IpAddr) {
        let Some(greeting) = self.conns.greetings.get_mut(conn) else { return };
        let newcomer = greeting.settle(source);
        self.conns.notice(newcomer, Notice::Accepted);
        match self.conns.switch.router.settle(now, conn, source) {
            Ok(evicted) => self.evict(now, evicted),
            Err(Crowded(conn)) => self.conns.drop_conn(now, conn, EndReason::Crowded),
        }
    }

    fn evict(&mut self, now: Instant, evicted: Option<Evicted>) {
        let Some(Evicted { conn, worker }) = evicted else { return };
        if worker == self.conns.switch.place().worker {
            self.handle_evicted(now, conn);
        } else {
            self.conns.switch.put_message(worker, WorkerMessage::Evict(conn));
        }
    }

    fn handle_evicted(&mut self, now: Instant, conn: ConnId) {
        if self.conns.greetings.contains(conn) {
            self.conns.drop_conn(now, conn, EndReason::Evicted);
        }
    }

    /// A connection that [`Forwarder::greet`] placed here.
    pub(crate) fn handle_accepted(&mut self, now: Instant, newcomer: Newcomer) {
        self.conns.greetings.insert(now, newcomer);
    }

    /// Whether its client has not said who it is.
    pub(crate) fn is_stranger(&self, conn: ConnId) -> bool {
        self.conns.greetings.contains(conn)
    }

    /// A connection is part of a link that others carry, too: it is none of its own any more.
    pub(crate) fn handle_joined(&mut self, conn: ConnId) {
        if self.conns.greetings.remove(conn).is_some() {
            self.conns.switch.router.leave(conn);
        }
    }

    /// A link from another worker; its socket comes with it. What it came for has its turn here as anything else has.
    pub(crate) fn handle_arrival(&mut self, now: Instant, moving: MovingLink) {
        let conn = moving.conn();
        self.conns.switch.move_in(now, moving.attachment);
        self.conns.line_up(conn);
    }

    /// A link that was placed elsewhere could not be handed over: its socket is gone.
    pub(crate) fn handle_lost(&mut self, now: Instant, moving: MovingLink) {
        let conn = moving.conn();
        self.conns.switch.links.insert(moving.attachment);
        self.handle_closed(now, conn);
    }

    // Whose turn it is.

    /// A connection may have something to read from now on.
    pub(crate) fn handle_readable(&mut self, conn: ConnId) {
        self.conns.handle_readable(conn);
    }

    /// A connection is broken or closed: an error or an end follows whatever there is to read.
    pub(crate) fn handle_over(&mut self, now: Instant, conn: ConnId) {
        self.conns.handle_over(now, conn);
    }

    /// There is nothing more to read until [`Forwarder::handle_readable`].
    pub(crate) fn handle_empty(&mut self, conn: ConnId) {
        self.conns.handle_empty(conn);
    }

    /// A turn begins: so much work, and others are to be heard.
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.conns.begin_turn(now);
    }

    /// The connection to read once; what came from other workers has its turn by that, too. None: nobody has input that may be
    /// read, or this turn is over.
    pub(crate) fn poll_read(&mut self, now: Instant) -> Option<ConnId> {
        loop {
            match self.conns.poll_turn(now)? {
                Due::Read(conn) => return Some(conn),
                Due::Tell(link) => {
                    let work = self.conns.tell(now, link);
                    self.conns.reading.line.spend(work);
                    if let Some(account) = self.conns.arrived.end_turn(link) {
                        self.conns.reading.line.enter(&account, Waits::Told(link));
                    }
                }
                Due::Use(conn, Held { undone, pieces }) => {
                    self.forwarded_bytes += self.input(now, conn).use_up(undone, pieces.iter().map(Cursor::again));
                    self.conns.line_up(conn);
                }
            }
        }
    }

    /// Nobody is read for a while: memory is used up. `next` is who would have been. What came from other workers has its turn
    /// all the same: it may be what memory comes back by. How many were looked at: some of those who wait, others the next time.
    pub(crate) fn leave_unread(&mut self, now: Instant, next: ConnId) -> usize {
        self.conns.leave_unread(now, next)
    }

    /// Whether somebody waits to be read in the next turn, or something that came from other workers.
    pub(crate) fn has_turns(&self) -> bool {
        !self.conns.reading.line.is_empty() || !self.conns.switch.leaving.is_empty()
    }

    /// Whether somebody waits to be written.
    pub(crate) fn has_output(&self) -> bool {
        !self.conns.switch.links.writable.is_empty()
    }

    // Input.

    /// Whether a connection may be read now.
    #[cfg(any(feature = "canaries", feature = "fuzzing"))]
    pub(crate) fn may_read(&self, conn: ConnId) -> super::MayRead {
        self.conns.may_read(conn)
    }

    /// Input waits and was not read, for want of memory or because of [`MayRead::Later`]: the other side is not silent. Tell it
    /// again and again while that is so: a circuit for which it lasts too long is ended.
    #[cfg(any(feature = "canaries", feature = "fuzzing"))]
    pub(crate) fn handle_unread(&mut self, now: Instant, conn: ConnId) {
        self.conns.handle_unread(now, conn);
    }

    /// How much may be read from a connection at once, bytes.
    pub(crate) fn read_most(&self, conn: ConnId) -> usize {
        self.conns.read_most(conn)
    }

    /// Bytes that were read into the front of `blocks`, `filled` in all. What is in them is shared from then on.
    pub(crate) fn handle_blocks(&mut self, now: Instant, conn: ConnId, blocks: &[Arc<Buffer>], filled: usize) {
        self.conns.handle_read(now, conn, filled);
        self.conns.reading.line.spend(Work::of_read(filled));
        let input = Cursor::over(blocks, filled);
        match self.conns.switch.links.on_mut(conn) {
            Some(attachment) if attachment.intake.has_held() => {
                attachment.hold(input.map(Cursor::into_piece));
                self.conns.touch(now, conn);
            }
            _ => self.forwarded_bytes += self.input(now, conn).use_up(None, input),
        }
        self.conns.line_up(conn);
    }

    /// So many bytes were read from a connection that are none of its link's: its carrier's own. They are paid for as those are.
    pub(crate) fn handle_overhead(&mut self, now: Instant, conn: ConnId, bytes: usize) {
        self.conns.handle_overhead(now, conn, bytes);
        self.conns.reading.line.spend(Work::of_overhead(bytes));
        if self.conns.greetings.get_mut(conn).is_some_and(|greeting| greeting.received > GREETING_CARRIED_MAX) {
            self.handle_garbage(now, conn);
        }
    }

    /// So many bytes that are being read have been opened: they came within TLS.
    pub(crate) fn handle_opened(&mut self, bytes: usize) {
        self.conns.reading.line.spend(Work::of_sealed(bytes));
    }

    /// So many bytes that were written just now had been sealed: they go within TLS.
    pub(crate) fn handle_sealed(&mut self, bytes: usize) {
        let work = Work::of_sealed(bytes);
        self.conns.reading.line.pass(work);
        self.conns.switch.links.writable.spend(work);
    }

    /// The carrier of the connection that is being read has done the work of a handshake of its own, with a signature that takes so
    /// long.
    pub(crate) fn handle_carrier_handshake(&mut self, signing: Duration) {
        self.conns.reading.line.spend(Work::HANDSHAKE + Work::of_time(signing));
    }

    fn input(&mut self, now: Instant, conn: ConnId) -> Input<'_> {
        Input { conns: &mut self.conns, identity: &self.identity, now, conn }
    }

    /// As [`Forwarder::handle_blocks`] for bytes that lie elsewhere: copies them. All at once, because a link that moves takes
    /// along what is behind the message that it moves for.
    #[cfg(any(feature = "canaries", feature = "fuzzing"))]
    pub(crate) fn handle_bytes(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.handle_blocks(now, conn, &self.copies(bytes), bytes.len());
        }
    }

    #[cfg(any(feature = "canaries", feature = "fuzzing"))]
    fn copies(&self, bytes: &[u8]) -> Vec<Arc<Buffer>> {
        use super::memory::block::{BLOCK_BYTES, Piece};
        let copied = |chunk| Piece::copied(self.conns.switch.pool(), chunk).into_buffer();
        bytes.chunks(BLOCK_BYTES).map(copied).collect()
    }

    /// Memory is used up, and input waits for it. What this worker and the others let go of is what is lacking here. Tell it
    /// again while that is so.
    pub(crate) fn handle_starved(&mut self, now: Instant) {
        self.conns.switch.handle_starved(now);
        self.conns.switch.run_orders(now);
    }

    /// The socket is gone.
    pub(crate) fn handle_closed(&mut self, now: Instant, conn: ConnId) {
        self.conns.drop_conn(now, conn, EndReason::Closed);
        self.conns.switch.run_orders(now);
    }

    /// What came on a connection is nothing that carries a link.
    pub(crate) fn handle_garbage(&mut self, now: Instant, conn: ConnId) {
        self.conns.drop_conn(now, conn, EndReason::Garbage);
        self.conns.switch.run_orders(now);
    }

    // What others and time do.

    /// Something from another worker. What ends of circuits are told waits for its turn: see `across.rs`.
    pub(crate) fn handle_message(&mut self, now: Instant, message: WorkerMessage) {
        match message {
            WorkerMessage::Order(order) => self.conns.switch.router.put_order(order),
            WorkerMessage::ToEnd(to, what, paid) => self.conns.take_in(now, Message { to, what, paid }),
            WorkerMessage::Evict(conn) => self.handle_evicted(now, conn),
            WorkerMessage::Reclaim(threshold) => self.conns.switch.handle_reclaim(now, threshold),
            WorkerMessage::ReclaimMessages => drop(self.conns.switch.reclaim_messages(now)),
        }
        self.conns.switch.run_orders(now);
    }

    /// A new policy for the whole relay: links that it leaves out are ended.
    pub(crate) fn set_policy(&mut self, now: Instant, policy: Policy) {
        self.conns.switch.router.ask(|router, orders| router.set_policy(now, policy, orders));
        self.conns.switch.run_orders(now);
    }

    /// Ends every link with GOING AWAY, after what is queued for it, by `until` at the latest; and drops every handshake.
    pub(crate) fn handle_shutdown(&mut self, now: Instant, until: Instant) {
        let links: Vec<LinkId> = self.conns.switch.links.iter().map(|attachment| attachment.id).collect();
        for id in links {
            self.conns.switch.change(now, id, |attachment| attachment.end(CloseCode::GoingAway, until));
        }
        for conn in self.conns.greetings.conns() {
            self.conns.drop_conn(now, conn, EndReason::Ended(CloseCode::GoingAway));
        }
        self.conns.switch.run_orders(now);
    }

    /// When [`Forwarder::handle_timeout`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let next = self.conns.greetings.next_timeout().into_iter().chain(self.conns.switch.next_timeout()).min();
        next.map(|at| self.hearing_until.map_or(at, |until| at.max(until)))
    }

    /// Nobody looked when something was due: this process was stopped, or had no processor. What has come in since, a sign of
    /// life or an answer, is heard before anybody is taken for late. Said again in that time it changes nothing.
    pub(crate) fn handle_late(&mut self, now: Instant) {
        self.hearing_until.get_or_insert(now + HEARING_TIME);
    }

    /// Closes some of what is dead and ends some of what has waited long enough. There is more if [`Forwarder::next_timeout`] says so.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.hearing_until.is_some_and(|until| now < until) {
            return;
        }
        self.hearing_until = None;
        for _ in 0..DUE_AT_ONCE {
            let Some(conn) = self.conns.greetings.poll_overdue(now) else { break };
            self.conns.drop_conn(now, conn, EndReason::Dead);
        }
        self.conns.switch.handle_timeout(now);
        self.conns.switch.run_orders(now);
    }

    /// The next thing to do with a connection, or that has happened.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.conns.switch.poll_event()
    }

    /// The next message, with the worker it is for.
    pub(crate) fn poll_message(&mut self) -> Option<(usize, WorkerMessage)> {
        self.conns.switch.poll_message()
    }

    // Output.

    /// Writing begins that may cost so much.
    pub(crate) fn begin_output(&mut self, work: Work) {
        self.conns.switch.links.writable.begin(work);
    }

    /// A connection that has output, to be written once. None: none has, or enough was written for now.
    pub(crate) fn poll_output(&mut self) -> Option<ConnId> {
        self.conns.greetings.poll_output().or_else(|| self.conns.switch.links.poll_output())
    }

    /// The socket takes bytes again, after it had not.
    pub(crate) fn handle_writable(&mut self, now: Instant, conn: ConnId) {
        self.conns.touch(now, conn);
        self.conns.switch.run_orders(now);
    }

    /// Puts output in order and shows it. 0: nothing to write.
    pub(crate) fn output<'a>(
        &'a mut self,
        now: Instant,
        conn: ConnId,
        slices: &mut [IoSlice<'a>; SLICES_MAX],
    ) -> usize {
        if let Some(attachment) = self.conns.switch.links.on_mut(conn)
            && attachment.fill(now).is_err()
        {
            // The key is used up, after 2^64 messages.
            let id = attachment.id;
            self.conns.switch.drop_link(now, id, EndReason::Ended(CloseCode::Limit));
            self.conns.switch.run_orders(now);
        }
        match self.conns.switch.links.on(conn) {
            Some(attachment) => attachment.outgoing.output.slices(slices),
            None => self.conns.greetings.get_mut(conn).map_or(0, |greeting| greeting.output.slices(slices)),
        }
    }

    /// When to begin a turn, if nothing else happens: connections with input may not be read before.
    pub(crate) fn next_turn(&self) -> Option<Instant> {
        self.conns.reading.next_look()
    }

    /// The kernel took `count` bytes of what [`Forwarder::output`] showed; 0 if it would have blocked.
    pub(crate) fn handle_written(&mut self, now: Instant, conn: ConnId, count: usize) {
        let work = Work::of_write(count);
        self.conns.reading.line.pass(work);
        let Some(attachment) = self.conns.switch.links.on_mut(conn) else {
            if let Some(greeting) = self.conns.greetings.get_mut(conn) {
                greeting.output.advance(count, |_, _| {});
            }
            return self.conns.greetings.touch(conn);
        };
        let (id, mut freed) = (attachment.id, std::mem::take(&mut self.freed));
        attachment.handle_written(now, count, |circuit, bytes| match freed.last_mut() {
            Some((last, sum)) if *last == circuit => *sum += bytes,
            _ => freed.push((circuit, bytes)),
        });
        self.conns.switch.links.writable.spend(work);
        for (circuit, bytes) in freed.drain(..) {
            let Some(attachment) = self.conns.switch.links.get_mut(id) else { break };
            let Some(far) = attachment.circuits.end(circuit).map(|end| end.far) else { continue };
            self.conns.switch.deliver(now, id, far, ToEnd::Freed(u32::try_from(bytes).unwrap_or(u32::MAX)));
        }
        self.freed = freed;
        self.conns.switch.touch(now, id);
        if self.conns.switch.links.get(id).is_some_and(Attachment::has_ended) {
            // For the reason for which it was ended.
            self.conns.switch.remove(now, id, EndReason::Closed);
            self.conns.switch.put_event(Event::Finish(conn));
        }
        self.conns.switch.run_orders(now);
        // What it has said and was not looked at may have its turn.
        self.conns.line_up(conn);
    }
}
