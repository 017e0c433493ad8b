//! The command that is run while the mappings work: when it begins, and what its end leaves to be done.
//!
//! It begins when every import works and every export is registered. When it has ended, the bytes it left in its
//! connections may still be on their way: its status is passed on once the far side has them, or can have them no more.
//!
//! While it runs, the terminal's Ctrl-C and Ctrl-\ are its own, as under `env`: a client of a database cancels a query by it
//! and needs its connection for that. It is in our process group, so it stops and goes on with us, too.

use super::Portrep;
use super::connections::{Connections, Source};
use super::error::Error;
use crate::net::child::{Child, Ended};
use crate::net::signals::{Came, INT, QUIT, USR2};
use crate::net::slots::Slot;
use crate::node::Wait;
use crate::run::tool::{Context, Doing, RunError};
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// What the far side has for its answer when the user does not want to wait: longer than it gives its target.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// What the command has for its end when it was asked to end.
const END_TIME: Duration = Duration::from_secs(3);
/// A key that ends the command is heard of by us as well, perhaps only when it has ended: so long is that still the same key.
const SAME_KEY: Duration = Duration::from_secs(1);
/// Signals that are for the command while it runs, and mean nothing to us.
pub(crate) const HANDED_OVER: [i32; 3] = [INT, QUIT, USR2];

/// See the module's text.
pub(super) struct Command {
    words: Vec<OsString>,
    state: State,
    /// When the mappings must work.
    until: Option<Instant>,
    /// Some peer was met. Before that the node knows better what is missing, and when its time is over.
    met: bool,
    /// The user does not want to wait until they do.
    hasty: bool,
    /// A connection that it had done with was lost while it ran: nobody there heard of that.
    lost: bool,
    /// It was asked to end by this signal, and has until then: the mappings stay for what it has to say at its end.
    told: Option<(i32, Instant)>,
    /// When its end was noticed.
    ended_at: Option<Instant>,
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
    pub(super) fn new(now: Instant, words: Vec<OsString>, wait: Wait) -> Command {
        let until = match wait {
            Wait::Forever => None,
            Wait::AtMost(time) => Some(now + time),
            Wait::No => Some(now + ANSWER_TIME),
        };
        let state = if words.is_empty() { State::Over } else { State::ExpectMappings };
        Command { words, state, until, met: false, hasty: wait == Wait::No, lost: false, told: None, ended_at: None }
    }

    /// Whether it waits for the mappings.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::ExpectMappings)
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Whether it has ended, and what it left is on its way.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// A peer is there.
    pub(super) fn handle_met(&mut self) {
        self.met = true;
    }

    /// A session was lost with its connections, some of them `left` by whoever had made them. If they were of the command,
    /// it has not done what it thinks.
    pub(super) fn handle_lost(&mut self, left: bool) {
        match &mut self.state {
            State::Ended(outcome @ Ok(())) => *outcome = Err(Error::Run(RunError::Expired)),
            State::Running(_) => self.lost |= left,
            _ => {}
        }
    }

