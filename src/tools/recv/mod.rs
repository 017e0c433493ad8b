//! `vp-recv`: what peers send goes to standard output, to a command, or into a directory.
//!
//! It answers calls and decides when to stop; a session's own course is in `running`, what becomes of what it brings in
//! `running/work`, a stream in `inflow`, and files are the business of an engine of [`super::transfers`] in a thread of its own. It
//! dials nobody.
//!
//! Invariants: without `keep` exactly one transfer decides the end; a session's failure never stops others; the sender is
//! told of success only after the bytes are where they belong.

mod command;
mod directory;
mod inflow;
mod job;
mod leash;
mod running;
mod writers;

use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::reactor::Ready;
use crate::net::signals::Request;
use crate::node::{Event, Places, Reach};
use crate::run;
use crate::run::callers::{Reload, reread};
use crate::run::tool::{Context, RunError, Tool};
use crate::run::turns::{self, Going, To, Waits};
use crate::tools::transfers::engine::ReceivePolicy;
use crate::tools::transfers::{Error, News};
pub(crate) use directory::Directory;
use running::{MayBegin, Running};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// What `vp-recv` was asked to do.
pub(crate) struct Options {
    /// The application to receive for.
    pub app: AppName,
    /// Goes on after the first transfer.
    pub keep: bool,
    /// Sessions at once, as the node was told.
    pub sessions_max: usize,
    /// For so long one that goes on keeps its place before others although nothing comes of it.
    pub patience: Duration,
    /// Where items go; else bytes go to the command or to standard output.
    pub directory: Option<Directory>,
    /// The command: fed with each stream, or run for each item in the directory.
    pub exec: Option<OsString>,
    /// What is taken.
    pub policy: ReceivePolicy,
    /// The end of each item is to be told.
    pub tells_items: bool,
    /// How the environment of the command names the peer: by petname, if it has one.
    pub peer_name: Box<dyn Fn(&PeerId) -> String>,
    /// What SIGHUP does.
    pub reload: Reload,
}

/// The tool.
pub(crate) struct Recv {
    options: Options,
    running: BTreeMap<usize, Running>,
    next_slot: usize,
    /// The end of a tool that does not keep on, or that was told to stop.
    result: Option<Result<(), Error>>,
    stopping: bool,
}

impl Recv {
    /// A tool that has not begun.
    pub(crate) fn new(options: Options) -> Recv {
        Recv { options, running: BTreeMap::new(), next_slot: 0, result: None, stopping: false }
    }

    /// No more callers, and those that are here are cut off.
    fn stop(&mut self, ctx: &mut Context<'_, Recv>, why: impl Fn() -> RunError) {
        ctx.node.unlisten(ctx.now, &self.options.app);
        self.stopping = true;
        self.running.values_mut().for_each(|running| running.cut(ctx, why()));
        self.result = Some(Err(Error::Run(why())));
    }

    /// Takes the new list of who may call. Sessions of those who may no more end.
    fn handle_reload(&mut self, ctx: &mut Context<'_, Recv>) {
        ctx.node.hurry(ctx.now);
        let Some(taken) = reread(ctx, &mut self.options.reload) else { return };
        for running in self.running.values_mut().filter(|running| taken.outcasts.contains(&running.caller.key)) {
            running.cast_out(ctx);
        }
    }

    /// Who has a place: all that are at work.
    fn places(&self) -> Places {
        let mut places = Places::default();
        let busy = self.running.values().filter(|running| !running.is_waiting());
        busy.for_each(|running| places.take(running.caller.peer));
        places
    }

    /// To whom a session gives way.
    fn gives_way_to(&self) -> To {
        if self.options.keep { To::Anybody { patience: Some(self.options.patience) } } else { To::Own }
    }

    /// Whether a session waits for a place while these are taken.
    fn waits(&self, places: &Places, running: &Running) -> Waits {
        if running.is_waiting() {
            Waits::of(&running.caller.peer, places, self.options.sessions_max)
        } else {
            Waits::Not
        }
    }

    /// The session that gives way because others wait for a place.
    fn next_to_go(&self) -> Option<Going> {
        let places = self.places();
        let standing = |running: &Running| running.standing(self.waits(&places, running));
        let standings: Vec<_> = self.running.iter().map(|(slot, running)| (*slot, standing(running))).collect();
        let works = standings.iter().filter(|(_, standing)| standing.works).count();
        // Those that are at work and have come to their end are about to go.
        turns::next_to_go(&standings, self.gives_way_to(), places.total() - works)
    }

