//! The window of one direction of a circuit: what a client may send ahead of what its peer's connection has taken.
//!
//! It becomes a few times what comes in during a round trip to the client; and it grows only while little of that waits
//! here, for a queue means that the other side is slower, and a larger window would only lengthen it. More would cost more
//! than memory: what is under way would no longer fit the caches that it passes through.
//!
//! A window beyond [`COVERED`] is more than the relay would hold. It is given to a path where bytes flow, in steps that
//! leave room for what waits when they were too many, and is taken back when the circuit gets congested all the same.

use super::throughput::Throughput;
use crate::wire::limits::{CIRCUIT_WINDOW_MAX, CIRCUIT_WINDOW_START};
use std::time::{Duration, Instant};

/// To this it grows in one step, however short the round trip, bytes: two DATA frames at each end of a short path.
const GROWS_FREELY: u32 = 512 * 1024;
/// It is so many times what comes in during a round trip: one is under way, one is ahead of it while the path speeds up, and
/// one makes up for credit that is not told yet and for bursts.
const ROUND_TRIPS: u32 = 3;
/// The largest window of which everything may wait here without congestion, if nothing waits in the other direction, bytes.
pub(crate) const COVERED: u32 = 6 * 1024 * 1024;
/// The largest step beyond that, in a round trip, bytes.
const STEP_MAX: u32 = 2 * 1024 * 1024;
/// A window that grows has no more than this waiting here, bytes.
const WAITING_MAX: u32 = 1024 * 1024;

// The queue that a step leads to shows a round trip later, when the next step may have been taken.
const _: () = assert!(2 * STEP_MAX + WAITING_MAX < COVERED);

/// Whether windows may grow now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Memory is ample.
    Allowed,
    /// Up to [`COVERED`].
    Covered,
    /// Not at all.
    Stopped,
}

/// See the module. Counts are absolute and wrap at 2^32.
#[derive(Debug)]
pub(crate) struct Window {
    bytes: u32,
    /// The shortest time from a grant to bytes that needed it: the round trip to the client.
    round_trip: Option<Duration>,
    /// A grant under observation: bytes beyond this count need it, and when it was made.
    timed: Option<(u32, Instant)>,
    throughput: Throughput,
    /// What the path carried in the last whole period, bytes.
    carried: u32,
    /// Bytes that came in since the throughput was last taken.
    arrived: u32,
    /// Bytes that went on, all told or as many as fit.
    passed: u32,
}

