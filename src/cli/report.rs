//! What people read: the only place that writes to standard error, one line at a time.
//!
//! `TOOL: error: …`, lower case, no full stop, no time (a journal adds its own). With `--json` every line is an object.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::backlog::Backlog;
use super::counted::counted;
use super::escape::{one_line, printable};
use super::events::{self, Event, Status, Summary};
use super::exit::{Exit, Retry};
use crate::net::stdio::takes_line;

/// How long a tool that serves others waits, once, for a reader of its lines who takes none: one that is slow is to get them all,
/// and one that hangs is no reason to serve nobody.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// How much to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// `-q`: errors only.
    Quiet,
    /// Errors and warnings.
    #[default]
    Normal,
    /// `-v`: also what happens to connections and items.
    Verbose,
    /// `-vv`: also what helps to find a fault.
    Debug,
}

/// How to say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// `--json`: lines for programs.
    Json,
}

/// What kind of line it is, from the most important down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The tool goes on, but somebody should look.
    Warning,
    /// Nothing is wrong, but it takes a while, or has come to an end.
    Notice,
    /// Life of connections and items.
    Info,
    /// For finding faults.
    Debug,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Notice | Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    const fn needs(self) -> Verbosity {
        match self {
            Self::Warning | Self::Notice => Verbosity::Normal,
            Self::Info => Verbosity::Verbose,
            Self::Debug => Verbosity::Debug,
        }
    }
}

/// Why a tool failed: the status, one line of what happened, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The status to end with.
    pub exit: Exit,
    /// One line, lower case, no full stop. Foreign text in it has gone through [`super::escape::printable`].
    pub message: String,
    /// What the reader can do, one line each.
    pub hints: Vec<String>,
    /// Whether running the same command again can help.
    pub(crate) retry: Retry,
}