    /// Whoever waits for a place need not wait for those who are gone for good.
    fn make_room(&mut self, ctx: &mut Context<'_, Recv>) {
        while let Some(going) = self.next_to_go()
            && going.at <= ctx.now
            && let Some(running) = self.running.get_mut(&going.slot)
        {
            running.give_way(ctx, going);
        }
    }

    /// A session has come to its end.
    fn conclude(&mut self, ctx: &mut Context<'_, Recv>, running: &Running, end: Result<(), Error>) {
        if running.is_superseded() {
            return;
        }
        if let Some(transfer) = running.transfer(ctx.now, end.as_ref().err()) {
            (ctx.news)(News::Transferred(running.caller.peer, self.options.app.as_str(), &transfer));
        }
        if self.stopping {
            return;
        }
        if !self.options.keep {
            // Whoever called meanwhile and was waiting for a turn is turned away.
            self.running.values_mut().for_each(|running| running.cut(ctx, RunError::Expired));
            self.stopping = true;
            ctx.node.unlisten(ctx.now, &self.options.app);
            self.result = Some(end);
            return;
        }
        if let Err(error) = end {
            (ctx.news)(News::SessionFailed(running.caller.peer, &error));
        }
    }
}

impl Tool for Recv {
    type News<'a> = News<'a>;
    type Error = Error;

    fn start(&mut self, ctx: &mut Context<'_, Recv>) {
        ctx.node.listen(self.options.app.clone());
        if let Some(directory) = &self.options.directory {
            directory.begin_removing_old();
        }
    }

    fn handle_event(&mut self, ctx: &mut Context<'_, Recv>, event: &Event) {
        match event {
            Event::Up { key, peer, .. } => {
                let slot = self.next_slot;
                self.next_slot += 1;
                let mut running = Running::new(ctx.now, slot, *key, *peer);
                if self.stopping {
                    running.cut(ctx, RunError::Expired);
                }
                self.running.insert(slot, running);
            }
            Event::Lost { key } | Event::Resumed { key } => {
                let is_lost = matches!(event, Event::Lost { .. });
                if let Some(running) = self.running.values_mut().find(|running| running.caller.key == *key) {
                    running.handle_path(if is_lost { Reach::lost(ctx.now) } else { Reach::default() });
                }
            }
            Event::Failed { key, why } => {
                if let Some(running) = self.running.values_mut().find(|running| running.caller.key == *key) {
                    running.handle_gone(ctx, Error::Run(RunError::Node(*why)));
                }
            }
            Event::Fatal { why } => self.stop(ctx, || RunError::Node(*why)),
            _ => {}
        }
    }

    fn handle_ready(&mut self, ctx: &mut Context<'_, Recv>, ready: Ready) {
        let (slot, which) = Running::place_of(ready.token);
        if let Some(running) = self.running.get_mut(&slot) {
            running.handle_ready(ctx, which, ready);
        }
    }

    fn pump(&mut self, ctx: &mut Context<'_, Recv>) -> bool {
        let mut moved = false;
        self.make_room(ctx);
        let (mut places, to) = (self.places(), self.gives_way_to());
        let slots: Vec<usize> = self.running.keys().copied().collect();
        for slot in slots {
            let Some(running) = self.running.get(&slot) else { continue };
            let (waits, peer) = (running.is_waiting(), running.caller.peer);
            let turn = if self.waits(&places, running) == Waits::Not { MayBegin::Yes } else { MayBegin::NotYet };
            let Some(running) = self.running.get_mut(&slot) else { continue };
            moved |= running.pump(ctx, &self.options, turn);
            running.tell_place(ctx, to);
            if waits && !running.is_waiting() {
                places.take(peer);
            }
            let Some(end) = running.take_end(ctx, &self.options.app) else { continue };
            if let Some(running) = self.running.remove(&slot) {
                self.conclude(ctx, &running, end);
                moved = true;
            }
        }
        moved
    }

    fn handle_signal(&mut self, ctx: &mut Context<'_, Recv>, request: Request) {
        match request {
            Request::Refresh => self.handle_reload(ctx),
            Request::Status => (ctx.news)(run::News::Status.into()),
            Request::End(signal) => self.stop(ctx, || RunError::Signal(signal)),
        }
    }

    fn outcome(&mut self) -> Option<Result<(), Error>> {
        if self.running.is_empty() && self.stopping { self.result.take() } else { None }
    }

    fn reload_at(&self) -> Option<Instant> {
        self.options.reload.again_at()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let (gives_way, to) = (self.next_to_go().map(|going| going.at), self.gives_way_to());
        let yields = self.running.values().filter_map(|running| running.yields_at(to));
        self.running.values().filter_map(Running::next_timeout).chain(gives_way).chain(yields).min()
    }
}
