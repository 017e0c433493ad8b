//! Everything that has a socket, by token; every stream, by session; and who of them has something to do.
//!
//! A turn costs what the connections with news cost: thousands of idle ones are in two tables and nowhere else.

use super::Portrep;
use super::conn::{Conn, Polled, Traffic};
use super::dial::{Asked, Dial};
use super::hello::Hello;
use super::news::News;
use super::shares::{Held, Parties, Party, Room};
use super::streams::{Owner, StreamKey, Streams};
use super::target_request::TargetRequest;
use super::throttle::Throttle;
use crate::identity::PeerId;
use crate::net::child::Child;
use crate::net::reactor::{Ready, Token};
use crate::net::slots::{Slot, Slots};
use crate::net::socket::Socket;
use crate::ports::rmi::Referral;
use crate::ports::socks::Reply;
use crate::run::tool::Context;
use crate::wire::CloseCode;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

/// How long an accepted connection waits for a session, and for the far side to take it: longer than that waits for its
/// target.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Connections served in a turn before the carrier has its own again.
const TURN_CONNECTIONS: usize = 256;

/// What an event can be about.
pub(super) enum Source {
    /// A listener of the import with this number.
    Listener(usize),
    /// An application that has not yet said what it wants of the SOCKS server.
    Hello(Hello),
    /// An accepted connection that waits for a session.
    Waiting(Waiting),
    /// A peer that has not yet said which target it wants.
    Request(TargetRequest),
    /// A connection to a target in the making.
    Dial(Dial),
    /// A socket joined to a stream.
    Conn(Conn),
    /// The command.
    Child(Child),
}

/// An accepted connection that waits for a session.
pub(super) struct Waiting {
    /// The connection.
    pub socket: Socket,
    /// The number of its import.
    pub import: usize,
    /// What was asked of the SOCKS server; empty for everybody else.
    pub asked: Vec<u8>,
}

/// See the module's text.
pub(super) struct Connections {
    sources: Slots<Source>,
    /// Whose each stream is.
    pub streams: Streams,
    queue: VecDeque<Slot>,
    /// Until when those that wait for something do so.
    patience: BinaryHeap<Reverse<(Instant, Slot)>>,
    /// When to look at a dial again without an event.
    reminders: BinaryHeap<Reverse<(Instant, Slot)>>,
    throttle: Throttle,
    open: usize,
    most: usize,
    served: u64,
    /// Who shares them.
    pub parties: Parties,
    /// Where the servers behind imports, by number, send their callers.
    referrals: Vec<(usize, Referral)>,
}

impl Connections {
    /// None yet, and at most so many.
    pub(super) fn new(throttle: Throttle, most: usize) -> Connections {
        Connections {
            sources: Slots::default(),
            streams: Streams::default(),
            queue: VecDeque::new(),
            patience: BinaryHeap::new(),
            reminders: BinaryHeap::new(),
            throttle,
            open: 0,
            most,
            served: 0,
            parties: Parties::default(),
            referrals: Vec::new(),
        }
    }

    /// What becomes of one more connection of somebody's.
    pub(super) fn room_for(&self, ctx: &Context<'_, Portrep>, party: Party) -> Room {
        let mut exports: BTreeMap<PeerId, usize> = BTreeMap::new();
        for (session, count) in self.streams.exports() {
            if let Some(whose) = ctx.node.peer(session) {
                *exports.entry(whose).or_default() += count;
            }
        }
        self.parties.room_for(party, &Held { most: self.most, open: self.open, exports })
    }

    /// Ends one connection of a peer to an export, for somebody who has none: one that no target has taken yet, or that which has
    /// moved nothing for longest. So a byte now and then keeps none of many.
    pub(super) fn make_room(&mut self, ctx: &mut Context<'_, Portrep>, of: PeerId) {
        let theirs = self.streams.sessions().into_iter().filter(|key| ctx.node.peer(*key) == Some(of));
        let owners = theirs.flat_map(|key| self.streams.owners(key));
        let slots = owners.filter_map(|owner| if let Owner::Export(slot, _) = owner { Some(slot) } else { None });
        let slots: Vec<Slot> = slots.collect();
        let moved_at = |slot: &Slot| match self.sources.get_mut(*slot) {
            Some(Source::Conn(conn)) => Some(conn.moved_at()),
            _ => None,
        };
        let Some(slot) = slots.into_iter().min_by_key(moved_at) else { return };
        match self.sources.get_mut(slot) {
            Some(
                Source::Dial(Dial { asked: Asked { stream, .. }, .. }) | Source::Request(TargetRequest { stream, .. }),
            ) => {
                let stream = *stream;
                self.remove(slot);
                self.refuse_stream(ctx, stream, CloseCode::Limit);
            }
            _ => self.give_up(ctx, slot),
        }
    }

