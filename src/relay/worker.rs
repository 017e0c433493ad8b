//! All connections of one worker: bytes in, bytes out.
//!
//! The grammar: `handle_*` tells facts, `poll_*` drains what they led to. Drain [`Forwarder::poll_event`],
//! [`Forwarder::poll_message`] and [`Forwarder::poll_output`] before waiting.

use super::attached::Attachment;
use super::circuit::end::Arrival;
use super::circuit::table::{Input, Misused, Received};
use super::control::{Client, Flow};
use super::events::{Event, MovingLink, Notice, Why};
use super::greeting::{Greeted, Greetings};
use super::memory::block::{Buffer, Piece, Pool};
use super::output::SLICES_MAX;
use super::pace::MayRead;
use super::router::admission::{Newcomer, Placed};
use super::router::circuits::Cut;
use super::router::common::{Common, RouterHandle};
use super::router::policy::Policy;
use super::router::requests::Side;
use super::switch::{ENDING_MAX, Switch, ToEnd, WorkerMessage};
use super::{ConnId, LinkId, Place};
use crate::identity::Identity;
use crate::link::{Frame, LinkError};
#[cfg(feature = "canaries")]
use crate::wire::Control;
use crate::wire::{CloseCode, Features};
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The connections of one worker.
pub struct Forwarder {
    identity: Arc<Identity>,
    greetings: Greetings,
    switch: Switch,
    /// Bodies that the kernel took in one write, by circuit; kept for its memory.
    freed: Vec<(u32, usize)>,
    forwarded_bytes: u64,
}

/// A block, and how much of what was read into it has been used.
struct Cursor<'a> {
    block: &'a Arc<Buffer>,
    at: usize,
    filled: usize,
}

impl<'a> Cursor<'a> {
    /// What was read into the front of `blocks`, `filled` bytes in all.
    fn over(blocks: &'a [Arc<Buffer>], filled: usize) -> impl Iterator<Item = Cursor<'a>> {
        blocks.iter().scan(filled, |left, block| {
            let filled = (*left).min(block.bytes().len());
            *left -= filled;
            (filled > 0).then_some(Cursor { block, at: 0, filled })
        })
    }

    /// What was held before.
    fn again(piece: &'a Piece) -> Cursor<'a> {
        let (block, range) = piece.place();
        Cursor { block, at: range.start, filled: range.end }
    }

    fn rest(&self) -> &'a [u8] {
        &self.block.bytes()[self.at..self.filled]
    }

    fn into_piece(self) -> Piece {
        Piece::new(self.block, self.at..self.filled)
    }
}

impl Forwarder {
    /// One worker of those that share `common`.
    pub fn new(place: Place, identity: Arc<Identity>, common: Arc<Common>, pool: Arc<Pool>) -> Forwarder {
        let switch = Switch::new(place, RouterHandle::new(common), pool);
        Forwarder {
            identity,
            greetings: Greetings::new(Features::ours()),
            switch,
            freed: Vec::new(),
            forwarded_bytes: 0,
        }
    }

    /// From now on it names other features than this version has.
    #[cfg(feature = "canaries")]
    pub(super) fn set_features(&mut self, features: Features) {
        self.greetings = Greetings::new(features);
    }

    /// Says something to a client.
    #[cfg(feature = "canaries")]
    pub(super) fn say(&mut self, now: Instant, conn: ConnId, message: Control) {
        self.switch.change(now, conn.link(), |attachment| attachment.outgoing.say(message));
    }

    /// Bytes of circuits that came in so far.
    pub fn forwarded_bytes(&self) -> u64 {
        self.forwarded_bytes
    }

    /// Connections here.
    pub fn len(&self) -> usize {
        self.greetings.len() + self.switch.links.len()
    }

    /// Whether there is no connection here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many answers wait for a client, beyond what is in order for it.
    #[cfg(test)]
    pub(super) fn answers(&self, conn: ConnId) -> usize {
        self.switch.links.get(conn.link()).map_or(0, |attachment| attachment.outgoing.answers())
    }

    // Connections that come.

    /// A connection came in. Its worker has to [`Forwarder::handle_accepted`] it; who was evicted for it is told.
    pub fn greet(&mut self, now: Instant, source: IpAddr) -> Placed {
        let placed = self.switch.router.place(source);
        self.notice(Newcomer { conn: placed.conn, source }, Notice::Accepted);
        if let Some(evicted) = placed.evicted {
            if evicted.worker == self.switch.place().worker {
                self.handle_evicted(now, evicted.conn);
            } else {
                self.switch.put_message(evicted.worker, WorkerMessage::Evict(evicted.conn));
            }
        }
        placed
    }

    fn handle_evicted(&mut self, now: Instant, conn: ConnId) {
        if self.greetings.contains(conn) {
            self.drop_conn(now, conn, Why::Evicted);
        }
    }

