//! `vp-portrep`: ports of one network in another, for applications that know nothing of it.
//!
//! ```text
//! application ⇄ socket ⇄ stream ⇄ session ⇄ … ⇄ session ⇄ stream ⇄ socket ⇄ target
//!               import                                            export
//! ```
//!
//! One session to each peer carries all connections as streams. This folder accepts and dials sockets, decides who may
//! reach what, and moves bytes between sockets and streams. It does not know how a session gets over breaks, and so never
//! touches a connection because a lane, a relay or a network came or went.
//!
//! Invariants: an end is passed on as an end and a reset as a reset, each way on its own; an application never takes a
//! broken connection for one that ended; a peer reaches what was exported to it and nothing else, and cannot tell what is
//! exported to others; a connection costs nothing while nothing happens on it.

mod approach;
mod bindings;
mod callers;
mod check;
mod command;
mod conn;
mod connections;
mod dial;
mod ending;
mod error;
mod exports;
mod hello;
mod import;
mod import_failure;
mod imports;
mod joining;
mod names;
mod news;
mod peers;
mod resolvers;
mod sessions;
mod setup;
mod shares;
mod streams;
mod target_request;
mod targets;
mod throttle;

pub(crate) use check::{Check, Hop, News as CheckNews, Passage};
pub(crate) use command::HANDED_OVER;
pub(crate) use error::Error;
pub(crate) use exports::Export;
pub(crate) use import::{Import, Speaks};
pub(crate) use news::{News, Wanted};
pub(crate) use setup::{Options, SetupError};
pub(crate) use targets::Target;

use crate::net::listen::FourPorts;
use crate::net::options::Purpose;
use crate::net::reactor::Ready;
use crate::net::signals::{Came, Request};
use crate::net::slots::Slot;
use crate::node::{Callers, Event, Failure, Reach};
use crate::ports::routes::Routes;
use crate::run::callers::{Reload, Taken, reread};
use crate::run::tool::{Context, Doing, RunError, Tool};
use crate::wire::CloseCode;
use bindings::{Found, bind_rest};
use command::Command;
use connections::{Connections, Source};
use ending::Ending;
use exports::Exports;
use import_failure::ImportFailure;
use imports::{Imports, Listen, Listeners};
use joining::Joining;
use peers::Peers;
use sessions::Sessions;
use std::time::Instant;
use targets::Resolved;
use throttle::Throttle;

/// The tool.
pub(crate) struct Portrep {
    imports: Imports,
    exports: Exports,
    connections: Connections,
    sessions: Sessions,
    callers: callers::Callers,
    command: Command,
    reload: Reload,
    told_ready: bool,
    ending: Ending,
}

impl Portrep {
    /// Binds what is to be listened on.
    ///
    /// # Errors
    /// A port is taken, nobody can have the name of a target, there is no program to run.
    pub(crate) fn new(now: Instant, options: Options) -> Result<Portrep, SetupError> {
        options.check_program()?;
        let most = options.most_connections();
        let listen = if options.listen_when_up { Listen::WhenUp } else { Listen::Always };
        let purpose = Purpose::Application(options.keepalive);
        let mut exports = Exports::new(purpose, options.proxy);
        if !options.imports.is_empty() {
            exports = exports.beside_imports();
        }
        for Export { app, target, allow } in options.exports {
            let resolved = Resolved::new(target.clone());
            let resolved = resolved.ok_or_else(|| SetupError::BadName(app.clone(), target))?;
            exports.add(app, resolved, allow);
        }
        let mut routes = Routes::default();
        options.imports.iter().for_each(|import| routes.add(now, import.peer, &import.service.app));
        let mut found = Found::new(options.passed)?;
        let four = FourPorts::of(options.imports.iter().map(|import| &import.at).chain(&found.places()));
        let mut bound = found.claim(&options.imports)?;
        if listen == Listen::Always {
            bind_rest(&options.imports, &mut bound, &four)?;
        }
        let mut connections = Connections::new(Throttle::new(now, options.limit), most);
        connections.parties = exports.parties();
        Ok(Portrep {
            imports: Imports::new(now, options.imports, Listeners { bound, four, listen }, purpose),
            exports,
            connections,
            sessions: Sessions::new(routes),
            callers: callers::Callers::new(options.callers_max),
            command: Command::new(now, options.run, options.wait),
            reload: options.reload,
            told_ready: false,
            ending: Ending::default(),
        })
    }

    /// Who may reach which export.
    pub(crate) fn callers(&self) -> Callers {
        self.exports.callers()
    }