impl Window {
    /// The window of a fresh circuit.
    pub(crate) fn new(now: Instant) -> Window {
        let throughput = Throughput::new(now);
        Window {
            bytes: CIRCUIT_WINDOW_START,
            round_trip: None,
            timed: None,
            throughput,
            carried: 0,
            arrived: 0,
            passed: 0,
        }
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    #[cfg(test)]
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The client is told that it may go beyond `before`, its last grant.
    pub(crate) fn handle_granted(&mut self, now: Instant, before: u32) {
        self.timed.get_or_insert((before, now));
    }

    /// The client has sent `bytes` more, `received` in all.
    pub(crate) fn handle_received(&mut self, now: Instant, bytes: u32, received: u32) {
        self.arrived = self.arrived.saturating_add(bytes);
        let used = |(before, _): &mut (u32, Instant)| before.wrapping_sub(received) > i32::MAX.unsigned_abs();
        if let Some((_, granted)) = self.timed.take_if(used) {
            let sample = now.duration_since(granted);
            self.round_trip = Some(self.round_trip.map_or(sample, |shortest| shortest.min(sample)));
        }
    }

    /// `freed` more bytes went on to the other side and `waiting` are still here: grows if the path calls for it.
    pub(crate) fn handle_freed(&mut self, now: Instant, freed: u32, waiting: u32, growth: Growth) {
        self.passed = self.passed.saturating_add(freed);
        // Not what was freed: a queue that drains says nothing of the path to the client.
        let arrived = u64::from(std::mem::take(&mut self.arrived));
        let Some(round_trip) = self.round_trip else { return };
        let measured = self.throughput.handle_bytes(now, round_trip, arrived);
        // A burst may have come in while much of it still waits, and may grow the window when that is gone.
        let carried = u32::try_from(measured.bytes).unwrap_or(u32::MAX);
        let most_carried = carried.max(self.carried);
        if measured.ends_period {
            self.carried = carried;
        }
        if growth == Growth::Stopped || waiting > (self.bytes / 4).min(WAITING_MAX) {
            return;
        }
        let free = if self.passed >= self.bytes { GROWS_FREELY } else { 0 };
        let wanted = match growth {
            _ if self.bytes < COVERED => most_carried.saturating_mul(ROUND_TRIPS).max(free).min(COVERED),
            Growth::Allowed if measured.ends_period => {
                // No more than half as much again: beyond that it is not the window that holds back.
                most_carried.saturating_add(most_carried / 2).min(self.bytes + STEP_MAX).min(CIRCUIT_WINDOW_MAX)
            }
            _ => return,
        };
        self.bytes = self.bytes.max(wanted);
    }

    /// The client is held to a rate from now on: as at the start.
    pub(crate) fn restart(&mut self) {
        self.bytes = self.bytes.min(CIRCUIT_WINDOW_START);
    }

    /// The circuit holds too much. Half of what is covered, for the other direction may need as much.
    pub(crate) fn shrink(&mut self) {
        self.bytes = self.bytes.min(COVERED / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(50);

    /// A client that always sends all it may, over a path of a given rate and round trip; `waiting` bytes of it stay here.
    struct Path {
        now: Instant,
        window: Window,
        received: u32,
    }

    impl Path {
        fn new() -> Path {
            let now = Instant::now();
            Path { now, window: Window::new(now), received: 0 }
        }

        /// A window's worth, in pieces of a read.
        fn round(&mut self, bytes_per_ms: u32, round_trip: Duration, waiting: u32) {
            self.window.handle_granted(self.now, self.received);
            let began = self.now;
            let mut left = self.window.bytes();
            self.now += round_trip;
            while left > 0 {
                let piece = left.min(256 * 1024);
                self.now += Duration::from_micros(u64::from(piece) * 1000 / u64::from(bytes_per_ms));
                self.received = self.received.wrapping_add(piece);
                self.window.handle_received(began + round_trip, piece, self.received);
                self.window.handle_freed(self.now, piece, waiting, Growth::Allowed);
                left -= piece;
            }
        }

        fn after_a_while(bytes_per_ms: u32, round_trip: Duration) -> u32 {
            let mut path = Path::new();
            for _ in 0..64 {
                path.round(bytes_per_ms, round_trip, 0);
            }
            path.window.bytes()
        }
    }

    #[test]
    fn a_window_is_a_few_times_what_the_path_carries_in_a_round_trip() {
        assert_eq!(Path::after_a_while(4_000_000, TRIP), CIRCUIT_WINDOW_MAX);
        assert_eq!(Path::after_a_while(2_000_000, Duration::from_micros(50)), GROWS_FREELY);
        for (rate, trip) in [(100_000, 10), (20_000, 50), (10_000, 100)] {
            let carried = rate * trip;
            let window = Path::after_a_while(rate, Duration::from_millis(u64::from(trip)));
            assert!((carried * 2..=carried * 7 / 2).contains(&window), "{window} for {carried}");
        }
    }

    #[test]
    fn a_window_that_is_more_than_memory_covers_grows_in_steps_and_not_while_bytes_wait() {
        let mut path = Path::new();
        let mut before = path.window.bytes();
        for _ in 0..30 {
            path.round(4_000_000, TRIP, 0);
            assert!(path.window.bytes() <= before.max(COVERED) + STEP_MAX, "{before} to {}", path.window.bytes());
            before = path.window.bytes();
        }
        assert_eq!(before, CIRCUIT_WINDOW_MAX);
        path.window.shrink();
        assert_eq!(path.window.bytes(), COVERED / 2);
        path.round(4_000_000, TRIP, WAITING_MAX + 1);
        assert_eq!(path.window.bytes(), COVERED / 2);
        path.round(4_000_000, TRIP, COVERED / 8);
        assert_eq!(path.window.bytes(), COVERED);
        path.window.handle_freed(path.now + TRIP, COVERED, 0, Growth::Covered);
        assert_eq!(path.window.bytes(), COVERED);
        path.round(4_000_000, TRIP, WAITING_MAX);
        path.round(4_000_000, TRIP, WAITING_MAX);
        assert!(path.window.bytes() > COVERED);
    }

    #[test]
    fn bytes_that_pile_up_and_grants_that_nobody_uses_let_nothing_grow() {
        let mut path = Path::new();
        for _ in 0..20 {
            path.round(100_000, TRIP, CIRCUIT_WINDOW_START / 2);
        }
        assert_eq!(path.window.bytes(), CIRCUIT_WINDOW_START);
        let now = Instant::now();
        let mut window = Window::new(now);
        window.handle_granted(now, 1000);
        window.handle_received(now, 1000, 1000);
        assert_eq!(window.round_trip, None, "not beyond the grant");
        window.handle_received(now + Duration::from_millis(7), 1, 1001);
        assert_eq!(window.round_trip, Some(Duration::from_millis(7)));
    }
}
