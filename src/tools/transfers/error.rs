//! Why a sender or receiver ends without success.

use super::Ending;
use crate::run::tool::RunError;
use crate::session::SessionError;
use crate::transfer::TransferError;

/// See the module's text.
#[derive(Debug)]
pub enum Error {
    /// As any tool may.
    Run(RunError),
    /// The sender's process was gone and its peer began anew, after a part had gone to standard output.
    BegunAnew,
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
