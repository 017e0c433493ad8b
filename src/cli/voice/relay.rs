//! Words of `vp-relay`.

use crate::cli::args::{Arguments, Output, Relay};
use crate::cli::escape::printable;
use crate::cli::events::Status;
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, Level, Report, chain};
use crate::cli::voice::listen_fault;
use crate::names::Conflict;
use crate::run::event_loop::CloseCode;
use crate::server::{AllowError, Log, LogLine, MEMORY_PER_WORKER_MIN, RelayError, Trouble};
use std::io;

/// Threads of the relay speak through a report of their own: a line is one write, so lines never mix.
pub fn log(output: Output) -> Log {
    let report = Report::new(Relay::MANUAL.name, output.verbosity(), output.format());
    Box::new(move |line| match line {
        LogLine::Trouble(absent @ Trouble::Absent(_)) => report.say(Level::Warning, &absent.to_string()),
        LogLine::Trouble(trouble) => {
            let text = chain(&trouble);
            let text = match &trouble {
                Trouble::Reload(path, _) => format!("{}: {text}", printable(path)),
                Trouble::Absent(_) | Trouble::Accept(_) | Trouble::Thread(_) => text,
            };
            report.fault(&Fault::new(Exit::Failed, text));
        }
        LogLine::Status(status) => report.status(Status { message: status.to_string(), ..Status::default() }),
        LogLine::Detail(line) => report.say(Level::Info, line),
        LogLine::TurnedAway { peer, code, times } => {
            let why = match code {
                CloseCode::Refused => "it is not among the peers allowed",
                CloseCode::Limit => {
                    "its links, or those of all, are as many as --max-links-per-peer, links= or --max-links allow"
                }
                _ => "it came too late",
            };
            let times = if times > 1 { format!(", {times} times since this was last said") } else { String::new() };
            report.say(Level::Warning, &format!("turned away {peer}: {why}{times}"));
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
    })
}

/// Why a relay cannot begin, or go on.
pub fn fault(error: RelayError) -> Fault {
    match &error {
        RelayError::Allow(path, reason) => match reason {
            AllowError::Read(error) if error.kind() == io::ErrorKind::NotFound => {
                Fault::about(Exit::Config, path, error)
                    .hint("--allow names a file, with a line NAME ID for each peer that may connect")
            }
            AllowError::Read(error) => Fault::about(Exit::Config, path, error),
            AllowError::TooLong | AllowError::Parse(_) => Fault::about(Exit::Config, path, reason),
        },
        RelayError::Memory { workers } => {
            let least = workers * MEMORY_PER_WORKER_MIN / (1024 * 1024);
            Fault::new(Exit::Usage, format!("--memory is too little for {workers} workers"))
                .hint(format!("give at least {least}M, or take fewer --workers"))
        }
        RelayError::Listen(address, error) => listen_fault(&address.to_string(), error),
        RelayError::System(_) => Fault::new(Exit::Failed, chain(&error)),
    }
}
