//! What ends a running relay, and what is asked of it: by signals, or by whoever holds a [`Handle`].

use super::life::Stage;
use super::log::LogLine;
use super::reload;
use super::shared::Shared;
use super::status::Status;
use crate::net::signals::{Request, Signals};
use std::sync::Arc;
use std::time::Instant;

/// Does what signals ask for.
pub(super) fn handle_signals(now: Instant, signals: &mut Signals, shared: &Arc<Shared>) {
    for came in signals.take() {
        match came.request {
            Request::Refresh => reload::begin(shared),
            Request::Status => shared.log.line(LogLine::Status(shared.status())),
            Request::End(signal) if shared.life.stage() == Stage::Serving => {
                shared.life.end_by(signal);
                shared.drain(now);
            }
            Request::End(_) => shared.end(),
        }
    }
}

/// A hand on a running relay, for tests and for programs that embed one.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    /// Ends it as SIGTERM does; again: at once.
    pub fn stop(&self) {
        if self.0.life.stage() == Stage::Serving { self.0.drain(Instant::now()) } else { self.0.end() }
    }

    /// Reads the allow file again, as SIGHUP does.
    pub fn reload(&self) {
        reload::begin(&self.0);
    }

    /// Its state in numbers.
    pub fn status(&self) -> Status {
        self.0.status()
    }
}
