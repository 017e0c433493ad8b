//! Ports of this network that peers may reach: who may, and the way to the target.
//!
//! A stream is taken when the target has taken the connection, and refused when it has not. What is not exported and what
//! is exported to others look alike to a peer.

use super::Portrep;
use super::approach::Approach;
use super::conn::{Conn, Start};
use super::connections::{Connections, Source};
use super::dial::{Asked, Dial};
use super::names::Answer;
use super::news::{News, Wanted};
use super::resolvers::Resolvers;
use super::shares::{Parties, Party, Room};
use super::streams::{Owner, StreamKey};
use super::target_request::{NameLookup, Next, TargetRequest};
use super::targets::{Resolved, Route, Target};
use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::endpoint::Endpoint;
use crate::net::lookup::Lookup;
use crate::net::options::Purpose;
use crate::net::slots::Slot;
use crate::net::socket::Socket;
use crate::net::walk::{Walk, Walked, is_barred};
use crate::node::{Callers, Key};
use crate::ports::proxy_header as proxy;
use crate::ports::rules::Allowed;
use crate::ports::service::{Service, Wish};
use crate::run::tool::Context;
use crate::session::{Half, Session};
use crate::wire::CloseCode;
use std::io;
use std::time::{Duration, Instant};

/// How long a target has to take a connection, all its addresses together; and a peer to name one.
const TARGET_TIME: Duration = Duration::from_secs(10);

/// What is served, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    /// What peers call it.
    pub app: AppName,
    /// What they get.
    pub target: Target,
    /// Who they are.
    pub allow: Vec<PeerId>,
}

/// An export at work.
struct Active {
    /// What peers call it.
    app: AppName,
    /// What they get.
    resolved: Resolved,
    /// Who they are.
    allow: Vec<PeerId>,
    /// The relay has registered it.
    registered: bool,
    /// The last connection to the target failed, and somebody was told.
    failing: bool,
}

/// See the module's text.
pub(super) struct Exports {
    /// By number.
    list: Vec<Active>,
    proxy: Option<proxy::Version>,
    purpose: Purpose,
    /// Requests of peers whose name is being looked up.
    lookups: Vec<Slot>,
    /// The threads for that.
    resolvers: Resolvers,
    /// There are imports, for which connections are left.
    has_imports: bool,
    /// Nothing is served any more.
    closed: bool,
}

impl Exports {
    /// None yet. Sockets are for this purpose, and targets are told who connects in this way.
    pub(super) fn new(purpose: Purpose, proxy: Option<proxy::Version>) -> Exports {
        let (lookups, resolvers) = (Vec::new(), Resolvers::default());
        Exports { list: Vec::new(), proxy, purpose, lookups, resolvers, has_imports: false, closed: false }
    }

    /// There are imports beside them.
    pub(super) fn beside_imports(mut self) -> Exports {
        self.has_imports = true;
        self
    }

    /// One more.
    pub(super) fn add(&mut self, app: AppName, resolved: Resolved, allow: Vec<PeerId>) {
        self.list.push(Active { app, resolved, allow, registered: false, failing: false });
    }

    /// Who may reach which of them.
    pub(super) fn callers(&self) -> Callers {
        Callers::Each(self.list.iter().map(|active| (active.app.clone(), active.allow.clone())).collect())
    }

    /// Who may from now on, of each in turn.
    pub(super) fn set_callers(&mut self, callers: Vec<(AppName, Vec<PeerId>)>) {
        for (active, (_, allow)) in self.list.iter_mut().zip(callers) {
            active.allow = allow;
        }
    }

    /// Resets the connections of peers who may no more reach what they reach.
    pub(super) fn cast_out(&self, ctx: &mut Context<'_, Portrep>, connections: &mut Connections) {
        for key in connections.streams.sessions() {
            let Some(peer) = ctx.node.peer(key) else { continue };
            for owner in connections.streams.owners(key) {
                let Owner::Export(slot, export) = owner else { continue };
                if !self.allows(export, peer) {
                    connections.give_up(ctx, slot);
                }
            }
        }
    }

    /// Whether a peer may reach the export with this number.
    fn allows(&self, number: usize, peer: PeerId) -> bool {
        self.list[number].allow.contains(&peer)
    }

