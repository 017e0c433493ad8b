//! How long what waits in a queue has waited, in three numbers, however much it is.

use std::time::{Duration, Instant};

/// See the module. It tells less than the true time, and at least half of it.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    /// Bytes that have left.
    gone: u64,
    /// What waited at `since` ends at this count.
    until: u64,
    since: Option<Instant>,
}

impl Wait {
    /// `gone` bytes have left and `left` wait now.
    pub(crate) fn set(&mut self, now: Instant, gone: usize, left: usize) {
        let count = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        self.gone = self.gone.saturating_add(count(gone));
        if left == 0 {
            self.since = None;
        } else if self.since.is_none() || self.gone >= self.until {
            self.since = Some(now);
            self.until = self.gone.saturating_add(count(left));
        }
    }

    /// What waited so long ago still waits, in part.
    pub(crate) fn lasts(&self, now: Instant, time: Duration) -> bool {
        self.since.is_some_and(|since| now >= since + time)
    }

    /// Since when something waits, if anything does.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_does_not_hide_how_long_the_others_have_waited() {
        let (mut now, mut left) = (Instant::now(), 100_000);
        let (mut wait, second) = (Wait::default(), Duration::from_secs(1));
        wait.set(now, 0, left);
        for _ in 0..9 {
            now += second;
            left -= 1;
            wait.set(now, 1, left);
            left += 1;
            wait.set(now, 0, left);
        }
        assert!(wait.lasts(now, 9 * second) && !wait.lasts(now, 10 * second));
        wait.set(now, left, 0);
        assert!(!wait.lasts(now + 9 * second, Duration::ZERO) && wait.since().is_none());
    }

    #[test]
    fn a_queue_that_is_never_empty_and_passes_on_what_comes_does_not_wait_long() {
        let mut now = Instant::now();
        let mut wait = Wait::default();
        wait.set(now, 0, 1000);
        for _ in 0..100 {
            now += Duration::from_millis(100);
            // A tenth leaves and as much comes: a byte stays for a second.
            wait.set(now, 100, 900);
            wait.set(now, 0, 1000);
            assert!(!wait.lasts(now, Duration::from_millis(1001)));
        }
    }
}
