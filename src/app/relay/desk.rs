//! What the first worker does for the whole relay: connections and signals.

use super::listen::Acceptor;
use super::mail::Package;
use super::shared::{Shared, Stage};
use super::{Allow, LogLine, Trouble};
use crate::net::signals::{HUP, INT, Signals, TERM, USR1};
use mio::net::TcpStream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Listeners and signals.
pub struct Desk {
    acceptor: Option<Acceptor>,
    signals: Option<Signals>,
    shared: Arc<Shared>,
}

impl Desk {
    /// A desk; without signals it is somebody else who ends the relay.
    pub fn new(acceptor: Acceptor, signals: Option<Signals>, shared: Arc<Shared>) -> Desk {
        Desk { acceptor: Some(acceptor), signals, shared }
    }

    /// Accepts nothing any more.
    pub fn close(&mut self) {
        self.acceptor = None;
    }

    /// Connections may be waiting.
    pub fn handle_connections(&mut self) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.ready = true;
        }
    }

    /// When to accept again without an event.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.acceptor.as_ref().and_then(Acceptor::next_timeout)
    }

    /// Whether more waits than one batch took.
    pub fn has_more(&self, now: Instant) -> bool {
        self.acceptor.as_ref().is_some_and(|acceptor| acceptor.is_due(now))
    }

    /// Takes the next batch of connections.
    pub fn accept(&mut self, now: Instant) -> Vec<(TcpStream, SocketAddr)> {
        let mut accepted = Vec::new();
        if let Some(acceptor) = self.acceptor.as_mut().filter(|acceptor| acceptor.is_due(now))
            && let Some(error) = acceptor.accept(now, &mut accepted)
        {
            self.shared.log(LogLine::Trouble(Trouble::Accept(error)));
        }
        accepted
    }

    /// Signals came.
    pub fn handle_signals(&mut self, now: Instant, shared: &Arc<Shared>) {
        let Some(signals) = &mut self.signals else { return };
        for signal in signals.take() {
            match signal {
                HUP => reload(shared),
                USR1 => shared.log(LogLine::Status(shared.status())),
                TERM | INT if shared.stage() == Stage::Serving => {
                    shared.ended_by(signal);
                    shared.drain(now);
                }
                TERM | INT => shared.end(),
                _ => {}
            }
        }
    }
}

/// Reads the allow file again, in a thread of its own: disks may be slow, links must not wait for them.
pub fn reload(shared: &Arc<Shared>) {
    let Allow::File(path) = &shared.allow else { return };
    let (path, shared_there) = (path.clone(), Arc::clone(shared));
    let reader = thread::Builder::new().name("reload".into()).spawn(move || {
        let shared = shared_there;
        match super::read_policy(&path, shared.limits) {
            Ok(policy) => {
                let mut package = Package::Policy(Box::new(policy));
                while let Err(back) = shared.inboxes[0].put(package) {
                    package = back;
                    thread::yield_now();
                }
                // It fails if the relay has ended.
                let _ = shared.inboxes[0].wake();
            }
            Err(error) => shared.log(LogLine::Trouble(Trouble::Reload(path, error))),
        }
    });
    if let Err(error) = reader {
        shared.log(LogLine::Trouble(Trouble::Thread(error)));
    }
}
