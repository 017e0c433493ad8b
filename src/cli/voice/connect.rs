//! Words of every tool that connects: how relays and peers fail it.

use super::proxy::{self, By};
use super::tls::{alert_text, distrust_advice, distrust_text};
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, chain};
use crate::identity::PeerId;
use crate::node::{self, Down, Failure, Kind, Sharing};
use crate::run::way::Obstacle;
use crate::transfer::outcome::Side;
use crate::wire::CloseCode;
use std::borrow::Cow;

/// What to do about a relay that is another one than was meant.
const COMPARE_ID: &str = "compare the id in the relay's address with the one vp-relay prints: it is another relay, or it has \
                          another key now";

/// What to do about one that goes before it has said anything, again and again.
const IF_UNPROVEN: &str = "compare the id in the relay's address with the one vp-relay prints, if this goes on: it may be \
                           another relay, or have another key now, or too many connect to it from here at once";

/// What to do about a port that takes connections and says nothing.
const IS_IT_A_RELAY: &str = "see whether it is vp-relay that listens there, and whether it hangs: something else, or \
                             something on the way, may have taken the connection";

/// What to do about another process with our key, where it may or may not be our own.
const IF_COPIED: &str = "if you know of no other, somebody has a copy of the key: make a new one with vp-keygen, and give its \
                         id to your peers";

/// What to do about a web server that is not, or does not lead to, a relay.
const IS_IT_THE_PATH: &str = "see whether host, port and path of its address lead to vp-relay: another server, or a proxy on the \
                              way, has answered";

/// What to do about a command of which nothing comes.
const RUN_BY_HAND: &str =
    "run the command by hand: it has ten seconds to lead to the relay's port, and says nothing there itself";

/// What to do about what answers and is no relay.
const IS_IT_THE_HOST: &str = "see whether host and port of its address are those of vp-relay: another server, or something on the way \
                              that wants to be signed in at first, has answered";

/// What to do about a port that speaks no TLS.
const IS_IT_THE_PORT: &str = "see whether scheme, host and port of its address are those of vp-relay: another server, or a proxy on \
                              the way, has answered";

/// What to do about one that does not want this TLS.
const IS_IT_THE_NAME: &str = "see whether scheme, host and port of its address are those of vp-relay: another server, or something on \
                              the way, may know no such host, or let nobody through to it";

/// Another process with our key receives the same: what to say of that, and what to do about it.
pub(super) fn shared(verb: Verb, app: &str, how: Sharing, relay: &str) -> Option<(String, Vec<&'static str>)> {
    let too = |goes| {
        let text = format!("another process with this key {} '{app}' at {relay}, too: {goes}", verb.word());
        (text, vec!["end one of the two; with --exclusive the newer one ends by itself", IF_COPIED])
    };
    Some(match how {
        Sharing::Joined => too("what comes now comes to this one"),
        Sharing::Overtaken => too("what comes now goes to that one"),
        Sharing::Kept => {
            (format!("another process with this key came for '{app}' at {relay}, and has to end"), vec![IF_COPIED])
        }
        Sharing::Yielded => return None,
    })
}

/// What a process does for an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// It takes what is sent: `vp-recv`.
    Receives,
    /// It answers: `vp-attach`, `vp-portrep`.
    Serves,
}

impl Verb {
    /// As it stands in a sentence.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Verb::Receives => "receives",
            Verb::Serves => "serves",
        }
    }

    /// Who does it.
    pub(crate) fn doer(self) -> &'static str {
        match self {
            Verb::Receives => "the receiver",
            Verb::Serves => "the process that served it",
        }
    }
}

/// What this side takes in one transfer, if the user has said so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Bytes.
    pub size: Option<u64>,
    /// Files, directories and links.
    pub items: Option<u32>,
}

/// Whom something was wanted of, and by whom.
pub(crate) struct Between<'a> {
    /// The application at the peer, as `PEER:APP`, if one was called.
    pub called: Option<String>,
    /// The peer and what it called here, as `PEER:APP`, if somebody did.
    pub caller: Option<String>,
    /// The peer by name, as far as it is known; else who would have called.
    pub peer: String,
    /// The application, if there is one.
    pub app: Option<&'a str>,
    /// The relay, if one has been tried.
    pub relay: Option<&'a str>,
    /// What it is reached by, if not straight.
    pub(super) by: Option<&'a By>,
    /// What is done for an application: it is received, or served.
    pub verb: Verb,
    /// Our own command, as it may be called, if there is one.
    pub command: Option<&'a str>,
    /// Our own id.
    pub me: &'a PeerId,
    /// What this side takes in one transfer.
    pub limits: Limits,
}

