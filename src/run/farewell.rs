//! What the end of a transfer means to the tool that ran it, on either side, and how long an end may take, and a
//! beginning that does not come.

use super::event_loop::ToolError;
use crate::session::SessionError;
use crate::store::Fault;
use crate::transfer::messages::ItemOutcome;
pub use crate::transfer::outcome::Side;
use crate::transfer::outcome::{Counts, Tally};
use crate::transfer::{Status, TransferError};
use crate::wire::CloseCode;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// A caller that has a path to us and says nothing for so long is holding a place that others wait for.
pub const GREETING_TIME: Duration = Duration::from_secs(30);
/// When the end is known the peer is given so long to learn that we know; without a path it could take for ever.
pub const FAREWELL_TIME: Duration = Duration::from_secs(15);
/// After a signal it is given less: somebody waits.
pub const INTERRUPTED_TIME: Duration = Duration::from_secs(2);

/// A signal's number is added to this, as shells do.
const SIGNAL_BASE: i32 = 128;
/// A command that somebody told to end may have been told together with us, as a supervisor and a terminal do it. Our own
/// signal is waited for so long before the peer hears that the command failed: with it, we both are only going away.
pub const TOGETHER_TIME: Duration = Duration::from_millis(300);
/// The statuses of such a command, as shells count: by HUP, INT, QUIT, TERM.
const TOLD_TO_END: [i32; 4] = [129, 130, 131, 143];

/// The status of a process as one number, the way shells count: never 0 unless it succeeded.
pub fn status_number(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal)).unwrap_or(-1)
}

/// Until when the end of a command with this status is kept to ourselves, if it is.
pub fn held_until(now: Instant, status: i32) -> Option<Instant> {
    TOLD_TO_END.contains(&status).then(|| now + TOGETHER_TIME)
}

/// A peer that may no more call is given less still.
pub const OUTCAST_TIME: Duration = Duration::from_millis(500);

/// The end of a transfer, as both tools see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// In one word.
    pub status: Status,
    /// Items by their end.
    pub counts: Counts,
    /// Items that could not even be offered.
    pub skipped: u32,
    /// Whether what did not come about would not the next time either.
    pub lasting: bool,
    /// Why the first that did not come about did not.
    pub first_fault: Option<Fault>,
    /// Whose fault that was.
    pub fault_side: Side,
    /// Of the receiver's command, if it failed; 0 if it only did not take everything.
    pub command_status: Option<i32>,
}

impl Ending {
    /// Of a transfer of files.
    pub fn of_tally(status: Status, tally: &Tally, command_status: Option<i32>) -> Ending {
        Ending {
            status,
            counts: tally.counts,
            skipped: tally.skipped,
            lasting: tally.is_lasting(),
            first_fault: tally.failures.first().map(|failure| failure.fault),
            fault_side: tally.failures.first().map_or(Side::Here, |failure| failure.side),
            command_status,
        }
    }

    /// Of a stream, which is one item.
    pub fn of_stream(outcome: ItemOutcome, command_status: Option<i32>, fault_side: Side) -> Ending {
        let mut counts = Counts::default();
        let (status, fault) = match outcome {
            ItemOutcome::Committed => (Status::Complete, None),
            ItemOutcome::Exists | ItemOutcome::ExistsUnlike => (Status::NothingToDo, None),
            ItemOutcome::Refused(fault) => (Status::Refused, Some(fault)),
            ItemOutcome::Failed(Fault::Integrity) => (Status::Integrity, Some(Fault::Integrity)),
            ItemOutcome::Failed(fault) => (Status::LocalIo, Some(fault)),
        };
        match outcome {
            ItemOutcome::Committed => counts.committed = 1,
            ItemOutcome::Exists | ItemOutcome::ExistsUnlike => counts.exists = 1,
            ItemOutcome::Refused(_) => counts.refused = 1,
            ItemOutcome::Failed(_) => counts.failed = 1,
        }
        let status = if command_status.is_some() { Status::CommandFailed } else { status };
        let lasting = fault.is_some_and(Fault::is_refusal);
        Ending { status, counts, skipped: 0, lasting, first_fault: fault, fault_side, command_status }
    }

    /// Whether the tool has done what it was asked for.
    ///
    /// That everything had been there before is a success: the peer has it. Only a transfer of no items at all had nothing
    /// to do.
    ///
    /// # Errors
    /// What is missing, and why.
    pub fn verdict(&self, side: Side) -> Result<(), ToolError> {
        match (self.status, self.command_status) {
            (Status::Complete, _) => Ok(()),
            (Status::NothingToDo, _) if self.counts.exists > 0 => Ok(()),
            (Status::NothingToDo, _) => Err(ToolError::NothingToDo),
            (Status::CommandFailed, status) if side == Side::Here => Err(ToolError::Command(status.unwrap_or(-1))),
            (Status::CommandFailed, status) => Err(ToolError::FarCommand(status)),
            _ => Err(ToolError::Items(*self)),
        }
    }
}

impl From<SessionError> for ToolError {
    fn from(error: SessionError) -> ToolError {
        match error {
            SessionError::PeerMisbehaved(what) => ToolError::Protocol(what),
            SessionError::Expired => ToolError::Expired,
        }
    }
}

/// What it means that the peer closed the session by this number before its work was done.
pub fn closed_by_peer(number: u16) -> ToolError {
    match CloseCode::status_in(number) {
        Some(status) => ToolError::FarCommand(Some(status)),
        None => ToolError::PeerClosed(CloseCode::from_wire(number)),
    }
}

/// With which code a session closes whose transfer ended early, so that the peer knows whose fault it was.
pub fn close_code(error: &TransferError) -> CloseCode {
    match error {
        TransferError::Malformed(_) | TransferError::Violation(_) => CloseCode::Protocol,
        // The peer has been told in the transfer's own words.
        TransferError::Refused(_) => CloseCode::Done,
        TransferError::Closed(_) | TransferError::Truncated | TransferError::Inbox(_) => CloseCode::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_success_and_nothing_at_all_is_not() {
        let nothing = Ending::of_tally(Status::NothingToDo, &Tally::default(), None);
        assert!(matches!(nothing.verdict(Side::There), Err(ToolError::NothingToDo)));
        let counts = Counts { exists: 2, ..Counts::default() };
        assert!(Ending { counts, ..nothing }.verdict(Side::There).is_ok());
        assert!(Ending::of_stream(ItemOutcome::Exists, None, Side::There).verdict(Side::There).is_ok());
    }

    #[test]
    fn a_failed_command_is_told_on_both_sides_with_its_status() {
        let ending = Ending::of_stream(ItemOutcome::Committed, Some(3), Side::Here);
        assert!(matches!(ending.verdict(Side::Here), Err(ToolError::Command(3))));
        assert!(matches!(ending.verdict(Side::There), Err(ToolError::FarCommand(Some(3)))));
    }

    #[test]
    fn a_stream_that_was_not_taken_is_never_a_success() {
        for outcome in [ItemOutcome::Refused(Fault::TooLarge), ItemOutcome::Failed(Fault::Cancelled)] {
            assert!(matches!(
                Ending::of_stream(outcome, None, Side::There).verdict(Side::There),
                Err(ToolError::Items(_))
            ));
        }
    }
}
