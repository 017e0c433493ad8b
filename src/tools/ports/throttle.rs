//! How much a connection moves in a turn: what is fair to the others, and what `--limit` leaves.

use super::conn::Traffic;
use crate::net::slots::Slot;
use crate::transfer::RateLimit;
use std::num::NonZeroU64;
use std::time::Instant;

/// Bytes a connection moves each way before others get their turn: one DATA body.
const TURN_BYTES: usize = 256 * 1024;
/// Pieces of a limited flow go out so often, a second.
const LIMITED_PIECES: u64 = 20;
/// Smallest piece of a limited flow, bytes.
const LIMITED_BYTES_MIN: usize = 1024;

/// See the module's text.
pub(super) struct Throttle {
    limits: Option<(RateLimit, RateLimit)>,
    piece: usize,
    held: Vec<Slot>,
    held_until: Option<Instant>,
}

impl Throttle {
    /// At most `rate` bytes a second each way.
    pub(super) fn new(now: Instant, rate: Option<NonZeroU64>) -> Throttle {
        let limits = rate.map(|rate| (RateLimit::new(rate, now), RateLimit::new(rate, now)));
        let piece = rate.map_or(TURN_BYTES, |rate| {
            let piece = usize::try_from(rate.get() / LIMITED_PIECES).unwrap_or(usize::MAX);
            piece.clamp(LIMITED_BYTES_MIN, TURN_BYTES)
        });
        Throttle { limits, piece, held: Vec::new(), held_until: None }
    }

    /// What a connection may move now.
    pub(super) fn allowance(&self, now: Instant) -> Traffic {
        let piece = |limit: &RateLimit| if limit.wait(now).is_zero() { self.piece } else { 0 };
        match &self.limits {
            None => Traffic { outward: self.piece, inward: self.piece },
            Some((outward, inward)) => Traffic { outward: piece(outward), inward: piece(inward) },
        }
    }

    /// So much was moved.
    pub(super) fn take(&mut self, now: Instant, moved: Traffic) {
        if let Some((outward, inward)) = &mut self.limits {
            // How long to wait is asked when somebody has to.
            let _ = outward.take(now, moved.outward);
            let _ = inward.take(now, moved.inward);
            let waits = [outward.wait(now), inward.wait(now)].into_iter().filter(|wait| !wait.is_zero());
            self.held_until = waits.min().map(|wait| now + wait);
        }
    }

    /// Somebody may have more to move and has to wait.
    pub(super) fn hold(&mut self, slot: Slot) {
        self.held.push(slot);
    }

    /// Those who may go on.
    pub(super) fn poll(&mut self, now: Instant) -> Vec<Slot> {
        if self.held.is_empty() || self.held_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        std::mem::take(&mut self.held)
    }

    /// When somebody may go on.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.held_until.filter(|_| !self.held.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::slots::Slots;
    use std::time::Duration;

    #[test]
    fn without_a_limit_nobody_is_held() {
        let now = Instant::now();
        let mut throttle = Throttle::new(now, None);
        throttle.take(now, Traffic { outward: 1 << 30, inward: 1 << 30 });
        assert!(!throttle.allowance(now).is_choked());
        assert_eq!(throttle.next_timeout(), None);
    }

    #[test]
    fn a_limited_direction_rests_until_its_debt_is_paid_and_the_other_goes_on() {
        let now = Instant::now();
        let mut throttle = Throttle::new(now, NonZeroU64::new(100_000));
        assert_eq!(throttle.allowance(now), Traffic { outward: 5_000, inward: 5_000 });
        throttle.take(now, Traffic { outward: 60_000, inward: 0 });
        assert_eq!(throttle.allowance(now), Traffic { outward: 0, inward: 5_000 });
        let slot = Slots::default().insert(());
        throttle.hold(slot);
        assert_eq!(throttle.poll(now), []);
        let due = throttle.next_timeout().unwrap();
        assert_eq!(due - now, Duration::from_millis(500));
        assert_eq!(throttle.poll(due), [slot]);
        assert!(!throttle.allowance(due).is_choked());
    }
}
