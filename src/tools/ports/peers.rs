//! What becomes of connections when something becomes of the session, or the call, that carries them.

use super::Portrep;
use super::callers::Callers;
use super::command::Command;
use super::connections::Connections;
use super::exports::Exports;
use super::import_failure::ImportFailure;
use super::imports::Imports;
use super::joining::Joining;
use super::news::News;
use super::sessions::Sessions;
use super::streams::{Owner, StreamKey};
use crate::net::slots::Slot;
use crate::node::{Failure, Key, Place, Reach};
use crate::run::tool::Context;
use crate::session::{Event as SessionEvent, Role};
use crate::wire::CloseCode;

/// The peers that were met, or called, and all that is between them and us.
pub(super) struct Peers<'a> {
    pub imports: &'a mut Imports,
    pub exports: &'a mut Exports,
    pub connections: &'a mut Connections,
    pub sessions: &'a mut Sessions,
    pub callers: &'a mut Callers,
    pub command: &'a mut Command,
}

impl Peers<'_> {
    fn joining(&mut self) -> Joining<'_> {
        Joining { imports: self.imports.list(), connections: self.connections, sessions: self.sessions }
    }

    /// Resets what has waited for a session.
    pub(super) fn give_up(&mut self, ctx: &mut Context<'_, Portrep>, slots: Vec<Slot>) {
        for slot in slots {
            self.connections.give_up(ctx, slot);
        }
    }

    /// A session is up.
    pub(super) fn handle_up(&mut self, ctx: &mut Context<'_, Portrep>, key: Key) {
        self.command.handle_met();
        self.connections.streams.add_session(key);
        if let Some(old) = self.sessions.handle_up(ctx, key) {
            self.handle_replaced(ctx, old);
        }
        if ctx.node.session(key).is_some_and(|session| session.role() == Role::Responder) {
            self.callers.handle_up(key);
        }
        if let Some(waiting) = self.sessions.routes.handle_up(key) {
            self.imports.probe_all_soon(ctx.now);
            for slot in waiting {
                self.joining().join(ctx, key, slot);
            }
        }
    }

    /// A session lost its path, or has one again. One of a caller without a path takes no place before others.
    pub(super) fn handle_path(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, reach: Reach) {
        if self.callers.handle_path(key, reach) {
            ctx.node.set_place(ctx.now, key, if reach.has_path() { Place::Own } else { Place::None });
        }
    }

    /// Lets sessions of callers go that are too many, and whose process may be gone.
    pub(super) fn drop_lost(&mut self, ctx: &mut Context<'_, Portrep>) {
        while let Some((at, key)) = self.callers.next_to_go()
            && at <= ctx.now
        {
            self.close(ctx, key, CloseCode::Limit);
        }
    }

    /// Another session has taken the place of one without a path. Connections that the peer may never have heard of can
    /// be reset at once.
    fn handle_replaced(&mut self, ctx: &mut Context<'_, Portrep>, old: Key) {
        for owner in self.connections.streams.owners(old) {
            if let Owner::Import(slot, _) = owner {
                if !self.connections.is_taken(slot) {
                    self.connections.give_up(ctx, slot);
                }
            }
        }
        self.imports.probe_all_soon(ctx.now);
    }

    /// Lets sessions go that others have taken the place of.
    pub(super) fn drop_replaced(&mut self, ctx: &mut Context<'_, Portrep>) {
        while let Some(key) = self.sessions.routes.poll_replaced(ctx.now) {
            self.end(ctx, key, ImportFailure::Unmet(Failure::SessionGone));
        }
        for key in self.sessions.routes.resumed_too_late() {
            if self.connections.streams.owners(key).is_empty() {
                self.sessions.routes.handle_ended(ctx.now, key);
                self.close(ctx, key, CloseCode::Done);
            }
        }
    }

    /// A session, or the hope of one, is over: its connections are reset, and its peer is called again.
    pub(super) fn end(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, why: ImportFailure) {
        let owners = self.connections.streams.owners(key);
        // That an exporter has left is told when it is called again; here only that it has broken off connections.
        let is_idle = owners.iter().all(|owner| matches!(owner, Owner::Probe(_)));
        let is_news = self.sessions.routes.is_first_failure(key) && !(is_idle && why.is_departure());
        if let Some((peer, app)) = self.sessions.routes.callee(key).filter(|_| is_news) {
            (ctx.news)(News::CallFailed(peer, app.as_str(), &why.into()));
        }
        if !owners.is_empty() {
            let left = owners.into_iter().any(|owner| self.connections.is_left(owner));
            self.command.handle_lost(left);
        }
        self.handle_not_working(ctx, key, why);
        let waited = self.sessions.routes.handle_ended(ctx.now, key);
        self.give_up(ctx, waited);
        self.close(ctx, key, CloseCode::Done);
    }

    /// The imports of a session, or of a call, do not work.
    pub(super) fn handle_not_working(&mut self, ctx: &Context<'_, Portrep>, key: Key, why: ImportFailure) {
        for number in self.imports.over(self.sessions, key) {
            self.imports.handle_not_working(ctx.now, self.connections, number, why);
        }
    }

    /// A call is not answered yet, and why.
    pub(super) fn handle_unmet(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, why: Failure) {
        self.handle_not_working(ctx, key, ImportFailure::Unmet(why));
        let waited = self.sessions.routes.handle_absent(key);
        self.give_up(ctx, waited);
    }

    /// Resets the connections of a session and lets the node settle the rest.
    pub(super) fn close(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, code: CloseCode) {
        for owner in self.connections.streams.remove_session(key) {
            match owner {
                Owner::Import(slot, _) | Owner::Export(slot, _) => self.connections.give_up(ctx, slot),
                Owner::Probe(_) => {}
            }
        }
        self.callers.handle_ended(key);
        self.sessions.close(ctx, key, code);
    }

    pub(super) fn drain(&mut self, ctx: &mut Context<'_, Portrep>, key: Key) {
        loop {
            let Some(session) = ctx.node.session(key) else { return };
            if let Some(error) = session.failure() {
                return self.end(ctx, key, ImportFailure::Broken(error));
            }
            let stream = |id| StreamKey { session: key, id };
            match session.poll_event() {
                None => break,
                Some(SessionEvent::StreamOpened { id, service }) => {
                    self.exports.handle_opened(ctx, self.connections, stream(id), &service);
                }
                Some(SessionEvent::StreamAccepted { id }) => self.handle_accepted(ctx, stream(id)),
                Some(SessionEvent::StreamRefused { id, code }) => {
                    self.handle_refused(ctx, stream(id), CloseCode::from_wire(code));
                }
                Some(SessionEvent::Closed { code }) if self.sessions.routes.index(key).is_some() => {
                    return self.end(ctx, key, ImportFailure::Said(CloseCode::from_wire(code)));
                }
                // A caller that goes is nobody's trouble.
                Some(SessionEvent::Closed { .. }) => return self.close(ctx, key, CloseCode::Done),
            }
        }
        while let Some(id) = ctx.node.session(key).and_then(|session| session.poll_touched()) {
            self.connections.handle_touched(StreamKey { session: key, id });
        }
    }

    /// The peer has taken a stream of ours.
    fn handle_accepted(&mut self, ctx: &mut Context<'_, Portrep>, stream: StreamKey) {
        match self.connections.streams.owner(stream) {
            Some(Owner::Import(slot, number)) => self.joining().handle_taken(slot, number),
            Some(Owner::Probe(number)) => {
                self.connections.end_probe(ctx, stream);
                self.joining().handle_served(number);
                self.imports.handle_works(ctx, self.connections, number);
            }
            Some(Owner::Export(..)) | None => {}
        }
    }

    /// The peer has not taken a stream of ours.
    fn handle_refused(&mut self, ctx: &mut Context<'_, Portrep>, stream: StreamKey, code: CloseCode) {
        match self.connections.streams.owner(stream) {
            Some(Owner::Import(slot, number)) => self.joining().handle_refused(ctx, slot, number, code),
            Some(Owner::Probe(number)) => {
                self.connections.end_probe(ctx, stream);
                if code == CloseCode::NotHere && self.joining().handle_not_served(ctx, number) {
                    return self.imports.handle_moved(ctx.now, number);
                }
                let why = ImportFailure::Said(code);
                if self.imports.handle_not_working(ctx.now, self.connections, number, why) {
                    let import = &self.imports.list()[number].import;
                    (ctx.news)(News::NotWorking(import.peer, import.service.app.as_str(), &why.into()));
                }
            }
            Some(Owner::Export(..)) | None => {}
        }
    }
}
