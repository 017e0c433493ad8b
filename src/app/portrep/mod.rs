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

mod ask;
mod check;
mod conn;
mod desk;
mod exports;
mod imports;
mod peers;
mod probes;
mod proxy;
pub mod rmi;
mod rules;
pub mod service;
mod sessions;
mod slots;
pub mod socks;
mod talk;
mod targets;
mod throttle;

pub use check::{Check, Hop, Passage};
pub use exports::Export;
pub use imports::{Import, Speaks};
pub use proxy::Version as ProxyVersion;
pub use rmi::Referral;
pub use rules::{Rule, RuleError, Rules};
pub use service::{APP_MAX, Service};
pub use targets::Target;

use super::client::{Callers, CloseCode, Context, Failure, Notice, Place, Tool, ToolError};
use crate::identity::{AppName, PeerId};
use crate::net::signals::{HUP, USR1};
use crate::net::tcp::{Listener, raise_descriptor_limit};
use crate::node::{Event, Key};
use desk::{Desk, End, Owner};
use exports::Gate;
use imports::Door;
use peers::Routes;
use probes::Health;
use slots::Slot;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};
use targets::Resolved;
use throttle::Throttle;

/// Descriptors for everything that is not a connection.
const DESCRIPTORS_KEPT: usize = 64;
/// Connections at a time, unless the user or the descriptors say less: a session has no more streams.
const CONNECTIONS_MAX: usize = 8192;
/// How long the end of sessions is waited for after a signal.
const GOODBYE: Duration = Duration::from_secs(3);

/// Reads again who may reach which export, in the order of the exports. None: as before.
pub type Reload = Box<dyn FnMut() -> Option<Vec<Vec<PeerId>>>>;

/// What `vp-portrep` was asked to do.
pub struct Options {
    /// Ports to listen on.
    pub imports: Vec<Import>,
    /// Ports to serve.
    pub exports: Vec<Export>,
    /// Listens only while the far side serves.
    pub listen_when_up: bool,
    /// What targets are told of who connects.
    pub proxy: Option<ProxyVersion>,
    /// Bytes a second each way.
    pub limit: Option<NonZeroU64>,
    /// Connections at a time.
    pub max_connections: Option<usize>,
    /// A program and its arguments, to be run once every import works; or nothing.
    pub run: Vec<OsString>,
    /// What SIGHUP does.
    pub reload: Reload,
}

/// Why it cannot even begin.
#[derive(Debug)]
pub enum SetupError {
    /// This place cannot be listened on.
    Listen(Place, io::Error),
    /// The target of this export has no address.
    Resolve(AppName, Target, io::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Listen(place, _) => write!(f, "cannot listen on {place}"),
            SetupError::Resolve(app, target, _) => write!(f, "the target {target} of the export {app} has no address"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SetupError::Listen(_, error) | SetupError::Resolve(_, _, error) => Some(error),
        }
    }
}

/// The tool.
pub struct Portrep {
    doors: Vec<Door>,
    /// Listeners bound before the loop begins, for each door in turn.
    bound: Vec<Option<Listener>>,
    health: Vec<Health>,
    gates: Vec<Gate>,
    routes: Routes,
    desk: Desk,
    listen_when_up: bool,
    proxy: Option<ProxyVersion>,
    reload: Reload,
    run: Vec<OsString>,
    started: bool,
    child: Option<Slot>,
    /// The link to the relay is down, and not because it was never up yet.
    stranded: bool,
    /// Since when it is up.
    attached: Option<Instant>,
    met: bool,
    told_ready: bool,
    /// Peers' wishes whose name is being looked up.
    looking: Vec<Slot>,
    closing: Vec<Key>,
    /// Where RMI servers send their callers in vain.
    told: rmi::Told,
    stopping: Option<(i32, Instant)>,
    outcome: Option<Result<(), ToolError>>,
}

impl Portrep {
    /// Binds what is to be listened on and resolves what is to be served.
    ///
    /// # Errors
    /// A port is taken, a name has no address.
    pub fn new(now: Instant, options: Options) -> Result<Portrep, SetupError> {
        let descriptors = usize::try_from(raise_descriptor_limit()).unwrap_or(usize::MAX);
        let most = options.max_connections.unwrap_or(CONNECTIONS_MAX).min(descriptors.saturating_sub(DESCRIPTORS_KEPT));
        let mut gates = Vec::new();
        for Export { app, target, allow } in options.exports {
            let resolved = Resolved::new(target.clone());
            let resolved = resolved.map_err(|error| SetupError::Resolve(app.clone(), target, error))?;
            gates.push(Gate::new(app, resolved, allow));
        }
        let (mut routes, mut bound) = (Routes::default(), Vec::new());
        for import in &options.imports {
            routes.add(now, import.peer, &import.service.app);
            let listener = match options.listen_when_up {
                true => None,
                false => Some(Listener::bind(&import.at).map_err(|e| SetupError::Listen(import.at.clone(), e))?),
            };
            bound.push(listener);
        }
        Ok(Portrep {
            health: vec![Health::Unknown(now); options.imports.len()],
            doors: options.imports.into_iter().map(Door::new).collect(),
            bound,
            gates,
            routes,
            desk: Desk::new(Throttle::new(now, options.limit), most),
            listen_when_up: options.listen_when_up,
            proxy: options.proxy,
            reload: options.reload,
            run: options.run,
            started: false,
            child: None,
            stranded: false,
            attached: None,
            met: false,
            told_ready: false,
            looking: Vec::new(),
            closing: Vec::new(),
            told: rmi::Told::new(),
            stopping: None,
            outcome: None,
        })
    }

