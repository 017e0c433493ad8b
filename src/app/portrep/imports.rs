//! Ports of the other network that are listened on here: accepting, and what becomes of an accepted connection.
//!
//! A connection is joined to a stream at once and its first bytes travel with the OPEN. If there is no session, because
//! the peer is not there, it is reset at once. If a call is under way, it waits for the answer. If the session is merely
//! without a path for the moment, it goes ahead: the session has it.

use super::Portrep;
use super::conn::{Conn, Start};
use super::desk::{End, Owner, PATIENCE};
use super::peers::Standing;
use super::service::{Service, Wish};
use super::slots::Slot;
use crate::app::client::{Context, Notice};
use crate::identity::PeerId;
use crate::net::tcp::{Listener, Place, Socket};
use crate::node::Key;
use crate::session::Event as SessionEvent;
use crate::wire::CloseCode;
use std::io;
use std::time::{Duration, Instant};

/// How long accepting stops after an error: most are shortages, which a busy loop would only worsen.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections accepted by one listener in a turn, so that those that are there are served in between.
const ACCEPT_BATCH: usize = 64;

/// One port to listen on, and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Where.
    pub at: Place,
    /// Whose export.
    pub peer: PeerId,
    /// Which.
    pub service: Service,
}

/// An import at work.
pub struct Door {
    /// What it is.
    pub import: Import,
    /// Its listener, while it has one.
    pub slot: Option<Slot>,
    /// Connections may wait.
    ready: bool,
    paused_until: Option<Instant>,
}

impl Door {
    /// Without a listener yet.
    pub fn new(import: Import) -> Door {
        Door { import, slot: None, ready: false, paused_until: None }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.ready && self.paused_until.is_none_or(|until| until <= now)
    }

    /// When to accept again without an event.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.ready && self.slot.is_some())
    }
}

impl Portrep {
    /// Lets a bound listener take connections.
    pub(super) fn open_door(&mut self, ctx: &mut Context<'_>, number: usize, mut listener: Listener) -> io::Result<()> {
        let slot = self.desk.ends.next();
        listener.register(ctx.registry, slot.token())?;
        let place = listener.place()?;
        let door = &mut self.doors[number];
        (ctx.notices)(Notice::Listening(&place, door.import.peer, door.import.service.app.as_str()));
        door.slot = Some(self.desk.ends.insert(End::Door(listener, number)));
        door.ready = true;
        Ok(())
    }

    /// Takes no more connections.
    pub(super) fn close_door(&mut self, number: usize) {
        if let Some(slot) = self.doors[number].slot.take() {
            self.desk.ends.remove(slot);
        }
    }

    pub(super) fn handle_door_ready(&mut self, number: usize) {
        self.doors[number].ready = true;
    }

    /// Takes connections out of the backlogs. True if there were any.
    pub(super) fn accept(&mut self, ctx: &mut Context<'_>) -> bool {
        let mut any = false;
        for number in 0..self.doors.len() {
            if self.doors[number].is_due(ctx.now) {
                any |= self.accept_at(ctx, number);
            }
        }
        any
    }

    fn accept_at(&mut self, ctx: &mut Context<'_>, number: usize) -> bool {
        let Some(slot) = self.doors[number].slot else { return false };
        for done in 0..ACCEPT_BATCH {
            let Some(End::Door(listener, _)) = self.desk.ends.get_mut(slot) else { return done > 0 };
            match listener.try_accept() {
                Ok(Some(socket)) => self.admit(ctx, number, socket),
                Ok(None) => {
                    self.doors[number].ready = false;
                    return done > 0;
                }
                Err(error) => {
                    let door = &mut self.doors[number];
                    // Told once a shortage: the first pause has no pause before it.
                    if door.paused_until.is_none_or(|until| until + ACCEPT_PAUSE < ctx.now) {
                        (ctx.notices)(Notice::CannotAccept(&error));
                    }
                    door.paused_until = Some(ctx.now + ACCEPT_PAUSE);
                    return done > 0;
                }
            }
        }
        true
    }

    /// A connection has come in: joined to a stream, held, or reset.
    fn admit(&mut self, ctx: &mut Context<'_>, number: usize, mut socket: Socket) {
        let import = &self.doors[number].import;
        let route = self.routes.route(import.peer, &import.service.app);
        let Some(route) = route.filter(|_| !self.desk.is_full()) else { return socket.abort() };
        let (key, standing) = (route.key, route.standing);
        if socket.register(ctx.registry, self.desk.ends.next().token()).is_err() {
            return socket.abort();
        }
        match (standing, key) {
            (Standing::Up, Some(key)) => {
                if let Err(socket) = self.begin(ctx, (key, number), socket) {
                    socket.abort();
                }
            }
            (Standing::Calling, _) if !self.stranded => {
                let slot = self.desk.seat(End::Held(socket, number));
                self.desk.wait_until(ctx.now + PATIENCE, slot);
                self.hold(number, slot);
            }
            _ => socket.abort(),
        }
    }

    fn hold(&mut self, number: usize, slot: Slot) {
        let import = &self.doors[number].import;
        if let Some(route) = self.routes.route(import.peer, &import.service.app) {
            route.held.push(slot);
        }
    }

