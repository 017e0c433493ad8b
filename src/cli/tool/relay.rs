//! `vp-relay`: words to work.

use std::net::TcpListener;
use std::num::NonZeroU32;

use super::relay_key::relay_key;
use super::{Context, Tool};
use crate::cli::args::{Arguments, Relay};
use crate::cli::counted::counted;
use crate::cli::exit::Exit;
use crate::cli::passed;
use crate::cli::ready::{Otherwise, Ready};
use crate::cli::report::{Fault, Level, Report, Verbosity, chain};
use crate::cli::voice::relay::{fault, log};
use crate::cli::voice::signal_fault;
use crate::identity::Identity;
use crate::names::Fronts;
use crate::net::passed::PassedSocket;
use crate::relay::Limits;
use crate::server::{Allow, Certificate, Logging, RelayEnd, RelayOptions};

impl Tool for Relay {
    fn run(self, context: &Context) -> Result<Exit, Fault> {
        let passed = passed_listeners()?;
        if self.place.listen.is_empty() && passed.is_empty() {
            return Err(Fault::new(Exit::Usage, "nothing to listen on")
                .hint("name an address: vp-relay --listen [::]:4433, for every address of this machine"));
        }
        let mut ready = Ready::open(self.ready_fd, Otherwise::Stdout, &context.env)
            .map_err(|error| Fault::new(Exit::Usage, format!("--ready-fd: {}", chain(&error))))?;
        let identity = relay_key(self.key.as_deref(), &context.env)?;
        self.say_limits();
        let relay = crate::server::Relay::bind(self.options(identity, passed)).map_err(fault)?;
        // In one write: whoever wants the first line may close the pipe behind it.
        let lines: Vec<String> = relay.addresses().iter().map(|address| format!("listening {address}")).collect();
        ready
            .line(&lines.join("\n"))
            .map_err(|error| Fault::new(Exit::Failed, format!("cannot write the ready line: {}", chain(&error))))?;
        let supervisor = ready.complete(&counted(relay.listeners(), "listener"));
        let end = relay.run().map_err(fault);
        supervisor.stopping();
        match end? {
            RelayEnd::Signal(signal) => Err(signal_fault(signal)),
            RelayEnd::Stopped => Ok(Exit::Done),
        }
    }
}

impl Relay {
    /// What is in force, for whoever wonders why somebody was turned away.
    fn say_limits(&self) {
        let report = Report::of_service(Relay::MANUAL.name, self.output.verbosity(), self.output.format());
        report.say(
            Level::Debug,
            &format!(
                "links {}, of one peer {}, circuits of one peer {}, memory for bodies {}",
                self.most.max_links, self.most.max_links_per_peer, self.most.max_circuits_per_peer, self.memory.0
            ),
        );
    }

    fn options(self, identity: Identity, listeners: Vec<TcpListener>) -> RelayOptions {
        let count = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
        RelayOptions {
            identity,
            listen: self.place.listen,
            listeners,
            fronts: Fronts { trusted: self.place.trusted_proxy, path: self.place.path },
            // The words demand one of --allow and --open.
            allow: self.allow.map_or(Allow::Anyone, Allow::File),
            certificate: match (self.tls.tls_cert, self.tls.tls_key) {
                (Some(chain), Some(key)) => Certificate::Files { chain, key },
                // The words demand both or none.
                _ => Certificate::Own,
            },
            limits: Limits {
                links: count(self.most.max_links),
                links_per_peer: count(self.most.max_links_per_peer),
                circuits_per_peer: self.most.max_circuits_per_peer.get(),
            },
            memory_bytes: usize::try_from(self.memory.0).unwrap_or(usize::MAX),
            workers: self.workers.map(Into::into),
            drain: self.drain,
            signals: true,
            log: Logging { details: self.output.verbosity() >= Verbosity::Verbose, write: log(self.output) },
        }
    }
}

/// The listening sockets that systemd passed, in its order; none if it passed none.
fn passed_listeners() -> Result<Vec<TcpListener>, Fault> {
    let passed = passed::take()?;
    let tcp = passed.into_iter().map(|passed| match passed.socket {
        PassedSocket::Tcp(listener) => Ok(listener),
        PassedSocket::Unix(_) => Err(Fault::new(Exit::Config, "LISTEN_FDS: a relay listens on TCP sockets only")),
    });
    tcp.collect()
}
