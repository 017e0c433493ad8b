//! A credit window that grows to the path and never shrinks.

use std::time::{Duration, Instant};

/// A window is told at the latest when so much of it is free, bytes: what is not told is missing from it.
const TELL_MAX: u64 = 2 * 1024 * 1024;
/// A window grows to so many times its first size whatever the round trip.
const FREE_GROWTH: u64 = 4;

/// How far a sender may run ahead of a consumer.
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    freely: u64,
    max: u64,
    epoch_began: Instant,
    epoch_offset: u64,
}

impl Window {
    pub(super) fn new(now: Instant, start: u64, max: u64) -> Window {
        Window { size: start, freely: FREE_GROWTH * start, max, epoch_began: now, epoch_offset: 0 }
    }

    /// Half the window went through within two round trips: the window, not the consumer, was the limit. Double it. A small
    /// window doubles anyway; a large one that no path needs would only spread bytes under way over more memory than caches
    /// hold, and so costs a tenth of the processor time. `may` is asked whether it may grow by so many bytes.
    pub(super) fn handle_consumed(
        &mut self,
        now: Instant,
        round_trip: Option<Duration>,
        consumed: u64,
        may: impl FnOnce(u64) -> bool,
    ) {
        if consumed.saturating_sub(self.epoch_offset) < self.size / 2 {
            return;
        }
        if self.size < self.freely || round_trip.is_some_and(|trip| now.duration_since(self.epoch_began) < 2 * trip) {
            self.widen(may);
        }
        self.epoch_began = now;
        self.epoch_offset = consumed;
    }

    /// `lost` bytes count as consumed that nobody consumed.
    pub(super) fn skip(&mut self, lost: u64) {
        self.epoch_offset += lost;
    }

    /// Grows no further than to this. What was granted stays.
    pub(super) fn cap(&mut self, max: u64) {
        self.max = max;
    }

    /// Doubles the window, as far as its cap lets it and if it `may`. Yields whether it grew.
    pub(super) fn widen(&mut self, may: impl FnOnce(u64) -> bool) -> bool {
        let step = (self.size * 2).min(self.max).saturating_sub(self.size);
        let grows = step > 0 && may(step);
        self.size += if grows { step } else { 0 };
        grows
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The count that was `told` is `now` so far ahead that the sender should hear of it.
    pub(super) fn worth_telling(&self, told: u64, now: u64) -> bool {
        now - told >= (self.size / 4).min(TELL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_only_while_it_is_the_limit() {
        let start = Instant::now();
        let trip = Duration::from_millis(50);
        let mut window = Window::new(start, 256, 2048);
        window.handle_consumed(start + 10 * trip, Some(trip), 128, |_| true);
        assert_eq!(window.size(), 512, "small");
        window.handle_consumed(start + 20 * trip, Some(trip), 400, |_| true);
        assert_eq!(window.size(), 1024, "small");
        window.handle_consumed(start + 30 * trip, Some(trip), 1000, |_| true);
        assert_eq!(window.size(), 1024, "the consumer was the limit");
        window.handle_consumed(start + 31 * trip, Some(trip), 2000, |_| true);
        assert_eq!(window.size(), 2048);
        window.handle_consumed(start + 32 * trip, Some(trip), 4000, |_| true);
        assert_eq!(window.size(), 2048, "never beyond its cap");
        window.cap(512);
        window.handle_consumed(start + 33 * trip, Some(trip), 8000, |_| true);
        assert_eq!(window.size(), 2048, "what was granted stays");
    }

    #[test]
    fn a_window_that_may_not_grow_asks_again() {
        let now = Instant::now();
        let mut window = Window::new(now, 256, 700);
        let mut asked = Vec::new();
        for (consumed, may) in [(128, false), (256, true), (512, true), (1024, true)] {
            window.handle_consumed(now, Some(Duration::from_millis(50)), consumed, |step| {
                asked.push(step);
                may
            });
        }
        assert_eq!((asked, window.size()), (vec![256, 256, 188], 700));
    }

    #[test]
    fn what_nobody_will_consume_lets_no_window_grow() {
        let now = Instant::now();
        for (skipped, size) in [(0, 512), (1000, 256)] {
            let mut window = Window::new(now, 256, 4096);
            window.skip(skipped);
            window.handle_consumed(now, Some(Duration::from_millis(50)), 1000 + 100, |_| true);
            assert_eq!(window.size(), size, "{skipped}");
        }
    }
}
