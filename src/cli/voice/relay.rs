//! Words of `vp-relay`.

use crate::cli::args::{Arguments, Output, Relay};
use crate::cli::counted::counted;
use crate::cli::escape::printable;
use crate::cli::events::Status;
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, Level, Report, chain};
use crate::cli::voice::code::code_text;
use crate::cli::voice::names::tls_text;
use crate::cli::voice::{listen_fault, often};
use crate::names::Conflict;
use crate::relay::{CloseReason, Closed, Cut, EndReason, Fact, Newcomer, Notice};
use crate::server::{
    self, AllowError, CertificateError, CertificateNews, Doer, LeftOut, Log, LogLine, MEMORY_PER_WORKER_MIN,
    RelayError, Trouble,
};
use crate::wire::{CloseCode, Name};
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::time::{Duration, UNIX_EPOCH};

/// Threads of the relay speak through a report of their own: a line is one write, so lines never mix, and none of them waits for
/// whoever reads standard error.
pub(crate) fn log(output: Output) -> Log {
    let report = Report::unwaited(Relay::MANUAL.name, output.verbosity(), output.format(), Duration::ZERO);
    Box::new(move |line| match line {
        LogLine::Trouble(absent @ Trouble::Absent(_)) => report.say(Level::Warning, &trouble_text(&absent)),
        LogLine::Trouble(trouble) => report.fault(&Fault::new(Exit::Failed, trouble_text(&trouble))),
        LogLine::Status(status) => {
            report.status(Status { message: status_text(&status), ..Status::default() });
        }
        LogLine::Connection(newcomer, notice) => {
            report.say(Level::Info, &format!("{}: {}", newcomer.conn.get(), notice_text(newcomer, notice)))
        }
        LogLine::Fact(fact) => {
            // What sessions listen to for further lanes is no news for anybody.
            let lane = matches!(
                fact,
                Fact::Listening { name: Name::Session(_), .. } | Fact::Unlistened { name: Name::Session(_), .. }
            );
            report.say(if lane { Level::Debug } else { Level::Info }, &fact_text(fact));
        }
        LogLine::LeftOut(LeftOut { about: Some(doer), lines }) => {
            let about = match doer {
                Doer::Peer(peer) => peer.to_string(),
                Doer::Source(source) => format!("peers at {source}"),
            };
            report.say(Level::Info, &format!("{} about {about} left out", counted(lines, "more line")));
        }
        LogLine::LeftOut(LeftOut { about: None, lines }) => {
            report.say(Level::Info, &format!("{} about other peers left out", counted(lines, "more line")));
        }
        LogLine::NewcomersLeftOut(LeftOut { about: Some(source), lines }) => {
            report
                .say(Level::Info, &format!("{} about connections from {source} left out", counted(lines, "more line")));
        }
        LogLine::NewcomersLeftOut(LeftOut { about: None, lines }) => {
            report.say(
                Level::Info,
                &format!("{} about connections from elsewhere left out", counted(lines, "more line")),
            );
        }
        LogLine::TurnedAway { peer, code, times } => {
            let why = match code {
                CloseCode::Refused => "it is not among the peers allowed",
                CloseCode::Limit => {
                    "its links, those of all, or with --open those from its address are as many as --max-links-per-peer, \
                     links= or --max-links allow"
                }
                _ => "it came too late",
            };
            report.say(Level::Warning, &format!("turned away {peer}: {why}{}", often::times(times)));
        }
        LogLine::Nobody(path) => {
            report.say(Level::Warning, &format!("{}: it names nobody, so nobody is admitted", printable(path)));
            report.advise("put a line NAME ID for each peer into it, and send SIGHUP");
        }
        LogLine::Conflict(path, Conflict { name, first_line, line }) => {
            let path = printable(path);
            let text = format!("{path}: lines {first_line} and {line} say different things of {name}: neither counts");
            report.say(Level::Warning, &text);
        }
        LogLine::Certificate(path, news) => {
            let level = if let CertificateNews::Read { .. } = news { Level::Info } else { Level::Warning };
            report.say(level, &format!("{}: {}", printable(path), news_text(news)));
            if let CertificateNews::ExposedKey { .. } = news {
                report.advise(&format!("chmod g-w,o-rwx {}", printable(path)));
            }
        }
    })
}

/// A relay's state in numbers.
fn status_text(status: &server::Status) -> String {
    let server::Status { links, circuits, buffered_bytes, forwarded_bytes } = status;
    format!("links {links}, circuits {circuits}, memory for bodies {buffered_bytes}, bytes forwarded {forwarded_bytes}")
}

