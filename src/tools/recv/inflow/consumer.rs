//! The command that takes a stream, where one does: what it makes of it shows in its status.

use crate::net::child::Child;
use crate::net::reactor::{Registry, Token};
use crate::run::farewell::held_until;
use crate::run::tool::{Doing, RunError};
use crate::tools::transfers::Error;
use std::io;
use std::time::Instant;

/// See the module's text.
pub(super) struct Consumer {
    child: Option<Child>,
    /// Known once it has ended.
    status: Option<i32>,
    /// Its end is nobody else's business before.
    held_until: Option<Instant>,
}

impl Consumer {
    /// One that runs, or none.
    pub(super) fn new(child: Option<Child>) -> Consumer {
        Consumer { child, status: None, held_until: None }
    }

    /// Whether there is one, or was.
    pub(super) fn exists(&self) -> bool {
        self.child.is_some() || self.status.is_some()
    }

    /// Lets an event tell of its end.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.child.as_ref().map_or(Ok(()), |child| child.register(registry, token))
    }

    /// It has ended, or may have.
    ///
    /// # Errors
    /// Its status cannot be had.
    pub(super) fn handle_ready(&mut self, now: Instant, registry: &Registry) -> Result<(), Error> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let ended = child.try_wait().map_err(|error| Error::Run(RunError::Io(Doing::AwaitCommand, error)))?;
        if let Some(ended) = ended {
            let status = ended.number();
            self.status = Some(status);
            self.held_until = held_until(now, status);
            if let Some(child) = self.child.take() {
                child.deregister(registry);
            }
        }
        Ok(())
    }

    /// When to look without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.held_until
    }

    /// Whether it is waited for no more.
    pub(super) fn poll_ended(&mut self, now: Instant) -> bool {
        self.held_until.take_if(|at| *at <= now);
        self.child.is_none() && self.held_until.is_none()
    }

    /// Its status, once that is known.
    pub(super) fn status(&self) -> Option<i32> {
        self.status
    }

    /// Ends it, before it can take what comes now for the end of the data.
    pub(super) fn terminate(&mut self, registry: &Registry) {
        if let Some(child) = self.child.take() {
            child.deregister(registry);
            child.terminate();
        }
    }
}
