//! `vp-relay`: the machines of [`crate::relay`] with sockets, threads, signals and the clock.
//!
//! ```text
//!   thread 0: listeners, signals, links ◀── inbox ──▶ thread 1: links ◀── inbox ──▶ …
//!        └─────────── one Router behind a lock, asked for control messages only ──────┘
//! ```
//! It decides nothing that the machines decide, prints nothing and does not end the process. Invariants: bodies cross
//! between threads through bounded queues and never under a lock, and no thread waits for another; no disk, no name service
//! and no reader of the log is waited for in a thread that serves links; every thread ends when the relay does, at the latest
//! when its time to drain is over.
//!
//! | where | what |
//! |---|---|
//! | `worker`, `sockets`, `linger` | one thread: its loop, its sockets, and those that only wait for their last bytes to be taken |
//! | `conn`, `requests` | one link's socket, or the sockets by which requests come that make it up |
//! | `carriers`, `placing` | how such requests find their link |
//! | `mail`, `shared` | what threads send each other, and what all of them see |
//! | `life`, `handle`, `status` | how far the relay is, who ends it, what it says when it is asked |
//! | `allow`, `certificate`, `certificate_news`, `reload`, `renewal` | who may attach, what is shown to whoever speaks TLS, and reading both again |
//! | `log`, `quota`, `refusals` | what is told of whom, and how much of it |

mod allow;
mod carriers;
mod certificate;
mod certificate_news;
mod conn;
mod handle;
mod left_undone;
mod life;
mod linger;
mod log;
mod mail;
mod placing;
mod quota;
mod refusals;
mod reload;
mod renewal;
mod requests;
mod shared;
mod sockets;
mod status;
mod worker;

pub use allow::{Allow, AllowError};
pub use certificate::{Certificate, CertificateError};
pub use certificate_news::CertificateNews;
pub use handle::Handle;
pub use log::Doer;
pub(crate) use log::Log;
pub use log::LogLine;
pub use quota::LeftOut;
pub use status::Status;

use crate::identity::{Identity, PeerId};
use crate::names::{Fronts, Scheme};
use crate::net::accept::{Acceptor, Shortage, raise_descriptor_limit};
use crate::net::listen::{FourPorts, Listener, bind};
use crate::net::options::Purpose;
use crate::net::reactor::Reactor;
use crate::net::reaper::adopt_orphans;
use crate::net::signals::{HUP, INT, Signals, TERM, USR1, XCPU};
use crate::relay::{Budget, Common, Limits, WorkerIndex};
use allow::AllowList;
use certificate::Shown;
use life::Life;
use log::RelayLog;
use mail::Inbox;
use shared::Shared;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;
use worker::{EVENTS, LISTENERS, SIGNALS, Thread, Worker};

/// Least memory for bodies a worker works with, bytes: what it reads into, and some that waits.
pub(crate) const MEMORY_PER_WORKER_MIN: usize = 1024 * 1024;
/// How links may be carried to each listener, the plainest first.
const CARRIERS: [Scheme; 6] = [Scheme::Tcp, Scheme::Ws, Scheme::Http, Scheme::Tls, Scheme::Wss, Scheme::Https];
/// How many of those work as they stand where nobody gave the relay a certificate that others believe.
const WITHOUT_CERTIFICATE: usize = 3;
/// Workers where nobody says how many: one a core, as far as the usual memory goes.
const WORKERS_USUAL_MAX: usize = 256;

/// What a relay can go on without.
#[derive(Debug)]
pub enum Trouble {
    /// No interface has this address yet: nobody reaches it before one has.
    Absent(SocketAddr),
    /// Connections cannot be accepted for now.
    Accept(io::Error),
    /// The allow file was to be read again and cannot be used.
    Reload(PathBuf, AllowError),
    /// The certificate was to be read again and cannot be used.
    Certificate(CertificateError),
    /// There is no thread to read them in.
    Thread(io::Error),
}

/// What a relay tells of itself.
pub struct Logging {
    /// Whether details are wanted: [`LogLine::Connection`], [`LogLine::Fact`].
    pub details: bool,
    /// Where log lines go.
    pub write: Log,
}