/// What a relay goes on without.
fn trouble_text(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Absent(address) => format!("no network interface has the address {} yet", address.ip()),
        Trouble::Accept(error) => format!("cannot accept connections for now: {}", chain(error)),
        Trouble::Reload(path, error) => {
            format!("{}: the old list of peers stays in force: {}", printable(path), allow_text(error))
        }
        Trouble::Certificate(error) => format!("the old certificate stays in force: {}", certificate_text(error)),
        Trouble::Thread(error) => format!("cannot read the files again: {}", chain(error)),
    }
}

/// Why a list of peers cannot be used.
fn allow_text(error: &AllowError) -> String {
    match error {
        AllowError::Read(cause) => chain(cause),
        AllowError::Parse(cause) => cause.to_string(),
        AllowError::TooLong { .. } | AllowError::Silent { .. } => error.to_string(),
    }
}

impl Display for AllowError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("cannot be read"),
            Self::TooLong { most_bytes } => write!(f, "too large: it may have at most {} MiB", most_bytes >> 20),
            Self::Silent { after } => {
                write!(f, "no file, and nothing has come out of it for {} s", after.as_secs())
            }
            Self::Parse(_) => f.write_str("has a mistake"),
        }
    }
}

impl Error for AllowError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Parse(error) => Some(error),
            Self::TooLong { .. } | Self::Silent { .. } => None,
        }
    }
}

/// Why a certificate cannot be used.
fn certificate_text(error: &CertificateError) -> String {
    match error {
        CertificateError::Read(path, cause) => format!("{}: {}", printable(path), chain(cause)),
        _ => error.to_string(),
    }
}

impl Display for CertificateError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, _) => write!(f, "{} cannot be read", printable(path)),
            Self::TooLong { path, most_bytes } => {
                write!(f, "{}: too large: it may have at most {} KiB", printable(path), most_bytes >> 10)
            }
            Self::Silent { path, after } => {
                write!(f, "{}: no file, and nothing has come out of it for {} s", printable(path), after.as_secs())
            }
            Self::Unusable(path, fault) => write!(f, "{}: {}", printable(path), tls_text(*fault)),
            Self::Unmade => f.write_str("no certificate could be made"),
        }
    }
}

impl Error for CertificateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(_, error) => Some(error),
            Self::TooLong { .. } | Self::Silent { .. } | Self::Unusable(..) | Self::Unmade => None,
        }
    }
}

/// What there is to say of a certificate or its key.
fn news_text(news: CertificateNews) -> String {
    match news {
        CertificateNews::Read { until } => format!("this certificate is shown now; it counts until {}", date(until)),
        CertificateNews::Expired { until } => {
            format!("this certificate has expired, by this machine's clock: it counted until {}", date(until))
        }
        CertificateNews::NotYetValid { from } => {
            format!("this certificate is not valid yet, by this machine's clock: it counts from {} on", date(from))
        }
        CertificateNews::EndsSoon { until } => {
            format!("this certificate expires soon: it counts until {}", date(until))
        }
        CertificateNews::ExposedKey { mode } => {
            format!("others may read or write this private key (mode {mode:04o})")
        }
        CertificateNews::LongKey { bits, signing } => {
            let millis = signing.as_secs_f64() * 1000.0;
            format!(
                "each connection by TLS costs {millis:.1} ms for this RSA key of {bits} bits; one of ECDSA costs far less"
            )
        }
    }
}

/// A time in seconds since the beginning of 1970, for people and for programs.
fn date(seconds: u64) -> String {
    /// The last one that is written with four digits of a year.
    const LAST: u64 = 253_402_300_799;
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST))).to_string()
}

/// What happened to a connection, behind its number.
fn notice_text(newcomer: Newcomer, notice: Notice) -> String {
    match notice {
        Notice::Accepted => {
            let source = newcomer.source.to_canonical();
            match newcomer.front.map(|front| front.to_canonical()).filter(|front| *front != source) {
                Some(front) => format!("connection from {source} through {front}"),
                None => format!("connection from {source}"),
            }
        }
        Notice::TurnedAway(peer, code) => format!("turned away {peer}: {}", why_text(EndReason::Ended(code))),
        Notice::Stranger(why) => format!("never said who it is: {}", why_text(why)),
    }
}

/// What happened to a link or a circuit. A link has the number of its connection, and a circuit that of its caller.
fn fact_text(fact: &Fact) -> String {
    match fact {
        Fact::Attached { link, peer, .. } => format!("{}: attached {peer}", link.get()),
        Fact::Detached { link, peer, why, .. } => format!("{}: detached {peer}: {}", link.get(), why_text(*why)),
        Fact::Listening { link, peer, name, .. } => format!("{}: {peer} listens to {}", link.get(), name_text(name)),
        Fact::Unlistened { link, peer, name, .. } => {
            format!("{}: {peer} listens to {} no more", link.get(), name_text(name))
        }
        Fact::Opened(info) => {
            let (link, circuit, callee) = (info.caller.link.get(), info.caller.circuit, info.callee.link.get());
            let name = name_text(&info.name);
            format!("{link}: circuit {circuit} to {callee}: {} calls {} for {name}", info.from, info.to)
        }
        Fact::Closed(Closed { info, lasted, caller_bytes, callee_bytes, why }) => {
            let (link, circuit, callee) = (info.caller.link.get(), info.caller.circuit, info.callee.link.get());
            let seconds = lasted.as_secs_f64();
            let (why, there) = (why_closed_text(*why), counted(*caller_bytes, "byte"));
            format!(
                "{link}: circuit {circuit} to {callee}: closed after {seconds:.1} s, {there} there and {callee_bytes} back: {why}"
            )
        }
    }
}

