//! What the exit status of every tool means: one table, quoted in the manual pages and checked there by a test.

use std::process::ExitCode;

/// How a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and the far side has acknowledged it all.
    Done,
    /// A failure with no status of its own.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// A configuration file or a key cannot be used, no relay admits the key, or a proxy does not take the login.
    Config,
    /// The peer said no.
    Refused,
    /// The peer did not come before the deadline, or left and did not come back.
    PeerAbsent,
    /// No relay could be reached before the deadline.
    NoRelay,
    /// Some items failed, the others are where they belong.
    Partial,
    /// The bytes or the protocol were not what they must be.
    Integrity,
    /// There was nothing to do.
    NothingToDo,
    /// A deadline passed while the work was running.
    Deadline,
    /// Ended by this signal.
    Signal(u8),
    /// A command that was run for the user ended with this status.
    Command(u8),
}

/// Whether running the same command again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The question does not arise.
    Moot,
    /// It depends; read the message.
    Unknown,
    /// Not before a person has changed something.
    No,
    /// Yes.
    Yes,
}

impl Retry {
    /// The word in the table of the manual pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Moot => "",
            Self::Unknown => "?",
            Self::No => "no",
            Self::Yes => "yes",
        }
    }

    /// `true` or `false` where the answer is known.
    pub(crate) const fn known(self) -> Option<bool> {
        match self {
            Self::Moot | Self::Unknown => None,
            Self::No => Some(false),
            Self::Yes => Some(true),
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The status as people write it: a number, or `128+n`.
    pub code: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Whether to run the same command again.
    pub retry: Retry,
}

/// Every status a tool can end with, in order.
pub const TABLE: [Row; 12] = [
    row("0", "done, and the far side has acknowledged it all", Retry::Moot),
    row("1", "any other failure", Retry::Unknown),
    row("2", "usage", Retry::No),
    row(
        "3",
        "configuration or key problem, a relay that does not admit this key, or a proxy that does not take the login",
        Retry::No,
    ),
    row("4", "refused by the peer: this application, these items", Retry::No),
    row("5", "peer not there before the deadline", Retry::Yes),
    row("6", "no relay reachable before the deadline", Retry::Yes),
    row("7", "partial: some items failed", Retry::Yes),
    row("8", "integrity or protocol failure", Retry::No),
    row("9", "nothing to do", Retry::Moot),
    row("124", "deadline passed while running", Retry::Yes),
    row("128+n", "ended by signal n", Retry::Moot),
];

/// The rows that help texts and manual pages show: a status that no command line leads to is nobody's business. As it stands,
/// there is always something to do: a source is there or it is a mistake.
pub fn shown() -> impl Iterator<Item = Row> {
    let nothing = Exit::NothingToDo.row();
    TABLE.into_iter().filter(move |row| *row != nothing)
}

impl Exit {
    /// The number given to the system. A shell says 128+n of a program that signal n ended, and so do we.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Refused => 4,
            Self::PeerAbsent => 5,
            Self::NoRelay => 6,
            Self::Partial => 7,
            Self::Integrity => 8,
            Self::NothingToDo => 9,
            Self::Deadline => 124,
            // Linux has 64 signals; saturating keeps a nonsense number from looking like success.
            Self::Signal(number) => number.saturating_add(128),
            Self::Command(status) => status,
        }
    }

    /// One word for it, which programs compare: it stays as it is.
    pub const fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::Done | Self::Command(0) => return None,
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Config => "configuration",
            Self::Refused => "refused",
            Self::PeerAbsent => "peer-absent",
            Self::NoRelay => "no-relay",
            Self::Partial => "partial",
            Self::Integrity => "integrity",
            Self::NothingToDo => "nothing-to-do",
            Self::Deadline => "deadline",
            Self::Signal(_) => "signal",
            Self::Command(_) => "command",
        })
    }

    /// This status's row of [`TABLE`].
    pub const fn row(self) -> Row {
        let index = match self {
            // What a command means by its status is not known here.
            Self::Command(_) => 1,
            Self::Deadline => 10,
            Self::Signal(_) => 11,
            other => other.code() as usize,
        };
        TABLE[index]
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

const fn row(code: &'static str, meaning: &'static str, retry: Retry) -> Row {
    Row { code, meaning, retry }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Exit; 12] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Config,
        Exit::Refused,
        Exit::PeerAbsent,
        Exit::NoRelay,
        Exit::Partial,
        Exit::Integrity,
        Exit::NothingToDo,
        Exit::Deadline,
        Exit::Signal(15),
    ];

    #[test]
    fn every_status_has_its_own_row_with_its_own_number() {
        for (exit, row) in ALL.into_iter().zip(TABLE) {
            assert_eq!(exit.row(), row);
            match exit {
                Exit::Signal(number) => assert_eq!(exit.code(), 128 + number),
                _ => assert_eq!(exit.code().to_string(), row.code),
            }
        }
    }

    #[test]
    fn a_retry_is_promised_only_where_it_can_help() {
        let again: Vec<u8> = ALL.into_iter().filter(|e| e.row().retry == Retry::Yes).map(Exit::code).collect();
        assert_eq!(again, [5, 6, 7, 124]);
    }

    #[test]
    fn no_signal_number_looks_like_success() {
        assert!((0..=u8::MAX).all(|number| Exit::Signal(number).code() >= 128));
    }

    #[test]
    fn a_program_that_a_signal_ended_has_the_same_number_as_a_command_and_as_our_own_end() {
        for signal in 1..=64_u8 {
            let command = crate::net::child::Ended::Killed(signal.into()).number();
            assert_eq!(command, i32::from(Exit::Signal(signal).code()));
        }
    }
}
