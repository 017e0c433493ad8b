//! Words of `vp-portrep`.

use super::{Voice, listen_fault};
use crate::cli::escape::printable;
use crate::cli::events::{Status, seconds};
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, chain};
use crate::identity::PeerId;
use crate::run::event_loop::{Joined, Notice, Place};
use crate::tools::ports::{ListenError, SetupError};

impl Voice<'_> {
    /// Says what happened to mappings.
    pub(super) fn hear_ports(&mut self, notice: &Notice<'_>) {
        match notice {
            Notice::Listening(place, peer, app) => {
                self.ready_line(&format!("listening {} {}:{app}", printable(&place.to_string()), self.name(peer)));
            }
            Notice::Serving(app, target) => self.ready_line(&format!("serving {app} {}", printable::<str>(target))),
            Notice::Hop(hop, passage) => self.tell_hop(&hop.to_string(), &passage.to_string()),
            Notice::Ready => {
                if let Some(ready) = &self.ready {
                    ready.tell("ready");
                }
            }
            Notice::CallFailed(peer, app, error) => {
                self.about = (Some(*peer), (*app).to_owned());
                let message = self.fault(error).message;
                let whole = format!("{}:{app}", self.name(peer));
                let named = message.starts_with(&whole);
                self.warn(&if named { message } else { format!("{whole}: {message}") });
            }
            Notice::TargetFailed(app, target, error) => {
                self.warn(&format!("{app}: cannot connect to {}: {}", printable::<str>(target), chain(*error)));
            }
            Notice::TargetUnknown(app, target, error) => {
                let target = printable::<str>(target);
                self.warn(&format!(
                    "{app}: cannot find {target} yet, looking it up again and again: {}",
                    chain(*error)
                ));
            }
            Notice::TargetFound(app, target) => self.info(&format!("{app}: found {}", printable::<str>(target))),
            Notice::Unmapped(peer, app, to) => self.unmapped(peer, app, &to.to_string()),
            Notice::Absent(Place::Tcp(address)) => {
                self.warn(&format!("no network interface has the address {} yet", address.ip()));
            }
            Notice::CannotListen(place, error) => {
                let fault = listen_fault(&place.to_string(), error);
                self.warn(&fault.message);
                fault.hints.iter().for_each(|hint| self.report.advise(hint));
            }
            Notice::NotReloaded => {
                self.warn(&format!("who may call stays as it was: {}", self.roster.trouble()));
            }
            Notice::Unlisted(name) => self.unlisted(name),
            Notice::NobodyMayCall => {
                self.warn("nobody may call now");
                let file = self.roster.peers().place().unwrap_or("the peers file").to_owned();
                self.report.advise(&format!("put a line NAME ID for whoever may into {file}, and send SIGHUP again"));
            }
            Notice::CannotAccept(error) => self.warn(&format!("cannot accept a connection: {}", chain(*error))),
            Notice::Connections(open, served) => {
                let message = format!("{open} connections open, {served} since the start");
                let connections = u64::try_from(*open).ok();
                let connections_total = Some(*served);
                self.report.status(Status { message, connections, connections_total, ..Status::default() });
            }
            Notice::Joined(peer, app, joined) => {
                self.info(&joined_line(joined, &format!("{}:{app}", self.name(peer))));
            }
            _ => {}
        }
    }

    fn unlisted(&self, name: &str) {
        if let Some((_, text)) = self.roster.conflicts().into_iter().find(|(conflicting, _)| conflicting == name) {
            return self.warn(&text);
        }
        let name = printable::<str>(name);
        self.warn(&format!("the peers file has no {name} any more: nobody by that name may call"));
    }

    fn unmapped(&self, peer: &PeerId, app: &str, to: &str) {
        let (name, to) = (self.name(peer), printable(to));
        self.warn(&format!(
            "{name}:{app}: its RMI server sends callers to {to}, where no import listens: map that port under the same \
             number, and set java.rmi.server.hostname at the server to where the import listens"
        ));
    }
}

/// How one connection, or the one pair of standard input and output, ended.
fn joined_line(joined: &Joined<'_>, whom: &str) -> String {
    let (sent, received, took) = (joined.sent, joined.received, seconds(joined.took));
    let how = if joined.is_reset { "reset" } else { "ended" };
    format!("connection with {whom} {how}: {sent} bytes sent, {received} received, in {took} s")
}

/// Why a mapping cannot begin.
pub fn setup_fault(error: &SetupError) -> Fault {
    match error {
        SetupError::Listen(place, error) => {
            let place = place.to_string();
            match error {
                ListenError::Listen(error) => listen_fault(&place, error),
                ListenError::Owner(error) => {
                    let (place, reason) = (printable(&place), chain(error));
                    Fault::new(Exit::Failed, format!("cannot give {place} to that user or group: {reason}"))
                        .hint("only root may give it to another user, or to a group that it is not in itself")
                }
            }
        }
        SetupError::BadName(..) | SetupError::Stray(_) => Fault::new(Exit::Config, chain(error)),
    }
}
