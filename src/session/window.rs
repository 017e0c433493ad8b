//! A credit window that grows to the path and never shrinks.

use std::time::{Duration, Instant};

/// How far a sender may run ahead of a consumer.
#[derive(Debug)]
pub struct Window {
    size: u64,
    max: u64,
    epoch_began: Instant,
    epoch_offset: u64,
}

impl Window {
    pub fn new(now: Instant, start: u64, max: u64) -> Window {
        Window { size: start, max, epoch_began: now, epoch_offset: 0 }
    }

    /// Half the window went through within two round trips: the window, not the consumer, was the limit. Double it.
    pub fn handle_consumed(&mut self, now: Instant, round_trip: Duration, consumed: u64) {
        if consumed - self.epoch_offset < self.size / 2 {
            return;
        }
        if now.duration_since(self.epoch_began) < 2 * round_trip {
            self.size = (self.size * 2).min(self.max);
        }
        self.epoch_began = now;
        self.epoch_offset = consumed;
    }

    /// What was granted is taken up by what nobody consumes. Double it, for the others.
    pub fn widen(&mut self) {
        self.size = (self.size * 2).min(self.max);
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Enough was consumed since `told` that the sender should hear of it now.
    pub fn worth_telling(&self, told: u64, consumed: u64) -> bool {
        consumed - told >= self.size / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_only_while_it_is_the_limit() {
        let start = Instant::now();
        let trip = Duration::from_millis(50);
        let mut window = Window::new(start, 256, 1024);
        window.handle_consumed(start + trip, trip, 128);
        assert_eq!(window.size(), 512);
        window.handle_consumed(start + 10 * trip, trip, 384);
        assert_eq!(window.size(), 512, "the consumer was the limit");
        window.handle_consumed(start + 11 * trip, trip, 640);
        window.handle_consumed(start + 12 * trip, trip, 1200);
        assert_eq!(window.size(), 1024, "never beyond its cap");
    }
}