impl Fault {
    /// A fault without hints.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new(), retry: exit.row().retry }
    }

    /// A fault about a file: its path, what went wrong, and the system's word on it.
    pub fn about(exit: Exit, path: &Path, error: &io::Error) -> Self {
        Self::new(exit, format!("{}: {}", printable(path), chain(error)))
    }

    /// Says that running the same command again changes nothing.
    #[must_use]
    pub(crate) fn lasting(mut self) -> Self {
        self.retry = Retry::No;
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Fault {}

/// The voice of a tool. Shared by its threads; a line is written whole or not at all.
pub(crate) struct Report {
    tool: &'static str,
    verbosity: Verbosity,
    format: Format,
    began: Instant,
    /// What the last event will say.
    sums: Mutex<Summary>,
    out: Mutex<Output>,
}

struct Output {
    sink: Box<dyn Write + Send>,
    /// The bar to step aside for while a line is written.
    bar: Option<ProgressBar>,
}

impl Report {
    /// A report to standard error.
    pub(crate) fn new(tool: &'static str, verbosity: Verbosity, format: Format) -> Self {
        Self::to(tool, verbosity, format, Box::new(io::stderr()))
    }

    /// The same, of a tool that serves others, whether or not somebody is there who reads. At a terminal somebody is, and bars
    /// are drawn between lines.
    pub(crate) fn of_service(tool: &'static str, verbosity: Verbosity, format: Format) -> Self {
        if io::stderr().is_terminal() {
            return Self::new(tool, verbosity, format);
        }
        Self::unwaited(tool, verbosity, format, READER_PATIENCE)
    }

    /// The same, of a tool that ends by itself, or when it is told to, whoever reads.
    pub(crate) fn of_run(tool: &'static str, verbosity: Verbosity, format: Format) -> Self {
        if io::stderr().is_terminal() {
            return Self::new(tool, verbosity, format);
        }
        let lines = Self::backlog(tool, verbosity, format, READER_PATIENCE)
            .where_taken(|line| takes_line(io::stderr(), line.len()));
        Self::to(tool, verbosity, format, Box::new(lines))
    }

    /// One for which a reader who takes nothing is waited so long, once.
    pub(crate) fn unwaited(tool: &'static str, verbosity: Verbosity, format: Format, patience: Duration) -> Self {
        Self::to(tool, verbosity, format, Box::new(Self::backlog(tool, verbosity, format, patience)))
    }

    fn backlog(tool: &'static str, verbosity: Verbosity, format: Format, patience: Duration) -> Backlog {
        let direct = Self::new(tool, verbosity, format);
        Backlog::new(patience, move |line, left_out| {
            if left_out > 0 {
                direct.say(Level::Warning, &format!("{} left out: they were not read", counted(left_out, "line")));
            }
            direct.write(line);
        })
    }

    /// A report to anywhere.
    pub(crate) fn to(tool: &'static str, verbosity: Verbosity, format: Format, sink: Box<dyn Write + Send>) -> Self {
        let (began, sums) = (Instant::now(), Mutex::default());
        Self { tool, verbosity, format, began, sums, out: Mutex::new(Output { sink, bar: None }) }
    }

    /// How much this report says.
    pub(crate) const fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// How this report says it.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// Whether the end of each item is told.
    pub(crate) fn tells_items(&self) -> bool {
        self.format == Format::Json || self.shows(Level::Info)
    }

    /// Whether lines of this level are shown: ask before collecting what is costly.
    pub(crate) fn shows(&self, level: Level) -> bool {
        self.verbosity >= level.needs()
    }

    /// Says why the tool fails, and what to do. Shown at every verbosity.
    pub(crate) fn fault(&self, fault: &Fault) {
        match self.format {
            Format::Text => {
                self.line("error", &fault.message);
                for hint in &fault.hints {
                    self.line("hint", hint);
                }
            }
            Format::Json => self.event(&Event::Error {
                code: fault.exit.code(),
                message: fault.message.clone(),
                hints: fault.hints.clone(),
                retryable: fault.retry.known(),
            }),
        }
    }

    /// Says one line, if its level is asked for. Foreign text in it goes through [`super::escape::printable`] first.
    pub(crate) fn say(&self, level: Level, message: &str) {
        if !self.shows(level) {
            return;
        }
        let message = message.to_owned();
        match (self.format, level) {
            (Format::Text, _) => self.line(level.word(), &message),
            (Format::Json, Level::Warning) => self.event(&Event::Warning { message }),
            (Format::Json, Level::Notice | Level::Info) => self.event(&Event::Info { message }),
            (Format::Json, Level::Debug) => self.event(&Event::Debug { message }),
        }
    }

    /// Says what to do about the warning before it.
    pub(crate) fn advise(&self, hint: &str) {
        if !self.shows(Level::Warning) {
            return;
        }
        match self.format {
            Format::Text => self.line("hint", hint),
            Format::Json => self.event(&Event::Hint { message: hint.to_owned() }),
        }
    }

    /// With `--json`, tells of something that happened; whoever asked for it wants all of it, at every verbosity. As text it
    /// is said in words of its own, or not at all.
    pub(crate) fn event(&self, event: &Event) {
        if self.format == Format::Json {
            self.sums().count(event);
            self.write((self.render(event) + "\n").as_bytes());
        }
    }

    /// An event as a line for elsewhere, without its line feed.
    pub(crate) fn render(&self, event: &Event) -> String {
        events::line(self.tool, event)
    }

    /// Answers a request for the state of things (SIGUSR1). Shown at every verbosity: somebody asked.
    pub(crate) fn status(&self, status: Status) {
        match self.format {
            Format::Text => self.line("status", &status.message),
            Format::Json => {
                let party = self.sums().party.clone();
                self.event(&Event::Status(Box::new(Status { party, ..status })));
            }
        }
    }

    fn sums(&self) -> MutexGuard<'_, Summary> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on lines appear above this bar instead of through it.
    pub(crate) fn share_terminal_with(&self, bar: ProgressBar) {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).bar = Some(bar);
    }

    /// Turns the end of a tool into its exit status, saying what must be said.
    pub(crate) fn end(&self, end: Result<Exit, Fault>) -> ExitCode {
        let (exit, retry) = match end {
            Ok(exit) => (exit, exit.row().retry),
            Err(fault) => {
                // An end by a signal, or by a reader that went, is nobody's news: the status tells.
                if !fault.message.is_empty() {
                    self.fault(&fault);
                }
                (fault.exit, fault.retry)
            }
        };
        let duration = events::seconds(self.began.elapsed());
        let (code, cause, retryable) = (exit.code(), exit.word(), retry.known());
        let sums = self.sums().clone();
        self.event(&Event::End(Summary { code, cause, retryable, duration, ..sums }));
        // Threads that hold this may outlive the tool's end: lines that wait are not to depend on them.
        let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).sink.flush();
        exit.into()
    }

    fn line(&self, word: &str, message: &str) {
        self.write(format!("{}: {word}: {}\n", self.tool, one_line(message)).as_bytes());
    }

    /// Writes a line as it is.
    fn write(&self, line: &[u8]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Output { sink, bar } = &mut *out;
        // A failed write is not reported: standard error was the place to report it to. The exit status remains.
        let mut write = || drop(sink.write_all(line));
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("tool", &self.tool).field("verbosity", &self.verbosity).finish_non_exhaustive()
    }
}

/// An error of the system with its causes, leaving out those it has already put into its own words.
pub(crate) fn chain(error: &io::Error) -> String {
    let mut text = words(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = words(error);
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// One error in words. The system's own are made to fit: "No such file (os error 2)" reads "no such file".
fn words(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) else { return text };
    let text = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
    let mut characters = text.chars();
    characters.next().map(|first| first.to_ascii_lowercase().to_string() + characters.as_str()).unwrap_or_default()
}

#[cfg(test)]
#[path = "tests/report.rs"]
mod tests;
