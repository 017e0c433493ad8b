//! How long the end of a session may take, a beginning that does not come, and what an end means.

use super::tool::RunError;
use crate::wire::CloseCode;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// A caller that has a path to us and says nothing for so long is holding a place that others wait for.
pub(crate) const GREETING_TIME: Duration = Duration::from_secs(30);
/// How a session ends: for so long at most the peer is waited for, which has to learn that we know of the end. Without a path
/// that could take for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// All there was to do is done, or has failed: a path that broke has time to come back.
    Settled,
    /// Somebody waits for us to end.
    Hasty,
    /// Somebody waits for us to end, and many sessions have to.
    OfMany,
    /// Nothing hangs on whether the peer learns of it: all that was asked for was an answer.
    Answered,
    /// The peer may no more call us.
    CastOut,
}

impl Farewell {
    /// Until when the peer is waited for.
    pub(crate) fn until(self, now: Instant) -> Instant {
        now + match self {
            Farewell::Settled => Duration::from_secs(15),
            Farewell::Hasty => Duration::from_secs(2),
            Farewell::OfMany => Duration::from_secs(3),
            Farewell::Answered => Duration::from_secs(1),
            Farewell::CastOut => Duration::from_millis(500),
        }
    }
}

/// A signal's number is added to this, as shells do.
pub(crate) const SIGNAL_BASE: i32 = 128;
/// A command that somebody told to end may have been told together with us, as a supervisor and a terminal do it. Our own
/// signal is waited for so long before the peer hears that the command failed: with it, we both are only going away.
const TOGETHER_TIME: Duration = Duration::from_millis(300);
/// The statuses of such a command, as shells count: by HUP, INT, QUIT, TERM.
const TOLD_TO_END: [i32; 4] = [129, 130, 131, 143];

/// The status of a process as one number, the way shells count: never 0 unless it succeeded.
pub(crate) fn status_number(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal)).unwrap_or(-1)
}

/// Until when the end of a command with this status is kept to ourselves, if it is.
pub(crate) fn held_until(now: Instant, status: i32) -> Option<Instant> {
    TOLD_TO_END.contains(&status).then(|| now + TOGETHER_TIME)
}

/// What it means that the peer closed the session by this number before its work was done.
pub(crate) fn closed_by_peer(number: u16) -> RunError {
    match CloseCode::status_in(number) {
        Some(status) => RunError::FarCommand(Some(status)),
        None => RunError::PeerClosed(CloseCode::from_wire(number)),
    }
}
