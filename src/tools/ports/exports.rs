//! Ports of this network that peers may reach: who may, and the way to the target.
//!
//! A stream is taken when the target has taken the connection, and refused when it has not. What is not exported and what
//! is exported to others look alike to a peer.

use super::Portrep;
use super::approach::Approach;
use super::ask::Ask;
use super::conn::{Conn, Start};
use super::desk::{End, Owner, Share};
use super::names::Answer;
use super::news::News;
use super::targets::{Resolved, Route, Target};
use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::lookup::Lookup;
use crate::net::options::Purpose;
use crate::net::slots::Slot;
use crate::net::tcp::Socket;
use crate::net::walk::{Walk, Walked};
use crate::node::Key;
use crate::ports::proxy_header as proxy;
use crate::ports::service::{Service, Wish};
use crate::run::tool::Context;
use crate::session::{Half, Session};
use crate::wire::CloseCode;
use std::io;
use std::time::{Duration, Instant};

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
    approach: Approach,
    /// The session.
    pub key: Key,
    /// The stream that asks for it.
    pub stream: u32,
    /// The number of its export.
    pub gate: usize,
    wish: Wish,
}

impl Dial {
    /// On its way, for this stream, by this export.
    pub fn new(approach: Approach, stream: (Key, u32), what: (usize, Wish)) -> Dial {
        Dial { approach, key: stream.0, stream: stream.1, gate: what.0, wish: what.1 }
    }
}

impl Portrep {
    /// A peer wants a connection.
    pub(super) fn serve(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, stream: u32, service: &[u8]) {
        match self.find(ctx, key, service) {
            Ok((gate, Wish::Proxied, _)) => self.listen_to(ctx, Ask::new(key, stream, gate)),
            // Which target is not known before somebody names it: being served is all there is to probe.
            Ok((_, Wish::Probe, Route::Asked)) => self.answer_probe(ctx, key, stream),
            Ok((gate, wish, route)) => self.dial(ctx, &Asked { key, stream, gate, wish }, route),
            Err(code) => {
                if let Some(session) = ctx.node.session(key) {
                    session.stream_mut(stream).refuse(code);
                }
            }
        }
    }

    fn find(&self, ctx: &Context<'_, Portrep>, key: Key, service: &[u8]) -> Result<(usize, Wish, Route), CloseCode> {
        let (wish, service) = Service::parse(service).ok_or(CloseCode::NotHere)?;
        let peer = ctx.node.peer(key).ok_or(CloseCode::NotHere)?;
        let gate = self.gates.iter().position(|gate| gate.app == service.app).ok_or(CloseCode::NotHere)?;
        if !self.gates[gate].allow.contains(&peer) {
            return Err(CloseCode::NotHere);
        }
        let route = self.gates[gate].resolved.route(service.offset).ok_or(CloseCode::NotHere)?;
        if wish != Wish::Probe && (wish == Wish::Proxied) != (route == Route::Asked) {
            return Err(CloseCode::NotHere);
        }
        if !self.desk.has_place_for(ctx, peer, self.share()) || self.stopping.is_some() {
            return Err(CloseCode::Limit);
        }
        Ok((gate, wish, route))
    }

    fn share(&self) -> Share {
        let mut peers = self.gates.iter().flat_map(|gate| &gate.allow);
        let first = peers.next();
        if peers.all(|peer| Some(peer) == first) { Share::All } else { Share::Fair }
    }

    /// What sockets of applications and targets are for.
    pub(super) fn purpose(&self) -> Purpose {
        Purpose::Application(self.keepalive)
    }

    /// Sets out for the target.
    fn dial(&mut self, ctx: &mut Context<'_, Portrep>, asked: &Asked, route: Route) {
        let token = self.desk.ends.next_slot().token();
        let Asked { key, stream, gate, wish } = *asked;
        let approach = match (route, self.gates[gate].resolved.name()) {
            (Route::Port(port), Some(name)) => {
                Approach::to_name(ctx.now, Walk::new(self.purpose(), token, []), port, name)
            }
            (Route::To(place), _) => Approach::to_places(Walk::new(self.purpose(), token, [place])),
            (Route::Port(_) | Route::Asked, _) => Approach::to_places(Walk::new(self.purpose(), token, [])),
        };
        let slot = self.desk.seat(End::Dial(Dial::new(approach, (key, stream), (gate, wish))));
        self.desk.wait_until(ctx.now + TARGET_TIME, slot);
        self.desk.own(key, stream, Owner::Export(slot, gate));
        self.desk.enqueue(slot);
    }