    /// A connection that [`Forwarder::greet`] placed here.
    pub fn handle_accepted(&mut self, now: Instant, newcomer: Newcomer) {
        self.greetings.insert(now, newcomer);
    }

    /// A link from another worker; its socket comes with it.
    pub fn handle_arrival(&mut self, now: Instant, moving: MovingLink) {
        let MovingLink { attachment, replay, rest } = moving;
        let id = attachment.id;
        self.switch.move_in(now, attachment);
        // It has been placed: whatever changed meanwhile, it stays here for this message.
        if let Flow::Continue = Client::new(&mut self.switch, now, id).act(replay) {
            // Its rate has counted it.
            self.take_blocks(now, id.conn(), &self.copies(&rest), rest.len());
        }
        self.switch.run_orders(now);
        self.switch.touch(now, id);
    }

    /// A link that was placed elsewhere could not be handed over: its socket is gone.
    pub fn handle_lost(&mut self, now: Instant, moving: MovingLink) {
        let conn = moving.conn();
        self.switch.links.insert(moving.attachment);
        self.handle_closed(now, conn);
    }

    // Input.

    /// Whether a connection may be read now.
    pub fn may_read(&self, conn: ConnId) -> MayRead {
        match self.switch.links.get(conn.link()) {
            Some(attachment) => attachment.may_read(),
            None if self.greetings.contains(conn) => MayRead::Now,
            None => MayRead::Never,
        }
    }

    /// How much may be read from a connection at once, bytes.
    pub fn read_most(&self, conn: ConnId) -> usize {
        self.switch.links.get(conn.link()).map_or(usize::MAX, Attachment::read_most)
    }

    /// Bytes that were read into the front of `blocks`, `filled` in all. What is in them is shared from then on.
    pub fn handle_blocks(&mut self, now: Instant, conn: ConnId, blocks: &[Arc<Buffer>], filled: usize) {
        if let Some(attachment) = self.switch.links.get_mut(conn.link()) {
            attachment.handle_read(now, filled);
        }
        self.take_blocks(now, conn, blocks, filled);
    }

    fn take_blocks(&mut self, now: Instant, conn: ConnId, blocks: &[Arc<Buffer>], filled: usize) {
        let input = Cursor::over(blocks, filled);
        match self.switch.links.get_mut(conn.link()) {
            Some(attachment) if attachment.has_held() => {
                attachment.hold(input.map(Cursor::into_piece));
                self.touch(now, conn);
            }
            _ => self.use_input(now, conn, input),
        }
    }

    /// Uses input, until there is no more or the link is not to be listened to.
    fn use_input<'a>(&mut self, now: Instant, conn: ConnId, mut input: impl Iterator<Item = Cursor<'a>>) {
        while let Some(mut cursor) = input.next() {
            match self.feed(now, conn, &mut cursor) {
                Flow::Continue => continue,
                Flow::Gone => {}
                Flow::Hold => {
                    if let Some(attachment) = self.switch.links.get_mut(conn.link()) {
                        attachment.hold([cursor].into_iter().chain(input).map(Cursor::into_piece));
                    }
                }
                Flow::Move(to, replay) => {
                    let rest = [cursor].into_iter().chain(input).flat_map(|cursor| cursor.rest().iter().copied());
                    self.switch.move_out(conn.link(), to, replay, rest.collect());
                }
            }
            break;
        }
        self.switch.run_orders(now);
        self.touch(now, conn);
    }