    /// Whether bytes that an application has left behind are still to be brought to the far side.
    pub(super) fn owes(&mut self, ctx: &mut Context<'_, Portrep>) -> bool {
        let is_lingering = self
            .streams
            .counts()
            .any(|(session, count)| ctx.node.session(session).is_some_and(|session| session.stream_count() > count));
        is_lingering || {
            let slots = self.sources.keys();
            slots.into_iter().any(|slot| match self.sources.get_mut(slot) {
                Some(Source::Waiting(_)) => true,
                Some(Source::Conn(conn)) => {
                    ctx.node.session(conn.stream.session).is_some_and(|session| conn.owes(session))
                }
                _ => false,
            })
        }
    }

    /// Whether the application at this end has said its last word, and so hears of no loss.
    pub(super) fn is_left(&self, owner: Owner) -> bool {
        let Owner::Import(slot, _) = owner else { return false };
        matches!(self.sources.get(slot), Some(Source::Conn(conn)) if conn.is_left())
    }

    /// Looks at every connection, whatever was heard of it.
    pub(super) fn rouse(&mut self) {
        for slot in self.sources.keys() {
            if let Some(Source::Conn(conn)) = self.sources.get_mut(slot) {
                conn.rouse();
                self.enqueue(slot);
            }
        }
    }

    /// Connections now, and ever.
    pub(super) fn counts(&self) -> (usize, u64) {
        (self.open, self.served)
    }

