//! A link's allowance of bytes a second, for whatever comes in on it.
//!
//! While it is overdrawn, credit is held back. Reading goes on at first, so that heartbeats and control messages are not
//! stuck behind bytes for which there was credit. But messages need no credit, and each new circuit has some from the start. So
//! when it is overdrawn by more than the circuits that are open account for, the link is not read until that is paid.

use crate::wire::limits::CIRCUIT_WINDOW_START;
use std::time::{Duration, Instant};

/// What a link may be ahead of its rate: half a second of it. Overdrawing by one window is allowed, and paid back.
const BURST: Duration = Duration::from_millis(500);
/// By so much more it may be overdrawn before it is not read, bytes: a hundred calls with the first messages of their
/// sessions, however low the rate.
const UNBIDDEN_BYTES: u64 = 256 * 1024;
/// And by so much for each circuit that is open, bytes: what it may be sent without a grant, and the headers of frames of 32
/// bytes.
const CIRCUIT_BYTES: u64 = 2 * CIRCUIT_WINDOW_START as u64;
/// The least that is read at once, bytes: at a low rate, bit by bit would cost the relay more than it spares others.
const READ_MIN: usize = 4 * 1024;

/// An allowance; the default has no bound.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    bytes_per_second: Option<u64>,
    /// When everything that came in so far is paid for.
    paid: Option<Instant>,
    /// Bytes to come that were granted before there was this bound: they are not paid for.
    free_bytes: u64,
}

impl Rate {
    /// At most this many bytes a second.
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Rate {
        Rate { bytes_per_second, paid: None, free_bytes: 0 }
    }

    /// The same, apart from so many bytes that were granted before.
    pub(crate) fn after(self, free_bytes: u64) -> Rate {
        Rate { free_bytes, ..self }
    }

    /// Counts input.
    pub(crate) fn receive(&mut self, now: Instant, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let from = self.paid.map_or(now, |paid| paid.max(now));
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let free = bytes.min(self.free_bytes);
        self.free_bytes -= free;
        self.paid = Some(from + time_of(bytes - free, rate));
    }

    /// Whether there is a bound.
    pub(crate) fn is_bounded(&self) -> bool {
        self.bytes_per_second.is_some()
    }

    /// Whether more may be granted.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.paid.is_none_or(|paid| paid <= now + BURST)
    }

    /// From when on more may be granted.
    pub(crate) fn allows_from(&self) -> Option<Instant> {
        self.paid.map(|paid| paid - BURST)
    }

    /// From when on the link may be read, with so many circuits open. None without a bound.
    pub(crate) fn reads_from(&self, circuits: usize) -> Option<Instant> {
        let rate = self.bytes_per_second?;
        let circuits = u64::try_from(circuits).unwrap_or(u64::MAX);
        let ahead = BURST + time_of(UNBIDDEN_BYTES.saturating_add(circuits.saturating_mul(CIRCUIT_BYTES)), rate);
        // Too long ago for this clock: at any time.
        self.paid?.checked_sub(ahead)
    }

    /// How much may be read at once, bytes, so that the link is not unread for long after.
    pub(crate) fn read_most(&self) -> usize {
        let rate = self.bytes_per_second.map(|rate| usize::try_from(rate).unwrap_or(usize::MAX));
        rate.map_or(usize::MAX, |rate| rate.max(READ_MIN))
    }
}

/// How long this rate takes for so many bytes.
fn time_of(bytes: u64, bytes_per_second: u64) -> Duration {
    // 2^32 bytes and more still fit: 2^32 × 10^9 < 2^64.
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / bytes_per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_ten_seconds_a_link_gets_ten_seconds_worth_and_its_burst() {
        let start = Instant::now();
        let mut rate = Rate::new(Some(1000));
        let mut got = 0;
        for tick in 0..1000 {
            let now = start + Duration::from_millis(10 * tick);
            while rate.allows(now) {
                rate.receive(now, 100);
                got += 100;
            }
        }
        assert!((10_000..=10_700).contains(&got), "{got}");
    }

    #[test]
    fn what_was_granted_before_is_not_paid_for_and_all_else_is() {
        let now = Instant::now();
        let mut rate = Rate::new(Some(1000)).after(100_000);
        rate.receive(now, 60_000);
        rate.receive(now, 40_300);
        assert!(rate.allows(now));
        rate.receive(now, 300);
        assert!(!rate.allows(now));
    }

    #[test]
    fn who_sends_what_needs_no_credit_is_read_at_the_rate_in_the_long_run_and_circuits_make_it_no_more() {
        for (circuits, step) in [(0, 4096), (3, 4096), (3, 256 * 1024)] {
            let start = Instant::now();
            let mut rate = Rate::new(Some(10_000));
            let mut read = 0;
            for tick in 0..100_000 {
                let now = start + Duration::from_millis(100 * tick);
                if rate.reads_from(circuits).is_none_or(|from| from <= now) {
                    let bytes = step.min(rate.read_most());
                    rate.receive(now, bytes);
                    read += bytes as u64;
                }
            }
            let ahead = 5_000 + UNBIDDEN_BYTES + circuits as u64 * CIRCUIT_BYTES;
            assert!((100_000_000..=100_020_000 + ahead).contains(&read), "{circuits} circuits: {read}");
        }
    }

    #[test]
    fn what_circuits_may_send_without_a_grant_never_leaves_a_link_unread() {
        let now = Instant::now();
        let mut rate = Rate::new(Some(1000));
        for _ in 0..10 {
            rate.receive(now, usize::try_from(CIRCUIT_WINDOW_START).unwrap());
        }
        assert!(!rate.allows(now));
        assert!(rate.reads_from(10).is_none_or(|from| from <= now));
        assert!(rate.reads_from(3).is_some_and(|from| from > now));
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let now = Instant::now();
        let mut rate = Rate::default();
        rate.receive(now, usize::MAX);
        assert!(rate.allows(now) && rate.reads_from(0).is_none());
    }
}
