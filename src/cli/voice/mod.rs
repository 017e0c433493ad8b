//! The words that people read: news of the tools while they run, and how their end reads. What all say is here, in
//! [`meeting`] and in [`connect`], the rest in one file a tool.

mod attach;
mod code;
mod command;
mod connect;
mod end;
mod events;
mod listen;
mod meeting;
mod met;
pub(super) mod names;
mod often;
mod ports;
mod proxy;
pub(super) mod relay;
mod relay_trouble;
mod show;
mod state;
mod task;
mod tls;
mod told;
mod transfer;
mod transfer_fault;

use crate::cli::exit::Exit;
use crate::cli::progress::Audience;
use crate::cli::ready::Ready;
use crate::cli::report::{Fault, Level, Report, chain};
use crate::cli::roster::Roster;
use crate::identity::PeerId;
use crate::names::AppName;
use crate::node::{Aim, CircuitStep, Failure};
use crate::run::News;
use crate::run::tool::{RunError, Tool};
use code::code_text;
pub(super) use connect::Limits;
use connect::{Between, Failing, Verb};
use end::{command_fault, output_gone};
pub(super) use events::{left_out, not_offered, planned};
use met::Met;
use relay_trouble::RelayTrouble;
use show::Show;
use state::State;
use std::ffi::OsStr;
use std::time::Duration;
use task::{Role, Task};
use told::Told;
pub(super) use transfer::{SPECIAL, key_left_out, left_links_level, left_links_line, pattern_text, skipped_line};

pub(super) use end::{AsFault, signal_fault};
pub(super) use listen::listen_fault;
pub(super) use ports::setup_fault;

/// Whoever gives up within this time says why when it does, and need not be warned of it before.
const SOON: Duration = Duration::from_secs(10);

/// The voice of one running tool.
pub(super) struct Voice<'a> {
    report: &'a Report,
    roster: Roster,
    ready: Option<Ready>,
    show: Show,
    relay: RelayTrouble,
    task: Task,
    met: Met,
    /// Who we are.
    me: PeerId,
    /// The last that was called, or may call: which application of whom.
    about: (Option<PeerId>, String),
    state: State,
    told: Told,
}

/// What a voice knows of its party.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// Who we are.
    pub me: PeerId,
    /// Whom we know.
    pub roster: &'a Roster,
    /// How many relays there are to use.
    pub relays: usize,
    /// How long to wait for a peer, unless for ever.
    pub patience: Option<Duration>,
}

