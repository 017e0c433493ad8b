//! Words for how a command ended that a tool ran, here or at the peer.

use crate::cli::escape::printable;
use crate::net::child::SIGNAL_BASE;
use std::ffi::OsStr;

/// A shell's status for a command that is there and cannot be run.
pub(super) const CANNOT_RUN: u8 = 126;
/// A shell's status for a command that is not there.
pub(super) const NOT_FOUND: u8 = 127;
/// Those that end a program, by name.
const SIGNALS: [(i32, &str); 16] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (31, "SIGSYS"),
    (5, "SIGTRAP"),
];

/// How it ended without success, by its status as shells count; 0 is that of one that did not take everything.
pub(super) fn ended(status: i32) -> String {
    let why = match status {
        0 => return "the command stopped reading before the end".to_owned(),
        126 => Some("cannot be run"),
        127 => Some("not found"),
        _ => {
            let signal = SIGNALS.iter().find(|(number, _)| SIGNAL_BASE + number == status);
            signal.map(|(_, name)| *name)
        }
    };
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!("the command failed with status {status}{why}")
}

/// What a command is called: its first word. The rest may hold what is nobody else's business, as may what is set for it.
pub(super) fn name(command: &OsStr) -> Option<String> {
    let command = printable(command);
    let mut words = command.split_whitespace();
    let first = words.next().filter(|word| !word.contains('='))?.trim_end_matches(';');
    let more = if words.next().is_some() { " ..." } else { "" };
    Some(format!("{first}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_a_shell_means_by_it() {
        for (status, words) in [
            (0, "the command stopped reading before the end"),
            (3, "the command failed with status 3"),
            (126, "the command failed with status 126 (cannot be run)"),
            (127, "the command failed with status 127 (not found)"),
            (137, "the command failed with status 137 (SIGKILL)"),
            (255, "the command failed with status 255"),
        ] {
            assert_eq!(ended(status), words);
        }
    }

    #[test]
    fn a_command_is_called_by_its_first_word_and_its_secrets_stay_its_own() {
        for (command, called) in [
            ("psql", Some("psql")),
            ("cat; exit 3", Some("cat ...")),
            ("  psql postgres://me:secret@db", Some("psql ...")),
            ("PGPASSWORD=secret psql", None),
            ("", None),
        ] {
            assert_eq!(name(OsStr::new(command)).as_deref(), called, "{command}");
        }
    }
}
