//! Words for what is wrong with an item, or with a whole transfer.

use crate::cli::report::chain;
use crate::transfer::decoder::Malformed;
use crate::transfer::outcome::Violation;
use crate::transfer::{Fault, TransferError};

/// Why one item did not come about.
pub(super) fn fault_text(fault: Fault) -> &'static str {
    match fault {
        Fault::Name => "name not acceptable",
        Fault::Duplicate => "offered twice",
        Fault::Exists => "exists and differs",
        Fault::NotEmpty => "a directory with something in it is there",
        Fault::Parent => "parent is not a directory of this tree",
        Fault::LinkTarget => "link leads out of the tree",
        Fault::TooLarge => "too large",
        Fault::TooMany => "too many items",
        Fault::Special => "not a file, directory or link",
        Fault::TreeNotTaken => "it is more than one file, and the receiver has no directory for it",
        Fault::Terminal => "the receiver would show it on a terminal",
        Fault::Version => "another version of the transfer",
        Fault::Changed => "changed while it was read",
        Fault::NotFound => "no such file",
        Fault::Denied => "permission denied",
        Fault::NoSpace => "no space left",
        Fault::ReadOnly => "read-only file system",
        Fault::NoDescriptors => "too many open files",
        Fault::Busy => "another transfer is writing it",
        Fault::Integrity => "content does not match its hash",
        Fault::Cancelled => "its reader stopped before the end",
        Fault::OnlyReplaces => {
            "the file system has neither a rename that never replaces nor hard links, which only --overwrite yes does without"
        }
        Fault::NoLinks => "the file system has no symbolic links",
        Fault::Io => "input/output error",
    }
}

/// Which rule of the transfer a message broke.
pub(super) fn violation_text(violation: Violation) -> &'static str {
    match violation {
        Violation::Hello => "no greeting, or a second one",
        Violation::Index => "an item number out of order",
        Violation::Order => "a message out of order",
        Violation::Offset => "an offset that was not offered",
        Violation::Length => "more or less content than announced",
        Violation::Block => "a damaged compressed block",
        Violation::Entries => "too many items",
        Violation::Counts => "final counts that contradict the items",
    }
}

fn malformed_text(malformed: Malformed) -> String {
    match malformed {
        Malformed::Type(kind) => format!("unknown message type {kind:#04x}"),
        Malformed::Length(kind) => format!("impossible length of a message of type {kind:#04x}"),
        Malformed::Field(kind) => format!("invalid field in a message of type {kind:#04x}"),
    }
}

/// Why a transfer ended before its end.
pub(super) fn transfer_text(error: &TransferError) -> String {
    match error {
        TransferError::Closed(_) => "the session ended in the middle of the transfer".to_owned(),
        TransferError::Truncated => "the peer stopped in the middle of the transfer".to_owned(),
        TransferError::Malformed(malformed) => {
            format!("the peer sent something unintelligible: {}", malformed_text(*malformed))
        }
        TransferError::Violation(violation) => {
            format!("the peer broke the protocol: {}", violation_text(*violation))
        }
        TransferError::Refused(fault) => format!("the transfer was refused: {}", fault_text(*fault)),
        TransferError::Inbox(error) => format!("cannot use the directory: {}", chain(error)),
    }
}
