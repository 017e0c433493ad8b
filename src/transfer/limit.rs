//! A rate limit as pure arithmetic: a token bucket whose clock is an argument.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// The bucket holds what flows in this time, so that short pauses are made up for and long
/// ones are not.
const BURST: Duration = Duration::from_millis(100);

/// What is sent at once takes at most this part of a second at the rate, so that a slow transfer flows and does not jerk.
const PIECES_PER_SECOND: u64 = 8;
/// But is no smaller than this, whatever the rate: smaller pieces would be mostly headers.
const PIECE_BYTES_MIN: usize = 1 << 10;

/// A token bucket that may go into debt: a chunk is sent whole, and waited for afterwards.
#[derive(Debug, Clone)]
pub(crate) struct RateLimit {
    bytes_per_second: NonZeroU64,
    /// When the debt will be paid; in the past by what is saved up.
    paid_until: Instant,
}

impl RateLimit {
    /// A full bucket at `now`.
    #[must_use]
    pub(crate) fn new(bytes_per_second: NonZeroU64, now: Instant) -> Self {
        Self { bytes_per_second, paid_until: now.checked_sub(BURST).unwrap_or(now) }
    }

    /// Takes bytes out; they may be sent at once. Returns how long to wait before the next.
    #[must_use = "the limit holds only if the caller waits"]
    pub(crate) fn take(&mut self, now: Instant, bytes: usize) -> Duration {
        let oldest = now.checked_sub(BURST).unwrap_or(now);
        self.paid_until = self.paid_until.max(oldest) + self.price(bytes);
        self.wait(now)
    }

    /// How long to wait before the next bytes.
    #[must_use]
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.paid_until.saturating_duration_since(now)
    }

    /// How much should be sent at once at most.
    #[must_use]
    pub(crate) fn piece_bytes(&self) -> usize {
        let piece = self.bytes_per_second.get() / PIECES_PER_SECOND;
        usize::try_from(piece).unwrap_or(usize::MAX).max(PIECE_BYTES_MIN)
    }

    fn price(&self, bytes: usize) -> Duration {
        let nanos = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(1_000_000_000)
            / u128::from(self.bytes_per_second.get());
        // A day per chunk is as good as for ever, and far from the end of Instant.
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(Duration::from_secs(86_400))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes_per_second: u64, now: Instant) -> RateLimit {
        RateLimit::new(NonZeroU64::new(bytes_per_second).unwrap(), now)
    }

    #[test]
    fn a_chunk_is_sent_whole_and_waited_for_afterwards() {
        let start = Instant::now();
        let mut limit = limit(1_000, start);
        assert_eq!(limit.take(start, 100), Duration::ZERO);
        assert_eq!(limit.take(start, 500), Duration::from_millis(500));
    }

    #[test]
    fn over_a_long_time_the_rate_is_exact() {
        let start = Instant::now();
        let mut now = start;
        let mut limit = limit(1_000_000, start);
        for _ in 0..1_000 {
            now += limit.take(now, 65_000);
        }
        // 65 MB at 1 MB/s, less the first burst of 0.1 s.
        assert_eq!((now - start).as_millis(), 64_900);
    }

    #[test]
    fn a_long_pause_saves_up_one_burst_and_no_more() {
        let start = Instant::now();
        let mut limit = limit(1_000, start);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(limit.take(later, 100), Duration::ZERO);
        assert_eq!(limit.take(later, 100), Duration::from_millis(100));
        assert_eq!(limit.wait(later + Duration::from_millis(40)), Duration::from_millis(60));
    }

    #[test]
    fn pieces_last_an_eighth_of_a_second_or_are_a_kibibyte() {
        let now = Instant::now();
        assert_eq!(limit(6_000, now).piece_bytes(), 1_024);
        assert_eq!(limit(80_000, now).piece_bytes(), 10_000);
        assert!(limit(u64::MAX, now).piece_bytes() > 1 << 30);
    }

    #[test]
    fn absurd_rates_do_not_overflow() {
        let start = Instant::now();
        assert_eq!(limit(1, start).take(start, usize::MAX).as_secs(), 86_399);
        assert_eq!(limit(u64::MAX, start).take(start, 65_000), Duration::ZERO);
    }
}
