//! Where words become work: `main` of every tool, and per tool one function that turns what was typed into the options
//! of [`crate::tools`], runs it, and turns its end into an exit status and a message.

mod attach;
mod keygen;
mod omit;
mod party;
mod portrep;
mod recv;
mod relay;
mod relay_key;
mod send;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::args::Arguments;
use super::env::Env;
use super::escape::printable;
use super::exit::Exit;
use super::mixups::{Refused, meant, tip};
use super::passed::Announced;
use super::report::{Fault, Format, Report, Verbosity, chain};
use crate::net::signals::outlive_file_limit;

pub(super) use party::Party;

/// A tool that can be run.
pub trait Tool: Arguments {
    /// Does what was asked for.
    ///
    /// # Errors
    /// A `Fault` says what to tell the user and how to end.
    fn run(self, context: &Context) -> Result<Exit, Fault>;
}

/// What every tool gets.
#[derive(Debug)]
pub struct Context {
    /// Its voice.
    pub(crate) report: Report,
    /// Its environment.
    pub(crate) env: Env,
}

/// All of a tool's `main`: reads the command line, runs the tool, says how it ended.
pub fn main<T: Tool>() -> ExitCode {
    let words = T::arranged(std::env::args_os().collect());
    let env = Env::of_process();
    Announced::of(&env).close_unserved(T::MANUAL.variables.contains(&"LISTEN_FDS"));
    keep_memory_private(&env);
    // Where it cannot be had, such a write ends the tool, as it would any other program.
    let _ = outlive_file_limit();
    match T::try_parse_from(&words) {
        Ok(tool) => {
            let (output, name) = (tool.output(), T::MANUAL.name);
            let report = if tool.serves() { Report::of_service } else { Report::of_run };
            let report = report(name, output.verbosity(), output.format());
            let context = Context { report, env };
            let end = tool.run(&context);
            context.report.end(end)
        }
        Err(error) => {
            let report = Report::new(T::MANUAL.name, Verbosity::Normal, format_of::<T>(&words));
            report.end(answer::<T>(&words, &error))
        }
    }
}

/// From here on the process holds keys, and what others sent it: a crash writes none of that into a core file, and no other
/// process of this user can read it. Commands that it starts are as they would be, for the kernel undoes this for a new program.
fn keep_memory_private(env: &Env) {
    if env.get("VP_DUMPABLE").is_none() {
        // A system that does not know of it has no other way either.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Writes one line to standard output, and makes sure that it got there.
///
/// # Errors
/// It did not: the disk is full, or nobody reads any more.
pub(super) fn print_line(line: &str) -> Result<(), Fault> {
    let mut stdout = io::stdout().lock();
    let written =
        stdout.write_all(line.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    written.map_err(|error| stdout_fault(&error))
}

fn stdout_fault(error: &io::Error) -> Fault {
    Fault::new(Exit::Failed, format!("cannot write to standard output: {}", chain(error)))
}

/// What clap has to say: help and version are data and go to standard output, anything else is a fault.
fn answer<T: Arguments>(words: &[OsString], error: &clap::Error) -> Result<Exit, Fault> {
    if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Err(usage_fault::<T>(words, error));
    }
    match error.print().and_then(|()| io::stdout().flush()) {
        Ok(()) => Ok(Exit::Done),
        // `vp-send --help | head -1` has shown all that was wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(stdout_fault(&error)),
    }
}

/// Puts clap's paragraphs into our form: one line for the error, one for what was meant. What clap proposes is near in
/// letters and often far from what was meant, so it is weighed first.
fn usage_fault<T: Arguments>(words: &[OsString], error: &clap::Error) -> Fault {
    let text = error.render().to_string();
    let message = joined(text.split("\n\n").next().unwrap_or_default());
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let typed: Vec<String> = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let unknown =
        (error.kind() == ErrorKind::UnknownArgument).then(|| context(error, ContextKind::InvalidArg)).flatten();
    let (tool, command) = (T::MANUAL.name, T::command());
    let refused = Refused { tool, command: &command, words: &typed, unknown };
    let line = meant(refused).or_else(|| tip(refused));
    // The text repeats what was typed, which may have come from anywhere.
    let fault = Fault::new(Exit::Usage, printable(message));
    line.iter().fold(fault, |fault, line| fault.hint(printable(line))).hint(format!("try {tool} --help"))
}

/// A word that clap complains of.
fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word),
        _ => None,
    }
}

fn joined(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The format asked for, as far as it can be told from words that do not parse.
fn format_of<T: CommandFactory>(words: &[OsString]) -> Format {
    let known = T::command().get_arguments().any(|option| option.get_long() == Some("json"));
    let asked =
        known && words.iter().take_while(|word| *word != OsStr::new("--")).any(|word| word == OsStr::new("--json"));
    if asked { Format::Json } else { Format::Text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Keygen, Recv, Send};

    fn fault<T: Arguments>(tool: &str, words: &[&str]) -> Fault {
        let error = T::try_parse_from([tool].iter().chain(words)).err().expect("a mistake");
        let words: Vec<OsString> = [tool].iter().chain(words).map(OsString::from).collect();
        answer::<T>(&words, &error).expect_err("not a question")
    }

    #[test]
    fn a_usage_error_is_one_line_and_hints() {
        let bad = fault::<Send>("vp-send", &["a", "depot", "--timeout", "10x"]);
        assert_eq!(bad.exit, Exit::Usage);
        assert_eq!(
            bad.message,
            "invalid value '10x' for '--timeout <DUR>': not a duration: numbers with ms, s, m, h or d, as in 90s or 1h30m, or 0, or never"
        );
        assert_eq!(bad.hints, ["try vp-send --help"]);
        let missing = fault::<Send>("vp-send", &[]);
        assert_eq!(missing.message, "two words are needed at least: what to send, and to whom");
        let values = fault::<Recv>("vp-recv", &["-d", "in", "--overwrite", "no"]);
        assert_eq!(values.message, "invalid value 'no' for '--overwrite <WHAT>' [possible values: never, rename, yes]");
    }

    #[test]
    fn a_tip_becomes_a_hint() {
        let typo = fault::<Keygen>("vp-keygen", &["--forse"]);
        assert_eq!(typo.message, "unexpected argument '--forse' found");
        assert_eq!(typo.hints, ["did you mean --force?", "try vp-keygen --help"]);
    }

    #[test]
    fn hostile_words_cannot_forge_a_line() {
        let hostile = fault::<Keygen>("vp-keygen", &["a\nvp-keygen: error: forged\x1b[2J\u{202e}"]);
        assert!(hostile.message.chars().all(crate::cli::escape::is_plain), "{hostile:?}");
    }

    #[test]
    fn json_is_recognised_in_words_that_do_not_parse() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(format_of::<Send>(&words(&["vp-send", "--json", "--oops"])), Format::Json);
        assert_eq!(format_of::<Send>(&words(&["vp-send", "--", "--json"])), Format::Text);
        assert_eq!(format_of::<Keygen>(&words(&["vp-keygen", "--json"])), Format::Text);
    }
}
