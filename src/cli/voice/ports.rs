//! Words of `vp-portrep`.

use super::connect::Between;
use super::{AsFault, Hears, Voice, command, listen_fault};
use crate::cli::counted::counted;
use crate::cli::escape::printable;
use crate::cli::events::{Event, Status};
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, chain};
use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::child::Ended;
use crate::net::endpoint::Endpoint;
use crate::net::program::Missing;
use crate::net::socket_file::ListenError;
use crate::run;
use crate::run::tool::RunError;
use crate::tools::ports::{Check, CheckNews, Error, Hop, News, Passage, Portrep, SetupError, Wanted};
use std::ffi::OsStr;

impl Voice<'_> {
    /// What is wrong with an application of a peer, with its name before it.
    fn failing(&mut self, peer: &PeerId, app: &str, error: &Error) -> String {
        self.about = (Some(*peer), app.to_owned());
        let message = self.fault(error).message;
        let whole = format!("{}:{app}", self.name(peer));
        if message.starts_with(&whole) { message } else { format!("{whole}: {message}") }
    }

    fn cannot_listen(&mut self, fault: &Fault) {
        if self.warn_rarely(&fault.message) {
            for hint in &fault.hints {
                if self.told.note(hint) {
                    self.report.advise(hint);
                }
            }
        }
    }

    /// What becomes of a connection where there is no place for it.
    fn crowded(&mut self, news: &News<'_>) {
        match news {
            News::GaveWay(holder, wanted) => {
                let (holder_name, whom) = (self.name(holder), self.wanted(wanted));
                let text = format!(
                    "all connections are in use: one of {holder_name}, which has several, was reset for {whom}"
                );
                self.warn_of(Some(holder), &text);
            }
            News::HasShare(wanted) => {
                let whom = self.wanted(wanted);
                self.info_of(&wanted.peer, &format!("no place for {whom}: as many as it may have are in use"));
            }
            News::NoRoom(wanted) => {
                let whom = self.wanted(wanted);
                if self.warn_rarely(&format!("no place for {whom}: all connections are in use, and none can give way"))
                {
                    self.report
                        .advise("--max-connections says how many there may be, and ulimit -n how many there can be");
                }
            }
            _ => {}
        }
    }

    fn wanted(&self, wanted: &Wanted<'_>) -> String {
        let name = self.name(&wanted.peer);
        if wanted.by_import {
            format!("a connection to {name}:{}", wanted.app)
        } else {
            format!("a connection of {name} to {}", wanted.app)
        }
    }

    fn unmapped(&mut self, peer: &PeerId, app: &str, to: &str) {
        let (name, to) = (self.name(peer), printable(to));
        let text = format!(
            "{name}:{app}: its RMI server sends callers to {to}, where no import listens: map that port under the same \
             number, and set java.rmi.server.hostname at the server to where the import listens"
        );
        self.warn_of(Some(peer), &text);
    }
}

impl Hears<Check> for Voice<'_> {
    fn hear_tool(&mut self, news: &CheckNews<'_>) {
        match news {
            CheckNews::Run(news) => self.hear(news),
            CheckNews::Hop(hop, passage) => self.tell_hop(hop_text(*hop), passage_text(*passage)),
        }
    }
}

impl Hears<Portrep> for Voice<'_> {
    fn hear_tool(&mut self, news: &News<'_>) {
        match news {
            // The ready lines of this tool are of its own.
            News::Run(run::News::Attached(_)) => return,
            News::Run(news) => return self.hear(news),
            News::Joined(peer, app, joined) => return self.joined(peer, app, joined),
            News::GaveWay(..) | News::HasShare(_) | News::NoRoom(_) => return self.crowded(news),
            _ => {}
        }
        self.tell_event(|voice| match news {
            News::Listening(place, peer, app) => {
                Some(Event::Listening { address: place.to_string(), party: voice.party(peer, Some(app)) })
            }
            News::Serving(app, target) => {
                Some(Event::Serving { application: (*app).to_owned(), target: (*target).to_owned() })
            }
            News::Ready => Some(Event::Ready),
            _ => None,
        });
        match news {
            // A path on the file system is never of another machine.
            News::Run(_) | News::Joined(..) | News::Absent(Endpoint::Unix(_)) => {}
            News::GaveWay(..) | News::HasShare(_) | News::NoRoom(_) => {}
            News::Listening(place, peer, app) => {
                self.ready_line(&format!("listening {} {}:{app}", printable(&place.to_string()), self.name(peer)));
            }
            News::Serving(app, target) => self.ready_line(&format!("serving {app} {}", printable::<str>(target))),
            News::Ready => {
                if let Some(ready) = &self.ready {
                    ready.tell("ready");
                }
            }
            News::CallFailed(peer, app, error) => {
                let text = self.failing(peer, app, error);
                self.call_failed(text);
            }
            News::NotWorking(peer, app, error) => {
                let text = self.failing(peer, app, error);
                self.not_working(text);
            }
            News::TargetFailed(app, target, error) => {
                let text = format!("{app}: cannot connect to {}: {}", printable::<str>(target), chain(error));
                self.warn_of(None, &text);
            }
            News::TargetUnknown(app, target, error) => {
                let target = printable::<str>(target);
                self.warn(&format!("{app}: cannot find {target} yet, looking it up again and again: {}", chain(error)));
            }
            News::TargetFound(app, target) => self.info(&format!("{app}: found {}", printable::<str>(target))),
            News::Unmapped(peer, app, to) => self.unmapped(peer, app, &to.to_string()),
            News::Absent(Endpoint::Tcp(address)) => {
                self.warn_rarely(&format!("no network interface has the address {} yet", address.ip()));
            }
            News::CannotListen(place, error) => {
                self.cannot_listen(&listen_fault(&place.to_string(), error));
            }
            News::CannotAccept(error) => {
                self.warn_of(None, &format!("cannot accept a connection: {}", chain(error)));
            }
            News::Connections(open, served) => {
                let message = format!("{} open, {served} since the start", counted(*open, "connection"));
                let connections = u64::try_from(*open).ok();
                let connections_total = Some(*served);
                self.report.status(Status { message, connections, connections_total, ..Status::default() });
            }
        }
    }
}