impl Between<'_> {
    /// A fault of what was called, or of a call that came.
    pub(crate) fn fault(&self, exit: Exit, what: &str) -> Fault {
        let whole = self.called.as_ref().or(self.caller.as_ref());
        let start = whole.map(|whole| format!("{whole}: ")).unwrap_or_default();
        Fault::new(exit, format!("{start}{what}"))
    }

    /// What to put before an accident on one side or the other, so that it is looked for where it happened.
    pub(crate) fn at(&self, side: Side) -> String {
        match side {
            Side::Here => String::new(),
            Side::There => format!("at {}: ", self.peer),
        }
    }

    /// Our command, to be put behind what is said of it.
    pub(crate) fn named_command(&self) -> String {
        self.command.map(|command| format!(": {command}")).unwrap_or_default()
    }

    fn relay(&self) -> String {
        self.relay.map_or_else(|| "the relay".to_owned(), |relay| format!("relay {relay}"))
    }
}

/// How a relay failed, as far as it is known.
#[derive(Clone, Copy)]
pub(super) struct Failing<'a> {
    /// The kind of it.
    pub why: Down,
    /// What it is reached by, if not straight.
    pub by: Option<&'a By>,
    /// What is known beyond that.
    pub fault: Option<&'a node::Fault>,
}

