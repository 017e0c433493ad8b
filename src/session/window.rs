//! A credit window that grows to the path and never shrinks.

use super::TELL_MAX;
use crate::wire::throughput::Throughput;
use std::time::{Duration, Instant};

/// A window grows to so many times its first size whatever the round trip.
const FREE_GROWTH: u64 = 4;
/// A window is so many times what was consumed in a round trip: one is under way, one is ahead of it while the path speeds
/// up, and one makes up for credit that is not told yet and for bursts.
const ROUND_TRIPS: u64 = 3;

/// How far a sender may run ahead of a consumer.
#[derive(Debug)]
pub struct Window {
    size: u64,
    freely: u64,
    max: u64,
    throughput: Throughput,
    counted: u64,
}

impl Window {
    pub fn new(now: Instant, start: u64, max: u64) -> Window {
        Window { size: start, freely: FREE_GROWTH * start, max, throughput: Throughput::new(now), counted: 0 }
    }

    /// `consumed` bytes in all. A small window doubles when half of it went through; a large one that no path needs would
    /// only spread bytes under way over more memory than caches hold, and so costs a tenth of the processor time.
    pub fn handle_consumed(&mut self, now: Instant, round_trip: Option<Duration>, consumed: u64) {
        let more = consumed.saturating_sub(self.counted);
        let measured = round_trip.map_or(0, |trip| self.throughput.handle_bytes(now, trip, more).bytes);
        self.counted = consumed;
        let free = if consumed >= self.size / 2 { (self.size * 2).min(self.freely) } else { 0 };
        self.size = measured.saturating_mul(ROUND_TRIPS).max(free).min(self.max).max(self.size);
    }

    /// `lost` bytes count as consumed that nobody consumed.
    pub fn skip(&mut self, lost: u64) {
        self.counted += lost;
    }

    /// Grows no further than to this. What was granted stays.
    pub fn cap(&mut self, max: u64) {
        self.max = max;
    }

    /// What was granted is taken up by what nobody consumes. Double it, for the others.
    pub fn widen(&mut self) {
        self.size = (self.size * 2).min(self.max).max(self.size);
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The count that was `told` is `now` so far ahead that the sender should hear of it.
    pub fn worth_telling(&self, told: u64, now: u64) -> bool {
        now - told >= (self.size / 4).min(TELL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_only_while_it_is_the_limit() {
        let start = Instant::now();
        let trip = Some(Duration::from_millis(50));
        let at = |trips: u32| start + trips * Duration::from_millis(50);
        let mut window = Window::new(start, 256, 4096);
        window.handle_consumed(at(10), None, 127);
        assert_eq!(window.size(), 256);
        window.handle_consumed(at(10), None, 128);
        assert_eq!(window.size(), 512, "small");
        window.handle_consumed(at(20), trip, 400);
        assert_eq!(window.size(), 1024, "small");
        window.handle_consumed(at(30), trip, 1400);
        assert_eq!(window.size(), 1024, "the consumer was the limit: 100 in a round trip");
        window.handle_consumed(at(31), trip, 2400);
        assert_eq!(window.size(), 3000);
        window.handle_consumed(at(32), trip, 6400);
        assert_eq!(window.size(), 4096, "never beyond its cap");
        window.cap(512);
        window.handle_consumed(at(33), trip, 10_400);
        assert_eq!(window.size(), 4096, "what was granted stays");
        window.widen();
        assert_eq!(window.size(), 4096);
    }

    #[test]
    fn an_unknown_round_trip_lets_it_grow_little() {
        let now = Instant::now();
        let mut window = Window::new(now, 256, 1 << 20);
        (1..100).for_each(|n| window.handle_consumed(now, None, n * 1000));
        assert_eq!(window.size(), 1024);
    }
}
