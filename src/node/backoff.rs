//! When to dial again: at once, then full jitter under a doubling cap, so that the clients of a restarted relay come back
//! soon and not all together.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
/// The longest time between two dials.
pub const REDIAL_MAX: Duration = Duration::from_secs(10);

pub(super) struct Backoff {
    random: u64,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Backoff {
        Backoff { random: seed, failures: 0 }
    }

    /// The link came up and stayed useful: the next break begins afresh.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        if self.failures == 0 {
            self.failures = 1;
            return Duration::ZERO;
        }
        let cap = FIRST.saturating_mul(1 << self.failures.min(10)).min(REDIAL_MAX);
        self.failures = self.failures.saturating_add(1);
        let micros = u64::try_from(cap.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.draw() % micros.max(1))
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): spreading needs no secrecy.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_is_at_once_and_none_waits_beyond_the_cap() {
        let mut backoff = Backoff::new(7);
        assert_eq!(backoff.next(), Duration::ZERO);
        assert!(backoff.next() <= 2 * FIRST);
        let waits: Vec<Duration> = (0..200).map(|_| backoff.next()).collect();
        assert!(waits.iter().all(|wait| *wait <= REDIAL_MAX));
        assert!(waits.iter().any(|wait| *wait > REDIAL_MAX / 2), "it does grow");
        backoff.reset();
        assert_eq!(backoff.next(), Duration::ZERO);
    }
}
