//! When each session next has something to do, in order of time.
//!
//! They are in a tree, and not in a heap: a session that works moves its timer again and again, and a heap would keep each time
//! that was true once until it has come. So there is one entry a session, and looking for the first that is true passes over
//! no others than those of sessions that are being looked at.

use super::Key;
use std::collections::BTreeSet;
use std::time::Instant;

/// When one session has something to do, as far as [`Timers`] knows.
#[derive(Default)]
pub(super) struct Timer(Option<Instant>);

impl Timer {
    /// Whether it goes off no later than that.
    pub(super) fn is_by(&self, at: Instant) -> bool {
        self.0.is_some_and(|set| set <= at)
    }
}

/// The timers of all sessions. Each session keeps its own [`Timer`], so that none is looked up.
#[derive(Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Instant, Key)>,
}

impl Timers {
    /// Moves the timer of a session.
    pub(super) fn set(&mut self, key: Key, timer: &mut Timer, to: Option<Instant>) {
        if timer.0 == to {
            return;
        }
        if let Some(at) = timer.0 {
            self.by_time.remove(&(at, key));
        }
        if let Some(at) = to {
            self.by_time.insert((at, key));
        }
        timer.0 = to;
    }

    /// The first time, but for sessions of which it may no more be true.
    pub(super) fn first(&self, is_true: impl Fn(Key) -> bool) -> Option<Instant> {
        self.by_time.iter().find(|(_, key)| is_true(*key)).map(|(at, _)| *at)
    }

    /// The sessions that have something to do by `now`.
    pub(super) fn due(&self, now: Instant) -> impl Iterator<Item = Key> {
        self.by_time.iter().take_while(move |(at, _)| *at <= now).map(|(_, key)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_timer_moves_and_goes_and_the_first_that_is_true_counts() {
        let now = Instant::now();
        let [soon, late] = [1, 2].map(|seconds| now + Duration::from_secs(seconds));
        let (mut timers, mut one, mut other) = (Timers::default(), Timer::default(), Timer::default());
        timers.set(Key(1), &mut one, Some(late));
        timers.set(Key(2), &mut other, Some(late));
        timers.set(Key(1), &mut one, Some(soon));
        assert_eq!((timers.first(|_| true), timers.first(|key| key != Key(1))), (Some(soon), Some(late)));
        assert_eq!(timers.due(soon).collect::<Vec<_>>(), [Key(1)]);
        assert_eq!(timers.due(late).collect::<Vec<_>>(), [Key(1), Key(2)]);
        timers.set(Key(1), &mut one, None);
        timers.set(Key(2), &mut other, None);
        assert_eq!(timers.first(|_| true), None);
    }
}