    /// The target, the resolver or the peer may have said something. True if the waiting is over.
    pub(super) fn advance_dial(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot) -> bool {
        let Some(End::Dial(dial)) = self.desk.ends.get_mut(slot) else { return false };
        let gone = |session: &mut Session| matches!(session.stream(dial.stream).recv_half(), Half::Broken(_));
        if ctx.node.session(dial.key).is_none_or(gone) {
            self.desk.give_up(ctx, slot);
            return true;
        }
        let mut name = self.gates[dial.gate].resolved.name_mut();
        let look = |host: &str| Lookup::start(host, ctx.waker);
        match dial.approach.advance(ctx.now, ctx.registry, name.as_deref_mut(), look) {
            Walked::Later => {
                if let Some(at) = dial.approach.next_timeout(name.as_deref()) {
                    self.desk.remind(at, slot);
                }
                return false;
            }
            Walked::Reached(socket) => self.handle_target_reached(ctx, slot, socket),
            Walked::Failed(error) => self.fail_dial(ctx, slot, error),
        }
        true
    }

    /// Looks for the addresses of all targets.
    pub(super) fn ask_names(&mut self, ctx: &Context<'_, Portrep>) {
        for name in self.gates.iter_mut().filter_map(|gate| gate.resolved.name_mut()) {
            name.ask(ctx.now, |host| Lookup::start(host, ctx.waker));
        }
    }

    /// Takes the answers of the resolver, and asks again for names that have led nowhere yet.
    pub(super) fn tend_names(&mut self, ctx: &mut Context<'_, Portrep>) {
        for number in 0..self.gates.len() {
            let gate = &mut self.gates[number];
            let Some(name) = gate.resolved.name_mut() else { continue };
            if name.next_timeout().is_some_and(|at| at <= ctx.now) {
                name.ask(ctx.now, |host| Lookup::start(host, ctx.waker));
            }
            let Some(answer) = name.poll(ctx.now) else { continue };
            let lost = name.addresses().is_empty();
            match answer {
                Answer::Found => {
                    gate.failing = false;
                    let target = gate.resolved.target().to_string();
                    (ctx.news)(News::TargetFound(gate.app.as_str(), &target));
                }
                Answer::Unknown(error) if lost && !std::mem::replace(&mut gate.failing, true) => {
                    let target = gate.resolved.target().to_string();
                    (ctx.news)(News::TargetUnknown(gate.app.as_str(), &target, &error));
                }
                Answer::Known | Answer::Unknown(_) => {}
            }
            self.desk.rouse_dials(number);
        }
    }

    /// When to ask again for a name.
    pub(super) fn next_name(&self) -> Option<Instant> {
        self.gates.iter().filter_map(|gate| gate.resolved.name()?.next_timeout()).min()
    }

    fn handle_target_reached(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, socket: Socket) {
        let Some(End::Dial(dial)) = self.desk.ends.get_mut(slot) else { return };
        let (key, stream, gate, wish) = (dial.key, dial.stream, dial.gate, dial.wish);
        let preface = match (self.proxy, ctx.node.peer(key)) {
            (Some(version), Some(peer)) => proxy::header(version, socket.addresses(), &peer),
            _ => Vec::new(),
        };
        self.gates[gate].failing = false;
        if wish == Wish::Probe {
            // An end of order: the target sees a connection without a byte.
            self.desk.take(slot);
            return self.answer_probe(ctx, key, stream);
        }
        let Some(session) = ctx.node.session(key) else { return };
        session.stream_mut(stream).accept();
        let app = self.gates[gate].app.clone();
        self.desk.ends.alter(slot, |end| match end {
            End::Dial(_) => {
                let conn = Conn::new(socket, (key, stream), Start::Taken, app);
                Some(End::Conn(conn.with_preface(preface)))
            }
            other => Some(other),
        });
        self.desk.enqueue(slot);
    }

    /// The answer is all that was wanted.
    fn answer_probe(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, stream: u32) {
        self.desk.disown(key, stream);
        if let Some(session) = ctx.node.session(key) {
            session.stream_mut(stream).accept();
            session.stream_mut(stream).reset(CloseCode::Done);
            session.stream_mut(stream).stop(CloseCode::Done);
            session.stream_mut(stream).release();
        }
    }

    /// No place of the target can be reached, or none answered in time.
    pub(super) fn fail_dial(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, error: io::Error) {
        let Some(End::Dial(mut dial)) = self.desk.take(slot) else { return };
        // That somebody refused says more than that the time is over.
        let error = dial.approach.take_fault().unwrap_or(error);
        let gate = &mut self.gates[dial.gate];
        let ours = !matches!(gate.resolved.target(), Target::Socks(_));
        // Once an outage, not once a connection; and what peers choose is their own trouble.
        if ours && !std::mem::replace(&mut gate.failing, true) {
            (ctx.news)(News::TargetFailed(gate.app.as_str(), &gate.resolved.target().to_string(), &error));
        }
        let code = match error.kind() {
            io::ErrorKind::ConnectionRefused => CloseCode::TargetRefused,
            _ => CloseCode::TargetUnreachable,
        };
        self.desk.refuse_stream(ctx, (dial.key, dial.stream), code);
    }
}

/// Who asked for what.
struct Asked {
    key: Key,
    stream: u32,
    gate: usize,
    wish: Wish,
}