impl<'a> Voice<'a> {
    /// A voice that knows the peers by name. `ready` gets the ready line once callers can find us.
    pub(super) fn new(report: &'a Report, known: Known<'_>, ready: Option<Ready>, audience: Audience) -> Voice<'a> {
        Voice {
            report,
            roster: known.roster.clone(),
            ready,
            show: Show::new(audience),
            relay: RelayTrouble::new(known.relays),
            task: Task {
                role: Role::Other,
                verb: Verb::Serves,
                command: None,
                ends_soon: known.patience.is_some_and(|patience| patience <= SOON),
                limits: Limits::default(),
            },
            met: Met::default(),
            me: known.me,
            about: (None, String::new()),
            state: State::waiting("looking for a relay".to_owned()),
            told: Told::default(),
        }
    }

    /// The voice of a tool that dials: it is ready once it has met the peer.
    #[must_use]
    pub(super) fn of_dialler(mut self, to: (PeerId, &AppName)) -> Self {
        self.task.role = Role::Dials;
        self.about = (Some(to.0), to.1.to_string());
        self
    }

    /// The voice of a tool that asks about an application.
    #[must_use]
    pub(super) fn of_check(mut self, peer: PeerId, app: &AppName) -> Self {
        self.task.role = Role::Asks;
        self.of_mapping(peer, app)
    }

    /// The voice of a tool that calls this among others.
    #[must_use]
    pub(super) fn of_mapping(self, peer: PeerId, app: &AppName) -> Self {
        Voice { about: (Some(peer), app.to_string()), ..self }
    }

    /// The voice of a tool that is called.
    #[must_use]
    pub(super) fn of_listener(mut self, app: &AppName, keep: bool) -> Self {
        self.about = (None, app.to_string());
        self.task.role = if keep { Role::Serves } else { Role::Other };
        self
    }

    /// The voice of a tool that takes no more than this in one transfer.
    #[must_use]
    pub(super) fn with_limits(mut self, limits: Limits) -> Self {
        self.task.limits = limits;
        self
    }

    /// The voice of a tool that sends or receives.
    #[must_use]
    pub(super) fn of_transfer(mut self) -> Self {
        self.task.verb = Verb::Receives;
        self
    }

    /// The voice of a tool with a command of its own.
    #[must_use]
    pub(super) fn with_command(mut self, command: Option<&OsStr>) -> Self {
        self.task.command = command.and_then(command::name);
        self
    }

    fn name(&self, id: &PeerId) -> String {
        self.roster.name(id)
    }

    fn say(&self, level: Level, text: &str) {
        if self.told.is_for_words() {
            self.report.say(level, text);
        }
    }

    fn info(&self, text: &str) {
        self.say(Level::Info, text);
    }

    fn debug(&self, text: &str) {
        self.say(Level::Debug, text);
    }

    fn step(&self, step: &CircuitStep) -> String {
        let whole = |peer: &PeerId, aim: &Aim| match aim {
            Aim::Session(app) => format!("{}:{app}", self.name(peer)),
            Aim::Lane => format!("a further lane with {}", self.name(peer)),
            Aim::Presence => format!("{}, whether it is there", self.name(peer)),
            Aim::Sibling => "another process with this key, whether it is there".to_owned(),
        };
        let whose = |peer: &PeerId, aim: &Aim| match aim {
            Aim::Session(app) => format!("{} calls {app}", self.name(peer)),
            Aim::Lane => format!("{} brings a further lane", self.name(peer)),
            Aim::Presence => format!("{} asks whether we are here", self.name(peer)),
            Aim::Sibling => format!("{} asks for another process of its key", self.name(peer)),
        };
        match step {
            CircuitStep::Asked(peer, aim) => format!("asked for {}", whole(peer, aim)),
            CircuitStep::Came(peer, aim, None) => format!("{}, by the relay's word: taken", whose(peer, aim)),
            CircuitStep::Came(peer, aim, Some(code)) => {
                format!("{}, by the relay's word: refused as {}", whose(peer, aim), code_text(*code))
            }
            CircuitStep::Opened => "open".to_owned(),
            CircuitStep::Ended(code) => format!("ended: {}", code_text(*code)),
        }
    }

    fn warn(&self, text: &str) {
        self.say(Level::Warning, text);
    }

    /// Says what happened, as loudly as it deserves.
    pub(super) fn hear(&mut self, news: &News<'_>) {
        match news {
            News::TurnedAway(peer, app) => return self.turned_away(peer, app),
            News::Up(peer, _) | News::Lost(peer) | News::Resumed(peer) => self.count_line(Level::Info, Some(peer)),
            News::Circuit(_, CircuitStep::Came(peer, ..)) => self.count_line(Level::Debug, Some(peer)),
            News::Circuit(..) => self.count_line(Level::Debug, None),
            _ => self.told.is_muted = false,
        }
        self.note_state(news);
        self.tell_event(|voice| voice.event_of(news));
        self.say_news(news);
        self.told.is_muted = false;
    }

    fn say_news(&mut self, news: &News<'_>) {
        match news {
            News::Stopping => {
                self.show.stop();
            }
            News::Dialling(relay) => {
                self.relay.handle_dialling(&relay.to_string());
                self.debug(&format!("dialling {relay}"));
            }
            News::By(way) => {
                self.relay.handle_way(way);
                self.debug(&proxy::by(way));
            }
            News::Connected(here, there) => {
                self.relay.handle_connected();
                self.debug(&format!("connected from {here} to {there}, shaking hands"));
            }
            News::Circuit(number, step) => self.debug(&format!("circuit {number}: {}", self.step(step))),
            News::RelayUp(relay) => {
                let level = if self.relay.handle_up() { Level::Notice } else { Level::Info };
                self.say(level, &format!("attached to {relay}"));
            }
            News::RelayDown(relay, why, error) => self.relay_down(&relay.to_string(), *why, *error),
            News::Shared(app, how, relay) => self.shared(app, *how, &relay.to_string()),
            News::Waiting(peer, app) => self.waiting(peer, app),
            News::NotServed(peer, app) => self.not_served(peer, app),
            News::Limited(peer, app) => self.limited(peer, app),
            News::StillWaiting => self.still_waiting(),
            News::Up(peer, app) => self.met(peer, app),
            News::Lost(peer) => self.info(&format!("lost the path to {}, looking for another", self.name(peer))),
            News::Resumed(peer) => self.info(&format!("going on with {}", self.name(peer))),
            News::TurnedAway(..) => {}
            News::Attached(app) => {
                self.ready_once(&format!("attached {app}"));
                self.info(&format!("attached {app}"));
            }
            News::NotReloaded => self.warn(&format!("who may call stays as it was: {}", self.roster.trouble())),
            News::Unlisted(name) => self.unlisted(name),
            News::NobodyMayCall => self.nobody_may_call(),
            News::Status => self.report.status(self.status()),
        }
    }

    /// One session of a tool that goes on has come to a bad end.
    fn session_failed(&mut self, peer: &PeerId, error: &impl AsFault) {
        self.show.end_bar();
        self.last_was_of(peer);
        let between = self.between(Some(peer));
        let fault = error.fault(&between);
        let whole = between.called.or(between.caller).unwrap_or(between.peer);
        let named = fault.message.starts_with(&whole);
        let text = if named { fault.message } else { format!("{whole}: {}", fault.message) };
        self.warn_of(Some(peer), &text);
        // What a session that failed can go on with is for its caller to do; the rest is worth reading once.
        for hint in fault.hints.iter().filter(|_| fault.exit != Exit::Partial) {
            if self.told.note(hint) {
                self.report.advise(hint);
            }
        }
    }

    fn ready_line(&mut self, line: &str) {
        let written = self.ready.as_mut().map_or(Ok(()), |ready| ready.line(line));
        if let Err(error) = written {
            self.report.say(Level::Warning, &format!("cannot write a ready line: {}", chain(&error)));
        }
    }

    fn met(&mut self, peer: &PeerId, app: &str) {
        if !self.met.meet(peer, app) {
            // It has left and come back: should it leave once more, that is news.
            self.told.forget(&self.departure(peer, app));
        }
        let whom = format!("{}:{app}", self.name(peer));
        if self.task.role == Role::Dials {
            self.ready_once(&format!("connected {whom}"));
        }
        self.info(&format!("connected to {whom}"));
    }

    /// The one ready line of a tool with one thing to be ready for.
    fn ready_once(&mut self, line: &str) {
        if let Some(mut ready) = self.ready.take() {
            if let Err(error) = ready.line(line) {
                self.report.say(Level::Warning, &format!("cannot write the ready line: {}", chain(&error)));
            }
            ready.complete(line);
        }
    }

    /// What whoever asks by SIGUSR1 will hear.
    fn note_state(&mut self, news: &News<'_>) {
        if let News::Waiting(peer, app) | News::NotServed(peer, app) | News::Limited(peer, app) = news {
            self.about = (Some(*peer), (*app).to_owned());
        }
        let text = match news {
            News::RelayUp(relay) => format!("attached to {relay}"),
            News::RelayDown(relay, why, _) => {
                let failing = Failing { why: *why, by: self.relay.by.as_ref(), fault: None };
                format!("{}, trying again", failing.of(&format!("relay {relay}")))
            }
            News::Waiting(peer, app) => format!("waiting for {}:{app}", self.name(peer)),
            News::Limited(peer, app) => format!("waiting for room for a call of {}:{app}", self.name(peer)),
            News::Attached(app) => format!("waiting for calls of {app}"),
            News::Up(peer, app) => format!("connected to {}:{app}", self.name(peer)),
            News::Lost(peer) => format!("looking for another path to {}", self.name(peer)),
            News::Resumed(peer) => format!("going on with {}", self.name(peer)),
            _ => return,
        };
        let waits = matches!(news, News::RelayDown(..) | News::Waiting(..) | News::Limited(..) | News::Attached(_));
        let waits = waits || (matches!(news, News::NotServed(..)) && self.state.waits);
        self.state = State { text, waits };
    }

    /// A session with this peer is over.
    fn last_was_of(&mut self, peer: &PeerId) {
        self.state = State::at_work(format!("waiting for calls, the last was of {}", self.name(peer)));
    }

    /// How an end without success reads, with what only this run knows of it. What was said before is not said again.
    pub(super) fn fault(&mut self, error: &impl AsFault) -> Fault {
        if let Some((peer, app)) = error.of() {
            self.about = (Some(*peer), app.to_string());
        }
        let fault = error.fault(&self.between(self.about.0.as_ref()));
        match error.run() {
            Some(RunError::Node(Failure::NoRelay(why))) => self.no_relay(*why, fault),
            Some(RunError::Node(Failure::NotServed)) => self.never_served(fault),
            Some(_) if error.of().is_some() => self.never_worked(fault),
            _ => fault,
        }
    }

    fn between(&self, peer: Option<&PeerId>) -> Between<'_> {
        let (called, app) = &self.about;
        let peer = peer.or(self.met.last());
        let name = |peer| self.name(peer);
        let whole = |peer| format!("{}:{app}", name(peer));
        Between {
            called: called.as_ref().filter(|called| Some(*called) == peer).map(whole),
            caller: peer.filter(|_| called.is_none() && !app.is_empty()).map(whole),
            peer: peer.map_or_else(|| "the peer".to_owned(), name),
            app: Some(app.as_str()).filter(|app| !app.is_empty()),
            relay: self.relay.name.as_deref(),
            by: self.relay.by.as_ref(),
            verb: self.task.verb,
            command: self.task.command.as_deref(),
            me: &self.me,
            limits: self.task.limits,
        }
    }

    /// Ends the bar, if there is one, and tells the supervisor that the tool stops.
    pub(super) fn finish(mut self) {
        if let Some(ready) = &self.ready {
            ready.stopping();
        }
        self.show.end_bar();
    }
}

