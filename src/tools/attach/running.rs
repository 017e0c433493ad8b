//! One session that is joined: its bytes, its program, and how they end.

use super::callers::Caller;
use super::news::Error;
use crate::net::child::Child;
use crate::run::farewell::closed_by_peer;
use crate::run::joint::{Joint, Way};
use crate::run::tool::RunError;
use crate::session::Session;
use crate::wire::CloseCode;
use std::time::Instant;

/// See the module's text.
pub(super) struct Running {
    /// Whom it is joined to.
    pub caller: Caller,
    /// Its bytes.
    pub joint: Joint,
    /// The program, if it is joined to one.
    pub child: Option<Child>,
    /// The close code the program's status calls for, once it has ended.
    pub child_code: Option<CloseCode>,
    /// That status.
    pub status: i32,
    /// The peer hears of that status not before.
    pub held_until: Option<Instant>,
    /// By which number the peer has closed the session.
    pub peer_closed: Option<u16>,
    /// Whether we have.
    pub closed: bool,
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

    /// Closes the session by what the program's end calls for.
    pub(super) fn close(&mut self, session: &mut Session) {
        self.closed = true;
        match self.child_code {
            Some(CloseCode::Failed) => session.close_failed(self.status),
            code => session.close(code.unwrap_or(CloseCode::Done)),
        }
    }

    /// What the end means.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) fn verdict(&self) -> Result<(), Error> {
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
