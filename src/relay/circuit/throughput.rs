//! How much a path carries in a round trip, seen from the end where bytes come out: the measure for credit windows.

use std::time::{Duration, Instant};

/// Least time to take a rate over: on a short path what two reads bring would pass for much more than the path carries.
const PERIOD_MIN: Duration = Duration::from_millis(5);

/// Bytes that came through in a period of a round trip, or of the least time if that is longer.
#[derive(Debug)]
pub(crate) struct Throughput {
    bytes: u64,
    since: Instant,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    /// The path carries so many bytes in a round trip, if not more.
    pub bytes: u64,
    /// A period has ended with this.
    pub ends_period: bool,
}

impl Throughput {
    /// Nothing has come through yet.
    pub(crate) fn new(now: Instant) -> Throughput {
        Throughput { bytes: 0, since: now }
    }

    /// More bytes came through. A burst counts at once; an average only counts less than that.
    pub(crate) fn handle_bytes(&mut self, now: Instant, round_trip: Duration, more: u64) -> Measured {
        self.bytes = self.bytes.saturating_add(more);
        let elapsed = now.duration_since(self.since);
        let period = round_trip.max(PERIOD_MIN);
        let over = elapsed.max(period).as_nanos();
        // 2^64 bytes of 2^64 nanoseconds, 584 years, still fit. Never more than all bytes.
        let bytes = u128::from(self.bytes) * round_trip.as_nanos() / over;
        let measured = Measured { bytes: u64::try_from(bytes).unwrap_or(u64::MAX), ends_period: elapsed >= period };
        if measured.ends_period {
            *self = Throughput::new(now);
        }
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_counts_at_once_and_a_pause_makes_it_little() {
        let (start, trip) = (Instant::now(), Duration::from_millis(50));
        let mut throughput = Throughput::new(start);
        let burst = throughput.handle_bytes(start + trip / 10, trip, 1000);
        assert_eq!(burst, Measured { bytes: 1000, ends_period: false });
        assert_eq!(throughput.handle_bytes(start + trip / 5, trip, 500).bytes, 1500);
        let later = throughput.handle_bytes(start + trip * 100, trip, 500);
        assert_eq!(later, Measured { bytes: 20, ends_period: true });
        assert_eq!(throughput.handle_bytes(start + trip * 100, trip, 7).bytes, 7, "a new period");
    }

    #[test]
    fn on_a_short_path_what_comes_in_bursts_is_averaged() {
        let (start, trip) = (Instant::now(), Duration::from_micros(50));
        let mut throughput = Throughput::new(start);
        // 500 bytes in 5 ms are 5 in 50 us.
        assert_eq!(throughput.handle_bytes(start + trip, trip, 500).bytes, 5);
        assert!(!throughput.handle_bytes(start + trip * 99, trip, 0).ends_period);
        assert!(throughput.handle_bytes(start + trip * 100, trip, 0).ends_period);
    }
}
