//! Ports of the other network that are listened on here: accepting, and what becomes of an accepted connection.
//!
//! A connection is joined to a stream at once and its first bytes travel with the OPEN. If there is no session, because
//! the peer is not there, it is reset at once. If a call is under way, it waits for the answer. If the session is merely
//! without a path for the moment, it goes ahead: the session has it.

use super::Portrep;
use super::conn::{Conn, Start};
use super::desk::{End, Held, Owner, PATIENCE};
use super::news::News;
use super::talk::Talk;
use crate::identity::PeerId;
use crate::net::listen::Listener;
use crate::net::slots::Slot;
use crate::net::socket_file::Access;
use crate::net::tcp::{Place, Socket};
use crate::node::Key;
use crate::ports::rmi::{Referral, Watch};
use crate::ports::routes::{Call, Standing};
use crate::ports::service::{Service, Wish};
use crate::ports::socks::Reply;
use crate::run::tool::Context;
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
    /// For whom, if it is a socket file.
    pub access: Access,
    /// Whose export.
    pub peer: PeerId,
    /// Which.
    pub service: Service,
    /// What applications speak there.
    pub speaks: Speaks,
    /// It has the port of the import before it, if the kernel chose that: both are `localhost`.
    pub twin: bool,
}

/// What applications speak to a port that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// To the target, as if it were here.
    Plain,
    /// SOCKS, to name a target.
    Socks,
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

    /// Connections may wait.
    pub fn handle_ready(&mut self) {
        self.ready = true;
    }

    /// Whether connections may wait.
    pub fn has_waiting(&self) -> bool {
        self.ready && self.slot.is_some()
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
    pub(super) fn open_door(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        number: usize,
        mut listener: Listener,
    ) -> io::Result<()> {
        let slot = self.desk.ends.next_slot();
        listener.register(ctx.registry, slot.token())?;
        let place = listener.place()?;
        if listener.is_absent() {
            (ctx.news)(News::Absent(&place));
        }
        let door = &mut self.doors[number];
        (ctx.news)(News::Listening(&place, door.import.peer, door.import.service.app.as_str()));
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
        self.doors[number].handle_ready();
    }

    /// Takes connections out of the backlogs. True if there were any.
    pub(super) fn accept(&mut self, ctx: &mut Context<'_, Portrep>) -> bool {
        let mut any = false;
        for number in 0..self.doors.len() {
            if self.doors[number].is_due(ctx.now) {
                any |= self.accept_at(ctx, number);
            }
        }
        any
    }

    fn accept_at(&mut self, ctx: &mut Context<'_, Portrep>, number: usize) -> bool {
        let Some(slot) = self.doors[number].slot else { return false };
        let purpose = self.purpose();
        for done in 0..ACCEPT_BATCH {
            let Some(End::Door(listener, _)) = self.desk.ends.get_mut(slot) else { return done > 0 };
            match listener.try_accept(purpose) {
                Ok(Some(socket)) => self.admit(ctx, number, socket),
                Ok(None) => {
                    self.doors[number].ready = false;
                    return done > 0;
                }
                Err(error) => {
                    let door = &mut self.doors[number];
                    // Told once a shortage: the first pause has no pause before it.
                    if door.paused_until.is_none_or(|until| until + ACCEPT_PAUSE < ctx.now) {
                        (ctx.news)(News::CannotAccept(&error));
                    }
                    door.paused_until = Some(ctx.now + ACCEPT_PAUSE);
                    return done > 0;
                }
            }
        }
        true
    }

    /// A connection has come in: joined to a stream, asked what it wants, held, or reset.
    fn admit(&mut self, ctx: &mut Context<'_, Portrep>, number: usize, mut socket: Socket) {
        let plain = self.doors[number].import.speaks == Speaks::Plain;
        let hopeless = plain && !matches!(self.standing(number), Some(Standing::Up(_) | Standing::Calling(_)));
        if hopeless || self.desk.is_full() || socket.register(ctx.registry, self.desk.ends.next_slot().token()).is_err()
        {
            return socket.abort();
        }
        if plain {
            let slot = self.desk.seat(End::Held(Held { socket, import: number, asked: Vec::new() }));
            self.place(ctx, slot, number);
        } else {
            let slot = self.desk.seat(End::Talk(Talk::new(socket, number)));
            self.desk.wait_until(ctx.now + PATIENCE, slot);
            self.desk.enqueue(slot);
        }
    }

    fn standing(&self, number: usize) -> Option<Standing<Key>> {
        let import = &self.doors[number].import;
        self.routes.route(import.peer, &import.service.app).map(|route| route.standing())
    }

    /// Joins a held connection to a stream if there is a session, and lets it wait if there may be one soon.
    pub(super) fn place(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, number: usize) {
        self.desk.wait_until(ctx.now + PATIENCE, slot);
        let import = &self.doors[number].import;
        let route = self.routes.route_mut(import.peer, &import.service.app);
        match route.map(|route| (route.standing(), route)) {
            Some((Standing::Up(key), _)) => self.begin(ctx, key, slot),
            Some((Standing::Calling(_), route)) if !self.stranded => route.wait(slot),
            _ => self.desk.refuse(ctx, slot, Reply::HostUnreachable),
        }
    }

    /// Joins a held connection to a fresh stream.
    pub(super) fn begin(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, slot: Slot) {
        let Some(End::Held(held)) = self.desk.ends.get_mut(slot) else { return };
        let import = &self.doors[held.import].import;
        // Who waits for an answer sends nothing before it has one.
        let certain = import.speaks == Speaks::Plain && self.routes.is_certain(import.peer, &import.service.app);
        let (wish, start) = match (import.speaks, certain) {
            (Speaks::Socks, _) => (Wish::Proxied, Start::WhenTaken),
            (Speaks::Plain, true) => (Wish::Connection, Start::Early),
            (Speaks::Plain, false) => (Wish::Connection, Start::WhenTaken),
        };
        let (text, number) = (import.service.text(wish), held.import);
        let opened = ctx.node.session(key).and_then(|session| {
            let stream = session.open_stream(ctx.now, &text)?;
            let written = session.stream_mut(stream).write(&held.asked);
            debug_assert_eq!(written, held.asked.len(), "a fresh stream has room for a request");
            Some(stream)
        });
        let Some(stream) = opened else { return self.desk.give_up(ctx, slot) };
        // Who names targets to the SOCKS server can follow an RMI server's answers.
        let watch = if wish == Wish::Connection { Watch::begin() } else { Watch::Off };
        let app = import.service.app.clone();
        self.desk.ends.alter(slot, |end| match end {
            End::Held(held) => {
                let conn = Conn::new(held.socket, (key, stream), start, app).with_asked(held.asked);
                Some(End::Conn(conn.with_watch(watch)))
            }
            other => Some(other),
        });
        self.desk.own(key, stream, Owner::Import(slot, number));
        self.desk.enqueue(slot);
    }

    /// What the peer said about a stream of ours.
    pub(super) fn handle_answer(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, event: &SessionEvent) {
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
        self.routes.handle_served(import.peer, &import.service.app);
    }

    /// The peer did not take a connection: reset here too, unless another process of the peer may take it.
    fn handle_refused(&mut self, ctx: &mut Context<'_, Portrep>, which: (Slot, usize), code: CloseCode) {
        let (slot, number) = which;
        if matches!(
            code,
            CloseCode::TargetRefused | CloseCode::TargetUnreachable | CloseCode::Refused | CloseCode::Limit
        ) {
            // Whoever knows of the target serves the application.
            self.prove(number);
        }
        let held = matches!(self.desk.ends.get_mut(slot), Some(End::Conn(conn)) if conn.is_held());
        if held && code == CloseCode::NotHere && self.parted(ctx, number) {
            self.desk.rehold(ctx, slot, number);
            return self.place(ctx, slot, number);
        }
        let reply = match code {
            CloseCode::TargetRefused => Reply::Refused,
            CloseCode::TargetUnreachable => Reply::HostUnreachable,
            CloseCode::Refused | CloseCode::NotHere => Reply::NotAllowed,
            _ => Reply::Failure,
        };
        self.desk.refuse(ctx, slot, reply);
    }

    /// Whether the import has found, or is about to find, another process of its peer.
    pub(super) fn parted(&mut self, ctx: &mut Context<'_, Portrep>, number: usize) -> bool {
        let import = self.doors[number].import.clone();
        let parted = self.routes.handle_not_served(ctx.now, import.peer, &import.service.app);
        self.call_routes(ctx);
        let own = self.routes.route(import.peer, &import.service.app);
        parted
            || own.is_some_and(|route| {
                *route.app() == import.service.app && matches!(route.standing(), Standing::Calling(_))
            })
    }

    /// Calls every peer whose turn has come.
    pub(super) fn call_routes(&mut self, ctx: &mut Context<'_, Portrep>) {
        while let Some(call) = self.next_call(ctx.now) {
            let key = ctx.node.call(ctx.now, call.peer, call.app.clone());
            self.routes.handle_called(call, key);
        }
    }

    fn next_call(&self, now: Instant) -> Option<Call> {
        if self.stopping.is_some() { None } else { self.routes.next_call(now, self.attached) }
    }

    /// Servers have sent their callers somewhere: says where there is no way to.
    pub(super) fn judge_referrals(&mut self, ctx: &mut Context<'_, Portrep>) {
        for (number, referral) in self.desk.take_referrals() {
            let leads = (0..self.doors.len()).any(|door| self.leads_to(door, &referral));
            if !leads && self.told.add(&referral) {
                let import = &self.doors[number].import;
                (ctx.news)(News::Unmapped(import.peer, import.service.app.as_str(), &referral));
            }
        }
    }

    fn leads_to(&mut self, number: usize, referral: &Referral) -> bool {
        let door = &self.doors[number];
        let listener = door.slot.and_then(|slot| match self.desk.ends.get_mut(slot) {
            Some(End::Door(listener, _)) => listener.place().ok(),
            _ => None,
        });
        // Without a listener it is closed for now.
        let place = listener.unwrap_or_else(|| door.import.at.clone());
        match (door.import.speaks, place) {
            (Speaks::Plain, Place::Tcp(at)) => referral.leads_to(at),
            _ => false,
        }
    }
}