impl Failing<'_> {
    /// The whole of it, of the relay with this name.
    pub(super) fn of(self, relay: &str) -> String {
        format!("{} {}", self.subject(relay), self.text())
    }

    /// Who may have done it: the relay with this name, and what it is reached by.
    fn subject(self, relay: &str) -> String {
        match self.by.filter(|_| self.may_be_on_the_way()) {
            Some(by) => format!("{relay}, {by},"),
            None => relay.to_owned(),
        }
    }

    /// The same without the relay.
    pub(super) fn reason(self) -> String {
        match self.by.filter(|_| self.may_be_on_the_way()) {
            Some(by) => format!("{by}: {}", self.text()),
            None => self.text(),
        }
    }

    /// Whether what is between may have done it as well as the relay itself, and the text does not say which.
    fn may_be_on_the_way(self) -> bool {
        match self.why {
            Down::Mute => self.by != Some(&By::Command),
            Down::Closed
            | Down::Unproven
            | Down::NotTaken(_)
            | Down::NotTls
            | Down::TlsAlert(_)
            | Down::Untrusted(_)
            | Down::Silent
            | Down::NotRelay
            | Down::Damaged
            | Down::Impostor => true,
            Down::Unreachable
            | Down::Unresolved
            | Down::Unanswered
            | Down::ProxyMute
            | Down::ProxyLogin
            | Down::Undecided
            | Down::Paused
            | Down::KeyUsedUp
            | Down::Said(_) => false,
        }
    }

    fn text(self) -> String {
        let what = match (self.why, self.by) {
            (Down::ProxyMute, Some(By::Proxy(proxy))) => {
                format!("could not be reached: {proxy} did not answer in time").into()
            }
            (Down::Mute, Some(By::Command)) => {
                "could not be reached: nothing came of the command of --proxy-command in time".into()
            }
            (why, _) => down(why),
        };
        match self.fault {
            None => what.into_owned(),
            Some(node::Fault::System(error)) => format!("{what}: {}", chain(error)),
            Some(node::Fault::Certificate(distrust)) => format!("{what}: {}", distrust_text(distrust)),
        }
    }

    /// What to do about it, where more can be said than that it is to be tried again.
    pub(super) fn advice(self, me: &PeerId) -> Option<String> {
        if let Some(node::Fault::System(error)) = self.fault
            && let Some(advice) = Obstacle::of(error).and_then(proxy::advice)
        {
            return Some(advice);
        }
        let text = match self.why {
            Down::Impostor => COMPARE_ID,
            Down::Unproven => IF_UNPROVEN,
            Down::Mute | Down::NotRelay if self.by == Some(&By::Command) => RUN_BY_HAND,
            Down::Mute => IS_IT_A_RELAY,
            Down::NotRelay => IS_IT_THE_HOST,
            Down::NotTaken(_) => IS_IT_THE_PATH,
            Down::NotTls => IS_IT_THE_PORT,
            Down::TlsAlert(_) => IS_IT_THE_NAME,
            Down::Untrusted(doubt) => return Some(distrust_advice(doubt)),
            Down::Said(CloseCode::Refused) => {
                return Some(format!(
                    "ask its operator for the line NAME {me} in the file that vp-relay was given with --allow"
                ));
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// What a relay did, to stand behind its name.
fn down(why: Down) -> Cow<'static, str> {
    let text = match why {
        Down::NotTaken(Some(status)) => {
            return format!("answered with HTTP status {status} instead of a link").into();
        }
        Down::NotTls => "answered with something else than TLS, or with none that this program speaks",
        Down::TlsAlert(alert) => return alert_text(alert).into(),
        Down::KeyUsedUp => "has been sent as much as one key of TLS 1.2 may seal: a new connection has a new key",
        Down::Untrusted(_) => "showed a certificate that is not trusted",
        Down::NotTaken(None) => "answered with something else than what carries a link",
        Down::Unreachable | Down::ProxyLogin => "could not be reached",
        Down::Unresolved => "could not be reached: its name was still being looked up",
        Down::Unanswered => "could not be reached: nothing answered at its address",
        Down::ProxyMute => "could not be reached: the proxy on the way to it did not answer in time",
        Down::Closed => "closed the connection",
        Down::Unproven => "closed the connection without proving who it is",
        Down::Mute => "took the connection and said nothing",
        Down::Undecided => "took the connection and had not let us in yet",
        Down::Silent => "was silent for too long",
        Down::Paused => "has given up the connection, as this program was stopped for a while",
        Down::NotRelay => "could not be reached: what answered is no relay",
        Down::Damaged => "sent bytes that are not this protocol, or were changed on the way",
        Down::Impostor => "could not prove to be the relay it should be",
        Down::Said(CloseCode::GoingAway) => "is going away",
        Down::Said(CloseCode::Refused) => "does not admit this key",
        Down::Said(CloseCode::Limit) => "is at its limit",
        Down::Said(_) => "ended the connection",
    };
    text.into()
}

/// Why the node could not do it.
pub(super) fn node_fault(failure: Failure, between: &Between<'_>) -> Fault {
    let (peer, me) = (&between.peer, between.me);
    match failure {
        Failure::NoRelay(why @ Down::Impostor) => {
            let relay = Failing { why, by: between.by, fault: None }.subject(&between.relay());
            let what = format!("{relay} could not prove to be the one in its address");
            Fault::new(Exit::Integrity, what).hint(COMPARE_ID)
        }
        Failure::NoRelay(why) => {
            let exit = if why == Down::ProxyLogin { Exit::Config } else { Exit::NoRelay };
            let failing = Failing { why, by: between.by, fault: None };
            let fault = Fault::new(exit, format!("no relay could be used: {}", failing.of(&between.relay())));
            failing.advice(me).into_iter().fold(fault, Fault::hint)
        }
        Failure::RefusedByRelay(CloseCode::Refused) => {
            let fault = Fault::new(Exit::Config, format!("{} does not admit {me}, which is our key", between.relay()));
            let failing = Failing { why: Down::Said(CloseCode::Refused), by: between.by, fault: None };
            failing.advice(me).into_iter().fold(fault, Fault::hint)
        }
        Failure::RefusedByRelay(_) => {
            Fault::new(Exit::Config, format!("{} turned this connection down", between.relay()))
        }
        Failure::PeerAbsent if between.called.is_none() => {
            let app = between.app.map(|app| format!(" for {app}")).unwrap_or_default();
            Fault::new(Exit::PeerAbsent, format!("nobody called{app} in time"))
        }
        Failure::PeerAbsent => {
            let what = format!("{peer} is not there, or not for us, or has no room now");
            between.fault(Exit::PeerAbsent, &what).hint(format!(
                "is a tool running at {peer}, attached to this relay, with the line NAME {me} in its peers file?"
            ))
        }
        Failure::NotServed => {
            between.fault(Exit::PeerAbsent, &not_served(between.verb, peer, between.app)).hint(CHECK_NAME)
        }
        Failure::Unserved => {
            let what = format!("{peer} is there, but had others to serve, and did not get to us in time");
            between.fault(Exit::PeerAbsent, &what)
        }
        Failure::WrongKind { ours, theirs } => {
            let what = format!("it is {}, not {}", a(theirs), a(ours));
            between.fault(Exit::Refused, &what).hint(instead(theirs, between))
        }
        Failure::RefusedByPeer(CloseCode::Limit) => {
            between.fault(Exit::PeerAbsent, AT_LIMIT).hint(
                "a relay's is --max-circuits-per-peer or circuits= in its allow file; a peer without --keep takes one at a time",
            )
        }
        Failure::RefusedByPeer(_) => between.fault(Exit::Refused, &format!("{peer} refused the call")),
        Failure::PeerUnauthentic => {
            between.fault(Exit::Integrity, &format!("the other end could not prove to be {peer}"))
        }
        Failure::SessionGone => left(between),
        Failure::Yielded => {
            let app = between.app.map_or_else(|| "the same".to_owned(), |app| format!("'{app}'"));
            let verb = between.verb.word();
            let what =
                format!("another process with this key {verb} {app} already, and --exclusive leaves it to that one");
            Fault::new(Exit::Config, what).hint(IF_COPIED)
        }
    }
}

/// There is no room for a call.
pub(super) const AT_LIMIT: &str = "the relay or the peer is at its limit of calls";

/// What to look at when a peer is there and an application is not.
pub(super) const CHECK_NAME: &str = "small and capital letters differ in the name of an application; what is there for \
                                     others only, or serves as many as it can, does not show either";

/// The peer is there, and the application is not.
pub(super) fn not_served(verb: Verb, peer: &str, app: Option<&str>) -> String {
    let app = app.map_or_else(|| "that".to_owned(), |app| format!("'{app}'"));
    let (verb, of) = (verb.word(), if verb == Verb::Receives { "from" } else { "for" });
    format!("{peer} is there, but nothing there {verb} {app}, or not {of} us, or it has no room now")
}

fn a(kind: Kind) -> &'static str {
    match kind {
        Kind::Pipe => "a pipe (vp-attach)",
        Kind::Transfer => "a receiver (vp-recv)",
        Kind::Ports => "a replicated port (vp-portrep)",
    }
}

/// What to do with an application of this kind.
fn instead(kind: Kind, between: &Between<'_>) -> String {
    let whole = between.called.as_ref().unwrap_or(&between.peer);
    match kind {
        Kind::Pipe => format!("join it with vp-attach {whole}"),
        Kind::Transfer => format!("send to it with vp-send SOURCE... {whole}"),
        Kind::Ports => format!("bring it here with vp-portrep --import PORT={whole}"),
    }
}

/// The peer's process was told to end, or killed: whoever tries again may find another.
fn left(between: &Between<'_>) -> Fault {
    between.fault(Exit::PeerAbsent, &format!("the process at {} ended before everything was settled", between.peer))
}

/// Why the peer ended the session.
pub(super) fn closed_fault(code: CloseCode, between: &Between<'_>) -> Fault {
    let peer = &between.peer;
    let (exit, what) = match code {
        CloseCode::GoingAway => return left(between),
        CloseCode::Refused => {
            let fault = between.fault(Exit::Refused, &format!("{peer} does not allow this key any more"));
            return fault.hint(format!("ask {peer} for the line NAME {} in its peers file", between.me));
        }
        CloseCode::NotHere => (Exit::Refused, format!("{peer} does not export this, or not to us")),
        CloseCode::TargetRefused => (Exit::Failed, format!("at {peer}: the target refuses connections")),
        CloseCode::TargetUnreachable => (Exit::Failed, format!("at {peer}: the target cannot be reached")),
        CloseCode::Protocol => (Exit::Integrity, format!("{peer} says that we broke the protocol")),
        CloseCode::Failed => (Exit::Failed, format!("at {peer}: the program failed")),
        _ => (Exit::Failed, format!("{peer} ended the session before it had everything")),
    };
    between.fault(exit, &what)
}
