//! The window of one direction of a circuit: what a client may send ahead of what its peer's connection has taken.
//!
//! It doubles while a whole window goes through in less than two round trips to the client, for then the window is what
//! holds the client back; and only while little of it waits here, for a queue means that the other side is slower, and a
//! larger window would only lengthen it. So it becomes two to four times what the path carries in a round trip. More would
//! cost more than memory: what is under way would no longer fit the caches that it passes through.

use crate::wire::limits::{CIRCUIT_WINDOW_MAX, CIRCUIT_WINDOW_START};
use std::time::{Duration, Instant};

/// Up to here it grows whatever the round trip, bytes: two DATA frames at each end of a short path.
const GROWS_FREELY: u32 = 512 * 1024;

/// Whether windows may grow now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Memory is ample.
    Allowed,
    /// Memory is short: windows stay as they are.
    Held,
}

/// See the module. Counts are absolute and wrap at 2^32.
#[derive(Debug)]
pub struct Window {
    bytes: u32,
    /// The shortest time from a grant to bytes that needed it: the round trip to the client.
    round_trip: Duration,
    /// A grant under observation: bytes beyond this count need it, and when it was made.
    timed: Option<(u32, Instant)>,
    /// Where, and when, the present window's worth began.
    began: (u32, Instant),
}

impl Window {
    /// The window of a fresh circuit.
    pub fn new(now: Instant) -> Window {
        Window { bytes: CIRCUIT_WINDOW_START, round_trip: Duration::MAX, timed: None, began: (0, now) }
    }

    /// Its size.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    #[cfg(test)]
    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// The client is told that it may go beyond `before`, its last grant.
    pub fn handle_granted(&mut self, now: Instant, before: u32) {
        self.timed.get_or_insert((before, now));
    }

    /// The client has sent `received` in all.
    pub fn handle_received(&mut self, now: Instant, received: u32) {
        let used = |(before, _): &mut (u32, Instant)| before.wrapping_sub(received) > i32::MAX.unsigned_abs();
        if let Some((_, granted)) = self.timed.take_if(used) {
            self.round_trip = self.round_trip.min(now.duration_since(granted));
        }
    }

    /// Grows if it is time to. `waiting` bytes of `received` are still here.
    pub fn grow(&mut self, now: Instant, received: u32, waiting: u32) {
        let (from, since) = self.began;
        if received.wrapping_sub(from) < self.bytes {
            return;
        }
        self.began = (received, now);
        let holds_back = self.bytes < GROWS_FREELY || now.duration_since(since) < self.round_trip.saturating_mul(2);
        if holds_back && waiting <= self.bytes / 4 {
            self.bytes = self.bytes.saturating_mul(2).min(CIRCUIT_WINDOW_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends windows over a path of a given rate and round trip, none of them waiting here; the size that comes out.
    fn after_a_while(bytes_per_ms: u32, round_trip: Duration) -> u32 {
        let mut now = Instant::now();
        let mut window = Window::new(now);
        let mut received = 0_u32;
        for _ in 0..64 {
            window.handle_granted(now, received);
            let sending = Duration::from_micros(u64::from(window.bytes()) * 1000 / u64::from(bytes_per_ms));
            now += sending.max(round_trip);
            received = received.wrapping_add(window.bytes());
            window.handle_received(now, received);
            window.grow(now, received, 0);
        }
        window.bytes()
    }

    #[test]
    fn a_long_path_has_the_largest_window_and_a_short_one_a_small_one() {
        assert_eq!(after_a_while(200_000, Duration::from_millis(50)), CIRCUIT_WINDOW_MAX);
        assert_eq!(after_a_while(2_000_000, Duration::from_micros(50)), GROWS_FREELY);
        let medium = after_a_while(100_000, Duration::from_millis(10));
        assert!((1_000_000..=4_000_000).contains(&medium), "{medium}");
    }

    #[test]
    fn bytes_that_pile_up_and_grants_that_nobody_uses_let_nothing_grow() {
        let now = Instant::now();
        let mut window = Window::new(now);
        for count in 1..20 {
            window.grow(now, count * CIRCUIT_WINDOW_START, CIRCUIT_WINDOW_START / 2);
        }
        assert_eq!(window.bytes(), CIRCUIT_WINDOW_START);
        window.handle_granted(now, 1000);
        window.handle_received(now, 1000);
        assert_eq!(window.round_trip, Duration::MAX, "not beyond the grant");
        window.handle_received(now + Duration::from_millis(7), 1001);
        assert_eq!(window.round_trip, Duration::from_millis(7));
    }
}
