//! The names of close codes, as PROTOCOL.md has them, for whoever reads a log.

use crate::wire::CloseCode;

/// Its name.
pub(super) fn code_text(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Done => "Done",
        CloseCode::Waiting => "Waiting",
        CloseCode::NotHere => "NotHere",
        CloseCode::Refused => "Refused",
        CloseCode::Limit => "Limit",
        CloseCode::PeerGone => "PeerGone",
        CloseCode::GoingAway => "GoingAway",
        CloseCode::Protocol => "Protocol",
        CloseCode::Cancelled => "Cancelled",
        CloseCode::UnknownSession => "UnknownSession",
        CloseCode::Failed => "Failed",
        CloseCode::TargetRefused => "TargetRefused",
        CloseCode::TargetUnreachable => "TargetUnreachable",
    }
}
