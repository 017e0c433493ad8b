//! Words on the way to a peer: relays that fail, waiting, and what is not there.

use super::Voice;
use super::connect::{self, AT_LIMIT, CHECK_NAME, Failing, not_served};
use super::relay_trouble::InFull;
use super::state::State;
use super::task::Role;
use crate::cli::escape::printable;
use crate::cli::report::{Fault, Format, Level};
use crate::identity::PeerId;
use crate::node::{self, Down, Sharing};

impl Voice<'_> {
    /// Why nothing was met will be said by the end, and soon.
    fn is_about_to_end(&self) -> bool {
        self.task.ends_soon && self.met.last().is_none()
    }

    /// Whether a warning has been read by whoever reads the error.
    fn warns_in_words(&self) -> bool {
        self.report.format() == Format::Text && self.report.shows(Level::Warning)
    }

    /// The first break of a path is worth a line, and so is a relay that will not have us, or is not the one that it was;
    /// every further try until it is back is not.
    pub(super) fn relay_down(&mut self, relay: &str, why: Down, fault: Option<&node::Fault>) {
        let failing = Failing { why, by: self.relay.by.as_ref(), fault };
        let full = InFull { text: failing.of(&format!("relay {relay}")), advice: failing.advice(&self.me) };
        if !self.relay.handle_down(relay, why, (&full, self.is_about_to_end())) {
            return self.info(&full.text);
        }
        self.warn(&full.text);
        full.advice.into_iter().for_each(|advice| self.report.advise(&advice));
    }

    /// No relay could be used until the end.
    pub(super) fn no_relay(&self, why: Down, fault: Fault) -> Fault {
        match self.relay.reason(why) {
            None => fault,
            Some(full) if self.warns_in_words() && self.relay.has_said(&full.text) => {
                Fault { message: "no relay could be used in time".to_owned(), hints: Vec::new(), ..fault }
            }
            Some(InFull { text, advice }) => {
                let hints = advice.iter().cloned().collect();
                Fault { message: format!("no relay could be used: {text}"), hints, ..fault }
            }
        }
    }

    /// Another process with our key receives the same.
    pub(super) fn shared(&mut self, app: &str, how: Sharing, relay: &str) {
        match connect::shared(self.task.verb, app, how, relay) {
            Some((text, hints)) => {
                self.warn(&text);
                hints.iter().for_each(|hint| self.report.advise(hint));
            }
            // The end tells, and is about this.
            None => self.about = (None, app.to_owned()),
        }
    }

    /// What is said of a peer that was met by this application, and has left.
    fn left(&self, peer: &PeerId, app: &str) -> Option<String> {
        self.met.knows(peer, app).then(|| self.departure(peer, app))
    }

    pub(super) fn departure(&self, peer: &PeerId, app: &str) -> String {
        format!("{}:{app}: {} has left; waiting for it to come back", self.name(peer), self.task.verb.doer())
    }

    /// The peer is not there yet, or no more.
    pub(super) fn waiting(&mut self, peer: &PeerId, app: &str) {
        if let Some(text) = self.left(peer, app) {
            if self.told.note(&text) {
                self.warn(&text);
            }
            return;
        }
        // Somebody who watches wonders; a log need not know before it has taken a while.
        let watched = self.show.is_watched();
        let level = if watched { Level::Notice } else { Level::Info };
        self.say(level, &format!("waiting for {}:{app}", self.name(peer)));
    }

    fn absence(&self, peer: &PeerId, app: &str) -> String {
        let name = self.name(peer);
        format!("{name}:{app}: {}", not_served(self.task.verb, &name, Some(app)))
    }

    /// The peer is there, but what was called is not.
    pub(super) fn not_served(&mut self, peer: &PeerId, app: &str) {
        if self.left(peer, app).is_some() {
            return self.waiting(peer, app);
        }
        let text = self.absence(peer, app);
        if self.task.role != Role::Asks && !self.is_about_to_end() && self.told.note(&text) {
            self.warn(&format!("{text}; waiting for it"));
            self.report.advise(CHECK_NAME);
        }
    }

    /// There is no room for a call of the peer. Whoever ends soon says it then.
    pub(super) fn limited(&mut self, peer: &PeerId, app: &str) {
        let text = format!("{}:{app}: {AT_LIMIT}", self.name(peer));
        if self.task.role != Role::Asks && !self.is_about_to_end() && self.told.note(&text) {
            self.warn(&format!("{text}; trying again"));
        }
    }

    /// It was not until the end.
    pub(super) fn never_served(&self, fault: Fault) -> Fault {
        let (Some(peer), app) = &self.about else { return fault };
        if !self.told.knows(&fault.message) || !self.warns_in_words() {
            return fault;
        }
        let message = format!("{}:{app}: it was not there in time", self.name(peer));
        Fault { message, hints: Vec::new(), ..fault }
    }

    /// A peer that is there will not do, and is called again.
    pub(super) fn call_failed(&mut self, text: String) {
        if self.is_about_to_end() {
            return self.info(&text);
        }
        self.warn_of(None, &text);
        self.told.note(&text);
    }

    /// A peer was met and does not do yet what it is for. Whoever ends soon says it then.
    pub(super) fn not_working(&mut self, text: String) {
        self.state = State::waiting(format!("waiting: {text}"));
        if self.task.ends_soon {
            return self.info(&text);
        }
        self.warn_rarely(&text);
        self.told.note(&text);
    }

    /// It would not do until the end.
    pub(super) fn never_worked(&self, fault: Fault) -> Fault {
        let (Some(peer), app) = &self.about else { return fault };
        if !self.told.knows(&fault.message) || !self.warns_in_words() {
            return fault;
        }
        Fault { message: format!("{}:{app}: it did not work in time", self.name(peer)), ..fault }
    }

    pub(super) fn unlisted(&self, name: &str) {
        if let Some((_, text)) = self.roster.conflicts().into_iter().find(|(conflicting, _)| conflicting == name) {
            return self.warn(&text);
        }
        let name = printable::<str>(name);
        self.warn(&format!("the peers file has no {name} any more: nobody by that name may call"));
    }

    pub(super) fn nobody_may_call(&self) {
        self.warn("nobody may call now");
        let file = self.roster.peers().place().unwrap_or("the peers file").to_owned();
        self.report.advise(&format!("put a line NAME ID for whoever may into {file}, and send SIGHUP again"));
    }

    /// It takes long, and nobody has seen anything of it.
    pub(super) fn still_waiting(&mut self) {
        let is_news = self.told.note(&self.state.text) || self.task.role != Role::Serves;
        if self.state.waits && is_news && !self.show.is_watched() {
            self.say(Level::Notice, &self.state.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::connect::Failing;
    use super::super::tests::spoken;
    use crate::cli::report::Verbosity;
    use crate::identity::PeerId;
    use crate::names::{AppName, RelayAddress};
    use crate::node::{Down, Failure};
    use crate::run::News;
    use crate::run::tool::RunError;
    use crate::run::way::{Named, ProxyServer, Way};
    use crate::wire::CloseCode;
    use std::time::Duration;

    const BRIEF: Duration = Duration::from_secs(5);
    const LONG: Duration = Duration::from_secs(60);

    fn shop() -> PeerId {
        PeerId::from_bytes([1; 32])
    }

    fn relay() -> RelayAddress {
        format!("{}@relay.example", shop()).parse().expect("an address")
    }

    /// The lines of a tool that calls `shop:x`, hears this, and ends by that.
    fn lines(patience: Duration, news: &[News<'_>], end: Failure) -> Vec<String> {
        let app: AppName = "x".parse().expect("a name");
        let mut error = Vec::new();
        let text = spoken(Verbosity::Normal, Some(patience), |voice| {
            let mut voice = voice.of_dialler((shop(), &app)).of_transfer();
            news.iter().for_each(|said| voice.hear(said));
            let fault = voice.fault(&RunError::Node(end));
            error.push(format!("error: {}", fault.message));
            error.extend(fault.hints.iter().map(|hint| format!("hint: {hint}")));
        });
        let before = text.lines().map(|line| line.trim_start_matches("vp-test: ").to_owned());
        before.chain(error).collect()
    }

    fn starts(lines: &[String]) -> Vec<&str> {
        lines.iter().map(|line| line.split(':').next().unwrap_or_default()).collect()
    }

    #[test]
    fn what_is_not_there_is_said_once_by_a_warning_or_by_the_end() {
        let absent = [News::NotServed(shop(), "x")];
        let brief = lines(BRIEF, &absent, Failure::NotServed);
        assert_eq!(starts(&brief), ["error", "hint"], "{brief:?}");
        assert!(
            brief[0].contains(
                "shop:x: shop is there, but nothing there receives 'x', or not from us, or it has no room now"
            ),
            "{brief:?}"
        );
        let long = lines(LONG, &absent, Failure::NotServed);
        assert_eq!(starts(&long), ["warning", "hint", "error"], "{long:?}");
        assert_eq!(long[2], "error: shop:x: it was not there in time");
    }

    #[test]
    fn a_relay_that_fails_is_told_of_once_by_a_warning_or_by_the_end() {
        let relay = relay();
        for (why, hints) in [(Down::Unreachable, 0), (Down::Unresolved, 0), (Down::Unanswered, 0), (Down::Mute, 1)] {
            let news = [News::Dialling(&relay), News::RelayDown(&relay, why, None), News::Dialling(&relay)];
            let reason = Failing { why, by: None, fault: None }.of(&format!("relay {relay}"));
            let brief = lines(BRIEF, &news, Failure::NoRelay(why));
            assert_eq!((brief.len(), &brief[0]), (1 + hints, &format!("error: no relay could be used: {reason}")));
            let long = lines(LONG, &news, Failure::NoRelay(why));
            assert_eq!((long.len(), &long[0]), (2 + hints, &format!("warning: {reason}")));
            assert_eq!(long[1 + hints], "error: no relay could be used in time");
        }
    }

    #[test]
    fn a_relay_that_goes_before_it_has_proven_itself_is_told_of_when_it_does_so_again() {
        let relay = relay();
        let goes = || News::RelayDown(&relay, Down::Unproven, None);
        let said = |news: &[News<'_>]| starts(&lines(LONG, news, Failure::PeerAbsent)).join(" ");
        assert_eq!(said(&[goes()]), "error hint");
        assert_eq!(said(&[goes(), News::Dialling(&relay), News::RelayUp(&relay), goes()]), "error hint");
        assert_eq!(said(&[goes(), News::RelayDown(&relay, Down::Closed, None), goes()]), "warning error hint");
        assert_eq!(said(&[goes(), goes()]), "warning hint error hint");
    }

    #[test]
    fn a_relay_that_says_nothing_until_the_end_is_named() {
        let (relay, at) = (relay(), "127.0.0.1:1".parse().expect("an address"));
        let mute = lines(BRIEF, &[News::Dialling(&relay), News::Connected(at, at)], Failure::NoRelay(Down::Mute));
        assert_eq!(starts(&mute), ["error", "hint"], "{mute:?}");
        assert!(mute[0].contains(&format!("relay {relay} took the connection and said nothing")), "{mute:?}");
    }

    #[test]
    fn what_may_be_a_proxy_or_a_command_is_said_with_it() {
        let address = crate::names::ProxyAddress::parse("http://proxy:1").expect("a proxy");
        let named = Named { address, by: Some("ALL_PROXY") };
        let proxy = Way::Proxy(ProxyServer { named, login: None });
        let (relay, command) = (relay(), Way::Command("x".into()));
        let by_proxy = format!("relay {relay}, through the proxy http://proxy:1 (ALL_PROXY),");
        let by_command = format!("relay {relay}, by the command of --proxy-command,");
        for (way, why, words) in [
            (&proxy, Down::Mute, format!("{by_proxy} took the connection and said nothing")),
            (&proxy, Down::Silent, format!("{by_proxy} was silent for too long")),
            (&proxy, Down::Impostor, format!("{by_proxy} could not prove to be the one in its address")),
            (
                &proxy,
                Down::ProxyMute,
                format!(
                    "relay {relay} could not be reached: the proxy http://proxy:1 (ALL_PROXY) did not answer in time"
                ),
            ),
            (&proxy, Down::Said(CloseCode::GoingAway), format!("relay {relay} is going away")),
            (&command, Down::Damaged, format!("{by_command} sent bytes that are not this protocol")),
            (
                &command,
                Down::Mute,
                format!("relay {relay} could not be reached: nothing came of the command of --proxy-command in time"),
            ),
            (&Way::Straight, Down::Silent, format!("relay {relay} was silent for too long")),
        ] {
            let dialling = [News::Dialling(&relay), News::By(way)];
            let said =
                lines(BRIEF, &dialling[..if matches!(way, Way::Straight) { 1 } else { 2 }], Failure::NoRelay(why));
            assert!(said[0].contains(&words), "{words:?} is not said\n{said:?}");
        }
        // The next relay is reached by another.
        let other = lines(BRIEF, &[News::By(&proxy), News::Dialling(&relay)], Failure::NoRelay(Down::Silent));
        assert!(other[0].contains(&format!("relay {relay} was silent")), "{other:?}");
    }

    #[test]
    fn who_was_met_and_is_gone_has_left_and_is_waited_for() {
        let gone = [News::Up(shop(), "x"), News::Waiting(shop(), "x"), News::NotServed(shop(), "x")];
        let said = lines(BRIEF, &gone, Failure::PeerAbsent);
        assert_eq!(said[0], "warning: shop:x: the receiver has left; waiting for it to come back");
        assert_eq!(starts(&said)[1..], ["error", "hint"], "{said:?}");
    }
}
