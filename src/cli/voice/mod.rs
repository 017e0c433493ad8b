//! The words that people read: news of the tools while they run, and how their end reads. What all say is here and in
//! [`connect`], the rest in one file for each kind of work.

mod connect;
mod portrep;
pub mod relay;
mod transfer;

use crate::app::client::{Aim, Down, Failure, Notice, Step, ToolError, XCPU};
use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::progress::{Amount, Audience, Progress, Totals};
use crate::cli::ready::Ready;
use crate::cli::report::{Fault, Level, Report, chain};
use crate::cli::roster::Roster;
use crate::identity::PeerId;
use connect::{closed_fault, node_fault};
pub use transfer::SPECIAL;
use transfer::{items_fault, transfer_fault};

pub use portrep::setup_fault;

/// The voice of one running tool.
pub struct Voice<'a> {
    report: &'a Report,
    roster: Roster,
    ready: Option<Ready>,
    audience: Audience,
    bar: Option<Progress>,
    relay_trouble: bool,
    /// Why the last relay could not be used, in full.
    relay_fault: Option<String>,
    /// Ready is who has met the peer, not who can be met.
    dials: bool,
    /// What the tool is about, for whoever asks by SIGUSR1.
    state: String,
}

impl<'a> Voice<'a> {
    /// A voice that knows the peers by name. `ready` gets the ready line once callers can find us.
    pub fn new(report: &'a Report, roster: &Roster, ready: Option<Ready>, audience: Audience) -> Voice<'a> {
        let state = "looking for a relay".to_owned();
        Voice {
            report,
            roster: roster.clone(),
            ready,
            audience,
            bar: None,
            relay_trouble: false,
            relay_fault: None,
            dials: false,
            state,
        }
    }

    /// The voice of a tool that dials: it is ready once it has met the peer.
    #[must_use]
    pub fn of_dialler(mut self) -> Self {
        self.dials = true;
        self
    }

    fn name(&self, id: &PeerId) -> String {
        self.roster.name(id)
    }

    fn info(&self, text: &str) {
        self.report.say(Level::Info, text);
    }

    fn debug(&self, text: &str) {
        self.report.say(Level::Debug, text);
    }

    fn step(&self, step: &Step) -> String {
        let whole = |peer: &PeerId, aim: &Aim| match aim {
            Aim::Session(app) => format!("{}:{app}", self.name(peer)),
            Aim::Lane => format!("a further lane with {}", self.name(peer)),
        };
        let whose = |peer: &PeerId, aim: &Aim| match aim {
            Aim::Session(app) => format!("{} calls {app}", self.name(peer)),
            Aim::Lane => format!("{} brings a further lane", self.name(peer)),
        };
        match step {
            Step::Asked(peer, aim) => format!("asked for {}", whole(peer, aim)),
            Step::Came(peer, aim, None) => format!("{}, by the relay's word: taken", whose(peer, aim)),
            Step::Came(peer, aim, Some(code)) => {
                format!("{}, by the relay's word: refused as {code:?}", whose(peer, aim))
            }
            Step::Opened => "open".to_owned(),
            Step::Ended(code) => format!("ended: {code:?}"),
        }
    }

    fn warn(&self, text: &str) {
        self.report.say(Level::Warning, text);
    }

    /// Says what happened, as loudly as it deserves.
    pub fn hear(&mut self, notice: &Notice<'_>) {
        self.note_state(notice);
        match notice {
            Notice::Stopping => {}
            Notice::Dialling(relay) => self.debug(&format!("dialling {relay}")),
            Notice::Connected(here, there) => self.debug(&format!("connected from {here} to {there}, shaking hands")),
            Notice::Circuit(number, step) => self.debug(&format!("circuit {number}: {}", self.step(step))),
            Notice::RelayUp(relay) => {
                let text = format!("attached to {relay}");
                if std::mem::take(&mut self.relay_trouble) { self.warn(&text) } else { self.info(&text) }
            }
            Notice::RelayDown(relay, why, error) => self.relay_down(&relay.to_string(), *why, *error),
            Notice::Waiting(peer, app) => {
                let text = format!("waiting for {}:{app}", self.name(peer));
                // Somebody who watches wonders; a log need not know.
                if matches!(self.audience, Audience::Terminal) { self.warn(&text) } else { self.info(&text) }
            }
            Notice::Up(peer, app) => self.met(peer, app),
            Notice::Lost(peer) => self.info(&format!("lost the path to {}, looking for another", self.name(peer))),
            Notice::Resumed(peer) => self.info(&format!("going on with {}", self.name(peer))),
            Notice::TurnedAway(peer, app) => {
                self.warn(&format!("turned away a call of {} for {app}: not among the peers allowed", self.name(peer)));
            }
            Notice::Attached(app) => {
                self.ready_once(&format!("attached {app}"));
                self.info(&format!("attached {app}"));
            }
            Notice::SessionFailed(peer, error) => {
                let fault = fault(error);
                self.warn(&format!("{}: {}", self.name(peer), fault.message));
            }
            Notice::Progress { bytes, skipped, total, items, name } => {
                let (done, all) = items.unwrap_or_default();
                let bar = self.bar(Totals { bytes: *total, items: all });
                bar.set(Amount { bytes: *bytes, skipped: *skipped }, done, &String::from_utf8_lossy(name));
            }
            Notice::ItemFailed(name, fault) => self.warn(&format!("{}: {fault}", printable(*name))),
            Notice::Unkept(place, what) => self.warn(&transfer::unkept(place, *what)),
            Notice::Received(peer, items, bytes) => {
                self.info(&format!("received {items} items, {bytes} bytes, from {}", self.name(peer)));
            }
            Notice::Listening(place, peer, app) => {
                self.ready_line(&format!("listening {} {}:{app}", printable(&place.to_string()), self.name(peer)));
            }
            Notice::Serving(app, target) => self.ready_line(&format!("serving {app} {}", printable::<str>(target))),
            Notice::Hop(hop, passage) => self.ready_line(&format!("{hop} {passage}")),
            Notice::Ready => self.ready.iter().for_each(|ready| ready.tell("ready")),
            Notice::TargetFailed(app, target, error) => {
                self.warn(&format!("{app}: cannot connect to {}: {}", printable::<str>(target), chain(*error)));
            }
            Notice::Unmapped(peer, app, to) => self.unmapped(peer, app, &to.to_string()),
            Notice::CannotListen(place, error) => {
                self.warn(&format!("cannot listen on {}: {}", printable(&place.to_string()), chain(*error)));
            }
            Notice::NotReloaded => {
                self.warn(&format!("who may call stays as it was: {}", self.roster.trouble()));
            }
            Notice::Unlisted(name) => self.unlisted(name),
            Notice::CannotAccept(error) => self.warn(&format!("cannot accept a connection: {}", chain(*error))),
            Notice::Connections(open, served) => {
                self.report.status(&format!("{open} connections open, {served} since the start"));
            }
            Notice::Status => {
                let line = self.bar.as_ref().map_or_else(|| self.state.clone(), Progress::status_line);
                self.report.status(&line);
            }
        }
    }

    /// Takes the bar away where there is nothing to watch any more.
    fn note_end(&mut self, notice: &Notice<'_>) {
        match notice {
            Notice::Received(..) | Notice::SessionFailed(..) => self.end_bar(),
            Notice::Stopping => {
                self.end_bar();
                self.audience = Audience::Nobody;
            }
            _ => {}
        }
    }

    fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }

