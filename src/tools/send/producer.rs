//! The command of `vp-send --exec`: what it writes is the stream, and its status decides whether the stream has an end.

use crate::net::child::{Child, Ended, Giving, spawn_giving};
use crate::net::reactor::{Registry, Token};
use crate::net::stdio::Source;
use crate::run::farewell::held_until;
use crate::run::tool::{Doing, RunError};
use crate::tools::transfers::Error;
use std::ffi::OsString;
use std::io;
use std::time::Instant;

/// A command, and what it is told.
#[derive(Clone, Debug)]
pub(crate) struct CommandLine {
    /// What `/bin/sh` is given.
    pub command: OsString,
    /// Variables that it finds.
    pub environment: Vec<(&'static str, String)>,
}

impl CommandLine {
    /// Starts it.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(&self) -> io::Result<(Source, Producer)> {
        let Giving { child, source } = spawn_giving(&self.command, &self.environment)?;
        Ok((source, Producer { child, status: None, held_until: None }))
    }
}

/// A running command.
pub(crate) struct Producer {
    child: Child,
    /// Known once it has ended.
    status: Option<i32>,
    held_until: Option<Instant>,
}

impl Producer {
    /// Lets an event with `token` tell of its end.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.child.register(registry, token)
    }

    /// It has ended, or may have.
    ///
    /// # Errors
    /// Its status cannot be had.
    pub(crate) fn handle_ready(&mut self, now: Instant, registry: &Registry) -> Result<(), Error> {
        let ended = self.child.try_wait().map_err(|error| Error::Run(RunError::Io(Doing::AwaitCommand, error)))?;
        if let (Some(status), None) = (ended.map(Ended::number), self.status) {
            self.status = Some(status);
            self.held_until = held_until(now, status);
            self.child.deregister(registry);
        }
        Ok(())
    }

    /// Whether all that it had to say has been written.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.status == Some(0)
    }

    /// Its status, if it has failed.
    pub(crate) fn failure(&mut self, now: Instant) -> Option<i32> {
        self.held_until.take_if(|at| *at <= now);
        self.status.filter(|status| *status != 0 && self.held_until.is_none())
    }

    /// When to look without an event.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.held_until
    }

    /// Nobody wants what it writes any more.
    pub(crate) fn terminate(&self, registry: &Registry) {
        if self.status.is_none() {
            self.child.deregister(registry);
            self.child.terminate();
        }
    }
}
