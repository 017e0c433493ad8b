//! What the end of a transfer means to the tool that ran it, on either side.

use super::Error;
use crate::run::tool::RunError;
use crate::transfer::Fault;
use crate::transfer::messages::ItemOutcome;
use crate::transfer::{Status, TransferError};
use crate::transfer::{
    outcome::{Side, Tally},
    status::Counts,
};
use crate::wire::CloseCode;

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
    pub fn verdict(&self, side: Side) -> Result<(), Error> {
        match (self.status, self.command_status) {
            (Status::Complete, _) => Ok(()),
            (Status::NothingToDo, _) if self.counts.exists > 0 => Ok(()),
            (Status::NothingToDo, _) => Err(Error::NothingToDo),
            (Status::CommandFailed, status) if side == Side::Here => Err(Error::Command(status.unwrap_or(-1))),
            (Status::CommandFailed, status) => Err(Error::Run(RunError::FarCommand(status))),
            _ => Err(Error::Items(*self)),
        }
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
        assert!(matches!(nothing.verdict(Side::There), Err(Error::NothingToDo)));
        let counts = Counts { exists: 2, ..Counts::default() };
        assert!(Ending { counts, ..nothing }.verdict(Side::There).is_ok());
        assert!(Ending::of_stream(ItemOutcome::Exists, None, Side::There).verdict(Side::There).is_ok());
    }

    #[test]
    fn a_failed_command_is_told_on_both_sides_with_its_status() {
        let ending = Ending::of_stream(ItemOutcome::Committed, Some(3), Side::Here);
        assert!(matches!(ending.verdict(Side::Here), Err(Error::Command(3))));
        assert!(matches!(ending.verdict(Side::There), Err(Error::Run(RunError::FarCommand(Some(3))))));
    }

    #[test]
    fn a_stream_that_was_not_taken_is_never_a_success() {
        for outcome in [ItemOutcome::Refused(Fault::TooLarge), ItemOutcome::Failed(Fault::Cancelled)] {
            assert!(matches!(Ending::of_stream(outcome, None, Side::There).verdict(Side::There), Err(Error::Items(_))));
        }
    }
}