/// Whoever has words for the news of a tool.
pub(super) trait Hears<T: Tool> {
    /// Says what happened.
    fn hear_tool(&mut self, news: &T::News<'_>);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::{Format, Verbosity};
    use crate::names::Peers;
    use crate::wire::CloseCode;
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

    /// What a voice says that knows `shop`, and waits so long at most for its one relay and for a peer.
    pub(super) fn spoken(verbosity: Verbosity, patience: Option<Duration>, say: impl FnOnce(Voice<'_>)) -> String {
        let page = Page::default();
        let report = Report::to("vp-test", verbosity, Format::Text, Box::new(page.clone()));
        let id = PeerId::from_bytes([1; 32]);
        let roster = Roster::of(Peers::parse(&format!("shop {id}\n")).expect("a good file"));
        say(Voice::new(&report, Known { me: id, roster: &roster, relays: 1, patience }, None, Audience::Nobody));
        let bytes = page.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("text")
    }

    fn said(verbosity: Verbosity) -> String {
        let id = PeerId::from_bytes([1; 32]);
        let app: crate::names::AppName = "backup".parse().expect("a name");
        let relay = format!("{id}@relay.example").parse().expect("an address");
        spoken(verbosity, None, |mut voice| {
            voice.hear(&News::Dialling(&relay));
            voice.hear(&News::RelayUp(&relay));
            for step in [
                CircuitStep::Asked(id, Aim::Session(app.clone())),
                CircuitStep::Came(id, Aim::Session(app), Some(CloseCode::NotHere)),
                CircuitStep::Came(id, Aim::Lane, None),
                CircuitStep::Ended(CloseCode::PeerGone),
            ] {
                voice.hear(&News::Circuit(2, &step));
            }
        })
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
