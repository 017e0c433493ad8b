//! Ports of this network that peers may reach: who may, and the way to the target.
//!
//! A stream is taken when the target has taken the connection, and refused when it has not. What is not exported and what
//! is exported to others look alike to a peer.

use super::Portrep;
use super::ask::Ask;
use super::conn::{Conn, Start};
use super::desk::{End, Owner, Share};
use super::proxy;
use super::service::{Service, Wish};
use super::slots::Slot;
use super::targets::{Resolved, Target};
use crate::app::client::{Context, Notice};
use crate::identity::{AppName, PeerId};
use crate::net::tcp::{Place, Socket};
use crate::node::Key;
use crate::session::{Half, Session};
use crate::wire::CloseCode;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// How long a target has to take a connection, all its addresses together; and a peer to name one.
pub const TARGET_TIME: Duration = Duration::from_secs(10);

/// What is served, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// What peers call it.
    pub app: AppName,
    /// What they get.
    pub target: Target,
    /// Who they are.
    pub allow: Vec<PeerId>,
}

/// An export at work.
pub struct Gate {
    /// What peers call it.
    pub app: AppName,
    /// What they get.
    pub resolved: Resolved,
    /// Who they are.
    pub allow: Vec<PeerId>,
    /// The relay has registered it.
    pub attached: bool,
    /// The last connection to the target failed, and somebody was told.
    failing: bool,
}

impl Gate {
    /// Closed until the relay knows of it.
    pub fn new(app: AppName, resolved: Resolved, allow: Vec<PeerId>) -> Gate {
        Gate { app, resolved, allow, attached: false, failing: false }
    }
}

/// A connection to a target in the making.
pub struct Dial {
    socket: Socket,
    left: VecDeque<Place>,
    /// The session.
    pub key: Key,
    /// The stream that asks for it.
    pub stream: u32,
    gate: usize,
    wish: Wish,
}

impl Dial {
    /// Under way over this socket, with these places left, for this stream, by this export.
    pub fn new(socket: Socket, left: VecDeque<Place>, stream: (Key, u32), what: (usize, Wish)) -> Dial {
        Dial { socket, left, key: stream.0, stream: stream.1, gate: what.0, wish: what.1 }
    }
}

impl Portrep {
    /// A peer wants a connection.
    pub(super) fn serve(&mut self, ctx: &mut Context<'_>, key: Key, stream: u32, service: &[u8]) {
        match self.find(ctx, key, service) {
            Ok((gate, Wish::Proxied, _)) => self.listen_to(ctx, Ask::new(key, stream, gate)),
            // Which target is not known before somebody names it: being served is all there is to probe.
            Ok((_, Wish::Probe, places)) if places.is_empty() => self.answer_probe(ctx, key, stream),
            Ok((gate, wish, places)) => {
                let asked = Asked { key, stream, gate, wish };
                if let Err(error) = self.dial(ctx, &asked, places) {
                    self.handle_target_failed(ctx, &asked, &error);
                }
            }
            Err(code) => {
                if let Some(session) = ctx.node.session(key) {
                    session.refuse_stream(stream, code);
                }
            }
        }
    }

    fn find(&self, ctx: &Context<'_>, key: Key, service: &[u8]) -> Result<(usize, Wish, VecDeque<Place>), CloseCode> {
        let (wish, service) = Service::parse(service).ok_or(CloseCode::NotHere)?;
        let peer = ctx.node.peer(key).ok_or(CloseCode::NotHere)?;
        let gate = self.gates.iter().position(|gate| gate.app == service.app).ok_or(CloseCode::NotHere)?;
        if !self.gates[gate].allow.contains(&peer) {
            return Err(CloseCode::NotHere);
        }
        let proxied = matches!(self.gates[gate].resolved.target(), Target::Socks(_));
        let places = self.gates[gate].resolved.places(service.offset);
        let places = match (wish, places) {
            (Wish::Proxied | Wish::Probe, None) if proxied && service.offset == 0 => Vec::new(),
            (Wish::Connection | Wish::Probe, Some(places)) => places,
            _ => return Err(CloseCode::NotHere),
        };
        if !self.desk.has_place_for(ctx, peer, self.share()) || self.stopping.is_some() {
            return Err(CloseCode::Limit);
        }
        Ok((gate, wish, places.into()))
    }

    fn share(&self) -> Share {
        let mut peers = self.gates.iter().flat_map(|gate| &gate.allow);
        let first = peers.next();
        if peers.all(|peer| Some(peer) == first) { Share::All } else { Share::Fair }
    }

