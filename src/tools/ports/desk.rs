//! Everything that has a socket, by token; every stream, by session; and who of them has something to do.
//!
//! A turn costs what the connections with news cost: thousands of idle ones are in two tables and nowhere else.

use super::Portrep;
use super::ask::Ask;
use super::conn::{Conn, Step, Traffic};
use super::exports::Dial;
use super::news::News;
use super::talk::Talk;
use super::throttle::Throttle;
use crate::identity::PeerId;
use crate::net::child::Child;
use crate::net::listen::Listener;
use crate::net::slots::{Slot, Slots};
use crate::net::tcp::Socket;
use crate::node::Key;
use crate::ports::rmi::Referral;
use crate::ports::socks::Reply;
use crate::run::tool::Context;
use crate::wire::CloseCode;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long an accepted connection waits for a session, and for the far side to take it: longer than that waits for its
/// target.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Connections served in a turn before the carrier has its own again.
const TURN_CONNECTIONS: usize = 256;

/// What an event can be about.
pub enum End {
    /// A listener of the import with this number.
    Door(Listener, usize),
    /// An application that has not yet said what it wants of the SOCKS server.
    Talk(Talk),
    /// An accepted connection, waiting for a session.
    Held(Held),
    /// A peer that has not yet said which target it wants.
    Ask(Ask),
    /// A connection to a target in the making.
    Dial(Dial),
    /// A socket joined to a stream.
    Conn(Conn),
    /// The command.
    Child(Child),
}

/// An accepted connection, waiting for a session.
pub struct Held {
    /// The connection.
    pub socket: Socket,
    /// The number of its import.
    pub import: usize,
    /// What was asked of the SOCKS server; empty for everybody else.
    pub asked: Vec<u8>,
}

/// What a peer may have of all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of them: it is the only one.
    All,
    /// What leaves some to others.
    Fair,
}

/// What a stream belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// A connection that this import accepted.
    Import(Slot, usize),
    /// A connection to the target of the export with this number.
    Export(Slot, usize),
    /// A probe of this import.
    Probe(usize),
}

/// See the module's text.
pub struct Desk {
    /// By token.
    pub ends: Slots<End>,
    ties: HashMap<Key, HashMap<u32, Owner>>,
    queue: VecDeque<Slot>,
    patience: BinaryHeap<Reverse<(Instant, Slot)>>,
    reminders: BinaryHeap<Reverse<(Instant, Slot)>>,
    /// How fast.
    pub throttle: Throttle,
    open: usize,
    most: usize,
    served: u64,
    /// Where the servers behind imports, by number, send their callers.
    referrals: Vec<(usize, Referral)>,
}

impl Desk {
    /// With nothing on it yet, for at most so many connections.
    pub fn new(throttle: Throttle, most: usize) -> Desk {
        Desk {
            ends: Slots::default(),
            ties: HashMap::new(),
            queue: VecDeque::new(),
            patience: BinaryHeap::new(),
            reminders: BinaryHeap::new(),
            throttle,
            open: 0,
            most,
            served: 0,
            referrals: Vec::new(),
        }
    }

    /// Whether no further connection may be had.
    pub fn is_full(&self) -> bool {
        self.open >= self.most
    }

    /// Whether a peer may have one more connection to an export. While more than half are taken, one peer among several
    /// gets no more than seven eighths: the rest is for those who come later.
    pub fn has_place_for(&self, ctx: &Context<'_, Portrep>, peer: PeerId, share: Share) -> bool {
        if share == Share::All || self.open < self.most / 2 {
            return !self.is_full();
        }
        let sessions = self.ties.iter().filter(|(key, _)| ctx.node.peer(**key) == Some(peer));
        let has: usize = sessions.map(|(_, streams)| streams.len()).sum();
        !self.is_full() && has < self.most - self.most / 8
    }

    /// Whether bytes that an application has left behind are still to be brought to the far side.
    pub fn owes(&mut self, ctx: &mut Context<'_, Portrep>) -> bool {
        let mut lingering = |key: &Key, streams: &HashMap<u32, Owner>| {
            ctx.node.session(*key).is_some_and(|session| session.stream_count() > streams.len())
        };
        self.ties.iter().any(|(key, streams)| lingering(key, streams)) || {
            let slots = self.ends.keys();
            slots.into_iter().any(|slot| match self.ends.get_mut(slot) {
                Some(End::Held(_)) => true,
                Some(End::Conn(conn)) => ctx.node.session(conn.key).is_some_and(|session| conn.owes(session)),
                _ => false,
            })
        }
    }

    /// Whether the application at this end has said its last word, and so hears of no loss.
    pub fn is_left(&mut self, owner: Owner) -> bool {
        let Owner::Import(slot, _) = owner else { return false };
        matches!(self.ends.get_mut(slot), Some(End::Conn(conn)) if conn.is_left())
    }