/// What a relay is told.
pub struct RelayOptions {
    /// Who it is.
    pub identity: Identity,
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Sockets that listen already, as systemd passes them.
    pub listeners: Vec<TcpListener>,
    /// What stands in front of it.
    pub fronts: Fronts,
    /// Who may attach.
    pub allow: Allow,
    /// What is shown to whoever speaks TLS.
    pub certificate: Certificate,
    /// What they may hold.
    pub limits: Limits,
    /// Bytes of bodies on their way, in all; at least `MEMORY_PER_WORKER_MIN` for each worker.
    pub memory_bytes: usize,
    /// Threads; None for one a core.
    pub workers: Option<NonZeroUsize>,
    /// How long clients get to go elsewhere at the end.
    pub drain: Duration,
    /// Whether HUP, INT, TERM, USR1 and XCPU are this relay's; else [`Handle`] is the only way to end it.
    pub signals: bool,
    /// What is told of it.
    pub log: Logging,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayEnd {
    /// By this signal.
    Signal(i32),
    /// By [`Handle::stop`].
    Stopped,
}

/// Why a relay did not start or could not go on.
#[derive(Debug)]
pub enum RelayError {
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The allow file cannot be used.
    Allow(PathBuf, AllowError),
    /// The certificate cannot be used.
    Certificate(CertificateError),
    /// The memory is too little for so many workers.
    Memory {
        /// How many.
        workers: usize,
    },
    /// The system lacks something the relay needs: descriptors, threads.
    System(io::Error),
    /// One of its threads ended by a fault of its own.
    Panicked,
}

impl From<io::Error> for RelayError {
    fn from(error: io::Error) -> RelayError {
        RelayError::System(error)
    }
}

/// A relay that listens and does not serve yet.
pub struct Relay {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
    addresses: Vec<String>,
    listeners: usize,
}

impl Relay {
    /// Reads the allow file, binds the listeners and gets everything that can fail.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn bind(options: RelayOptions) -> Result<Relay, RelayError> {
        let workers = options.workers.map_or_else(usual_workers, NonZeroUsize::get);
        if options.memory_bytes / MEMORY_PER_WORKER_MIN < workers {
            return Err(RelayError::Memory { workers });
        }
        let allow = AllowList::new(options.allow, options.limits);
        let policy = allow
            .read(&options.log.write)
            .map_err(|error| RelayError::Allow(allow.path().map_or_else(PathBuf::new, Path::to_owned), error))?;
        let certificate = Shown::new(options.certificate, &options.log.write).map_err(RelayError::Certificate)?;
        let mut listeners = options.listeners;
        let four: FourPorts = addresses_of(&listeners)?.into_iter().chain(options.listen.iter().copied()).collect();
        for address in options.listen {
            let bound = bind(address, &four).map_err(|error| RelayError::Listen(address, error))?;
            if bound.absent {
                (options.log.write)(LogLine::Trouble(Trouble::Absent(address)));
            }
            listeners.push(bound.listener);
        }
        let path = options.fronts.path.as_ref().map(ToString::to_string).unwrap_or_default();
        let spoken = Spoken { id: options.identity.id(), path, is_believed: certificate.is_of_files() };
        let addresses = spoken.at(&listeners)?;
        let count = listeners.len();
        let reactors = (0..workers).map(|_| Reactor::new(EVENTS)).collect::<io::Result<Vec<_>>>()?;
        raise_descriptor_limit();
        let shared = Arc::new(Shared {
            inboxes: reactors.iter().map(|reactor| Inbox::new(Arc::clone(reactor.waker()))).collect(),
            common: Common::new(policy, workers),
            carriers: Arc::default(),
            budget: Budget::new(options.memory_bytes),
            allow,
            fronts: Arc::new(options.fronts),
            certificate,
            forwarded: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            log: RelayLog::new(options.log.write, options.log.details),
            life: Life::new(options.drain, workers),
        });
        let mut threads = make_workers(reactors, &shared, Arc::new(options.identity))?;
        let first = &mut threads[0];
        let listeners = listeners.into_iter().map(Listener::of_tcp).collect::<io::Result<Vec<_>>>()?;
        let mut acceptor = Acceptor::new(listeners, Purpose::Link, Shortage::TurnAway);
        acceptor.register(first.reactor.registry(), LISTENERS.token())?;
        let signals = if options.signals { Some(Signals::new(&[HUP, INT, TERM, USR1, XCPU])?) } else { None };
        if let Some(signals) = &signals {
            signals.register(first.reactor.registry(), SIGNALS.token())?;
            // The process is this relay's alone.
            adopt_orphans()?;
        }
        first.worker.take_listeners(acceptor, signals);
        Ok(Relay { shared, threads, addresses, listeners: count })
    }

