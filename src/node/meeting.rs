//! How long to wait for a relay and for the peer, and when that is over.

use super::Wait;
use std::time::{Duration, Instant};

/// A listener that does not wait gives callers the relay has parked so long to come in.
const CALLERS_TIME: Duration = Duration::from_secs(1);

/// Whoever does not wait gives a peer that it has reached so long to turn to it.
const SERVED_TIME: Duration = Duration::from_secs(10);

/// The wait for the first session of this process.
pub(super) struct Meeting {
    wait: Wait,
    born: Instant,
    met: bool,
    listening_since: Option<Instant>,
    reached_at: Option<Instant>,
    over: bool,
}

impl Meeting {
    pub(super) fn new(now: Instant, wait: Wait) -> Meeting {
        Meeting { wait, born: now, met: false, listening_since: None, reached_at: None, over: false }
    }

    /// The peer that was called has a session with us. It may have others to serve first.
    pub(super) fn handle_reached(&mut self, now: Instant) {
        self.reached_at = Some(now);
    }

    /// There is a session, and whoever was called has turned to it.
    pub(super) fn handle_met(&mut self) {
        self.met = true;
    }

    /// Whether there ever was a session.
    pub(super) fn has_met(&self) -> bool {
        self.met
    }

    /// Callers find us.
    pub(super) fn handle_listening(&mut self, now: Instant) {
        self.listening_since.get_or_insert(now);
    }

    /// Somebody is on the way in: whoever does not wait gives them time.
    pub(super) fn prolong(&mut self, now: Instant) {
        self.listening_since = Some(now);
    }

    /// Whether each relay is tried once, and the peer is there or not.
    pub(super) fn is_hasty(&self) -> bool {
        self.wait == Wait::No
    }

    /// Nothing more can come of this node. True if that is news.
    pub(super) fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.over, true)
    }

    /// Whether nothing more can come of this node.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Until when to wait.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.wait {
            _ if self.met || self.over => None,
            Wait::AtMost(time) => Some(self.born + time),
            Wait::No => {
                let callers = self.listening_since.map(|since| since + CALLERS_TIME);
                callers.or(self.reached_at.map(|at| at + SERVED_TIME))
            }
            Wait::Forever => None,
        }
    }

    /// For how many milliseconds a call may wait at the relay.
    pub(super) fn wait_ms(&self, now: Instant) -> u32 {
        match self.wait {
            Wait::No => 0,
            // Who was met is waited for as long as the tool likes.
            Wait::Forever | Wait::AtMost(_) if self.met => u32::MAX,
            Wait::Forever => u32::MAX,
            Wait::AtMost(time) => {
                let left = (self.born + time).saturating_duration_since(now);
                u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wait_ends_at_its_time_unless_somebody_was_met() {
        let now = Instant::now();
        let mut meeting = Meeting::new(now, Wait::AtMost(60 * SECOND));
        assert_eq!(meeting.deadline(), Some(now + 60 * SECOND));
        assert_eq!(meeting.wait_ms(now + 59 * SECOND), 1000);
        assert_eq!(meeting.wait_ms(now + 61 * SECOND), 1, "0 would mean not to wait");
        meeting.handle_met();
        assert_eq!(meeting.deadline(), None);
        assert_eq!(meeting.wait_ms(now + 61 * SECOND), u32::MAX, "the relay need not be asked again and again");
    }

    #[test]
    fn a_hasty_listener_waits_from_when_callers_find_it() {
        let now = Instant::now();
        let mut meeting = Meeting::new(now, Wait::No);
        assert_eq!(meeting.deadline(), None);
        meeting.handle_listening(now + SECOND);
        meeting.handle_listening(now + 2 * SECOND);
        assert_eq!(meeting.deadline(), Some(now + SECOND + CALLERS_TIME));
        meeting.prolong(now + 3 * SECOND);
        assert_eq!(meeting.deadline(), Some(now + 3 * SECOND + CALLERS_TIME));
    }

    #[test]
    fn a_hasty_caller_gives_whom_it_has_reached_time_to_turn_to_it() {
        let now = Instant::now();
        let mut meeting = Meeting::new(now, Wait::No);
        meeting.handle_reached(now + SECOND);
        assert_eq!(meeting.deadline(), Some(now + SECOND + SERVED_TIME));
        meeting.handle_met();
        assert_eq!(meeting.deadline(), None);
    }

    #[test]
    fn the_end_is_news_once() {
        let mut meeting = Meeting::new(Instant::now(), Wait::AtMost(SECOND));
        assert!(meeting.end() && !meeting.end());
        assert!(meeting.is_over() && meeting.deadline().is_none());
    }
}
