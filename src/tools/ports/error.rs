//! Why `vp-portrep` ends without success.

use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::child::Ended;
use crate::run::tool::RunError;
use crate::session::SessionError;
use std::io;

/// See the module's text.
#[derive(Debug)]
pub(crate) enum Error {
    /// As any tool may.
    Run(RunError),
    /// This application of a peer was not there, or did not do, when it had to.
    Import(PeerId, AppName, RunError),
    /// The command that was to be run could not be.
    CannotRun(io::Error),
    /// The command that was run ended like this, and not with success.
    Command(Ended),
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