    /// Registers all of them, and looks for the addresses of their targets.
    pub(super) fn open(&mut self, ctx: &mut Context<'_, Portrep>) {
        for active in &mut self.list {
            ctx.node.listen(active.app.clone());
            if let Some(name) = active.resolved.name_mut() {
                name.ask(ctx.now, |host| Lookup::start(host, ctx.waker));
            }
        }
    }

    /// Serves nothing any more.
    pub(super) fn close(&mut self, ctx: &mut Context<'_, Portrep>) {
        self.closed = true;
        for active in &self.list {
            ctx.node.unlisten(ctx.now, &active.app);
        }
    }

    /// The relay has registered an application.
    pub(super) fn handle_registered(&mut self, ctx: &mut Context<'_, Portrep>, app: &AppName) {
        for active in self.list.iter_mut().filter(|active| active.app == *app) {
            if !std::mem::replace(&mut active.registered, true) {
                (ctx.news)(News::Serving(app.as_str(), &active.resolved.target().to_string()));
            }
        }
    }

    /// Whether the relay has registered all.
    pub(super) fn are_registered(&self) -> bool {
        self.list.iter().all(|active| active.registered)
    }

    /// A peer has opened a stream.
    pub(super) fn handle_opened(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
        stream: StreamKey,
        service: &[u8],
    ) {
        let admitted = self.find(ctx, stream.session, service).and_then(|(export, wish, route)| {
            let asked = Asked { stream, export, wish };
            Ok((self.make_room(ctx, connections, asked)?, asked, route))
        });
        match admitted {
            // Which target is not known before somebody names it, and nobody gives way to a question: being served is all there is
            // to probe then.
            Ok((room, Asked { wish: Wish::Probe, .. }, route)) if route == Route::Asked || room != Room::Free => {
                answer_probe(ctx, connections, stream);
            }
            Ok((_, Asked { wish: Wish::Proxied, export, .. }, _)) => {
                listen_to(ctx, connections, TargetRequest::new(stream, export));
            }
            Ok((_, asked, route)) => self.dial(ctx, connections, asked, route),
            Err(code) => connections.refuse_stream(ctx, stream, code),
        }
    }

    /// Sees that there is a place for what a peer has found: free, or one that somebody has given up, or would.
    fn make_room(
        &self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
        Asked { stream, export, wish }: Asked,
    ) -> Result<Room, CloseCode> {
        let peer = ctx.node.peer(stream.session).ok_or(CloseCode::NotHere)?;
        let room = connections.room_for(ctx, Party::Peer(peer));
        let wanted = Wanted { peer, app: self.list[export].app.as_str(), by_import: false };
        match room {
            Room::Free => {}
            Room::After(_) if wish == Wish::Probe => {}
            Room::Share | Room::None if wish == Wish::Probe => return Err(CloseCode::Limit),
            Room::After(holder) => {
                connections.make_room(ctx, holder);
                (ctx.news)(News::GaveWay(holder, wanted));
            }
            Room::Share => {
                (ctx.news)(News::HasShare(wanted));
                return Err(CloseCode::Limit);
            }
            Room::None => {
                (ctx.news)(News::NoRoom(wanted));
                return Err(CloseCode::Limit);
            }
        }
        Ok(room)
    }

    fn find(
        &self,
        ctx: &Context<'_, Portrep>,
        session: Key,
        service: &[u8],
    ) -> Result<(usize, Wish, Route), CloseCode> {
        let (wish, service) = Service::parse(service).ok_or(CloseCode::NotHere)?;
        let peer = ctx.node.peer(session).ok_or(CloseCode::NotHere)?;
        let number = self.list.iter().position(|active| active.app == service.app).ok_or(CloseCode::NotHere)?;
        if !self.allows(number, peer) {
            return Err(CloseCode::NotHere);
        }
        let route = self.list[number].resolved.route(service.offset).ok_or(CloseCode::NotHere)?;
        if wish != Wish::Probe && (wish == Wish::Proxied) != (route == Route::Asked) {
            return Err(CloseCode::NotHere);
        }
        if self.closed { Err(CloseCode::Limit) } else { Ok((number, wish, route)) }
    }

    /// Who shares connections.
    pub(super) fn parties(&self) -> Parties {
        let peers = self.list.iter().flat_map(|active| &active.allow).copied().collect();
        Parties { peers, has_imports: self.has_imports }
    }

