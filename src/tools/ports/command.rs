//! The command that is run while the mappings work: when it begins, and what its end leaves to be done.
//!
//! It begins when every import works and every export is registered. When it has ended, the bytes it left in its
//! connections may still be on their way: its status is passed on once the far side has them, or can have them no more.
//!
//! While it runs, the terminal's Ctrl-C and Ctrl-\ are its own, as under `env`: a client of a database cancels a query by it
//! and needs its connection for that. It is in our process group, so it stops and goes on with us, too.

use super::Portrep;
use super::desk::End;
use super::error::Error;
use super::imports::Door;
use super::probes::Health;
use crate::net::child::Child;
use crate::net::signals::{Came, INT, QUIT, USR2};
use crate::net::slots::Slot;
use crate::node::Wait;
use crate::run::tool::{Context, RunError};
use crate::wire::CloseCode;
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// What the far side has for its answer when the user does not want to wait: longer than it gives its target.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// What the command has for its end when it was asked to end.
const END_TIME: Duration = Duration::from_secs(3);
/// Signals that are for the command while it runs, and mean nothing to us.
pub const HANDED_OVER: [i32; 3] = [INT, QUIT, USR2];

/// See the module's text.
pub struct Command {
    words: Vec<OsString>,
    state: State,
    /// When the mappings must work.
    until: Option<Instant>,
    /// Some peer was met. Before that the node knows better what is missing, and when its time is over.
    met: bool,
    /// Why they did not when they were last probed.
    why_not: Option<CloseCode>,
    /// The user does not want to wait until they do.
    hasty: bool,
    /// A connection that it had done with was lost while it ran: nobody there heard of that.
    lost: bool,
    /// It was asked to end by this signal, and has until then: the mappings stay for what it has to say at its end.
    told: Option<(i32, Instant)>,
}

enum State {
    /// The mappings do not work yet.
    ExpectMappings,
    /// It runs.
    Running(Slot),
    /// It has ended, so.
    Ended(Result<(), Error>),
    /// There is none, or nothing is left to do for it.
    Over,
}

impl Command {
    /// To be run when the mappings work. No words: nothing.
    pub fn new(now: Instant, words: Vec<OsString>, wait: Wait) -> Command {
        let until = match wait {
            Wait::Forever => None,
            Wait::AtMost(time) => Some(now + time),
            Wait::No => Some(now + ANSWER_TIME),
        };
        let state = if words.is_empty() { State::Over } else { State::ExpectMappings };
        Command { words, state, until, met: false, why_not: None, hasty: wait == Wait::No, lost: false, told: None }
    }

    /// Whether it waits for the mappings.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::ExpectMappings)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Whether it has ended, and what it left is on its way.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// A peer is there.
    pub fn handle_met(&mut self) {
        self.met = true;
    }

    /// A mapping that it needs does not work.
    pub fn handle_not_working(&mut self, why: CloseCode) {
        self.why_not = Some(why);
    }

    /// A session was lost with its connections, some of them `left` by whoever had made them. If they were of the command,
    /// it has not done what it thinks.
    pub fn handle_lost(&mut self, left: bool) {
        match &mut self.state {
            State::Ended(outcome @ Ok(())) => *outcome = Err(Error::Run(RunError::Expired)),
            State::Running(_) => self.lost |= left,
            _ => {}
        }
    }

    /// When to look at it again.
    pub fn next_timeout(&self) -> Option<Instant> {
        let told = self.told.map(|(_, until)| until);
        self.until.filter(|_| self.is_waiting() && self.met).or(told)
    }

    /// Why it will not be run, if its time is over.
    fn poll_too_late(&self, now: Instant) -> Option<Error> {
        let late = self.until.is_some_and(|until| now >= until);
        match self.why_not {
            _ if !self.met => None,
            Some(code) if late || self.hasty => Some(Error::Run(RunError::PeerClosed(code))),
            None if late => Some(Error::Run(RunError::Expired)),
            _ => None,
        }
    }
}