impl AsFault for Error {
    fn fault(&self, between: &Between<'_>) -> Fault {
        match self {
            Error::Run(error) | Error::Import(_, _, error) => error.fault(between),
            Error::CannotRun(error) => {
                let command = between.named_command();
                Fault::new(Exit::Failed, format!("cannot run the command: {}{command}", chain(error)))
            }
            // The command itself has said what there was to say.
            Error::Command(Ended::Exited(status)) => Fault::new(Exit::Command(*status), ""),
            Error::Command(Ended::Killed(signal)) => Fault::new(Exit::Signal(u8::try_from(*signal).unwrap_or(0)), ""),
            Error::Command(Ended::Unknown) => {
                Fault::new(Exit::Failed, "the command ended, and the system does not say how")
            }
        }
    }

    fn run(&self) -> Option<&RunError> {
        match self {
            Error::Run(error) | Error::Import(_, _, error) => Some(error),
            _ => None,
        }
    }

    fn of(&self) -> Option<(&PeerId, &AppName)> {
        match self {
            Error::Import(peer, app, _) => Some((peer, app)),
            _ => None,
        }
    }
}

fn hop_text(hop: Hop) -> &'static str {
    match hop {
        Hop::Relay => "relay",
        Hop::Peer => "peer",
        Hop::Export => "export",
        Hop::Target => "target",
    }
}

fn passage_text(passage: Passage) -> &'static str {
    match passage {
        Passage::Ok => "ok",
        Passage::Absent => "absent",
        Passage::Refused => "refused",
        Passage::Unreachable => "unreachable",
        Passage::Silent => "silent",
        Passage::Wrong => "wrong",
    }
}

/// Why a mapping cannot begin.
pub(crate) fn setup_fault(error: &SetupError) -> Fault {
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
        SetupError::Program(program, missing) => missing_program(program, missing),
        SetupError::BadName(app, target) => {
            let text = format!("the target {target} of the export {app}: no machine can have such a name");
            Fault::new(Exit::Config, text)
        }
        SetupError::Stray(socket) => {
            Fault::new(Exit::Config, format!("no import is for the socket {socket} that was passed"))
        }
    }
}

/// Why a program cannot be run, with the status that a shell has for it.
fn missing_program(program: &OsStr, missing: &Missing) -> Fault {
    let (status, why) = match missing {
        Missing::NotFound => (command::NOT_FOUND, "command not found".to_owned()),
        Missing::Directory => (command::CANNOT_RUN, "it is a directory, and no command".to_owned()),
        Missing::NotExecutable(error) => (command::CANNOT_RUN, format!("cannot be run: {}", chain(error))),
    };
    Fault::new(Exit::Command(status), format!("{}: {why}", printable(program)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::spoken;
    use super::*;
    use crate::cli::report::Verbosity;
    use crate::wire::CloseCode;
    use std::io;
    use std::time::Duration;

    fn hear(patience: Option<Duration>, news: &[News<'_>]) -> Vec<String> {
        let text = spoken(Verbosity::Normal, patience, |mut voice| {
            news.iter().for_each(|news| Hears::<Portrep>::hear_tool(&mut voice, news));
        });
        text.lines().map(|line| line.trim_start_matches("vp-test: ").to_owned()).collect()
    }

    #[test]
    fn a_port_that_stays_taken_is_told_of_once_and_again_when_it_is_something_else() {
        let at = Endpoint::Tcp("127.0.0.1:7".parse().unwrap());
        let (taken, denied) = (io::ErrorKind::AddrInUse.into(), io::ErrorKind::PermissionDenied.into());
        let news = [&taken, &taken, &taken, &denied, &denied].map(|error| News::CannotListen(&at, error));
        let said = hear(None, &news);
        let starts: Vec<_> = said.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(starts, ["warning", "hint", "warning", "hint"], "{said:?}");
    }

    #[test]
    fn what_a_mapping_lacks_is_told_once_and_by_the_reminder_unless_the_end_tells_it_soon() {
        let shop = PeerId::from_bytes([1; 32]);
        let refused = Error::Run(RunError::PeerClosed(CloseCode::TargetRefused));
        let (not_working, waiting) = (|| News::NotWorking(shop, "pg", &refused), News::Run(run::News::StillWaiting));
        let news = [News::Run(run::News::Up(shop, "pg")), not_working(), not_working(), waiting];
        let what = "shop:pg: at shop: the target refuses connections";
        assert_eq!(hear(None, &news), [format!("warning: {what}"), format!("info: waiting: {what}")]);
        assert_eq!(hear(Some(Duration::from_secs(3)), &news[..3]), [""; 0]);
    }
}
