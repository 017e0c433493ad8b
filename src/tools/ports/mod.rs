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
mod ask;
mod bindings;
mod check;
mod command;
mod conn;
mod desk;
mod error;
mod exports;
mod imports;
mod names;
mod news;
mod probes;
mod sessions;
mod talk;
mod targets;
mod throttle;

pub use check::{Check, Hop, News as CheckNews, Passage};
pub use command::HANDED_OVER;
pub use error::Error;
pub use exports::Export;
pub use imports::{Import, Speaks};
pub use news::News;
pub use targets::Target;

use crate::names::AppName;
pub use crate::net::accounts::{group_id, user_id};
pub use crate::net::listen::loopbacks;
use crate::net::listen::{FourPorts, Listener};
pub use crate::net::options::{KEEPALIVE_MAX, Keepalive};
use crate::net::signals::{Came, Request};
use crate::net::slots::Slot;
pub use crate::net::socket_file::{Access, ListenError};
use crate::net::tcp::raise_descriptor_limit;
use crate::net::{passed::Passed, tcp::Place};
use crate::node::{Callers, Failure, Wait};
use crate::node::{Event, Key};
use crate::ports::ProxyVersion;
use crate::ports::rmi::Told;
use crate::ports::routes::Routes;
use crate::run::callers::{Reload, Taken, reread};
use crate::run::tool::{Context, RunError, Tool};
use crate::wire::CloseCode;
use bindings::{Found, bind_rest};
use command::Command;
use desk::{Desk, End, Owner};
use exports::Gate;
use imports::Door;
use probes::Health;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};
use targets::Resolved;
use throttle::Throttle;

/// Descriptors for everything that is neither a connection nor a listener.
const DESCRIPTORS_KEPT: usize = 64;
/// Connections at a time, unless the user or the descriptors say less: eight sessions full of streams, so that one peer
/// meets the limit of its session before it meets that of all.
const CONNECTIONS_MAX: usize = 8 * 8192;
/// How long the end of sessions is waited for after a signal.
const GOODBYE: Duration = Duration::from_secs(3);

/// What `vp-portrep` was asked to do.
pub struct Options {
    /// Ports to listen on.
    pub imports: Vec<Import>,
    /// Ports to serve.
    pub exports: Vec<Export>,
    /// Sockets that listen already: for the imports that are where they are, or have their names.
    pub passed: Vec<Passed>,
    /// Listens only while the far side serves.
    pub listen_when_up: bool,
    /// What targets are told of who connects.
    pub proxy: Option<ProxyVersion>,
    /// Bytes a second each way.
    pub limit: Option<NonZeroU64>,
    /// When silent connections of applications and targets are asked whether they are still there.
    pub keepalive: Keepalive,
    /// Connections at a time.
    pub max_connections: Option<usize>,
    /// A program and its arguments, to be run once every mapping works; or nothing.
    pub run: Vec<OsString>,
    /// How long that may take.
    pub wait: Wait,
    /// What SIGHUP does.
    pub reload: Reload,
}

/// Why it cannot even begin.
#[derive(Debug)]
pub enum SetupError {
    /// This place cannot be listened on.
    Listen(Place, ListenError),
    /// This socket was passed, and no import is for it.
    Stray(String),
    /// No machine can have the name that the target of this export has.
    BadName(AppName, Target),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Listen(place, _) => write!(f, "cannot listen on {place}"),
            SetupError::Stray(socket) => write!(f, "no import is for the socket {socket} that was passed"),
            SetupError::BadName(app, target) => {
                write!(f, "the target {target} of the export {app}: no machine can have such a name")
            }
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SetupError::Listen(_, error) => Some(error),
            SetupError::BadName(..) | SetupError::Stray(_) => None,
        }
    }
}

/// The tool.
pub struct Portrep {
    doors: Vec<Door>,
    /// Listeners bound before the loop begins, for each door in turn.
    bound: Vec<Option<Listener>>,
    four: FourPorts,
    health: Vec<Health>,
    gates: Vec<Gate>,
    routes: Routes<Key, Slot>,
    desk: Desk,
    listen_when_up: bool,
    proxy: Option<ProxyVersion>,
    keepalive: Keepalive,
    reload: Reload,
    command: Command,
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
    told: Told,
    /// How it will end, and when at the latest.
    stopping: Option<(Result<(), Error>, Instant)>,
    outcome: Option<Result<(), Error>>,
}

