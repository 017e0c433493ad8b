//! What the first worker does for the whole relay: connections and signals.

use super::listen::Acceptor;
use super::mail::Package;
use super::shared::{Shared, Stage};
use super::{Allow, LogLine, Trouble};
use crate::net::signals::{Request, Signals};
use mio::net::TcpStream;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
            self.shared.log.line(LogLine::Trouble(Trouble::Accept(error)));
        }
        accepted
    }

    /// Signals came.
    pub fn handle_signals(&mut self, now: Instant, shared: &Arc<Shared>) {
        let Some(signals) = &mut self.signals else { return };
        for came in signals.take() {
            match came.request {
                Request::Refresh => reload(shared),
                Request::Status => shared.log.line(LogLine::Status(shared.status())),
                Request::End(signal) if shared.stage() == Stage::Serving => {
                    shared.ended_by(signal);
                    shared.drain(now);
                }
                Request::End(_) => shared.end(),
            }
        }
    }
}

/// Who reads the allow file again. One at a time: of two, the later one to finish would win, and that may be the one that
/// read the older file.
#[derive(Debug)]
pub struct Reloads {
    reading: Mutex<Reading>,
    told: Mutex<super::Told>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    Nobody,
    /// A thread reads.
    Now,
    /// A thread reads and was asked since it began: it reads once more.
    NowAndAgain,
}

impl Reloads {
    /// Of a file of which this has been said.
    pub(super) fn new(told: super::Told) -> Reloads {
        Reloads { reading: Mutex::default(), told: Mutex::new(told) }
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file is to be read; true if the caller has to see to it.
    fn ask(&self) -> bool {
        let mut reading = self.reading();
        let begins = *reading == Reading::Nobody;
        *reading = if begins { Reading::Now } else { Reading::NowAndAgain };
        begins
    }

    /// It has been read; true if it has to be read again.
    fn done(&self) -> bool {
        let mut reading = self.reading();
        let again = *reading == Reading::NowAndAgain;
        *reading = if again { Reading::Now } else { Reading::Nobody };
        again
    }

    /// It is not read after all.
    fn give_up(&self) {
        *self.reading() = Reading::Nobody;
    }
}

/// Reads the allow file again, in a thread of its own: disks may be slow, links must not wait for them. What is asked for
/// while that thread reads it does when it has finished.
pub fn reload(shared: &Arc<Shared>) {
    let Allow::File(path) = &shared.allow else { return };
    if !shared.reloads.ask() {
        return;
    }
    let (path, there) = (path.clone(), Arc::clone(shared));
    let body = move || {
        loop {
            read_again(&path, &there);
            if !there.reloads.done() {
                return;
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("reload".into()).spawn(body) {
        shared.reloads.give_up();
        shared.log.line(LogLine::Trouble(Trouble::Thread(error)));
    }
}

fn read_again(path: &Path, shared: &Shared) {
    let mut told = shared.reloads.told.lock().unwrap_or_else(PoisonError::into_inner);
    let read = super::read_policy(path, shared.limits, &mut told, shared.log.writer());
    drop(told);
    let mut package = match read {
        Ok(policy) => Package::Policy(Box::new(policy)),
        Err(error) => return shared.log.line(LogLine::Trouble(Trouble::Reload(path.to_owned(), error))),
    };
    while let Err(back) = shared.inboxes[0].put(package) {
        if shared.stage() != Stage::Serving {
            // Nobody attaches any more, and nobody may look into that inbox again.
            return;
        }
        package = back;
        thread::yield_now();
    }
    // It fails if the relay has ended.
    let _ = shared.inboxes[0].wake();
}