    /// What is there.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Source> {
        self.sources.get_mut(slot)
    }

    /// The keys of everything that is there.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.sources.keys()
    }

    /// The token of what is put in next.
    pub(super) fn next_token(&mut self) -> Token {
        self.sources.next_slot().token()
    }

    /// Puts a connection in. Its socket must be registered under [`Connections::next_token`].
    pub(super) fn insert(&mut self, source: Source) -> Slot {
        self.open += 1;
        self.served += 1;
        self.sources.insert(source)
    }

    /// The same for what is no connection.
    pub(super) fn insert_uncounted(&mut self, source: Source) -> Slot {
        self.sources.insert(source)
    }

    /// Takes a connection out, whatever its state.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Source> {
        let source = self.sources.remove(slot)?;
        self.open -= 1;
        Some(source)
    }

    /// The same for what is no connection.
    pub(super) fn remove_uncounted(&mut self, slot: Slot) -> Option<Source> {
        self.sources.remove(slot)
    }

    /// Turns a connection from one state into another.
    pub(super) fn alter(&mut self, slot: Slot, change: impl FnOnce(Source) -> Source) {
        self.sources.alter(slot, |source| Some(change(source)));
    }

    /// A connection that waits for something does so until then.
    pub(super) fn wait_until(&mut self, until: Instant, slot: Slot) {
        self.patience.push(Reverse((until, slot)));
    }

    /// A dial is looked at then, whatever was heard of it.
    pub(super) fn remind(&mut self, at: Instant, slot: Slot) {
        self.reminders.push(Reverse((at, slot)));
    }

    /// Looks at those whose time has come: dials, and whom the throttle held back.
    pub(super) fn handle_time(&mut self, now: Instant) {
        for slot in self.throttle.poll(now) {
            self.enqueue(slot);
        }
        while let Some(Reverse((_, slot))) = self.reminders.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.reminders.pop();
            if let Some(Source::Dial(_)) = self.sources.get_mut(slot) {
                self.enqueue(slot);
            }
        }
    }

    /// Looks at all dials of the export with this number.
    pub(super) fn rouse_dials(&mut self, export: usize) {
        for slot in self.sources.keys() {
            if matches!(self.sources.get_mut(slot), Some(Source::Dial(dial)) if dial.asked.export == export) {
                self.enqueue(slot);
            }
        }
    }

    /// The peer has not taken the stream of a connection, but somebody else may: it waits again.
    pub(super) fn wait_again(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, import: usize) {
        let mut left = None;
        self.alter(slot, |source| match source {
            Source::Conn(conn) => {
                left = Some(conn.stream);
                let (socket, asked) = conn.into_parts();
                Source::Waiting(Waiting { socket, import, asked })
            }
            other => other,
        });
        let Some(stream) = left else { return };
        self.streams.remove(stream);
        if let Some(session) = ctx.node.session(stream.session) {
            session.stream_mut(stream.id).release();
        }
    }

    /// Somebody has news.
    pub(super) fn enqueue(&mut self, slot: Slot) {
        match self.sources.get_mut(slot) {
            Some(Source::Conn(conn)) => {
                if !std::mem::replace(&mut conn.queued, true) {
                    self.queue.push_back(slot);
                }
            }
            Some(Source::Dial(_) | Source::Hello(_) | Source::Request(_)) => self.queue.push_back(slot),
            _ => {}
        }
    }

    /// The socket of a connection has news.
    pub(super) fn handle_ready(&mut self, slot: Slot, ready: Ready) {
        if let Some(Source::Conn(conn)) = self.sources.get_mut(slot) {
            conn.handle_ready(ready);
        }
        self.enqueue(slot);
    }

    /// A stream has news.
    pub(super) fn handle_touched(&mut self, stream: StreamKey) {
        if let Some(Owner::Import(slot, _) | Owner::Export(slot, _)) = self.streams.owner(stream) {
            self.enqueue(slot);
        }
    }

    /// The peer has taken the stream of a connection.
    pub(super) fn handle_taken(&mut self, slot: Slot) {
        if let Some(Source::Conn(conn)) = self.sources.get_mut(slot) {
            conn.handle_taken();
        }
        self.enqueue(slot);
    }

    /// Whether the peer has taken the stream of a connection.
    pub(super) fn is_taken(&self, slot: Slot) -> bool {
        matches!(self.sources.get(slot), Some(Source::Conn(conn)) if conn.is_taken())
    }

    /// How many to serve in this turn.
    pub(super) fn turn(&self) -> usize {
        self.queue.len().min(TURN_CONNECTIONS)
    }

    /// The next with news.
    pub(super) fn poll_queued(&mut self) -> Option<Slot> {
        self.queue.pop_front()
    }

    /// Where servers have sent their callers since the last time.
    pub(super) fn take_referrals(&mut self) -> Vec<(usize, Referral)> {
        std::mem::take(&mut self.referrals)
    }

    /// Whether nobody has news.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Serves one connection. True if bytes moved or it ended.
    pub(super) fn pump(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot) -> bool {
        let most = self.throttle.allowance(ctx.now);
        let Some(Source::Conn(conn)) = self.sources.get_mut(slot) else { return false };
        conn.queued = false;
        let mut moved = Traffic::default();
        let step = match ctx.node.session(conn.stream.session) {
            Some(session) => conn.pump(ctx.now, session, most, &mut moved),
            None => Polled::Broken,
        };
        while let Some(referral) = conn.poll_referral() {
            if let Some(Owner::Import(_, number)) = self.streams.owner(conn.stream) {
                self.referrals.push((number, referral));
            }
        }
        self.throttle.take(ctx.now, moved);
        match step {
            Polled::Waits if most.is_choked() => self.throttle.hold(slot),
            Polled::Waits => {}
            Polled::Again => self.enqueue(slot),
            Polled::Over | Polled::Broken => self.drop_conn(ctx, slot, step),
        }
        moved != Traffic::default() || matches!(step, Polled::Over | Polled::Broken)
    }

    /// Ends a connection that has ended in both directions or was reset.
    fn drop_conn(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, step: Polled) {
        if let Some(Source::Conn(conn)) = self.remove(slot) {
            tell_end(ctx, &conn, step);
            self.streams.remove(conn.stream);
            let session = ctx.node.session(conn.stream.session);
            conn.close(session);
        }
    }

    /// Gives a connection up, in whatever state it is: its stream and its socket are reset.
    pub(super) fn give_up(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot) {
        self.refuse(ctx, slot, Reply::Failure);
    }

    /// The same. An application that waits for the answer of the SOCKS server has this one.
    pub(super) fn refuse(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, reply: Reply) {
        match self.remove(slot) {
            Some(Source::Conn(conn)) => {
                tell_end(ctx, &conn, Polled::Broken);
                self.streams.remove(conn.stream);
                let session = ctx.node.session(conn.stream.session);
                let (socket, asked) = conn.give_up(session);
                turn_down(socket, &asked, reply);
            }
            Some(Source::Waiting(waiting)) => turn_down(waiting.socket, &waiting.asked, reply),
            Some(Source::Hello(hello)) => hello.socket.abort(),
            Some(Source::Dial(dial)) => self.refuse_stream(ctx, dial.asked.stream, CloseCode::Cancelled),
            Some(Source::Request(request)) => self.refuse_stream(ctx, request.stream, CloseCode::Cancelled),
            Some(Source::Listener(_) | Source::Child(_)) | None => {}
        }
    }

    /// Does not take a stream of the peer.
    pub(super) fn refuse_stream(&mut self, ctx: &mut Context<'_, Portrep>, stream: StreamKey, code: CloseCode) {
        self.streams.remove(stream);
        if let Some(session) = ctx.node.session(stream.session) {
            session.stream_mut(stream.id).refuse(code);
        }
    }

    /// Lets go of the stream of a probe, which has its answer.
    pub(super) fn end_probe(&mut self, ctx: &mut Context<'_, Portrep>, stream: StreamKey) {
        self.streams.remove(stream);
        if let Some(session) = ctx.node.session(stream.session) {
            session.stream_mut(stream.id).reset(CloseCode::Done);
            session.stream_mut(stream.id).stop(CloseCode::Done);
            session.stream_mut(stream.id).release();
        }
    }

    /// The next whose patience is at its end.
    pub(super) fn poll_patience(&mut self, now: Instant) -> Option<Slot> {
        while let Some(Reverse((until, slot))) = self.patience.peek().copied() {
            let waits = match self.sources.get_mut(slot) {
                Some(Source::Hello(_) | Source::Waiting(_) | Source::Request(_) | Source::Dial(_)) => true,
                Some(Source::Conn(conn)) => !conn.is_taken(),
                Some(Source::Listener(_) | Source::Child(_)) | None => false,
            };
            if waits && now < until {
                return None;
            }
            self.patience.pop();
            if waits {
                return Some(slot);
            }
        }
        None
    }

    /// When there is something to do without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let patience = self.patience.peek().map(|Reverse((until, _))| *until);
        let reminder = self.reminders.peek().map(|Reverse((at, _))| *at);
        patience.into_iter().chain(reminder).chain(self.throttle.next_timeout()).min()
    }
}

