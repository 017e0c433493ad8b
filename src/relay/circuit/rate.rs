//! A link's allowance of bytes a second: credit is held back while it is overdrawn. Reading goes on, so that heartbeats and
//! control messages are not stuck behind bytes that have to wait.

use std::time::{Duration, Instant};

/// What a link may be ahead of its rate: half a second of it. Overdrawing by one window is allowed, and paid back.
const BURST: Duration = Duration::from_millis(500);

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
        // 2^32 bytes a call and more would still fit: 2^32 × 10^9 < 2^64.
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let free = bytes.min(self.free_bytes);
        self.free_bytes -= free;
        let bytes = bytes - free;
        self.paid = Some(from + Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1)));
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
    fn without_a_bound_nothing_is_counted() {
        let now = Instant::now();
        let mut rate = Rate::default();
        rate.receive(now, usize::MAX);
        assert!(rate.allows(now));
    }
}