    /// Everybody who may reach any export.
    pub fn callers(&self) -> Callers {
        let mut peers: Vec<PeerId> = self.gates.iter().flat_map(|gate| gate.allow.iter().copied()).collect();
        peers.sort_unstable();
        peers.dedup();
        if peers.is_empty() { Callers::Nobody } else { Callers::Only(peers) }
    }

    fn finish(&mut self, outcome: Result<(), ToolError>) {
        self.outcome.get_or_insert(outcome);
    }

    fn handle_attached(&mut self, ctx: &mut Context<'_>, app: &AppName) {
        for gate in self.gates.iter_mut().filter(|gate| gate.app == *app) {
            if !std::mem::replace(&mut gate.attached, true) {
                (ctx.notices)(Notice::Serving(app.as_str(), &gate.resolved.target().to_string()));
            }
        }
        self.tell_ready(ctx);
    }

    fn tell_ready(&mut self, ctx: &mut Context<'_>) {
        let all = self.gates.iter().all(|gate| gate.attached);
        if all && !std::mem::replace(&mut self.told_ready, true) {
            (ctx.notices)(Notice::Ready);
        }
    }

    fn serve_queue(&mut self, ctx: &mut Context<'_>) -> bool {
        let mut moved = false;
        for _ in 0..self.desk.next_batch() {
            let Some(slot) = self.desk.next_queued() else { break };
            moved |= match self.desk.ends.get_mut(slot) {
                Some(End::Dial(_)) => self.advance_dial(ctx, slot),
                Some(End::Talk(_)) => self.advance_talk(ctx, slot),
                Some(End::Ask(_)) => self.advance_ask(ctx, slot),
                Some(End::Conn(_)) => self.desk.pump(ctx, slot),
                _ => false,
            };
        }
        moved || !self.desk.is_idle()
    }

    fn handle_patience(&mut self, ctx: &mut Context<'_>) {
        while let Some(slot) = self.desk.poll_patience(ctx.now) {
            if let Some(End::Dial(_)) = self.desk.ends.get_mut(slot) {
                self.fail_dial(ctx, slot, &io::ErrorKind::TimedOut.into());
            } else {
                self.desk.give_up(ctx, slot);
            }
        }
    }

    fn reap_child(&mut self, slot: Slot) {
        use std::os::unix::process::ExitStatusExt;
        let Some(End::Child(child)) = self.desk.ends.get_mut(slot) else { return };
        let outcome = match child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => match (status.code(), status.signal()) {
                (Some(0), _) => Ok(()),
                (Some(code), _) => Err(ToolError::Exited(u8::try_from(code).unwrap_or(u8::MAX))),
                (None, signal) => Err(ToolError::Killed(signal.unwrap_or_default())),
            },
            Err(error) => Err(ToolError::Io("waiting for the command", error)),
        };
        self.desk.ends.remove(slot);
        self.child = None;
        self.finish(outcome);
    }

    fn stop(&mut self, ctx: &mut Context<'_>, signal: i32) {
        self.stopping = Some((signal, ctx.now + GOODBYE));
        for number in 0..self.doors.len() {
            self.close_door(number);
        }
        for gate in &self.gates {
            ctx.node.unlisten(&gate.app);
        }
        for key in self.desk.keys() {
            self.retire(ctx, key, CloseCode::GoingAway);
        }
        for slot in self.desk.ends.keys() {
            match self.desk.ends.get_mut(slot) {
                Some(End::Held(_) | End::Talk(_)) => self.desk.give_up(ctx, slot),
                Some(End::Child(child)) => child.terminate(),
                _ => {}
            }
        }
    }

    /// Takes the new lists of who may reach what. Connections of peers who may no more are reset, others go on.
    fn handle_reload(&mut self, ctx: &mut Context<'_>) {
        ctx.node.hurry(ctx.now);
        let Some(lists) = (self.reload)() else { return (ctx.notices)(Notice::NotReloaded) };
        for (gate, allow) in self.gates.iter_mut().zip(lists) {
            gate.allow = allow;
        }
        ctx.node.set_callers(self.callers());
        for key in self.desk.keys() {
            let Some(peer) = ctx.node.peer(key) else { continue };
            for owner in self.desk.owners(key) {
                let Owner::Export(slot, gate) = owner else { continue };
                if !self.gates[gate].allow.contains(&peer) {
                    self.desk.give_up(ctx, slot);
                }
            }
        }
    }

    fn conclude(&mut self, ctx: &mut Context<'_>) {
        self.closing.retain(|key| ctx.node.knows(*key));
        if let Some((signal, until)) = self.stopping {
            let settled = self.closing.is_empty() && self.child.is_none();
            if settled || ctx.now >= until {
                self.finish(Err(ToolError::Signal(signal)));
            }
        }
    }
}