    fn bar(&mut self, totals: Totals) -> &mut Progress {
        let bar = self.bar.get_or_insert_with(|| Progress::start(self.report, self.audience, totals));
        bar.set_totals(totals);
        bar
    }

    /// The first break of a path is worth a line; every further try until it is back is not.
    fn relay_down(&mut self, relay: &str, why: Down, error: Option<&std::io::Error>) {
        let text = match error {
            Some(error) => format!("relay {relay} {why}: {}", chain(error)),
            None => format!("relay {relay} {why}"),
        };
        if std::mem::replace(&mut self.relay_trouble, true) {
            self.info(&text)
        } else {
            self.warn(&text)
        }
        self.relay_fault = Some(text);
    }

    fn ready_line(&mut self, line: &str) {
        let written = self.ready.as_mut().map_or(Ok(()), |ready| ready.line(line));
        if let Err(error) = written {
            self.warn(&format!("cannot write a ready line: {}", chain(&error)));
        }
    }

    fn met(&mut self, peer: &PeerId, app: &str) {
        let whom = format!("{}:{app}", self.name(peer));
        if self.dials {
            self.ready_once(&format!("connected {whom}"));
        }
        self.info(&format!("connected to {whom}"));
    }

    /// The one ready line of a tool with one thing to be ready for.
    fn ready_once(&mut self, line: &str) {
        if let Some(mut ready) = self.ready.take() {
            if let Err(error) = ready.line(line) {
                self.warn(&format!("cannot write the ready line: {}", chain(&error)));
            }
            ready.complete(line);
        }
    }

    /// What whoever asks by SIGUSR1 will hear.
    fn note_state(&mut self, notice: &Notice<'_>) {
        self.note_end(notice);
        self.state = match notice {
            Notice::RelayUp(relay) => format!("attached to {relay}"),
            Notice::RelayDown(relay, why, _) => format!("relay {relay} {why}, trying again"),
            Notice::Waiting(peer, app) => format!("waiting for {}:{app}", self.name(peer)),
            Notice::Attached(app) => format!("waiting for calls of {app}"),
            Notice::Up(peer, app) => format!("connected to {}:{app}", self.name(peer)),
            Notice::Lost(peer) => format!("looking for another path to {}", self.name(peer)),
            Notice::Resumed(peer) => format!("going on with {}", self.name(peer)),
            Notice::SessionFailed(peer, _) | Notice::Received(peer, ..) => {
                format!("waiting for calls, the last was of {}", self.name(peer))
            }
            _ => return,
        };
    }