    /// Joins a registered socket to a fresh stream. The socket comes back if there is no room for one more.
    fn begin(&mut self, ctx: &mut Context<'_>, to: (Key, usize), socket: Socket) -> Result<(), Socket> {
        let (key, number) = to;
        let (text, start) = self.opening(number);
        let opened = ctx.node.session(key).and_then(|session| session.open_stream(ctx.now, &text));
        let Some(stream) = opened else { return Err(socket) };
        let slot = self.desk.seat(End::Conn(Conn::new(socket, key, stream, start)));
        self.desk.own(key, stream, Owner::Import(slot, number));
        self.desk.wait_until(ctx.now + PATIENCE, slot);
        self.desk.enqueue(slot);
        Ok(())
    }

    fn opening(&self, number: usize) -> (String, Start) {
        let import = &self.doors[number].import;
        let certain = self.routes.is_certain(import.peer, &import.service.app);
        let start = if certain { Start::Early } else { Start::WhenTaken };
        (import.service.text(Wish::Connection), start)
    }

    /// The session that connections waited for is up.
    pub(super) fn begin_held(&mut self, ctx: &mut Context<'_>, key: Key, held: Vec<Slot>) {
        for slot in held {
            let Some(End::Held(_, number)) = self.desk.ends.get_mut(slot) else { continue };
            let number = *number;
            let (text, start) = self.opening(number);
            let opened = ctx.node.session(key).and_then(|session| session.open_stream(ctx.now, &text));
            let Some(stream) = opened else {
                self.desk.give_up(ctx, slot);
                continue;
            };
            self.desk.ends.alter(slot, |end| match end {
                End::Held(socket, _) => Some(End::Conn(Conn::new(socket, key, stream, start))),
                other => Some(other),
            });
            self.desk.own(key, stream, Owner::Import(slot, number));
            self.desk.enqueue(slot);
        }
    }

    /// What the peer said about a stream of ours.
    pub(super) fn handle_answer(&mut self, ctx: &mut Context<'_>, key: Key, event: &SessionEvent) {
        let (stream, refused) = match event {
            SessionEvent::StreamAccepted { id } => (*id, None),
            SessionEvent::StreamRefused { id, code } => (*id, Some(CloseCode::from_wire(*code))),
            SessionEvent::StreamOpened { .. } | SessionEvent::Closed { .. } => return,
        };
        match (self.desk.owner(key, stream), refused) {
            (Some(Owner::Import(slot, number)), None) => {
                self.prove(number);
                self.desk.handle_taken(slot);
            }
            (Some(Owner::Import(slot, number)), Some(code)) => self.handle_refused(ctx, (slot, number), code),
            (Some(Owner::Probe(number)), answer) => self.handle_probed(ctx, (key, stream), number, answer),
            (Some(Owner::Export(..)) | None, _) => {}
        }
    }

    pub(super) fn prove(&mut self, number: usize) {
        let import = &self.doors[number].import;
        self.routes.prove(import.peer, &import.service.app);
    }

    /// The peer did not take a connection: reset here too, unless another process of the peer may take it.
    fn handle_refused(&mut self, ctx: &mut Context<'_>, which: (Slot, usize), code: CloseCode) {
        let (slot, number) = which;
        if matches!(code, CloseCode::TargetRefused | CloseCode::TargetUnreachable | CloseCode::Limit) {
            // Whoever knows of the target serves the application.
            self.prove(number);
        }
        let held = matches!(self.desk.ends.get_mut(slot), Some(End::Conn(conn)) if conn.is_held());
        if held && code == CloseCode::NotHere && self.parted(ctx, number) {
            self.desk.rehold(ctx, slot, number);
            self.hold(number, slot);
            self.hand_over(ctx, number);
            return;
        }
        self.desk.give_up(ctx, slot);
    }

    /// Whether the import has found, or is about to find, another process of its peer.
    pub(super) fn parted(&mut self, ctx: &mut Context<'_>, number: usize) -> bool {
        let import = self.doors[number].import.clone();
        let parted = self.routes.part(ctx.now, import.peer, &import.service);
        self.call_routes(ctx);
        let own = self.routes.route(import.peer, &import.service.app);
        parted || own.is_some_and(|route| route.app == import.service.app && route.standing == Standing::Calling)
    }

    /// The route may be up already, if another import led there first.
    fn hand_over(&mut self, ctx: &mut Context<'_>, number: usize) {
        let import = &self.doors[number].import;
        let Some(route) = self.routes.route(import.peer, &import.service.app) else { return };
        if let (Standing::Up, Some(key)) = (route.standing, route.key) {
            let held = std::mem::take(&mut route.held);
            self.begin_held(ctx, key, held);
        }
    }

    /// Calls every peer whose turn has come.
    pub(super) fn call_routes(&mut self, ctx: &mut Context<'_>) {
        for route in self.routes.iter_mut() {
            let Standing::Resting(until) = route.standing else { continue };
            if until <= ctx.now && self.stopping.is_none() {
                route.key = Some(ctx.node.call(ctx.now, route.peer, route.app.clone()));
                route.standing = Standing::Calling;
            }
        }
        if self.stopping.is_none() {
            for route in self.routes.heirless(ctx.now, self.attached) {
                route.heir = Some(ctx.node.call(ctx.now, route.peer, route.app.clone()));
            }
        }
    }
}
