//! Why an import does not work, as far as that is known.

use super::error::Error;
use crate::node::Failure;
use crate::run::tool::RunError;
use crate::session::SessionError;
use crate::wire::CloseCode;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhyNot {
    /// There is no session, and why.
    Unmet(Failure),
    /// The far side said so with this code, of the session or of a probe.
    Said(CloseCode),
    /// The session came to a bad end.
    Broken(SessionError),
}

impl WhyNot {
    /// Whether nobody is there, or not any more: then there is nobody either who says what is wrong.
    pub(crate) fn is_absence(self) -> bool {
        self.is_departure() || matches!(self, WhyNot::Unmet(Failure::PeerAbsent | Failure::NotServed))
    }

    /// Whether the far side's process has ended. That breaks off connections, and nothing else.
    pub(crate) fn is_departure(self) -> bool {
        matches!(self, WhyNot::Unmet(Failure::SessionGone) | WhyNot::Said(CloseCode::GoingAway | CloseCode::Done))
    }
}

impl From<WhyNot> for RunError {
    fn from(why: WhyNot) -> RunError {
        match why {
            WhyNot::Unmet(failure) => RunError::Node(failure),
            WhyNot::Said(code) => RunError::PeerClosed(code),
            WhyNot::Broken(error) => error.into(),
        }
    }
}

impl From<WhyNot> for Error {
    fn from(why: WhyNot) -> Error {
        Error::Run(why.into())
    }
}
