//! How long a link has stood still for the sake of one circuit: an allowance that is used up at once or bit by bit, and comes
//! back slowly.
//!
//! A circuit that is granted more than the relay holds for it may have to leave its link unread, with the other circuits of
//! that link waiting behind. They are owed a bound, over one such event and over many.

use std::time::{Duration, Instant};

/// A link may stand still for so long at once. Longer than what a connection loses by a lost packet, much shorter than a
/// dead time.
const ALLOWANCE: Duration = Duration::from_secs(1);
/// It takes so many times as long to be forgotten.
const FORGOTTEN_AFTER: u32 = 20;
/// Where no other circuit waits, only heartbeats and new calls do: it counts this part of it.
const ALONE_PART: u32 = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Standstill {
    spent: Duration,
    state: State,
    at: Instant,
}

/// What a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is read.
    Moves,
    /// It is not read for the sake of its only circuit.
    StandsAlone,
    /// It is not read for the sake of one circuit, and others wait behind that.
    Stands,
}

impl Standstill {
    /// A link that has never stood still.
    pub(crate) fn new(now: Instant) -> Standstill {
        Standstill { spent: Duration::ZERO, state: State::Moves, at: now }
    }

    /// What the link does from now on. Saying the same again brings the count up to date.
    pub(crate) fn set(&mut self, now: Instant, state: State) {
        let elapsed = now.saturating_duration_since(self.at);
        let spent = match self.state {
            State::Moves => self.left(now),
            State::StandsAlone => self.spent + elapsed / ALONE_PART,
            State::Stands => self.spent + elapsed,
        };
        // Overdrawn, it comes back as slowly; but a thread that slept is no debt for ever.
        self.spent = spent.min(2 * ALLOWANCE);
        (self.at, self.state) = (now, state);
    }

    /// What is not forgotten of the time it once stood still.
    fn left(&self, now: Instant) -> Duration {
        if self.spent.is_zero() {
            return Duration::ZERO;
        }
        self.spent.saturating_sub(now.saturating_duration_since(self.at) / FORGOTTEN_AFTER)
    }

    /// Whether it stands still.
    pub(crate) fn stands(&self) -> bool {
        self.state != State::Moves
    }

    /// Whether the allowance is used up.
    pub(crate) fn is_used_up(&self) -> bool {
        self.spent >= ALLOWANCE
    }

    /// Whether it may be risked that the link stands still again: if it never did or that is long ago; where no other circuit
    /// would wait, also if much of the allowance is left.
    pub(crate) fn may_be_risked(&self, now: Instant, alone: bool) -> bool {
        let most = if alone { ALLOWANCE / 2 } else { Duration::ZERO };
        !self.stands() && self.left(now) <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stands_still_again_and_again_has_no_more_time_than_once() {
        let mut now = Instant::now();
        let mut link = Standstill::new(now);
        assert!(link.may_be_risked(now, false));
        let mut stood = 0;
        for millisecond in 0..100_000 {
            now += Duration::from_millis(1);
            // Nine tenths of the time, until it may no longer.
            let stands = millisecond % 10 > 0 && !link.is_used_up();
            link.set(now, if stands { State::Stands } else { State::Moves });
            stood += u32::from(stands);
            assert!(!link.may_be_risked(now, false) || millisecond < 2);
        }
        assert!((5_000..7_000).contains(&stood), "{stood} ms of 100 s");
        link.set(now, State::Moves);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(!link.may_be_risked(after(18), false) && link.may_be_risked(after(21), false));
        assert!(!link.may_be_risked(after(8), true) && link.may_be_risked(after(11), true));
    }

    #[test]
    fn where_nobody_waits_it_may_take_longer() {
        let now = Instant::now();
        let after = |millis| now + Duration::from_millis(millis);
        let mut link = Standstill::new(now);
        link.set(now, State::StandsAlone);
        link.set(after(3999), State::StandsAlone);
        assert!(!link.is_used_up());
        link.set(after(4000), State::StandsAlone);
        assert!(link.is_used_up());
    }
}