    fn peers(&mut self) -> Peers<'_> {
        let Portrep { imports, exports, connections, sessions, callers, command, .. } = self;
        Peers { imports, exports, connections, sessions, callers, command }
    }

    fn joining(&mut self) -> Joining<'_> {
        Joining { imports: self.imports.list(), connections: &mut self.connections, sessions: &mut self.sessions }
    }

    /// Nobody was met in time. Of a peer that is there and will not do, more is known than that.
    fn finish_unmet(&mut self, why: Failure) {
        let is_absence = ImportFailure::Unmet(why).is_absence();
        let known = self.imports.not_working().filter(|(_, known)| is_absence && !known.is_absence());
        self.ending.finish(Err(known.map_or(Error::Run(RunError::Node(why)), |(error, _)| error)));
    }

    fn tell_ready(&mut self, ctx: &mut Context<'_, Portrep>) {
        if self.exports.are_registered() && !std::mem::replace(&mut self.told_ready, true) {
            (ctx.news)(News::Ready);
        }
    }

    fn serve_queue(&mut self, ctx: &mut Context<'_, Portrep>) -> bool {
        let mut moved = false;
        for _ in 0..self.connections.turn() {
            let Some(slot) = self.connections.poll_queued() else { break };
            moved |= match self.connections.get_mut(slot) {
                Some(Source::Dial(_)) => self.exports.advance_dial(ctx, &mut self.connections, slot),
                Some(Source::Request(_)) => self.exports.advance_request(ctx, &mut self.connections, slot),
                Some(Source::Hello(_)) => self.joining().advance_hello(ctx, slot),
                Some(Source::Conn(_)) => self.connections.pump(ctx, slot),
                _ => false,
            };
        }
        moved || !self.connections.is_idle()
    }

    fn wants_probes(&self) -> bool {
        (self.imports.listen() == Listen::WhenUp || self.command.is_waiting()) && !self.ending.has_begun()
    }

    /// Runs the command as soon as every mapping works, and gives up when that comes too late.
    fn drive_command(&mut self, ctx: &mut Context<'_, Portrep>) {
        if self.ending.has_begun() {
            return;
        }
        if self.command.is_waiting() {
            match self.command.too_late(ctx.now, self.imports.not_working().map(|(error, _)| error)) {
                _ if self.imports.all_work() && self.told_ready => {
                    if let Err(error) = self.command.start(ctx, &mut self.connections) {
                        self.ending.finish(Err(error));
                    }
                }
                Some(error) => self.ending.finish(Err(error)),
                None => {}
            }
        }
        if let Some(signal) = self.command.ended_by(ctx.now) {
            return self.stop(ctx, Err(Error::Run(RunError::Signal(signal))), CloseCode::GoingAway);
        }
        if self.command.has_ended() && !self.imports.has_waiting() && !self.connections.owes(ctx) {
            if let Some(outcome) = self.command.take_outcome() {
                self.stop(ctx, outcome, CloseCode::Done);
            }
        }
    }

    /// Lets go of everything. Peers hear `code`; then it ends with `outcome`.
    fn stop(&mut self, ctx: &mut Context<'_, Portrep>, outcome: Result<(), Error>, code: CloseCode) {
        self.ending.begin(ctx.now, outcome);
        self.sessions.stop();
        self.imports.close(&mut self.connections);
        self.exports.close(ctx);
        for key in self.connections.streams.sessions() {
            self.peers().close(ctx, key, code);
        }
        for slot in self.connections.slots() {
            if let Some(Source::Waiting(_) | Source::Hello(_)) = self.connections.get_mut(slot) {
                self.connections.give_up(ctx, slot);
            }
        }
        self.command.terminate(&mut self.connections);
    }

    /// Takes the new lists of who may reach what. Connections of peers who may no more are reset, others go on.
    fn handle_reload(&mut self, ctx: &mut Context<'_, Portrep>) {
        ctx.node.hurry(ctx.now);
        let Some(Taken { callers: Callers::Each(again), .. }) = reread(ctx, &mut self.reload) else { return };
        self.exports.set_callers(again);
        self.connections.parties = self.exports.parties();
        self.exports.cast_out(ctx, &mut self.connections);
    }

    fn conclude(&mut self, ctx: &mut Context<'_, Portrep>) {
        self.sessions.forget_settled(ctx);
        let is_settled = self.sessions.is_settled() && !self.command.is_running();
        self.ending.handle_time(ctx.now, is_settled);
    }
}

impl Tool for Portrep {
    type News<'a> = News<'a>;
    type Error = Error;

    fn start(&mut self, ctx: &mut Context<'_, Portrep>) {
        if let Err(error) = self.imports.open_bound(ctx, &mut self.connections) {
            return self.ending.finish(Err(Error::Run(RunError::Io(Doing::Listen, error))));
        }
        self.exports.open(ctx);
        self.sessions.call(ctx);
        // Without exports, that is all.
        self.tell_ready(ctx);
    }