impl Portrep {
    /// Binds what is to be listened on.
    ///
    /// # Errors
    /// A port is taken, nobody can have the name of a target.
    pub fn new(now: Instant, options: Options) -> Result<Portrep, SetupError> {
        let most = options.max_connections.unwrap_or(CONNECTIONS_MAX).min(spare_descriptors(options.imports.len()));
        let mut gates = Vec::new();
        for Export { app, target, allow } in options.exports {
            let resolved = Resolved::new(target.clone());
            let resolved = resolved.ok_or_else(|| SetupError::BadName(app.clone(), target))?;
            gates.push(Gate::new(app, resolved, allow));
        }
        let mut routes = Routes::default();
        options.imports.iter().for_each(|import| routes.add(now, import.peer, &import.service.app));
        let mut found = Found::new(options.passed)?;
        let four = FourPorts::of(options.imports.iter().map(|import| &import.at).chain(&found.places()));
        let mut bound = found.claim(&options.imports)?;
        if !options.listen_when_up {
            bind_rest(&options.imports, &mut bound, &four)?;
        }
        Ok(Portrep {
            health: vec![Health::Unknown(now); options.imports.len()],
            doors: options.imports.into_iter().map(Door::new).collect(),
            bound,
            four,
            gates,
            routes,
            desk: Desk::new(Throttle::new(now, options.limit), most),
            listen_when_up: options.listen_when_up,
            proxy: options.proxy,
            keepalive: options.keepalive,
            reload: options.reload,
            command: Command::new(now, options.run, options.wait),
            stranded: false,
            attached: None,
            met: false,
            told_ready: false,
            looking: Vec::new(),
            closing: Vec::new(),
            told: Told::default(),
            stopping: None,
            outcome: None,
        })
    }

    /// Who may reach which export.
    pub fn callers(&self) -> Callers {
        Callers::Each(self.gates.iter().map(|gate| (gate.app.clone(), gate.allow.clone())).collect())
    }

    fn finish(&mut self, outcome: Result<(), Error>) {
        self.outcome.get_or_insert(outcome);
    }

    fn handle_attached(&mut self, ctx: &mut Context<'_, Portrep>, app: &AppName) {
        for gate in self.gates.iter_mut().filter(|gate| gate.app == *app) {
            if !std::mem::replace(&mut gate.attached, true) {
                (ctx.news)(News::Serving(app.as_str(), &gate.resolved.target().to_string()));
            }
        }
        self.tell_ready(ctx);
    }

    fn tell_ready(&mut self, ctx: &mut Context<'_, Portrep>) {
        let all = self.gates.iter().all(|gate| gate.attached);
        if all && !std::mem::replace(&mut self.told_ready, true) {
            (ctx.news)(News::Ready);
        }
    }