/// Tells of the end of a connection that the far side had taken.
fn tell_end(ctx: &mut Context<'_, Portrep>, conn: &Conn, step: Polled) {
    if let (Some(peer), true) = (ctx.node.peer(conn.stream.session), conn.is_taken()) {
        let (app, joined) = conn.end(step == Polled::Broken);
        (ctx.news)(News::Joined(peer, app.as_str(), &joined));
    }
}

/// Resets a socket, or says why to an application that waits for an answer.
fn turn_down(mut socket: Socket, asked: &[u8], reply: Reply) {
    if asked.is_empty() {
        return socket.abort();
    }
    // Nothing was written to it but two bytes, so there is room; whoever has gone needs no answer.
    let _ = socket.try_write(&reply.bytes());
    socket.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::UnixStream;

    #[test]
    fn whoever_waits_does_so_until_its_time_and_each_is_told_of_once() {
        let now = Instant::now();
        let mut connections = Connections::new(Throttle::new(now, None), 8);
        let socket = || Socket::of_unix(UnixStream::pair().unwrap().0);
        let waiting = |socket| Source::Waiting(Waiting { socket, import: 0, asked: Vec::new() });
        let hello = connections.insert(Source::Hello(Hello::new(socket(), 0)));
        let [waits, gone] = [socket(), socket()].map(|socket| connections.insert(waiting(socket)));
        [hello, waits, gone].into_iter().for_each(|slot| connections.wait_until(now + PATIENCE, slot));
        connections.remove(gone);
        assert_eq!(
            (connections.poll_patience(now + PATIENCE / 2), connections.next_timeout()),
            (None, Some(now + PATIENCE))
        );
        let over: Vec<Slot> = std::iter::from_fn(|| connections.poll_patience(now + PATIENCE)).collect();
        assert!(over.len() == 2 && over.contains(&hello) && over.contains(&waits));
        assert_eq!(connections.next_timeout(), None);
    }
}