    /// Its addresses, as other tools take them: of each listener `tcp://ID@IP:PORT`, and then one for each other carrier.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// How many listeners it has.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners
    }

    /// A hand on it.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until it is ended. This thread is the first worker.
    ///
    /// # Errors
    /// A thread cannot be made, or the system's readiness facility fails.
    pub fn run(mut self) -> Result<RelayEnd, RelayError> {
        reload::watch(&self.shared)?;
        let first = self.threads.remove(0);
        let mut threads = Vec::new();
        for (index, worker) in self.threads.into_iter().enumerate() {
            let shared = Arc::clone(&self.shared);
            let body = move || {
                // One worker that fails or panics must not leave half a relay.
                watched(&shared, worker)
            };
            let name = format!("worker {}", index + 1);
            match thread::Builder::new().name(name).spawn(body) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.shared.end();
                    return Err(error.into());
                }
            }
        }
        let mut result = watched(&self.shared, first).map_err(RelayError::from);
        for thread in threads {
            let ended = thread.join().map_err(|_| RelayError::Panicked);
            result = result.and(ended.and_then(|ended| Ok(ended?)));
        }
        result?;
        Ok(self.shared.life.signal().map_or(RelayEnd::Stopped, RelayEnd::Signal))
    }
}

fn addresses_of(listeners: &[TcpListener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// What addresses that others reach a relay by are made of.
struct Spoken {
    id: PeerId,
    /// Where requests have to go, if not anywhere.
    path: String,
    /// Whether somebody believes its certificate.
    is_believed: bool,
}

impl Spoken {
    /// Those of these listeners.
    fn at(&self, listeners: &[TcpListener]) -> io::Result<Vec<String>> {
        let Spoken { id, path, is_believed } = self;
        let count = if *is_believed { CARRIERS.len() } else { WITHOUT_CERTIFICATE };
        let of = |address| {
            CARRIERS[..count].iter().map(move |scheme| match scheme {
                Scheme::Ws | Scheme::Wss | Scheme::Http | Scheme::Https => format!("{scheme}://{id}@{address}{path}"),
                _ => format!("{scheme}://{id}@{address}"),
            })
        };
        Ok(addresses_of(listeners)?.into_iter().flat_map(of).collect())
    }
}

fn usual_workers() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get).min(WORKERS_USUAL_MAX)
}

fn make_workers(reactors: Vec<Reactor>, shared: &Arc<Shared>, identity: Arc<Identity>) -> io::Result<Vec<Thread>> {
    let workers = reactors.len();
    let make = |(worker, reactor): (usize, Reactor)| {
        let (at, registry) = (WorkerIndex { worker, workers }, reactor.registry().try_clone()?);
        let worker = Worker::new(at, Arc::clone(&identity), Arc::clone(shared), registry);
        Ok(Thread { reactor, worker })
    };
    reactors.into_iter().enumerate().map(make).collect()
}

/// Runs a worker; if it fails or panics, ends all of them.
fn watched(shared: &Shared, worker: Thread) -> io::Result<()> {
    struct EndAll<'a>(Option<&'a Shared>);
    impl Drop for EndAll<'_> {
        fn drop(&mut self) {
            if let Some(shared) = self.0 {
                shared.end();
            }
        }
    }
    let mut end = EndAll(Some(shared));
    worker.run()?;
    end.0 = None;
    Ok(())
}

/// Binds and serves; `on_ready` gets each address, as of [`Relay::addresses`], before the first connection is taken.
///
/// # Errors
/// See [`RelayError`].
pub fn run(options: RelayOptions, mut on_ready: impl FnMut(&str)) -> Result<RelayEnd, RelayError> {
    let relay = Relay::bind(options)?;
    relay.addresses().iter().for_each(|address| on_ready(address));
    relay.run()
}

#[cfg(test)]
mod tests;