    /// Sets out for the target.
    fn dial(&mut self, ctx: &mut Context<'_, Portrep>, connections: &mut Connections, asked: Asked, route: Route) {
        let token = connections.next_token();
        let walk = |places: Option<Endpoint>| Walk::new(self.purpose, token, places);
        let approach = match (route, self.list[asked.export].resolved.name()) {
            (Route::Port(port), Some(name)) => Approach::to_name(ctx.now, walk(None), port, name),
            (Route::To(place), _) => Approach::to_places(walk(Some(place))),
            (Route::Port(_) | Route::Asked, _) => Approach::to_places(walk(None)),
        };
        let slot = connections.insert(Source::Dial(Dial { approach, asked }));
        connections.wait_until(ctx.now + TARGET_TIME, slot);
        connections.streams.insert(asked.stream, Owner::Export(slot, asked.export));
        connections.enqueue(slot);
    }

    /// The target, the resolver or the peer may have said something. True if the waiting is over.
    pub(super) fn advance_dial(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
        slot: Slot,
    ) -> bool {
        let Some(Source::Dial(dial)) = connections.get_mut(slot) else { return false };
        let StreamKey { session, id } = dial.asked.stream;
        let is_gone = |session: &mut Session| matches!(session.stream(id).recv_half(), Half::Broken(_));
        if ctx.node.session(session).is_none_or(is_gone) {
            connections.give_up(ctx, slot);
            return true;
        }
        let mut name = self.list[dial.asked.export].resolved.name_mut();
        let look = |host: &str| Lookup::start(host, ctx.waker);
        match dial.approach.advance(ctx.now, ctx.registry, name.as_deref_mut(), look) {
            Walked::Later => {
                if let Some(at) = dial.approach.next_timeout(name.as_deref()) {
                    connections.remind(at, slot);
                }
                return false;
            }
            Walked::Reached(socket) => self.handle_target_reached(ctx, connections, slot, socket),
            Walked::Failed(error) => self.fail_dial(ctx, connections, slot, error),
        }
        true
    }

    fn handle_target_reached(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
        slot: Slot,
        socket: Socket,
    ) {
        let Some(Source::Dial(dial)) = connections.get_mut(slot) else { return };
        let Asked { stream, export, wish } = dial.asked;
        let preface = match (self.proxy, ctx.node.peer(stream.session)) {
            (Some(version), Some(peer)) => proxy::header(version, socket.addresses(), &peer),
            _ => Vec::new(),
        };
        self.list[export].failing = false;
        if wish == Wish::Probe {
            // An end of order: the target sees a connection without a byte.
            connections.remove(slot);
            return answer_probe(ctx, connections, stream);
        }
        let Some(session) = ctx.node.session(stream.session) else { return };
        session.stream_mut(stream.id).accept();
        let app = self.list[export].app.clone();
        connections.alter(slot, |source| match source {
            Source::Dial(_) => Source::Conn(Conn::new(socket, stream, Start::Taken, app).with_preface(preface)),
            other => other,
        });
        connections.enqueue(slot);
    }

    /// No place of the target can be reached, or none answered in time.
    fn fail_dial(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
        slot: Slot,
        error: io::Error,
    ) {
        let Some(Source::Dial(mut dial)) = connections.remove(slot) else { return };
        // That somebody refused says more than that the time is over.
        let error = dial.approach.take_fault().unwrap_or(error);
        let active = &mut self.list[dial.asked.export];
        let is_ours = !matches!(active.resolved.target(), Target::Socks(_));
        // Once an outage, not once a connection; and what peers choose is their own trouble.
        if is_ours && !std::mem::replace(&mut active.failing, true) {
            (ctx.news)(News::TargetFailed(active.app.as_str(), &active.resolved.target().to_string(), &error));
        }
        let code = match error.kind() {
            io::ErrorKind::ConnectionRefused => CloseCode::TargetRefused,
            _ if is_barred(&error) => CloseCode::Refused,
            _ => CloseCode::TargetUnreachable,
        };
        connections.refuse_stream(ctx, dial.asked.stream, code);
    }

    /// Ends the connections that have waited for too long, for their target or for anything else.
    pub(super) fn handle_patience(&mut self, ctx: &mut Context<'_, Portrep>, connections: &mut Connections) {
        while let Some(slot) = connections.poll_patience(ctx.now) {
            if let Some(Source::Dial(_)) = connections.get_mut(slot) {
                self.fail_dial(ctx, connections, slot, io::ErrorKind::TimedOut.into());
            } else {
                connections.give_up(ctx, slot);
            }
        }
    }

