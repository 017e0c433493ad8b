//! How an end without success reads, whatever the tool.

use super::command;
use super::connect::{Between, closed_fault, node_fault};
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, chain};
use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::signals::XCPU;
use crate::run::tool::{Breach, Doing, RunError};
use crate::session::{SessionError, Violation};
use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// An end without success, as it reads and what it exits with.
pub(crate) trait AsFault {
    /// Said of this.
    fn fault(&self, between: &Between<'_>) -> Fault;
    /// What any tool may end by, if it is that.
    fn run(&self) -> Option<&RunError>;
    /// Whom and which application it is about, if it is about others than what was last tried.
    fn of(&self) -> Option<(&PeerId, &AppName)> {
        None
    }
}

impl AsFault for RunError {
    fn fault(&self, between: &Between<'_>) -> Fault {
        let peer = &between.peer;
        match self {
            RunError::Node(failure) => node_fault(*failure, between),
            RunError::Expired => between
                .fault(Exit::Deadline, &SessionError::Expired.to_string())
                .hint("--resume-timeout sets how long to wait"),
            RunError::CastOut => Fault::new(Exit::Config, "ended: it is not among the peers allowed any more"),
            RunError::Protocol(breach) => {
                between.fault(Exit::Integrity, &format!("{peer} broke the protocol: it {}", breach_text(*breach)))
            }
            RunError::PeerClosed(code) => closed_fault(*code, between),
            RunError::FarCommand(Some(status)) => {
                between.fault(Exit::Failed, &format!("at {peer}: {}", command::ended(*status)))
            }
            RunError::FarCommand(None) => between.fault(Exit::Failed, &format!("at {peer}: the program failed")),
            RunError::Io(doing, error) => Fault::new(Exit::Failed, format!("{}: {}", doing_text(*doing), chain(error))),
            RunError::Signal(signal) => signal_fault(*signal),
        }
    }

    fn run(&self) -> Option<&RunError> {
        Some(self)
    }
}

fn doing_text(doing: Doing) -> &'static str {
    match doing {
        Doing::AwaitEvents => "waiting for events",
        Doing::OpenStdin => "opening standard input",
        Doing::OpenStdout => "opening standard output",
        Doing::ReadStdin => "reading standard input",
        Doing::Read => "reading input",
        Doing::Write => "writing output",
        Doing::Close => "closing output",
        Doing::Watch => "watching a descriptor",
        Doing::WatchSources => "watching what is sent",
        Doing::MakePipe => "making a pipe",
        Doing::StartCommand => "starting the command",
        Doing::AwaitCommand => "waiting for the command",
        Doing::StartThread => "starting a thread",
        Doing::Listen => "listening",
    }
}

fn breach_text(breach: Breach) -> &'static str {
    match breach {
        Breach::Of(violation) => violation_text(violation),
        Breach::SaidNothing => "called and then said nothing",
    }
}

impl Display for SessionError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerMisbehaved(what) => write!(f, "the peer broke the protocol: it {}", violation_text(*what)),
            Self::Expired => f.write_str("the connection broke and did not come back in time"),
        }
    }
}

impl Error for SessionError {}

/// Which rule of a session its peer broke.
fn violation_text(violation: Violation) -> &'static str {
    match violation {
        Violation::Malformed => "sent a malformed frame",
        Violation::BehindLarge => "sent frames behind a large piece",
        Violation::Answers => "asked for more answers than it takes",
        Violation::SessionCredit => "sent beyond the session's credit",
        Violation::StreamCredit => "sent beyond its credit",
        Violation::MovedEnd => "moved the end of a stream",
        Violation::Scattered => "scattered its streams into too many pieces",
        Violation::OurNumber => "opened a stream with a number of ours",
        Violation::Skipped => "skipped a stream number",
        Violation::TooManyStreams => "opened more streams than allowed",
        Violation::NeverOpened => "sent data of a stream that was never opened",
        Violation::Consumed => "consumed what was never sent",
        Violation::Acknowledged => "acknowledged what was never sent",
    }
}

/// The command here failed.
pub(super) fn command_fault(status: i32, between: &Between<'_>) -> Fault {
    Fault::new(Exit::Failed, format!("{}{}", command::ended(status), between.named_command()))
}

/// Whoever read our output went: programs end by a signal then, in silence.
pub(super) fn output_gone() -> Fault {
    Fault::new(Exit::Signal(13), "")
}

/// Who sends a signal knows why; but that a limit was reached nobody may have seen.
pub(crate) fn signal_fault(signal: i32) -> Fault {
    let words = if signal == XCPU { "the limit on processor time is reached (ulimit -t)" } else { "" };
    Fault::new(Exit::Signal(u8::try_from(signal).unwrap_or(0)), words)
}