    fn handle_event(&mut self, ctx: &mut Context<'_, Portrep>, event: &Event) {
        match event {
            Event::RelayUp { .. } => self.sessions.handle_relay_up(ctx.now),
            Event::RelayDown { .. } => {
                let waited = self.sessions.handle_relay_down();
                self.peers().give_up(ctx, waited);
            }
            Event::Listening { app } => {
                self.exports.handle_registered(ctx, app);
                self.tell_ready(ctx);
            }
            Event::Up { key, .. } => self.peers().handle_up(ctx, *key),
            Event::Waiting { key } => self.peers().handle_unmet(ctx, *key, Failure::PeerAbsent),
            Event::Limited { key } => self.peers().handle_unmet(ctx, *key, Failure::RefusedByPeer(CloseCode::Limit)),
            Event::Lost { key } => {
                self.sessions.routes.handle_lost(ctx.now, *key);
                self.peers().handle_path(ctx, *key, Reach::lost(ctx.now));
            }
            Event::Resumed { key } => {
                self.peers().handle_path(ctx, *key, Reach::default());
                self.sessions.handle_resumed(ctx, *key);
                self.imports.probe_all_soon(ctx.now);
            }
            Event::NotServed { key } => {
                self.peers().handle_not_working(ctx, *key, ImportFailure::Unmet(Failure::NotServed))
            }
            // Who does not want to wait has no use for another call.
            Event::Failed { key, why } if self.command.is_hasty() && !self.sessions.has_met() => {
                self.peers().handle_not_working(ctx, *key, ImportFailure::Unmet(*why));
                self.finish_unmet(*why);
            }
            Event::Failed { key, why } => self.peers().end(ctx, *key, ImportFailure::Unmet(*why)),
            Event::Fatal { why } => self.finish_unmet(*why),
            Event::TurnedAway { .. } | Event::Circuit { .. } | Event::Shared { .. } => {}
        }
    }

    fn handle_ready(&mut self, _: &mut Context<'_, Portrep>, ready: Ready) {
        let slot = Slot::of(ready.token);
        match self.connections.get_mut(slot) {
            Some(Source::Listener(number)) => {
                let number = *number;
                self.imports.handle_ready(number);
            }
            Some(Source::Child(_)) => {
                if self.command.reap(&mut self.connections) {
                    // What it left in a backlog or in a socket may have brought no event yet.
                    self.imports.handle_all_ready();
                    self.connections.rouse();
                }
            }
            Some(_) => self.connections.handle_ready(slot, ready),
            None => {}
        }
    }

    fn pump(&mut self, ctx: &mut Context<'_, Portrep>) -> bool {
        for key in self.connections.streams.sessions() {
            self.peers().drain(ctx, key);
        }
        self.exports.poll_names(ctx, &mut self.connections);
        self.exports.poll_lookups(ctx, &mut self.connections);
        self.peers().drop_replaced(ctx);
        self.peers().drop_lost(ctx);
        self.sessions.call(ctx);
        if self.wants_probes() {
            self.imports.probe(ctx, &mut self.connections, &self.sessions);
        }
        self.connections.handle_time(ctx.now);
        let accepted = self.imports.accept(ctx, &mut self.connections, &mut self.sessions);
        let moved = self.serve_queue(ctx);
        // Behind the listeners: one that was ready is looked at now, or nothing may come that makes us look.
        self.drive_command(ctx);
        self.imports.judge_referrals(ctx, &mut self.connections);
        self.exports.handle_patience(ctx, &mut self.connections);
        self.conclude(ctx);
        accepted || moved
    }

    fn hand_over(&mut self, came: &Came) -> bool {
        self.command.hand_over(&mut self.connections, came)
    }

    fn handle_signal(&mut self, ctx: &mut Context<'_, Portrep>, request: Request) {
        match request {
            Request::Refresh => self.handle_reload(ctx),
            Request::Status => {
                let (open, served) = self.connections.counts();
                (ctx.news)(News::Connections(open, served));
            }
            Request::End(signal) if self.command.is_running() => {
                self.command.end(ctx.now, &mut self.connections, signal);
            }
            Request::End(signal) => self.stop(ctx, Err(Error::Run(RunError::Signal(signal))), CloseCode::GoingAway),
        }
    }

    fn outcome(&mut self) -> Option<Result<(), Error>> {
        self.ending.take()
    }

    fn is_waiting(&self) -> bool {
        self.command.is_waiting()
    }

    fn reload_at(&self) -> Option<Instant> {
        self.reload.again_at()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let goodbye = self.ending.deadline();
        let probe = self.imports.next_probe().filter(|_| self.wants_probes());
        // Whoever is about to end calls nobody, probes nothing and runs nothing any more.
        let plans = [self.sessions.next_timeout(), probe, self.command.next_timeout(), self.exports.next_timeout()];
        let plans = plans.into_iter().flatten().filter(|_| goodbye.is_none());
        let sockets = [self.imports.next_timeout(), self.connections.next_timeout()];
        let gives_way = self.callers.next_to_go().map(|(at, _)| at);
        plans.chain(sockets.into_iter().flatten()).chain(gives_way).chain(goodbye).min()
    }
}
