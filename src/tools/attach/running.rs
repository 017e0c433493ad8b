//! One session that is joined: its bytes, its program, and how they end.

use super::Attach;
use super::caller::Caller;
use super::news::Error;
use crate::net::child::Child;
use crate::net::reactor::Registry;
use crate::run::farewell::{closed_by_peer, held_until};
use crate::run::joint::{Joint, Way};
use crate::run::tool::{Context, RunError};
use crate::session::Session;
use crate::wire::CloseCode;
use std::io;
use std::time::Instant;

/// What has come of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Nothing moved.
    Nothing,
    /// Something moved.
    Moved,
    /// Both sides know of its end, and all is well.
    Ended,
}

/// See the module's text.
pub(super) struct Running {
    /// Whom it is joined to.
    pub caller: Caller,
    /// Its bytes.
    pub joint: Joint,
    /// The program, if it is joined to one.
    child: Option<Child>,
    /// The close code the program's status calls for, once it has ended.
    child_code: Option<CloseCode>,
    /// That status.
    status: i32,
    /// The peer hears of that status not before.
    pub held_until: Option<Instant>,
    /// By which number the peer has closed the session.
    pub peer_closed: Option<u16>,
    /// Whether we have.
    closed: bool,
}

impl Running {
    /// One that has just begun.
    pub(super) fn new(caller: Caller, joint: Joint, child: Option<Child>) -> Running {
        Running {
            caller,
            joint,
            child,
            child_code: None,
            status: 0,
            held_until: None,
            peer_closed: None,
            closed: false,
        }
    }

    /// Moves what can be moved, and looks whether it is over.
    ///
    /// # Errors
    /// It has come to a bad end.
    pub(super) fn pump(&mut self, ctx: &mut Context<'_, Attach>) -> Result<Pumped, Error> {
        let mut moved = self.joint.pump(ctx)?;
        // With nobody left to read, what is still to be sent counts only if all of it is here already.
        if self.joint.is_sink_gone() && self.child.is_none() && self.joint.source.is_some() {
            return Err(Error::OutputGone);
        }
        let Some(session) = ctx.node.session(self.joint.key) else { return Err(Error::Run(RunError::Expired)) };
        if let Some(error) = session.failure() {
            return Err(error.into());
        }
        if self.child_code.is_some() && self.joint.source.is_none() && self.joint.inward() == Way::Open {
            // The program has ended and all it wrote is on its way: what it did not read is not wanted.
            self.joint.end_inward(session, ctx.registry, CloseCode::Done)?;
            moved = true;
        }
        self.held_until.take_if(|at| *at <= ctx.now);
        let ended = self.child_code.is_some() && self.held_until.is_none();
        let working = self.child.is_some() && !ended;
        let broken_off = self.peer_closed.is_some_and(|number| number != CloseCode::Done.to_wire());
        let no_more = self.peer_closed.is_some() && session.stream(self.joint.stream).readable().is_empty();
        if !self.closed && (broken_off || (!working && (self.joint.is_over() || no_more))) {
            self.close(session);
            moved = true;
        }
        // The peer's last word carries the fate of its program, so it is waited for.
        if self.closed && self.peer_closed.is_some() {
            return self.verdict().map(|()| Pumped::Ended);
        }
        Ok(if moved { Pumped::Moved } else { Pumped::Nothing })
    }

    /// The program has ended, or may have.
    ///
    /// # Errors
    /// Its status cannot be had.
    pub(super) fn reap(&mut self, now: Instant) -> io::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if let Some(ended) = child.try_wait()? {
            self.status = ended.number();
            self.held_until = held_until(now, self.status);
            self.child_code = Some(if self.status == 0 { CloseCode::Done } else { CloseCode::Failed });
        }
        Ok(())
    }

    /// Takes the joint apart. The program, if it still runs.
    pub(super) fn take_apart(mut self, registry: &Registry) -> Option<Child> {
        if let Some(mut source) = self.joint.source.take() {
            source.deregister(registry);
        }
        if let Some(sink) = self.joint.sink.take() {
            // Nothing more will be written: an error of closing changes nothing.
            let _ = sink.close(registry);
        }
        self.child.filter(|_| self.child_code.is_none())
    }

    /// Closes the session by what the program's end calls for.
    fn close(&mut self, session: &mut Session) {
        self.closed = true;
        match self.child_code {
            Some(CloseCode::Failed) => session.close_failed(self.status),
            code => session.close(code.unwrap_or(CloseCode::Done)),
        }
    }

    /// What the end means.
    fn verdict(&self) -> Result<(), Error> {
        let done = CloseCode::Done;
        let cut = [self.joint.outward(), self.joint.inward()].into_iter().find_map(|way| match way {
            Way::Cut(code) if code != done => Some(code.to_wire()),
            _ => None,
        });
        if self.child_code == Some(CloseCode::Failed) {
            return Err(Error::Command(self.status));
        }
        if self.joint.is_sink_gone() && self.child_code.is_none() {
            return Err(Error::OutputGone);
        }
        match self.peer_closed.filter(|number| *number != done.to_wire()).or(cut) {
            Some(number) => Err(closed_by_peer(number).into()),
            None if !self.joint.is_over() => Err(Error::Run(RunError::PeerClosed(CloseCode::Cancelled))),
            None => Ok(()),
        }
    }
}