    /// How an end without success reads, with what only this run knows of it.
    pub fn fault(&self, error: &ToolError) -> Fault {
        let fault = fault(error);
        match (error, &self.relay_fault) {
            (ToolError::Node(Failure::NoRelay(why)), Some(text)) if *why != Down::Impostor => {
                Fault { message: format!("no relay could be used: {text}"), ..fault }
            }
            _ => fault,
        }
    }

    /// Ends the bar, if there is one, and tells the supervisor that the tool stops.
    pub fn finish(mut self) {
        if let Some(ready) = &self.ready {
            ready.stopping();
        }
        self.end_bar();
    }
}

/// How an end without success reads, and what it exits with.
pub fn fault(error: &ToolError) -> Fault {
    match error {
        ToolError::Node(failure) => node_fault(*failure),
        ToolError::Expired => Fault::new(Exit::Deadline, "the connection broke and did not come back in time")
            .hint("--resume-timeout sets how long to wait"),
        ToolError::BegunAnew => {
            Fault::new(Exit::Deadline, "the sender was gone and began anew: what has been written is not all")
                .hint("receive once more, into an empty place")
        }
        ToolError::NotBack => Fault::new(Exit::PeerAbsent, "the receiver's process ended, and none came back in time")
            .hint("run the same command again to send what is missing"),
        ToolError::CastOut => Fault::new(Exit::Config, "ended: it is not among the peers allowed any more"),
        ToolError::Protocol(what) => Fault::new(Exit::Integrity, format!("the peer broke the protocol: it {what}")),
        ToolError::PeerClosed(code) => closed_fault(*code),
        ToolError::Command(status) => Fault::new(Exit::Failed, format!("the command failed with status {status}")),
        ToolError::FarCommand(Some(status)) => {
            Fault::new(Exit::Failed, format!("the command at the far side failed with status {status}"))
        }
        ToolError::FarCommand(None) => Fault::new(Exit::Failed, "the program at the far side failed"),
        ToolError::Transfer(error) => transfer_fault(error),
        ToolError::Items(ending) => items_fault(ending),
        ToolError::NothingToDo => Fault::new(Exit::NothingToDo, "there was nothing to transfer"),
        ToolError::Broken => Fault::new(Exit::Failed, "a thread of this program came to a bad end"),
        ToolError::CannotRun(error) => Fault::new(Exit::Failed, format!("cannot run the command: {}", chain(error))),
        // The command itself has said what there was to say.
        ToolError::Exited(status) => Fault::new(Exit::Command(*status), ""),
        ToolError::Killed(signal) => Fault::new(Exit::Signal(u8::try_from(*signal).unwrap_or(0)), ""),
        ToolError::OutputGone => Fault::new(Exit::Signal(13), ""),
        ToolError::Io(what, error) => Fault::new(Exit::Failed, format!("{what}: {}", chain(error))),
        ToolError::Signal(signal) => signal_fault(*signal),
    }
}

/// Who sends a signal knows why; but that a limit was reached nobody may have seen.
pub fn signal_fault(signal: i32) -> Fault {
    let words = if signal == XCPU { "the limit on processor time is reached (ulimit -t)" } else { "" };
    Fault::new(Exit::Signal(u8::try_from(signal).unwrap_or(0)), words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::client::CloseCode;
    use crate::cli::report::{Format, Verbosity};
    use crate::identity::Peers;
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn said(verbosity: Verbosity) -> String {
        let page = Page::default();
        let report = Report::to("vp-test", verbosity, Format::Text, Box::new(page.clone()));
        let id = PeerId::from_bytes([1; 32]);
        let roster = Roster::of(Peers::parse(&format!("shop {id}\n")).expect("a good file"));
        let mut voice = Voice::new(&report, &roster, None, Audience::Nobody);
        let app: crate::identity::AppName = "backup".parse().expect("a name");
        let relay = format!("{id}@relay.example").parse().expect("an address");
        voice.hear(&Notice::Dialling(&relay));
        voice.hear(&Notice::RelayUp(&relay));
        for step in [
            Step::Asked(id, Aim::Session(app.clone())),
            Step::Came(id, Aim::Session(app), Some(CloseCode::NotHere)),
            Step::Came(id, Aim::Lane, None),
            Step::Ended(CloseCode::PeerGone),
        ] {
            voice.hear(&Notice::Circuit(2, &step));
        }
        let bytes = page.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn saying_it_twice_says_more() {
        assert_eq!(said(Verbosity::Verbose).lines().count(), 1);
        let more = said(Verbosity::Debug);
        for line in [
            "debug: dialling vp1",
            "debug: circuit 2: asked for shop:backup",
            "debug: circuit 2: shop calls backup, by the relay's word: refused as NotHere",
            "debug: circuit 2: shop brings a further lane, by the relay's word: taken",
            "debug: circuit 2: ended: PeerGone",
        ] {
            assert!(more.contains(line), "{line} is not in\n{more}");
        }
    }
}
