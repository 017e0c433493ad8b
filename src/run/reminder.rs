//! When a tool that waits says so again: after 10 s, then at pauses that double up to an hour.

use std::time::{Duration, Instant};

/// Nobody was met for so long: that is worth a line.
const REMINDER_FIRST: Duration = Duration::from_secs(10);
/// The pause doubles with each line, up to this.
const REMINDER_MAX: Duration = Duration::from_secs(60 * 60);

/// When to say once more that nobody was met yet: after a while, then rarely.
pub(super) struct Reminder {
    at: Instant,
    pause: Duration,
}

impl Reminder {
    /// From now on.
    pub(super) fn new(now: Instant) -> Reminder {
        Reminder { at: now + REMINDER_FIRST, pause: REMINDER_FIRST }
    }

    /// When it is due.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// Whether it is due, and so is due again later.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if now < self.at {
            return false;
        }
        self.pause = self.pause.saturating_mul(2).min(REMINDER_MAX);
        self.at = now + self.pause;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_soon_and_then_rarely() {
        let start = Instant::now();
        let mut reminder = Reminder::new(start);
        assert!(!reminder.take(start + REMINDER_FIRST / 2));
        let mut pauses = Vec::new();
        let mut now = start;
        for _ in 0..12 {
            pauses.push((reminder.at() - now).as_secs());
            now = reminder.at();
            assert!(reminder.take(now) && !reminder.take(now));
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
    }
}
