//! The sessions to peers: when one is asked for, and when it is let go. Their streams are in `streams`.

use super::Portrep;
use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::slots::Slot;
use crate::node::Key;
use crate::ports::routes::{Call, Route, Routes, Standing};
use crate::run::farewell::Farewell;
use crate::run::tool::Context;
use crate::wire::CloseCode;
use std::time::Instant;

/// The link to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relay {
    /// It was never up yet: there is hope.
    Expected,
    /// It is up since then.
    Up(Instant),
    /// It is down again.
    Down,
}

/// See the module's text.
pub(super) struct Sessions {
    /// Which of them carries what.
    pub routes: Routes<Key, Slot>,
    relay: Relay,
    /// A session was up once.
    met: bool,
    /// Sessions whose end the node is still settling, and until when it may: a peer that does not say that it knows has no more
    /// of us.
    closing: Vec<(Key, Instant)>,
    /// Nobody is called any more.
    stopped: bool,
}

impl Sessions {
    /// Over these routes, none of them called yet.
    pub(super) fn new(routes: Routes<Key, Slot>) -> Sessions {
        Sessions { routes, relay: Relay::Expected, met: false, closing: Vec::new(), stopped: false }
    }

    /// The link to a relay is up.
    pub(super) fn handle_relay_up(&mut self, now: Instant) {
        self.relay = Relay::Up(now);
    }

    /// The link to the relay is down. Yields the connections that waited for the answer to a call.
    pub(super) fn handle_relay_down(&mut self) -> Vec<Slot> {
        self.relay = Relay::Down;
        self.routes.take_waiting()
    }

    /// Whether a call that is under way may be answered soon.
    pub(super) fn has_hope(&self) -> bool {
        self.relay != Relay::Down
    }

    /// Whether a session was up once.
    pub(super) fn has_met(&self) -> bool {
        self.met
    }

    /// A session is up. Lets go of the calls that it makes needless. Yields the session whose place it takes, if it takes
    /// one.
    pub(super) fn handle_up(&mut self, ctx: &mut Context<'_, Portrep>, key: Key) -> Option<Key> {
        self.met = true;
        // Nobody has to wait for a turn with it.
        ctx.node.handle_served();
        for needless in self.routes.handle_answered(key) {
            ctx.node.abandon(ctx.now, needless);
        }
        self.routes.handle_succeeded(ctx.now, key)
    }

    /// A session has a path again.
    pub(super) fn handle_resumed(&mut self, ctx: &mut Context<'_, Portrep>, key: Key) {
        if let Some(needless) = self.routes.handle_resumed(key) {
            ctx.node.abandon(ctx.now, needless);
        }
    }

    /// Calls every peer whose turn has come.
    pub(super) fn call(&mut self, ctx: &mut Context<'_, Portrep>) {
        while let Some(call) = self.next_call(ctx.now) {
            let key = ctx.node.call(ctx.now, call.peer, call.app.clone());
            self.routes.handle_called(call, key);
        }
    }

    /// The process called does not serve an application. True if another process of the peer may.
    pub(super) fn handle_not_served(&mut self, ctx: &mut Context<'_, Portrep>, peer: PeerId, app: &AppName) -> bool {
        let may_be_elsewhere = self.routes.handle_not_served(ctx.now, peer, app);
        self.call(ctx);
        let is_called =
            |route: &Route<Key, Slot>| matches!(route.standing(), Standing::Calling(_)) && route.app() == app;
        may_be_elsewhere || self.routes.route(peer, app).is_some_and(is_called)
    }

    /// Closes a session and lets the node settle the rest.
    pub(super) fn close(&mut self, ctx: &mut Context<'_, Portrep>, key: Key, code: CloseCode) {
        if let Some(session) = ctx.node.session(key) {
            session.close(code);
        }
        ctx.node.release(ctx.now, key);
        self.closing.push((key, Farewell::Settled.until(ctx.now)));
    }

    /// Calls nobody any more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Forgets the closed sessions that the node has settled, or has had its time for.
    pub(super) fn forget_settled(&mut self, ctx: &mut Context<'_, Portrep>) {
        for (key, _) in self.closing.iter().filter(|(_, until)| *until <= ctx.now) {
            ctx.node.abandon(ctx.now, *key);
        }
        self.closing.retain(|(key, _)| ctx.node.knows(*key));
    }

    /// Whether every closed session is settled.
    pub(super) fn is_settled(&self) -> bool {
        self.closing.is_empty()
    }

    /// When to look again without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let closing = self.closing.iter().map(|(_, until)| *until).min();
        self.routes.next_timeout(self.relay_since()).into_iter().chain(closing).min()
    }

    fn next_call(&self, now: Instant) -> Option<Call> {
        if self.stopped { None } else { self.routes.next_call(now, self.relay_since()) }
    }

    fn relay_since(&self) -> Option<Instant> {
        match self.relay {
            Relay::Up(since) => Some(since),
            Relay::Expected | Relay::Down => None,
        }
    }
}