/// What is called. The ids of sessions are for their two ends alone.
fn name_text(name: &Name) -> &str {
    match name {
        Name::App(app) => app.as_str(),
        Name::Session(_) => "a running session",
    }
}

fn why_text(why: EndReason) -> String {
    match why {
        EndReason::Closed => "closed by the other side".to_owned(),
        EndReason::Dead => "not heard in time".to_owned(),
        EndReason::Slow => "took too little while memory was used up".to_owned(),
        EndReason::Garbage => "sent what does not authenticate".to_owned(),
        EndReason::Evicted => "another connection took its place".to_owned(),
        EndReason::Crowded => "turned away, as too many from there have not said it yet".to_owned(),
        EndReason::Ended(code) => format!("ended by the relay: {}", code_text(code)),
    }
}

fn why_closed_text(why: CloseReason) -> String {
    match why {
        CloseReason::Finished => "both sides have sent all they had".to_owned(),
        CloseReason::Reset(code) => format!("ended by a client: {}", code_text(code)),
        CloseReason::GivenUp => "the caller gave up while it was accepted".to_owned(),
        CloseReason::LinkEnded => "a client's connection ended".to_owned(),
        CloseReason::Cut(cut) => format!("ended by the relay: {}", cut_text(cut)),
    }
}

fn cut_text(cut: Cut) -> &'static str {
    match cut {
        Cut::BlockedItsLink => "it was full, and the rest of its connection waited for too long",
        Cut::Overflowed => "it was full, and more came in",
        Cut::GotNoCredit => "memory was used up, and a client gave no credit for what waited",
        Cut::TakenTooSlowly => "memory was used up, and a client took too little of what waited",
    }
}

impl Display for RelayError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, _) => write!(f, "cannot listen on {address}"),
            Self::Allow(path, _) => write!(f, "the list of peers {}", printable(path)),
            Self::Certificate(_) => f.write_str("the certificate"),
            Self::Memory { workers } => write!(f, "memory is too little for {}", counted(*workers, "worker")),
            Self::System(_) => f.write_str("the system does not give what a relay needs"),
            Self::Panicked => f.write_str("a thread of the relay came to a bad end"),
        }
    }
}

impl Error for RelayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen(_, error) | Self::System(error) => Some(error),
            Self::Allow(_, error) => Some(error),
            Self::Certificate(error) => Some(error),
            Self::Memory { .. } | Self::Panicked => None,
        }
    }
}

/// Why a relay cannot begin, or go on.
pub(crate) fn fault(error: RelayError) -> Fault {
    match &error {
        RelayError::Allow(path, reason) => match reason {
            AllowError::Read(error) if error.kind() == io::ErrorKind::NotFound => {
                Fault::about(Exit::Config, path, error)
                    .hint("--allow names a file, with a line NAME ID for each peer that may connect")
            }
            reason => Fault::new(Exit::Config, format!("{}: {}", printable(path), allow_text(reason))),
        },
        RelayError::Certificate(error) => Fault::new(Exit::Config, certificate_text(error)),
        RelayError::Memory { workers } => {
            let least = workers * MEMORY_PER_WORKER_MIN / (1024 * 1024);
            Fault::new(Exit::Usage, format!("--{error}"))
                .hint(format!("give at least {least}M, or take fewer --workers"))
        }
        RelayError::Listen(address, error) => listen_fault(&address.to_string(), error),
        RelayError::Panicked => Fault::new(Exit::Failed, error.to_string()),
        RelayError::System(cause) => Fault::new(Exit::Failed, format!("{error}: {}", chain(cause))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Peers;

    #[test]
    fn an_error_of_a_relay_says_what_it_comes_of() {
        let mistake = Peers::parse("west\n").expect_err("a mistake");
        let error = RelayError::Allow("peers".into(), AllowError::Parse(mistake));
        let all: Vec<&(dyn Error + 'static)> =
            std::iter::successors(Some(&error as &(dyn Error + 'static)), |&error| error.source()).collect();
        let said: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["the list of peers peers", "has a mistake", "line 1, column 5: no id after the name"]);
        assert!(all[2].is::<crate::names::ParseError>());
        assert_eq!(fault(error).message, format!("peers: {}", said[2]));
    }
}