    /// When to look at it again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let told = self.told.map(|(_, until)| until);
        self.until.filter(|_| self.is_waiting() && self.met).or(told)
    }

    /// Whether the user does not want to wait.
    pub(super) fn is_hasty(&self) -> bool {
        self.hasty
    }

    /// Why it will not be run, if its time is over. `why_not`: an import that does not work, as far as is known.
    pub(super) fn too_late(&self, now: Instant, why_not: Option<Error>) -> Option<Error> {
        let late = self.until.is_some_and(|until| now >= until);
        match why_not {
            _ if !self.met => None,
            Some(error) if late || self.hasty => Some(error),
            None if late => Some(Error::Run(RunError::Expired)),
            _ => None,
        }
    }

    /// The signal that ended it, or that it did not heed in time.
    pub(super) fn ended_by(&self, now: Instant) -> Option<i32> {
        self.told.filter(|(_, until)| !self.is_running() || now >= *until).map(|(signal, _)| signal)
    }

    /// Its outcome, once it has ended. Nothing is left to do for it then.
    pub(super) fn take_outcome(&mut self) -> Option<Result<(), Error>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Ended(outcome) => Some(outcome),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// It cannot be run.
    pub(super) fn start(&mut self, ctx: &mut Context<'_, Portrep>, connections: &mut Connections) -> Result<(), Error> {
        let token = connections.next_token();
        let child = crate::net::child::run(&self.words).and_then(|child| {
            child.register(ctx.registry, token)?;
            Ok(child)
        });
        let child = child.map_err(Error::CannotRun)?;
        self.state = State::Running(connections.insert_uncounted(Source::Child(child)));
        Ok(())
    }

    /// It may have ended. True if it has.
    pub(super) fn reap(&mut self, connections: &mut Connections) -> bool {
        let State::Running(slot) = self.state else { return false };
        let Some(child) = self.child(connections) else { return false };
        let outcome = match child.try_wait() {
            Ok(None) => return false,
            Ok(Some(Ended::Exited(0))) if self.lost => Err(Error::Run(RunError::Expired)),
            Ok(Some(Ended::Exited(0))) => Ok(()),
            Ok(Some(ended)) => Err(Error::Command(ended)),
            Err(error) => Err(Error::Run(RunError::Io(Doing::AwaitCommand, error))),
        };
        connections.remove_uncounted(slot);
        (self.state, self.ended_at) = (State::Ended(outcome), Some(Instant::now()));
        true
    }

    /// Asks it to end too, if it runs.
    pub(super) fn terminate(&self, connections: &mut Connections) {
        if let Some(child) = self.child(connections) {
            child.terminate();
        }
    }

    /// Asks it to end by this signal. Then so do we.
    pub(super) fn end(&mut self, now: Instant, connections: &mut Connections, signal: i32) {
        if let Some(child) = self.child(connections) {
            child.pass_on(signal);
        }
        self.told = Some((signal, now + END_TIME));
    }

    /// Gives it what is for it, while it runs: it alone says what Ctrl-C means. What the terminal says it has already.
    pub(super) fn hand_over(&self, connections: &mut Connections, came: &Came) -> bool {
        match self.child(connections) {
            Some(_) if came.typed => true,
            Some(child) if HANDED_OVER.contains(&came.signal) => {
                child.pass_on(came.signal);
                true
            }
            _ => came.typed && self.ended_at.is_some_and(|at| at.elapsed() < SAME_KEY),
        }
    }

    fn child<'a>(&self, connections: &'a mut Connections) -> Option<&'a mut Child> {
        let State::Running(slot) = self.state else { return None };
        match connections.get_mut(slot) {
            Some(Source::Child(child)) => Some(child),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::throttle::Throttle;
    use super::*;
    use crate::net::signals::Request;
    use crate::wire::CloseCode;

    #[test]
    fn the_key_that_ended_the_command_is_not_heard_a_second_time() {
        let now = Instant::now();
        let mut connections = Connections::new(Throttle::new(now, None), 8);
        let mut command = Command::new(now, vec!["true".into()], Wait::Forever);
        let key = |typed| Came { signal: INT, typed, request: Request::End(INT) };
        assert!(!command.hand_over(&mut connections, &key(true)), "it does not run yet");
        (command.state, command.ended_at) = (State::Over, Some(now));
        assert!(command.hand_over(&mut connections, &key(true)));
        assert!(!command.hand_over(&mut connections, &key(false)), "that was meant for us");
        command.ended_at = now.checked_sub(2 * SAME_KEY);
        assert!(!command.hand_over(&mut connections, &key(true)), "it was pressed again");
    }

    #[test]
    fn a_time_that_nothing_comes_of_wakes_nobody() {
        let now = Instant::now();
        let late = now + ANSWER_TIME;
        let mut command = Command::new(now, vec!["true".into()], Wait::No);
        // It would be in the past for as long as nobody is met.
        assert!(command.next_timeout().is_none() && command.too_late(late, None).is_none());
        command.handle_met();
        assert_eq!(command.next_timeout(), Some(late));
        assert!(command.too_late(now, None).is_none());
        assert!(matches!(command.too_late(late, None), Some(Error::Run(RunError::Expired))));
        let refused = || Some(Error::Run(RunError::PeerClosed(CloseCode::TargetRefused)));
        assert!(matches!(command.too_late(now, refused()), Some(Error::Run(RunError::PeerClosed(_)))));
        command.hasty = false;
        assert!(command.too_late(now, refused()).is_none());
    }
}