    /// The peer, or the resolver, may have said something. True if that led further.
    pub(super) fn advance_request(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
        slot: Slot,
    ) -> bool {
        let Some(Source::Request(request)) = connections.get_mut(slot) else { return false };
        let Target::Socks(rules) = self.list[request.export].resolved.target() else { return false };
        match request.advance(ctx, rules) {
            Ok(Next::Wait) => return false,
            Ok(Next::LookUp(name, port)) => {
                let Some(peer) = ctx.node.peer(request.stream.session) else { return false };
                match self.resolvers.start(peer, || Lookup::start(&name, ctx.waker)) {
                    Ok(lookup) => {
                        request.handle_asked(NameLookup { name, port, lookup });
                        self.lookups.push(slot);
                    }
                    Err(_) => turn_down(ctx, connections, slot, CloseCode::Limit),
                }
            }
            Ok(Next::Dial(allowed)) => self.dial_named(connections, slot, allowed),
            Err(code) => turn_down(ctx, connections, slot, code),
        }
        true
    }

    fn dial_named(&self, connections: &mut Connections, slot: Slot, allowed: Allowed) {
        let places = allowed.addresses.into_iter().map(Endpoint::Tcp);
        let walk = Walk::new(self.purpose, slot.token(), places).only_elsewhere(allowed.elsewhere);
        connections.alter(slot, |source| match source {
            Source::Request(request) => Source::Dial(Dial {
                approach: Approach::to_places(walk),
                asked: Asked { stream: request.stream, export: request.export, wish: Wish::Proxied },
            }),
            other => other,
        });
        connections.enqueue(slot);
    }

    /// Takes the answers of the resolver to what peers have named.
    pub(super) fn poll_lookups(&mut self, ctx: &mut Context<'_, Portrep>, connections: &mut Connections) {
        for slot in std::mem::take(&mut self.lookups) {
            if matches!(connections.get_mut(slot), Some(Source::Request(_))) {
                self.lookups.push(slot);
                self.advance_request(ctx, connections, slot);
            }
        }
    }

    /// Takes the answers of the resolver about targets, and asks again for names that have led nowhere yet.
    pub(super) fn poll_names(&mut self, ctx: &mut Context<'_, Portrep>, connections: &mut Connections) {
        for (number, active) in self.list.iter_mut().enumerate() {
            let Some(name) = active.resolved.name_mut() else { continue };
            if name.next_timeout().is_some_and(|at| at <= ctx.now) {
                name.ask(ctx.now, |host| Lookup::start(host, ctx.waker));
            }
            let Some(answer) = name.poll(ctx.now) else { continue };
            let is_unknown = name.addresses().is_empty();
            match answer {
                Answer::Found => {
                    active.failing = false;
                    let target = active.resolved.target().to_string();
                    (ctx.news)(News::TargetFound(active.app.as_str(), &target));
                }
                Answer::Unknown(error) if is_unknown && !std::mem::replace(&mut active.failing, true) => {
                    let target = active.resolved.target().to_string();
                    (ctx.news)(News::TargetUnknown(active.app.as_str(), &target, &error));
                }
                Answer::Known | Answer::Unknown(_) => {}
            }
            connections.rouse_dials(number);
        }
    }

    /// When to ask again for a name.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.list.iter().filter_map(|active| active.resolved.name()?.next_timeout()).min()
    }
}

/// A peer has opened a stream to say which target it wants.
fn listen_to(ctx: &mut Context<'_, Portrep>, connections: &mut Connections, request: TargetRequest) {
    let (stream, export) = (request.stream, request.export);
    let slot = connections.insert(Source::Request(request));
    connections.wait_until(ctx.now + TARGET_TIME, slot);
    connections.streams.insert(stream, Owner::Export(slot, export));
    connections.enqueue(slot);
}

/// The answer is all that was wanted.
fn answer_probe(ctx: &mut Context<'_, Portrep>, connections: &mut Connections, stream: StreamKey) {
    if let Some(session) = ctx.node.session(stream.session) {
        session.stream_mut(stream.id).accept();
    }
    connections.end_probe(ctx, stream);
}

fn turn_down(ctx: &mut Context<'_, Portrep>, connections: &mut Connections, slot: Slot, code: CloseCode) {
    if let Some(Source::Request(request)) = connections.remove(slot) {
        connections.refuse_stream(ctx, request.stream, code);
    }
}