    /// Looks at every connection, whatever was heard of it.
    pub fn rouse(&mut self) {
        for slot in self.ends.keys() {
            if let Some(End::Conn(conn)) = self.ends.get_mut(slot) {
                conn.rouse();
                self.enqueue(slot);
            }
        }
    }

    /// Connections now, and ever.
    pub fn counts(&self) -> (usize, u64) {
        (self.open, self.served)
    }

    /// A session is up.
    pub fn tie(&mut self, key: Key) {
        self.ties.entry(key).or_default();
    }

    /// The sessions there are.
    pub fn keys(&self) -> Vec<Key> {
        self.ties.keys().copied().collect()
    }

    /// Who has a stream.
    pub fn owner(&self, key: Key, stream: u32) -> Option<Owner> {
        self.ties.get(&key)?.get(&stream).copied()
    }

    /// Whose the streams of a session are.
    pub fn owners(&self, key: Key) -> Vec<Owner> {
        self.ties.get(&key).map(|streams| streams.values().copied().collect()).unwrap_or_default()
    }

    /// A stream has an owner.
    pub fn own(&mut self, key: Key, stream: u32, owner: Owner) {
        if let Some(streams) = self.ties.get_mut(&key) {
            streams.insert(stream, owner);
        }
    }

    /// It has none any more.
    pub fn disown(&mut self, key: Key, stream: u32) {
        if let Some(streams) = self.ties.get_mut(&key) {
            streams.remove(&stream);
        }
    }

    /// A session is no more. Yields its streams.
    pub fn untie(&mut self, key: Key) -> Vec<Owner> {
        self.ties.remove(&key).unwrap_or_default().into_values().collect()
    }

    /// Puts a connection on the desk. Its socket must be registered under what [`Slots::next_slot`] said.
    pub fn seat(&mut self, end: End) -> Slot {
        self.open += 1;
        self.served += 1;
        self.ends.insert(end)
    }

    /// A connection that waits for something does so until then.
    pub fn wait_until(&mut self, until: Instant, slot: Slot) {
        self.patience.push(Reverse((until, slot)));
    }

    /// A connection in the making is looked at then, whatever was heard of it.
    pub fn remind(&mut self, at: Instant, slot: Slot) {
        self.reminders.push(Reverse((at, slot)));
    }

