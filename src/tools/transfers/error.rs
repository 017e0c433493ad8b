//! Why a sender or receiver ends without success.

use super::ending::Ending;
use crate::net::child::Ended;
use crate::run::tool::RunError;
use crate::session::SessionError;
use crate::transfer::outcome::Side;
use crate::transfer::{Status, TransferError};

/// See the module's text.
#[derive(Debug)]
pub(crate) enum Error {
    /// As any tool may.
    Run(RunError),
    /// The sender's process was gone and its peer began anew, after a part had gone to standard output.
    BegunAnew,
    /// The sender's process was gone for so long that its place went to another.
    GaveWay,
    /// The sender said nothing for so long that its place went to another.
    WasStill,
    /// The receiver's process ended in the middle, and no other took its place in time.
    NotBack,
    /// The command that reads or writes the stream here failed, with this status.
    Command(i32),
    /// The transfer ended before its end.
    Transfer(TransferError),
    /// The transfer came to its end, but not every item is there.
    Items(Ending),
    /// There was no item to transfer.
    NothingToDo,
    /// The part of this program that deals with files came to a bad end.
    Broken,
    /// Standard output was closed by its reader.
    OutputGone,
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Error {
        Error::Run(error)
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Error {
        Error::Run(error.into())
    }
}

impl From<TransferError> for Error {
    fn from(error: TransferError) -> Error {
        Error::Transfer(error)
    }
}

/// Whether a tool has done what it was asked for, on this side of its transfer.
///
/// That everything had been there before is a success: the peer has it. Only a transfer of no items at all had nothing
/// to do.
///
/// # Errors
/// What is missing, and why.
pub(crate) fn verdict(ending: &Ending, side: Side) -> Result<(), Error> {
    match (ending.status, ending.command_status) {
        (Status::Complete, _) => Ok(()),
        (Status::NothingToDo, _) if ending.counts.exists > 0 => Ok(()),
        (Status::NothingToDo, _) => Err(Error::NothingToDo),
        (Status::CommandFailed, status) if side == Side::Here => {
            Err(Error::Command(status.unwrap_or(Ended::Unknown.number())))
        }
        (Status::CommandFailed, status) => Err(Error::Run(RunError::FarCommand(status))),
        _ => Err(Error::Items(*ending)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Fault;
    use crate::transfer::messages::ItemOutcome;
    use crate::transfer::outcome::Tally;
    use crate::transfer::status::Counts;

    #[test]
    fn what_was_there_before_is_success_and_nothing_at_all_is_not() {
        let nothing = Ending::of_tally(Status::NothingToDo, &Tally::default(), None);
        assert!(matches!(verdict(&nothing, Side::There), Err(Error::NothingToDo)));
        let counts = Counts { exists: 2, ..Counts::default() };
        assert!(verdict(&Ending { counts, ..nothing }, Side::There).is_ok());
        assert!(verdict(&Ending::of_stream(ItemOutcome::Exists, None, Side::There), Side::There).is_ok());
    }

    #[test]
    fn a_failed_command_is_told_on_both_sides_with_its_status() {
        let ending = Ending::of_stream(ItemOutcome::Committed, Some(3), Side::Here);
        assert!(matches!(verdict(&ending, Side::Here), Err(Error::Command(3))));
        assert!(matches!(verdict(&ending, Side::There), Err(Error::Run(RunError::FarCommand(Some(3))))));
    }

    #[test]
    fn a_stream_that_was_not_taken_is_never_a_success() {
        for outcome in [ItemOutcome::Refused(Fault::TooLarge), ItemOutcome::Failed(Fault::Cancelled)] {
            assert!(matches!(
                verdict(&Ending::of_stream(outcome, None, Side::There), Side::There),
                Err(Error::Items(_))
            ));
        }
    }
}
