//! Why an import does not work, as far as that is known.

use super::error::Error;
use crate::node::Failure;
use crate::run::tool::RunError;
use crate::session::SessionError;
use crate::wire::CloseCode;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportFailure {
    /// There is no session, and why.
    Unmet(Failure),
    /// The far side said so with this code, of the session or of a probe.
    Said(CloseCode),
    /// The session came to a bad end.
    Broken(SessionError),
}

impl ImportFailure {
    /// Whether nobody is there, or not any more: then there is nobody either who says what is wrong.
    pub(crate) fn is_absence(self) -> bool {
        self.is_departure() || matches!(self, ImportFailure::Unmet(Failure::PeerAbsent | Failure::NotServed))
    }

    /// Whether the far side's process has ended. That breaks off connections, and nothing else.
    pub(crate) fn is_departure(self) -> bool {
        matches!(
            self,
            ImportFailure::Unmet(Failure::SessionGone) | ImportFailure::Said(CloseCode::GoingAway | CloseCode::Done)
        )
    }
}

impl From<ImportFailure> for RunError {
    fn from(why: ImportFailure) -> RunError {
        match why {
            ImportFailure::Unmet(failure) => RunError::Node(failure),
            ImportFailure::Said(code) => RunError::PeerClosed(code),
            ImportFailure::Broken(error) => error.into(),
        }
    }
}

impl From<ImportFailure> for Error {
    fn from(why: ImportFailure) -> Error {
        Error::Run(why.into())
    }
}