    /// Looks at those whose time has come.
    pub fn take_reminders(&mut self, now: Instant) {
        while let Some(Reverse((_, slot))) = self.reminders.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.reminders.pop();
            if let Some(End::Dial(_)) = self.ends.get_mut(slot) {
                self.enqueue(slot);
            }
        }
    }

    /// Looks at all connections in the making of the export with this number.
    pub fn rouse_dials(&mut self, gate: usize) {
        for slot in self.ends.keys() {
            if matches!(self.ends.get_mut(slot), Some(End::Dial(dial)) if dial.gate == gate) {
                self.enqueue(slot);
            }
        }
    }

    /// The peer has not taken the stream of a connection, but somebody else may: it waits again.
    pub fn rehold(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, import: usize) {
        let mut of = None;
        self.ends.alter(slot, |end| match end {
            End::Conn(conn) => {
                of = Some((conn.key, conn.stream));
                let (socket, asked) = conn.into_parts();
                Some(End::Held(Held { socket, import, asked }))
            }
            other => Some(other),
        });
        let Some((key, stream)) = of else { return };
        self.disown(key, stream);
        if let Some(session) = ctx.node.session(key) {
            session.stream_mut(stream).release();
        }
    }

    /// Takes a connection, whatever its state, off the desk.
    pub fn take(&mut self, slot: Slot) -> Option<End> {
        let end = self.ends.remove(slot)?;
        self.open -= 1;
        Some(end)
    }

    /// Somebody has news.
    pub fn enqueue(&mut self, slot: Slot) {
        match self.ends.get_mut(slot) {
            Some(End::Conn(conn)) => {
                if !std::mem::replace(&mut conn.queued, true) {
                    self.queue.push_back(slot);
                }
            }
            Some(End::Dial(_) | End::Talk(_) | End::Ask(_)) => self.queue.push_back(slot),
            _ => {}
        }
    }

    /// The socket of a connection has news.
    pub fn handle_ready(&mut self, slot: Slot, event: &mio::event::Event) {
        if let Some(End::Conn(conn)) = self.ends.get_mut(slot) {
            conn.handle_ready(event);
        }
        self.enqueue(slot);
    }

    /// The peer has taken the stream of a connection.
    pub fn handle_taken(&mut self, slot: Slot) {
        if let Some(End::Conn(conn)) = self.ends.get_mut(slot) {
            conn.handle_taken();
        }
        self.enqueue(slot);
    }

    /// Whether the peer has taken the stream of a connection.
    pub fn is_taken(&mut self, slot: Slot) -> bool {
        matches!(self.ends.get_mut(slot), Some(End::Conn(conn)) if conn.is_taken())
    }

    /// Those to serve in this turn.
    pub fn next_batch(&mut self) -> usize {
        self.queue.len().min(TURN_CONNECTIONS)
    }

    /// The next with news.
    pub fn next_queued(&mut self) -> Option<Slot> {
        self.queue.pop_front()
    }

    /// Where servers have sent their callers since the last time.
    pub fn take_referrals(&mut self) -> Vec<(usize, Referral)> {
        std::mem::take(&mut self.referrals)
    }

    /// Whether nobody has news.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Serves one connection. True if bytes moved or it ended.
    pub fn pump(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot) -> bool {
        let most = self.throttle.allowance(ctx.now);
        let Some(End::Conn(conn)) = self.ends.get_mut(slot) else { return false };
        conn.queued = false;
        let mut moved = Traffic::default();
        let step = match ctx.node.session(conn.key) {
            Some(session) => conn.pump(ctx.now, session, most, &mut moved),
            None => Step::Broken,
        };
        while let Some(referral) = conn.poll_referral() {
            if let Some(Owner::Import(_, number)) = self.ties.get(&conn.key).and_then(|ties| ties.get(&conn.stream)) {
                self.referrals.push((*number, referral));
            }
        }
        self.throttle.take(ctx.now, moved);
        match step {
            Step::Waits if most.is_choked() => self.throttle.hold(slot),
            Step::Waits => {}
            Step::Again => self.enqueue(slot),
            Step::Over | Step::Broken => self.drop_conn(ctx, slot, step == Step::Broken),
        }
        moved != Traffic::default() || matches!(step, Step::Over | Step::Broken)
    }

    /// Ends a connection that has ended in both directions or was reset.
    fn drop_conn(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, is_reset: bool) {
        if let Some(End::Conn(conn)) = self.take(slot) {
            tell_end(ctx, &conn, is_reset);
            self.disown(conn.key, conn.stream);
            let session = ctx.node.session(conn.key);
            conn.close(session);
        }
    }

    /// Gives a connection up, in whatever state it is: its stream and its socket are reset.
    pub fn give_up(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot) {
        self.refuse(ctx, slot, Reply::Failure);
    }

    /// The same. An application that waits for the answer of the SOCKS server has this one.
    pub fn refuse(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, reply: Reply) {
        match self.take(slot) {
            Some(End::Conn(conn)) => {
                tell_end(ctx, &conn, true);
                self.disown(conn.key, conn.stream);
                let session = ctx.node.session(conn.key);
                let (socket, asked) = conn.give_up(session);
                turn_down(socket, &asked, reply);
            }
            Some(End::Held(held)) => turn_down(held.socket, &held.asked, reply),
            Some(End::Talk(talk)) => talk.socket.abort(),
            Some(End::Dial(dial)) => self.refuse_stream(ctx, (dial.key, dial.stream), CloseCode::Cancelled),
            Some(End::Ask(ask)) => self.refuse_stream(ctx, (ask.key, ask.stream), CloseCode::Cancelled),
            Some(End::Door(..) | End::Child(_)) | None => {}
        }
    }

    /// Does not take a stream of the peer.
    pub fn refuse_stream(&mut self, ctx: &mut Context<'_, Portrep>, which: (Key, u32), code: CloseCode) {
        let (key, stream) = which;
        self.disown(key, stream);
        if let Some(session) = ctx.node.session(key) {
            session.stream_mut(stream).refuse(code);
        }
    }

    /// Those whose patience is at its end.
    pub fn poll_patience(&mut self, now: Instant) -> Option<Slot> {
        while let Some(Reverse((until, slot))) = self.patience.peek().copied() {
            let waits = match self.ends.get_mut(slot) {
                Some(End::Talk(_) | End::Held(_) | End::Ask(_) | End::Dial(_)) => true,
                Some(End::Conn(conn)) => !conn.is_taken(),
                Some(End::Door(..) | End::Child(_)) | None => false,
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

    /// Lets those go on whom the throttle held.
    pub fn release_throttled(&mut self, now: Instant) {
        for slot in self.throttle.poll(now) {
            self.enqueue(slot);
        }
    }

    /// When there is something to do without an event.
    pub fn next_timeout(&self) -> Option<Instant> {
        let patience = self.patience.peek().map(|Reverse((until, _))| *until);
        let reminder = self.reminders.peek().map(|Reverse((at, _))| *at);
        patience.into_iter().chain(reminder).chain(self.throttle.next_timeout()).min()
    }
}

/// Tells of the end of a connection that the far side had taken.
fn tell_end(ctx: &mut Context<'_, Portrep>, conn: &Conn, is_reset: bool) {
    if let (Some(peer), true) = (ctx.node.peer(conn.key), conn.is_taken()) {
        let (app, joined) = conn.end(is_reset);
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
