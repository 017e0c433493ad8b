//! How long the end of a session may take, a beginning that does not come, and what an end means.

use super::tool::RunError;
use crate::wire::CloseCode;
use std::time::{Duration, Instant};

/// A caller that has a path to us and says nothing for so long is holding a place that others wait for.
pub(crate) const GREETING_TIME: Duration = Duration::from_secs(30);
/// Whether a caller that had until then to say something has a path to us and says nothing. Then, or without a path, it has as
/// long again.
pub(crate) fn is_silent(greet_by: &mut Instant, now: Instant, has_path: bool) -> bool {
    if now < *greet_by {
        return false;
    }
    *greet_by = now + GREETING_TIME;
    has_path
}

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

/// A command that somebody told to end may have been told together with us, as a supervisor and a terminal do it. Our own
/// signal is waited for so long before the peer hears that the command failed: with it, we both are only going away.
const TOGETHER_TIME: Duration = Duration::from_millis(300);
/// The statuses of such a command, as shells count: by HUP, INT, QUIT, TERM.
const TOLD_TO_END: [i32; 4] = [129, 130, 131, 143];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_with_a_path_has_so_long_to_say_something_and_one_without_as_long_again() {
        let now = Instant::now();
        let mut greet_by = now + GREETING_TIME;
        assert!(!is_silent(&mut greet_by, now + GREETING_TIME / 2, true));
        let later = now + GREETING_TIME;
        assert!(!is_silent(&mut greet_by, later, false) && !is_silent(&mut greet_by, later, true));
        assert!(is_silent(&mut greet_by, later + GREETING_TIME, true));
    }

    #[test]
    fn the_peer_is_waited_for_as_long_as_its_knowing_is_worth_to_whoever_waits() {
        let now = Instant::now();
        let times = [Farewell::Settled, Farewell::Hasty, Farewell::CastOut].map(|farewell| farewell.until(now) - now);
        assert_eq!(times, [15_000, 2000, 500].map(Duration::from_millis));
    }
}