impl Tool for Portrep {
    fn start(&mut self, ctx: &mut Context<'_>) {
        for number in 0..self.doors.len() {
            if let Some(listener) = self.bound[number].take() {
                if let Err(error) = self.open_door(ctx, number, listener) {
                    return self.finish(Err(ToolError::Io("listening", error)));
                }
            }
        }
        for gate in &self.gates {
            ctx.node.listen(gate.app.clone());
        }
        self.call_routes(ctx);
        if self.gates.is_empty() {
            self.tell_ready(ctx);
        }
    }

    fn handle_event(&mut self, ctx: &mut Context<'_>, event: &Event) {
        match event {
            Event::RelayUp { .. } => {
                self.stranded = false;
                self.attached = Some(ctx.now);
            }
            Event::RelayDown { .. } => {
                self.stranded = true;
                self.attached = None;
                for route in self.routes.iter_mut() {
                    for slot in std::mem::take(&mut route.held) {
                        self.desk.give_up(ctx, slot);
                    }
                }
            }
            Event::Listening { app } => self.handle_attached(ctx, app),
            Event::Up { key, .. } => self.handle_up(ctx, *key),
            Event::Waiting { key } => {
                self.forget_health(ctx.now, *key);
                for slot in self.routes.handle_absent(*key) {
                    self.desk.give_up(ctx, slot);
                }
            }
            Event::Lost { key } => self.routes.handle_lost(ctx.now, *key),
            Event::Resumed { key } => {
                if let Some(heir) = self.routes.handle_resumed(*key) {
                    ctx.node.abandon(ctx.now, heir);
                }
                self.probe_all_soon(ctx.now);
            }
            // Only who does not want to wait hears that the peer is absent as a failure.
            Event::Failed { why: Failure::PeerAbsent, .. } if !self.met => {
                self.finish(Err(ToolError::Node(Failure::PeerAbsent)));
            }
            Event::Failed { key, why } => self.end_session(ctx, *key, &ToolError::Node(*why)),
            Event::Fatal { why } => self.finish(Err(ToolError::Node(*why))),
            Event::TurnedAway { .. } => {}
        }
    }

    fn handle_ready(&mut self, _: &mut Context<'_>, event: &mio::event::Event) {
        let slot = Slot::of(event.token());
        match self.desk.ends.get_mut(slot) {
            Some(End::Door(_, number)) => {
                let number = *number;
                self.handle_door_ready(number);
            }
            Some(End::Child(_)) => self.reap_child(slot),
            Some(_) => self.desk.handle_ready(slot, event),
            None => {}
        }
    }

    fn pump(&mut self, ctx: &mut Context<'_>) -> bool {
        for key in self.desk.keys() {
            self.drain_session(ctx, key);
        }
        self.gates.iter_mut().for_each(|gate| gate.resolved.poll());
        self.poll_lookups(ctx);
        self.drop_faded(ctx);
        self.call_routes(ctx);
        self.probe(ctx);
        self.start_command(ctx);
        self.desk.release_throttled(ctx.now);
        let accepted = self.accept(ctx);
        let moved = self.serve_queue(ctx);
        self.judge_referrals(ctx);
        self.handle_patience(ctx);
        self.conclude(ctx);
        accepted || moved
    }

    fn handle_signal(&mut self, ctx: &mut Context<'_>, signal: i32) {
        match signal {
            HUP => self.handle_reload(ctx),
            USR1 => {
                let (open, served) = self.desk.counts();
                (ctx.notices)(Notice::Connections(open, served));
            }
            _ => self.stop(ctx, signal),
        }
    }

    fn outcome(&mut self) -> Option<Result<(), ToolError>> {
        self.outcome.take()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let doors = self.doors.iter().filter_map(Door::next_timeout);
        let others = [self.desk.next_timeout(), self.routes.next_timeout(self.attached), self.next_probe()];
        let goodbye = self.stopping.map(|(_, until)| until);
        doors.chain(others.into_iter().flatten()).chain(goodbye).min()
    }
}