    fn serve_queue(&mut self, ctx: &mut Context<'_, Portrep>) -> bool {
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

    fn handle_patience(&mut self, ctx: &mut Context<'_, Portrep>) {
        while let Some(slot) = self.desk.poll_patience(ctx.now) {
            if let Some(End::Dial(_)) = self.desk.ends.get_mut(slot) {
                self.fail_dial(ctx, slot, io::ErrorKind::TimedOut.into());
            } else {
                self.desk.give_up(ctx, slot);
            }
        }
    }

    /// Lets go of everything. Peers hear `code`; then it ends with `outcome`.
    fn stop(&mut self, ctx: &mut Context<'_, Portrep>, outcome: Result<(), Error>, code: CloseCode) {
        self.stopping = Some((outcome, ctx.now + GOODBYE));
        for number in 0..self.doors.len() {
            self.close_door(number);
        }
        for gate in &self.gates {
            ctx.node.unlisten(&gate.app);
        }
        for key in self.desk.keys() {
            self.retire(ctx, key, code);
        }
        for slot in self.desk.ends.keys() {
            if let Some(End::Held(_) | End::Talk(_)) = self.desk.ends.get_mut(slot) {
                self.desk.give_up(ctx, slot);
            }
        }
        self.terminate_command();
    }

    /// Takes the new lists of who may reach what. Connections of peers who may no more are reset, others go on.
    fn handle_reload(&mut self, ctx: &mut Context<'_, Portrep>) {
        ctx.node.hurry(ctx.now);
        let Some(Taken { callers: Callers::Each(again), .. }) = reread(ctx, &mut self.reload) else { return };
        for (gate, (_, allow)) in self.gates.iter_mut().zip(again) {
            gate.allow = allow;
        }
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

    fn conclude(&mut self, ctx: &mut Context<'_, Portrep>) {
        self.closing.retain(|key| ctx.node.knows(*key));
        let settled = self.closing.is_empty() && !self.command.is_running();
        if let Some((outcome, _)) = self.stopping.take_if(|(_, until)| settled || ctx.now >= *until) {
            self.finish(outcome);
        }
    }
}

/// Descriptors that connections may have, beside so many listeners.
fn spare_descriptors(listeners: usize) -> usize {
    let all = usize::try_from(raise_descriptor_limit()).unwrap_or(usize::MAX);
    all.saturating_sub(DESCRIPTORS_KEPT + listeners)
}

impl Tool for Portrep {
    type News<'a> = News<'a>;
    type Error = Error;

    fn start(&mut self, ctx: &mut Context<'_, Portrep>) {
        for number in 0..self.doors.len() {
            if let Some(listener) = self.bound[number].take() {
                if let Err(error) = self.open_door(ctx, number, listener) {
                    return self.finish(Err(Error::Run(RunError::Io("listening", error))));
                }
            }
        }
        for gate in &self.gates {
            ctx.node.listen(gate.app.clone());
        }
        self.ask_names(ctx);
        self.call_routes(ctx);
        if self.gates.is_empty() {
            self.tell_ready(ctx);
        }
    }

    fn handle_event(&mut self, ctx: &mut Context<'_, Portrep>, event: &Event) {
        match event {
            Event::RelayUp { .. } => {
                self.stranded = false;
                self.attached = Some(ctx.now);
            }
            Event::RelayDown { .. } => {
                self.stranded = true;
                self.attached = None;
                for slot in self.routes.take_waiting() {
                    self.desk.give_up(ctx, slot);
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
                if let Some(needless) = self.routes.handle_resumed(*key) {
                    ctx.node.abandon(ctx.now, needless);
                }
                self.probe_all_soon(ctx.now);
            }
            // Only who does not want to wait hears that the peer is absent as a failure.
            Event::Failed { why: why @ (Failure::PeerAbsent | Failure::NotServed), .. } if !self.met => {
                self.finish(Err(Error::Run(RunError::Node(*why))));
            }
            Event::Failed { key, why } => self.end_session(ctx, *key, &Error::Run(RunError::Node(*why))),
            Event::Fatal { why } => self.finish(Err(Error::Run(RunError::Node(*why)))),
            Event::NotServed { .. } | Event::TurnedAway { .. } | Event::Circuit { .. } | Event::Shared { .. } => {}
        }
    }

    fn handle_ready(&mut self, _: &mut Context<'_, Portrep>, event: &mio::event::Event) {
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

    fn pump(&mut self, ctx: &mut Context<'_, Portrep>) -> bool {
        for key in self.desk.keys() {
            self.drain_session(ctx, key);
        }
        self.tend_names(ctx);
        self.poll_lookups(ctx);
        self.drop_faded(ctx);
        self.call_routes(ctx);
        self.probe(ctx);
        self.desk.release_throttled(ctx.now);
        self.desk.take_reminders(ctx.now);
        let accepted = self.accept(ctx);
        let moved = self.serve_queue(ctx);
        // Behind the doors: one that waited is looked at now, or nothing may come that makes us look.
        self.drive_command(ctx);
        self.judge_referrals(ctx);
        self.handle_patience(ctx);
        self.conclude(ctx);
        accepted || moved
    }

    fn hand_over(&mut self, came: &Came) -> bool {
        self.hand_to_command(came)
    }

    fn handle_signal(&mut self, ctx: &mut Context<'_, Portrep>, request: Request) {
        match request {
            Request::Refresh => self.handle_reload(ctx),
            Request::Status => {
                let (open, served) = self.desk.counts();
                (ctx.news)(News::Connections(open, served));
            }
            Request::End(signal) if self.command.is_running() => self.end_command(ctx.now, signal),
            Request::End(signal) => self.stop(ctx, Err(Error::Run(RunError::Signal(signal))), CloseCode::GoingAway),
        }
    }

    fn outcome(&mut self) -> Option<Result<(), Error>> {
        self.outcome.take()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let doors = self.doors.iter().filter_map(Door::next_timeout);
        let goodbye = self.stopping.as_ref().map(|(_, until)| *until);
        // Whoever is about to end calls nobody, probes nothing and runs nothing any more.
        let plans = [self.routes.next_timeout(self.attached), self.next_probe(), self.command.next_timeout()];
        let plans = plans.into_iter().chain([self.next_name()]);
        let plans = plans.flatten().filter(|_| goodbye.is_none());
        doors.chain(plans).chain(self.desk.next_timeout()).chain(goodbye).min()
    }
}