    /// Begins with the first place that does not fail at once.
    fn dial(&mut self, ctx: &mut Context<'_>, asked: &Asked, mut places: VecDeque<Place>) -> io::Result<()> {
        let slot = self.desk.ends.next();
        let socket = connect_next(ctx, slot, &mut places)?;
        let Asked { key, stream, gate, wish } = *asked;
        let slot = self.desk.seat(End::Dial(Dial::new(socket, places, (key, stream), (gate, wish))));
        self.desk.wait_until(ctx.now + TARGET_TIME, slot);
        self.desk.own(key, stream, Owner::Export(slot, gate));
        // On this machine and on quick networks it is there already.
        self.desk.enqueue(slot);
        Ok(())
    }

    /// The target, or the peer, may have said something. True if the waiting is over.
    pub(super) fn advance_dial(&mut self, ctx: &mut Context<'_>, slot: Slot) -> bool {
        let Some(End::Dial(dial)) = self.desk.ends.get_mut(slot) else { return false };
        let gone = |session: &mut Session| matches!(session.recv_half(dial.stream), Half::Broken(_));
        if ctx.node.session(dial.key).is_none_or(gone) {
            self.desk.give_up(ctx, slot);
            return true;
        }
        match dial.socket.is_connected() {
            Ok(false) => false,
            Ok(true) => {
                self.handle_target_reached(ctx, slot);
                true
            }
            Err(error) => match connect_next(ctx, slot, &mut dial.left) {
                Ok(socket) => {
                    dial.socket = socket;
                    self.desk.enqueue(slot);
                    true
                }
                Err(last) => {
                    let error = if last.kind() == io::ErrorKind::NotFound { error } else { last };
                    self.fail_dial(ctx, slot, &error);
                    true
                }
            },
        }
    }

    fn handle_target_reached(&mut self, ctx: &mut Context<'_>, slot: Slot) {
        let Some(End::Dial(dial)) = self.desk.ends.get_mut(slot) else { return };
        let (key, stream, gate, wish) = (dial.key, dial.stream, dial.gate, dial.wish);
        let preface = match (self.proxy, ctx.node.peer(key)) {
            (Some(version), Some(peer)) => proxy::header(version, dial.socket.addresses(), &peer),
            _ => Vec::new(),
        };
        self.gates[gate].failing = false;
        if wish == Wish::Probe {
            // An end of order: the target sees a connection without a byte.
            self.desk.take(slot);
            return self.answer_probe(ctx, key, stream);
        }
        let Some(session) = ctx.node.session(key) else { return };
        session.accept_stream(stream);
        self.desk.ends.alter(slot, |end| match end {
            End::Dial(dial) => Some(End::Conn(Conn::new(dial.socket, key, stream, Start::Taken).with_preface(preface))),
            other => Some(other),
        });
        self.desk.enqueue(slot);
    }

    /// The answer is all that was wanted.
    fn answer_probe(&mut self, ctx: &mut Context<'_>, key: Key, stream: u32) {
        self.desk.disown(key, stream);
        if let Some(session) = ctx.node.session(key) {
            session.accept_stream(stream);
            session.reset(stream, CloseCode::Done);
            session.stop(stream, CloseCode::Done);
            session.release(stream);
        }
    }

    /// No place of the target can be reached, or none answered in time.
    pub(super) fn fail_dial(&mut self, ctx: &mut Context<'_>, slot: Slot, error: &io::Error) {
        let Some(End::Dial(dial)) = self.desk.take(slot) else { return };
        let asked = Asked { key: dial.key, stream: dial.stream, gate: dial.gate, wish: dial.wish };
        self.desk.disown(asked.key, asked.stream);
        self.handle_target_failed(ctx, &asked, error);
    }

    fn handle_target_failed(&mut self, ctx: &mut Context<'_>, asked: &Asked, error: &io::Error) {
        let gate = &mut self.gates[asked.gate];
        gate.resolved.handle_failure(ctx.now, ctx.waker);
        let ours = !matches!(gate.resolved.target(), Target::Socks(_));
        // Once an outage, not once a connection; and what peers choose is their own trouble.
        if ours && !std::mem::replace(&mut gate.failing, true) {
            (ctx.notices)(Notice::TargetFailed(gate.app.as_str(), &gate.resolved.target().to_string(), error));
        }
        let code = match error.kind() {
            io::ErrorKind::ConnectionRefused => CloseCode::TargetRefused,
            _ => CloseCode::TargetUnreachable,
        };
        if let Some(session) = ctx.node.session(asked.key) {
            session.refuse_stream(asked.stream, code);
        }
    }
}

/// Who asked for what.
struct Asked {
    key: Key,
    stream: u32,
    gate: usize,
    wish: Wish,
}

/// Begins to connect to the first place that does not fail at once.
pub fn connect_next(ctx: &Context<'_>, slot: Slot, places: &mut VecDeque<Place>) -> io::Result<Socket> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    while let Some(place) = places.pop_front() {
        let connected = Socket::connect(&place).and_then(|mut socket| {
            socket.register(ctx.registry, slot.token())?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
