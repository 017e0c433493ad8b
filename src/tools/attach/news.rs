//! What `vp-attach` has to say, and why it ends without success.

use crate::identity::PeerId;
use crate::run;
use crate::run::joint::Joined;
use crate::run::tool::RunError;
use crate::session::SessionError;

/// What a person may want to know while it happens.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// What every tool has to say.
    Run(run::News<'a>),
    /// A session of a tool that goes on ended with a fault.
    SessionFailed(PeerId, &'a Error),
    /// What was joined to this peer came to its end.
    Joined(PeerId, &'a str, &'a Joined<'a, Error>),
}

impl<'a> From<run::News<'a>> for News<'a> {
    fn from(news: run::News<'a>) -> News<'a> {
        News::Run(news)
    }
}

/// Why it ended without success.
#[derive(Debug)]
pub(crate) enum Error {
    /// As any tool may.
    Run(RunError),
    /// The program that a session was joined to failed, with this status.
    Command(i32),
    /// Standard output was closed by its reader.
    OutputGone,
    /// The peer was gone for so long that its place went to another.
    GaveWay,
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