    /// As [`Forwarder::handle_blocks`] for bytes that lie elsewhere: copies them. All at once, because a link that moves takes
    /// along what is behind the message that it moves for.
    pub fn handle_bytes(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.handle_blocks(now, conn, &self.copies(bytes), bytes.len());
        }
    }

    fn copies(&self, bytes: &[u8]) -> Vec<Arc<Buffer>> {
        let copied = |chunk| Piece::copied(self.switch.pool(), chunk).into_buffer();
        bytes.chunks(super::BLOCK_BYTES).map(copied).collect()
    }

    /// Uses what was read into a block, a frame at a time.
    fn feed(&mut self, now: Instant, conn: ConnId, cursor: &mut Cursor<'_>) -> Flow {
        let id = conn.link();
        while cursor.at < cursor.filled {
            let Some(attachment) = self.switch.links.get_mut(id) else {
                let Some(taken) = self.feed_greeting(now, conn, cursor.rest()) else { return Flow::Gone };
                cursor.at += taken;
                continue;
            };
            if attachment.is_ending() {
                return Flow::Gone;
            }
            if attachment.outgoing.has_many_answers() {
                return Flow::Hold;
            }
            let start = cursor.at;
            let frame = match attachment.read(cursor.rest()) {
                Ok((used, frame)) => {
                    cursor.at += used;
                    frame
                }
                Err(error) => return self.fail(now, id, error),
            };
            let Frame::Data { circuit, bytes, credit } = frame else {
                match Client::new(&mut self.switch, now, id).handle_frame(frame) {
                    Flow::Continue => continue,
                    other => return other,
                }
            };
            match attachment.receive(now, Input { circuit, bytes: bytes.len(), credit }) {
                // It has ended: what is still on its way is dropped.
                None => {}
                Some(Err(Misused)) => {
                    self.switch.end(now, id, CloseCode::Protocol);
                    return Flow::Gone;
                }
                Some(Ok(Received { arrival: Arrival::Overflows, .. })) => {
                    self.switch.cut_circuit(now, Side { link: id, circuit }, Cut::Overflowed);
                }
                Some(Ok(Received { far, .. })) => {
                    self.forwarded_bytes += u64::try_from(bytes.len()).unwrap_or(0);
                    let piece = Piece::new(cursor.block, start + bytes.start..start + bytes.end);
                    self.switch.deliver(now, far, ToEnd::Data(piece));
                }
            }
        }
        Flow::Continue
    }

    fn feed_greeting(&mut self, now: Instant, conn: ConnId, input: &[u8]) -> Option<usize> {
        let greeting = self.greetings.get_mut(conn)?;
        let Ok((taken, greeted)) = greeting.handle_bytes(&self.identity, input) else {
            self.drop_conn(now, conn, Why::Garbage);
            return None;
        };
        let Greeted::Done(authenticated) = greeted else { return Some(taken) };
        let (id, peer) = (conn.link(), authenticated.peer);
        let (owed, newcomer) = (std::mem::take(&mut greeting.output), greeting.newcomer);
        self.greetings.remove(conn);
        let worker = self.switch.place().worker;
        let admission = if self.switch.router.leave(conn) {
            self.switch.router.ask(|router, _| router.attach(id, worker, peer, newcomer.source))
        } else {
            // Evicted a moment ago: the client may dial again.
            Err(CloseCode::GoingAway)
        };
        let mut attachment = Box::new(Attachment::new(now, id, authenticated, owed));
        match admission {
            Ok(share) => attachment.admit(share),
            Err(code) => {
                attachment.end(code, now + ENDING_MAX);
                self.notice(newcomer, Notice::TurnedAway(peer, code));
            }
        }
        self.switch.links.insert(attachment);
        Some(taken)
    }

    /// The link is broken: ended with a word if the other side can be told, else closed.
    fn fail(&mut self, now: Instant, id: LinkId, error: LinkError) -> Flow {
        match error {
            LinkError::Header(_) | LinkError::Control(_) => self.switch.end(now, id, CloseCode::Protocol),
            LinkError::Unauthentic | LinkError::Exhausted => self.switch.drop_link(now, id, Why::Garbage),
        }
        Flow::Gone
    }

    /// A read has found nothing.
    pub fn handle_empty(&mut self, conn: ConnId) {
        if let Some(attachment) = self.switch.links.get_mut(conn.link()) {
            attachment.handle_empty();
        }
    }

    /// Input waits and was not read, for want of memory or because of [`MayRead::Later`]: the other side is not silent. Tell it
    /// again and again while that is so: a circuit for which it lasts too long is ended.
    pub fn handle_unread(&mut self, now: Instant, conn: ConnId) {
        let Some(attachment) = self.switch.links.get_mut(conn.link()) else { return };
        if let Some(circuit) = attachment.handle_unread(now) {
            self.switch.cut_circuit(now, Side { link: conn.link(), circuit }, Cut::BlockedItsLink);
            self.switch.run_orders(now);
        }
    }

    /// Memory is used up, and input waits for it. What this worker and the others let go of is what is lacking here. Tell it
    /// again while that is so.
    pub fn handle_starved(&mut self, now: Instant) {
        self.switch.handle_starved(now);
        self.switch.run_orders(now);
    }

    /// The socket is gone.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId) {
        self.drop_conn(now, conn, Why::Closed);
        self.switch.run_orders(now);
    }

    // What others and time do.

    /// Something from another worker.
    pub fn handle_message(&mut self, now: Instant, message: WorkerMessage) {
        match message {
            WorkerMessage::Order(order) => self.switch.router.put_order(order),
            WorkerMessage::ToEnd(to, what) => self.switch.handle_told(now, to, what),
            WorkerMessage::Evict(conn) => self.handle_evicted(now, conn),
            WorkerMessage::Reclaim(threshold) => self.switch.handle_reclaim(now, threshold),
            WorkerMessage::ReclaimMessages => drop(self.switch.reclaim_messages(now)),
        }
        self.switch.run_orders(now);
    }

    /// A new policy for the whole relay: links that it leaves out are ended.
    pub fn set_policy(&mut self, now: Instant, policy: Policy) {
        self.switch.router.ask(|router, orders| router.set_policy(policy, orders));
        self.switch.run_orders(now);
    }

    /// Ends every link with GOING AWAY, after what is queued for it, by `until` at the latest; and drops every handshake.
    pub fn handle_shutdown(&mut self, now: Instant, until: Instant) {
        let links: Vec<LinkId> = self.switch.links.iter().map(|attachment| attachment.id).collect();
        for id in links {
            self.switch.change(now, id, |attachment| attachment.end(CloseCode::GoingAway, until));
        }
        for conn in self.greetings.conns() {
            self.drop_conn(now, conn, Why::Ended(CloseCode::GoingAway));
        }
        self.switch.run_orders(now);
    }

    /// When [`Forwarder::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.greetings.next_timeout().into_iter().chain(self.switch.next_timeout()).min()
    }

    /// Closes what is dead and ends what has waited long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(conn) = self.greetings.poll_overdue(now) {
            self.drop_conn(now, conn, Why::Dead);
        }
        self.switch.handle_timeout(now);
        self.switch.run_orders(now);
    }

    /// The next thing to do with a connection, or that has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.switch.poll_event()
    }

    /// The next message, with the worker it is for.
    pub fn poll_message(&mut self) -> Option<(usize, WorkerMessage)> {
        self.switch.poll_message()
    }

    // Output.

    /// A connection that has output.
    pub fn poll_output(&mut self) -> Option<ConnId> {
        self.greetings.poll_output().or_else(|| self.switch.links.poll_output().map(LinkId::conn))
    }

    /// The socket takes bytes again, after it had not.
    pub fn handle_writable(&mut self, now: Instant, conn: ConnId) {
        self.touch(now, conn);
        self.switch.run_orders(now);
    }

    /// Puts output in order and shows it. 0: nothing to write.
    pub fn output<'a>(&'a mut self, now: Instant, conn: ConnId, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let id = conn.link();
        if let Some(attachment) = self.switch.links.get_mut(id)
            && attachment.fill(now).is_err()
        {
            // The key is used up, after 2^64 messages.
            self.switch.drop_link(now, id, Why::Ended(CloseCode::Limit));
            self.switch.run_orders(now);
        }
        match self.switch.links.get(id) {
            Some(attachment) => attachment.outgoing.output.slices(slices),
            None => self.greetings.get_mut(conn).map_or(0, |greeting| greeting.output.slices(slices)),
        }
    }

    /// The kernel took `count` bytes of what [`Forwarder::output`] showed; 0 if it would have blocked.
    pub fn handle_written(&mut self, now: Instant, conn: ConnId, count: usize) {
        let id = conn.link();
        let Some(attachment) = self.switch.links.get_mut(id) else {
            if let Some(greeting) = self.greetings.get_mut(conn) {
                greeting.output.advance(count, |_, _| {});
            }
            return self.greetings.touch(conn);
        };
        let mut freed = std::mem::take(&mut self.freed);
        attachment.handle_written(now, count, |circuit, bytes| match freed.last_mut() {
            Some((last, sum)) if *last == circuit => *sum += bytes,
            _ => freed.push((circuit, bytes)),
        });
        for (circuit, bytes) in freed.drain(..) {
            let Some(attachment) = self.switch.links.get_mut(id) else { break };
            let Some(far) = attachment.circuits.end(circuit).map(|end| end.far) else { continue };
            self.switch.deliver(now, far, ToEnd::Freed(u32::try_from(bytes).unwrap_or(u32::MAX)));
        }
        self.freed = freed;
        self.switch.touch(now, id);
        if self.switch.links.get(id).is_some_and(Attachment::has_ended) {
            // For the reason for which it was ended.
            self.switch.remove(now, id, Why::Closed);
            self.switch.put_event(Event::Finish(conn));
        }
        self.switch.run_orders(now);
        if let Some(held) = self.switch.links.get_mut(id).and_then(Attachment::take_held) {
            self.use_input(now, conn, held.iter().map(Cursor::again));
        }
    }

    fn notice(&mut self, newcomer: Newcomer, notice: Notice) {
        self.switch.put_event(Event::Notice(newcomer, notice));
    }

    /// After any change to a connection.
    fn touch(&mut self, now: Instant, conn: ConnId) {
        self.switch.touch(now, conn.link());
        self.greetings.touch(conn);
    }

    /// Forgets a connection and has its socket closed.
    fn drop_conn(&mut self, now: Instant, conn: ConnId, why: Why) {
        if let Some(greeting) = self.greetings.remove(conn) {
            self.switch.router.leave(conn);
            self.notice(greeting.newcomer, Notice::Stranger(why));
            self.switch.put_event(Event::Close(conn));
        } else {
            self.switch.drop_link(now, conn.link(), why);
        }
    }
}
