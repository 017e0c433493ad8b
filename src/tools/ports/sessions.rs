//! The life of sessions, as far as connections hang on it.

use super::Portrep;
use super::desk::Owner;
use super::error::Error;
use super::news::News;
use crate::node::Failure;
use crate::node::Key;
use crate::run::tool::{Context, RunError};
use crate::session::Event as SessionEvent;
use crate::wire::CloseCode;

impl Portrep {
    pub(super) fn handle_up(&mut self, ctx: &mut Context<'_, Portrep>, key: Key) {
        self.met = true;
        self.command.handle_met();
        self.desk.tie(key);
        for needless in self.routes.handle_answered(key) {
            ctx.node.abandon(ctx.now, needless);
        }
        if let Some(old) = self.routes.handle_succeeded(ctx.now, key) {
            self.handle_succeeded(ctx, old);
        }
        if let Some(held) = self.routes.handle_up(key) {
            self.probe_all_soon(ctx.now);
            for slot in held {
                self.begin(ctx, key, slot);
            }
        }
    }

    /// Another session has taken the place of one without a path. Connections that the peer may never have heard of can
    /// be reset at once.
    fn handle_succeeded(&mut self, ctx: &mut Context<'_, Portrep>, old: Key) {
        for owner in self.desk.owners(old) {
            if let Owner::Import(slot, _) = owner {
                if !self.desk.is_taken(slot) {
                    self.desk.give_up(ctx, slot);
                }
            }
        }
        self.probe_all_soon(ctx.now);
    }

    /// Lets sessions go that others have taken the place of.
    pub(super) fn drop_faded(&mut self, ctx: &mut Context<'_, Portrep>) {
        while let Some(key) = self.routes.poll_replaced(ctx.now) {
            self.end_session(ctx, key, &Error::Run(RunError::Node(Failure::SessionGone)));
        }
        for key in self.routes.resumed_too_late() {
            if self.desk.owners(key).is_empty() {
                self.routes.handle_ended(ctx.now, key);
                self.retire(ctx, key, CloseCode::Done);
            }
        }
    }

    /// A session, or the hope of one, is over: its connections are reset, and its peer is called again.
    pub(super) fn end_session(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, error: &Error) {
        if let Some((peer, app)) = self.routes.callee(key).filter(|_| self.routes.is_first_failure(key)) {
            (ctx.news)(News::CallFailed(peer, app.as_str(), error));
        }
        let owners = self.desk.owners(key);
        if !owners.is_empty() {
            let left = owners.into_iter().any(|owner| self.desk.is_left(owner));
            self.command.handle_lost(left);
        }
        self.forget_health(ctx.now, key);
        for slot in self.routes.handle_ended(ctx.now, key) {
            self.desk.give_up(ctx, slot);
        }
        self.retire(ctx, key, CloseCode::Done);
    }

    /// Resets the connections of a session and lets the node settle the rest.
    pub(super) fn retire(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, code: CloseCode) {
        for owner in self.desk.untie(key) {
            match owner {
                Owner::Import(slot, _) | Owner::Export(slot, _) => self.desk.give_up(ctx, slot),
                Owner::Probe(_) => {}
            }
        }
        if let Some(session) = ctx.node.session(key) {
            session.close(code);
        }
        ctx.node.release(ctx.now, key);
        self.closing.push(key);
    }

    pub(super) fn drain_session(&mut self, ctx: &mut Context<'_, Portrep>, key: Key) {
        loop {
            let Some(session) = ctx.node.session(key) else { return };
            if let Some(error) = session.failure() {
                return self.end_session(ctx, key, &error.into());
            }
            match session.poll_event() {
                None => break,
                Some(SessionEvent::StreamOpened { id, service }) => self.serve(ctx, key, id, &service),
                Some(SessionEvent::Closed { code }) if self.routes.index(key).is_some() => {
                    return self.end_session(ctx, key, &Error::Run(RunError::PeerClosed(CloseCode::from_wire(code))));
                }
                // A caller that goes is nobody's trouble.
                Some(SessionEvent::Closed { .. }) => return self.retire(ctx, key, CloseCode::Done),
                Some(event) => self.handle_answer(ctx, key, &event),
            }
        }
        while let Some(stream) = ctx.node.session(key).and_then(|session| session.poll_touched()) {
            if let Some(Owner::Import(slot, _) | Owner::Export(slot, _)) = self.desk.owner(key, stream) {
                self.desk.enqueue(slot);
            }
        }
    }
}
