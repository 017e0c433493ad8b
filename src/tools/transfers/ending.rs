//! What the end of a transfer means to the tool that ran it, on either side.

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
pub(crate) struct Ending {
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
    pub(crate) fn of_tally(status: Status, tally: &Tally, command_status: Option<i32>) -> Ending {
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
    pub(crate) fn of_stream(outcome: ItemOutcome, command_status: Option<i32>, fault_side: Side) -> Ending {
        let mut counts = Counts::default();
        outcome.count(&mut counts);
        let fault = outcome.fault();
        let status = if command_status.is_some() { Status::CommandFailed } else { outcome.status() };
        let lasting = fault.is_some_and(Fault::is_refusal);
        Ending { status, counts, skipped: 0, lasting, first_fault: fault, fault_side, command_status }
    }
}

/// With which code a session closes whose transfer ended early, so that the peer knows whose fault it was.
pub(crate) fn close_code(error: &TransferError) -> CloseCode {
    match error {
        TransferError::Malformed(_) | TransferError::Violation(_) => CloseCode::Protocol,
        // The peer has been told in the transfer's own words.
        TransferError::Refused(_) => CloseCode::Done,
        TransferError::Closed(_) | TransferError::Truncated | TransferError::Inbox(_) => CloseCode::Cancelled,
    }
}