impl Portrep {
    /// Runs the command as soon as every mapping works, and gives up when that comes too late.
    pub(super) fn drive_command(&mut self, ctx: &mut Context<'_, Portrep>) {
        if self.stopping.is_some() {
            return;
        }
        if self.command.is_waiting() {
            let works = self.health.iter().all(|health| matches!(health, Health::Works(_)));
            match self.command.poll_too_late(ctx.now) {
                _ if works && self.told_ready => self.start_command(ctx),
                Some(error) => self.finish(Err(error)),
                None => {}
            }
        }
        if let Some((signal, until)) = self.command.told {
            if !self.command.is_running() || ctx.now >= until {
                return self.stop(ctx, Err(Error::Run(RunError::Signal(signal))), CloseCode::GoingAway);
            }
        }
        let ended = self.command.has_ended() && !self.doors.iter().any(Door::has_waiting) && !self.desk.owes(ctx);
        if let (true, State::Ended(outcome)) = (ended, &mut self.command.state) {
            let outcome = std::mem::replace(outcome, Ok(()));
            self.command.state = State::Over;
            self.stop(ctx, outcome, CloseCode::Done);
        }
    }

    fn start_command(&mut self, ctx: &mut Context<'_, Portrep>) {
        let slot = self.desk.ends.next_slot();
        let child = crate::net::child::run(&self.command.words).and_then(|child| {
            child.register(ctx.registry, slot.token())?;
            Ok(child)
        });
        match child {
            Ok(child) => self.command.state = State::Running(self.desk.ends.insert(End::Child(child))),
            Err(error) => self.finish(Err(Error::CannotRun(error))),
        }
    }

    /// The command may have ended.
    pub(super) fn reap_child(&mut self, slot: Slot) {
        use std::os::unix::process::ExitStatusExt;
        let Some(End::Child(child)) = self.desk.ends.get_mut(slot) else { return };
        let outcome = match child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => match (status.code(), status.signal()) {
                (Some(0), _) if self.command.lost => Err(Error::Run(RunError::Expired)),
                (Some(0), _) => Ok(()),
                (Some(code), _) => Err(Error::Exited(u8::try_from(code).unwrap_or(u8::MAX))),
                (None, signal) => Err(Error::Killed(signal.unwrap_or_default())),
            },
            Err(error) => Err(Error::Run(RunError::Io("waiting for the command", error))),
        };
        self.desk.ends.remove(slot);
        self.command.state = State::Ended(outcome);
        // What it left in a backlog or in a socket may have brought no event yet.
        self.doors.iter_mut().for_each(Door::handle_ready);
        self.desk.rouse();
    }

    /// Asks the command to end too, if it runs.
    pub(super) fn terminate_command(&mut self) {
        if let Some(child) = self.child() {
            child.terminate();
        }
    }

    /// Asks the command to end by this signal. Then so do we.
    pub(super) fn end_command(&mut self, now: Instant, signal: i32) {
        if let Some(child) = self.child() {
            child.pass_on(signal);
        }
        self.command.told = Some((signal, now + END_TIME));
    }

    /// Gives a running command what is for it: it alone says what Ctrl-C means. What the terminal says it has already.
    pub(super) fn hand_to_command(&mut self, came: &Came) -> bool {
        match self.child() {
            Some(_) if came.typed => true,
            Some(child) if HANDED_OVER.contains(&came.signal) => {
                child.pass_on(came.signal);
                true
            }
            _ => false,
        }
    }

    fn child(&mut self) -> Option<&mut Child> {
        let State::Running(slot) = self.command.state else { return None };
        match self.desk.ends.get_mut(slot) {
            Some(End::Child(child)) => Some(child),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_nothing_comes_of_wakes_nobody() {
        let now = Instant::now();
        let late = now + ANSWER_TIME;
        let mut command = Command::new(now, vec!["true".into()], Wait::No);
        // It would be in the past for as long as nobody is met.
        assert!(command.next_timeout().is_none() && command.poll_too_late(late).is_none());
        command.handle_met();
        assert_eq!(command.next_timeout(), Some(late));
        assert!(command.poll_too_late(now).is_none());
        assert!(matches!(command.poll_too_late(late), Some(Error::Run(RunError::Expired))));
        command.handle_not_working(CloseCode::TargetRefused);
        assert!(matches!(command.poll_too_late(now), Some(Error::Run(RunError::PeerClosed(CloseCode::TargetRefused)))));
    }
}
