//! `vp-recv`: what peers send goes to standard output, to a command, or into a directory.
//!
//! It answers calls and decides when to stop; a session's own course is in `running`, a stream's in `inflow`, and files
//! are the business of an engine of [`super::transfer`] in a thread of its own. It dials nobody.
//!
//! Invariants: without `keep` exactly one transfer decides the end; a session's failure never stops others; the sender is
//! told of success only after the bytes are where they belong.

mod command;
mod inflow;
mod job;
mod leash;
mod running;
mod writers;

use super::client::{Context, Notice, Tool, ToolError};
use super::transfer::ReceivePolicy;
use crate::identity::{AppName, PeerId};
use crate::net::signals::{HUP, USR1};
use crate::node::Event;
use running::{Running, Turn};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A session without a path gives way to a new call of the same peer after this time. A process that lives is back sooner;
/// one that was killed and started again should not have to wait for the other's `--resume-timeout`.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(3);

/// What `vp-recv` was asked to do.
pub struct Options {
    /// The application to receive for.
    pub app: AppName,
    /// Goes on after the first transfer.
    pub keep: bool,
    /// Sessions at once, as the node was told.
    pub sessions_max: usize,
    /// Where items go; else bytes go to the command or to standard output.
    pub directory: Option<PathBuf>,
    /// The command: fed with each stream, or run for each item in the directory.
    pub exec: Option<OsString>,
    /// What is taken.
    pub policy: ReceivePolicy,
    /// How the environment of the command names the peer: by petname, if it has one.
    pub peer_name: Box<dyn Fn(&PeerId) -> String>,
}

/// The tool.
pub struct Recv {
    options: Options,
    running: BTreeMap<usize, Running>,
    next_slot: usize,
    /// The end of a tool that does not keep on, or that was told to stop.
    result: Option<Result<(), ToolError>>,
    stopping: bool,
}

impl Recv {
    /// A tool that has not begun.
    pub fn new(options: Options) -> Recv {
        Recv { options, running: BTreeMap::new(), next_slot: 0, result: None, stopping: false }
    }

    /// No more callers, and those that are here are cut off.
    fn stop(&mut self, ctx: &mut Context<'_>, error: ToolError) {
        ctx.node.unlisten(&self.options.app);
        self.stopping = true;
        self.running.values_mut().for_each(|running| running.cut(ctx));
        self.result = Some(Err(error));
    }

    /// While a session has no path its peer's new process must find us.
    fn refresh_callers(&mut self, ctx: &mut Context<'_>) {
        let lost = self.running.values().filter(|running| running.lost_since().is_some()).count();
        ctx.node.set_callers_max(self.options.sessions_max + lost);
    }

    /// The session of the same peer that has to go before this one begins.
    fn in_the_way(&self, slot: usize) -> Option<usize> {
        let peer = self.running.get(&slot)?.peer;
        let mut others = self.running.iter().filter(|(other, _)| **other < slot);
        others.find(|(_, other)| other.peer == peer && other.lost_since().is_some()).map(|(other, _)| *other)
    }

    fn turn(&mut self, ctx: &mut Context<'_>, slot: usize) -> Turn {
        if !self.running.get(&slot).is_some_and(Running::is_waiting) {
            return Turn::Yes;
        }
        if let Some(other) = self.in_the_way(slot).and_then(|other| self.running.get_mut(&other)) {
            let gives_way = other.lost_since().is_some_and(|since| since + GIVES_WAY_AFTER <= ctx.now);
            if gives_way && !other.is_superseded() {
                other.supersede(ctx);
            }
            return Turn::NotYet;
        }
        let busy = self.running.iter().filter(|(other, running)| **other != slot && !running.is_waiting()).count();
        if busy < self.options.sessions_max { Turn::Yes } else { Turn::NotYet }
    }

    /// A session has come to its end.
    fn conclude(&mut self, ctx: &mut Context<'_>, running: &Running, end: Result<(), ToolError>) {
        if self.stopping || running.is_superseded() {
            return;
        }
        if !self.options.keep {
            // Whoever called meanwhile and was waiting for a turn is turned away.
            self.running.values_mut().for_each(|running| running.cut(ctx));
            self.stopping = true;
            ctx.node.unlisten(&self.options.app);
            self.result = Some(end);
            return;
        }
        match end {
            Ok(()) => {
                let achieved = running.achieved();
                (ctx.notices)(Notice::Received(running.peer, achieved.items, achieved.bytes));
            }
            Err(error) => (ctx.notices)(Notice::SessionFailed(running.peer, &error)),
        }
    }
}

impl Tool for Recv {
    fn start(&mut self, ctx: &mut Context<'_>) {
        ctx.node.listen(self.options.app.clone());
    }

    fn handle_event(&mut self, ctx: &mut Context<'_>, event: &Event) {
        match event {
            Event::Up { key, peer, .. } => {
                let slot = self.next_slot;
                self.next_slot += 1;
                self.running.insert(slot, Running::new(ctx.now, slot, *key, *peer));
            }
            Event::Lost { key } | Event::Resumed { key } => {
                let lost_since = matches!(event, Event::Lost { .. }).then_some(ctx.now);
                if let Some(running) = self.running.values_mut().find(|running| running.key == *key) {
                    running.handle_path(lost_since);
                }
                self.refresh_callers(ctx);
            }
            Event::Failed { key, why } => {
                if let Some(running) = self.running.values_mut().find(|running| running.key == *key) {
                    running.handle_gone(ctx, ToolError::Node(*why));
                }
            }
            Event::Fatal { why } => self.stop(ctx, ToolError::Node(*why)),
            _ => {}
        }
    }

    fn handle_ready(&mut self, ctx: &mut Context<'_>, event: &mio::event::Event) {
        let (slot, which) = Running::place_of(event.token());
        if let Some(running) = self.running.get_mut(&slot) {
            running.handle_ready(ctx, which, event);
        }
    }

    fn pump(&mut self, ctx: &mut Context<'_>) -> bool {
        let mut moved = false;
        let slots: Vec<usize> = self.running.keys().copied().collect();
        for slot in slots {
            let turn = self.turn(ctx, slot);
            let Some(running) = self.running.get_mut(&slot) else { continue };
            moved |= running.pump(ctx, &self.options, turn);
            let Some(end) = running.take_end(ctx) else { continue };
            if let Some(running) = self.running.remove(&slot) {
                self.conclude(ctx, &running, end);
                self.refresh_callers(ctx);
                moved = true;
            }
        }
        moved
    }

    fn handle_signal(&mut self, ctx: &mut Context<'_>, signal: i32) {
        match signal {
            HUP => ctx.node.hurry(ctx.now),
            USR1 => (ctx.notices)(Notice::Status),
            signal => self.stop(ctx, ToolError::Signal(signal)),
        }
    }

    fn outcome(&mut self) -> Option<Result<(), ToolError>> {
        if self.running.is_empty() && self.stopping { self.result.take() } else { None }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let gives_way = |(slot, _): (&usize, &Running)| {
            let other = self.in_the_way(*slot).and_then(|other| self.running.get(&other))?;
            other.lost_since().filter(|_| !other.is_superseded()).map(|since| since + GIVES_WAY_AFTER)
        };
        let waiting = self.running.iter().filter(|(_, running)| running.is_waiting()).filter_map(gives_way);
        self.running.values().filter_map(Running::next_timeout).chain(waiting).min()
    }
}
