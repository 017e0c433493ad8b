//! The direction of a circuit from a client into the relay: how much came, how much went on, and what more may come.
//!
//! Counts are absolute and wrap at 2^32, as on the wire; windows are far smaller.

use super::window::{Growth, Window};
use crate::link::credit_left;
use std::time::Instant;

/// Least credit worth a frame of its own, bytes: a quarter of a DATA frame.
const CREDIT_STEP_MIN: u32 = 64 * 1024;
/// Credit that is told at the latest, bytes. What is told at once comes in at once, and may have to wait here.
const CREDIT_STEP_MAX: u32 = 512 * 1024;

/// The client sent more than it was allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

/// The direction from the client into the relay.
#[derive(Debug)]
pub(crate) struct Inward {
    /// All that came, for whoever asks at the end.
    total_bytes: u64,
    received: u32,
    freed: u32,
    announced: u32,
    window: Window,
    finished: bool,
    congested: bool,
}

impl Inward {
    /// For a fresh circuit.
    pub(crate) fn new(now: Instant) -> Inward {
        let window = Window::new(now);
        Inward {
            total_bytes: 0,
            received: 0,
            freed: 0,
            announced: window.bytes(),
            window,
            finished: false,
            congested: false,
        }
    }

    /// Counts `bytes` that arrived.
    pub(crate) fn receive(&mut self, now: Instant, bytes: usize) -> Result<(), Overrun> {
        let bytes = u32::try_from(bytes).map_err(|_| Overrun)?;
        if self.finished || bytes > credit_left(self.announced, self.received) {
            return Err(Overrun);
        }
        self.received = self.received.wrapping_add(bytes);
        self.total_bytes += u64::from(bytes);
        self.window.handle_received(now, bytes, self.received);
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn grant_for_test(&mut self, credit: u32) {
        self.announced = credit;
    }

    /// The client sends no more.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether the client has said so.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// What the client may send yet, bytes.
    pub(crate) fn may_bring(&self) -> u32 {
        if self.finished { 0 } else { credit_left(self.announced, self.received) }
    }

    /// Whether the client may send more than so many bytes.
    pub(crate) fn may_bring_more_than(&self, bytes: u32) -> bool {
        self.may_bring() > bytes
    }

    /// Whether the circuit is congested: no more credit is given.
    pub(crate) fn is_congested(&self) -> bool {
        self.congested
    }

    /// The circuit is congested: from now on no credit, and later less than before.
    pub(crate) fn congest(&mut self) {
        self.congested = true;
        self.window.shrink();
    }

    /// The circuit is congested no more.
    pub(crate) fn clear_congestion(&mut self) {
        self.congested = false;
    }

    /// All bytes received so far.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Bytes received and not yet in the kernel towards the other side.
    pub(crate) fn buffered(&self) -> u32 {
        self.received.wrapping_sub(self.freed)
    }

    /// Counts bytes that the kernel took towards the other side.
    pub(crate) fn free(&mut self, now: Instant, bytes: u32, growth: Growth) {
        self.freed = self.freed.wrapping_add(bytes);
        // Not only when a CREDIT is due: where bytes go both ways, the headers of DATA tell all of it before that.
        let growth = if self.congested { Growth::Stopped } else { growth };
        self.window.handle_freed(now, bytes, self.buffered(), growth);
    }

    /// The client is held to a rate from now on. What it may send beyond the least, because it was granted before, bytes.
    pub(crate) fn restart(&mut self) -> u32 {
        self.window.restart();
        credit_left(self.announced, self.received).saturating_sub(self.window.bytes())
    }

    /// Whether it is time to send a CREDIT: enough has been freed and not been announced. In small steps: what is not
    /// announced yet is missing from the window.
    pub(crate) fn is_due(&self) -> bool {
        let step = (self.window.bytes() / 8).clamp(CREDIT_STEP_MIN, CREDIT_STEP_MAX);
        !self.finished && self.gain() >= step
    }

    /// Credit that could be told. A window that has shrunk has told more than it would now, for a while.
    fn gain(&self) -> u32 {
        let target = self.freed.wrapping_add(self.window.bytes());
        if self.congested { 0 } else { credit_left(target, self.announced) }
    }

    /// The credit that the client knows of or is about to.
    pub(crate) fn announced(&self) -> u32 {
        self.announced
    }

    /// The credit to put into the next header: never less than before.
    pub(crate) fn announce(&mut self, now: Instant) -> u32 {
        let (before, gain) = (self.announced, self.gain());
        if gain > 0 {
            self.announced = before.wrapping_add(gain);
            self.window.handle_granted(now, before);
        }
        self.announced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::circuit::outward::Outward;
    use crate::relay::memory::block::{Piece, Pool};
    use crate::relay::memory::budget::Budget;
    use crate::wire::limits::{CIRCUIT_WINDOW_MAX, CIRCUIT_WINDOW_START, RECORD_WIRE_MAX};
    use proptest::prelude::*;
    use std::time::Duration;

    /// Counts bytes that went on, and tells credit if it is due.
    fn pass_on(inward: &mut Inward, now: Instant, bytes: u32) -> bool {
        inward.free(now, bytes, Growth::Allowed);
        let due = inward.is_due();
        if due {
            inward.announce(now);
        }
        due
    }

    #[test]
    fn a_client_may_send_its_window_and_not_a_byte_more() {
        let now = Instant::now();
        let mut inward = Inward::new(now);
        let window = usize::try_from(CIRCUIT_WINDOW_START).unwrap();
        assert_eq!(inward.receive(now, window), Ok(()));
        assert_eq!(inward.receive(now, 1), Err(Overrun));
        inward.free(now, 1000, Growth::Stopped);
        assert!(!inward.is_due());
        assert_eq!(inward.receive(now, 1), Err(Overrun), "credit that was not announced is none");
        inward.free(now, CIRCUIT_WINDOW_START / 2, Growth::Stopped);
        assert!(inward.is_due());
        inward.announce(now);
        assert_eq!(inward.receive(now, 1000 + window / 2), Ok(()));
        assert_eq!(inward.receive(now, 1), Err(Overrun));
    }

    #[test]
    fn nothing_comes_after_a_fin() {
        let now = Instant::now();
        let mut inward = Inward::new(now);
        inward.finish();
        assert_eq!(inward.receive(now, 1), Err(Overrun));
        assert!(!pass_on(&mut inward, now, u32::MAX / 2));
    }

    #[test]
    fn a_window_grows_when_bytes_pass_through_and_not_when_they_pile_up() {
        let now = Instant::now();
        let quarter = CIRCUIT_WINDOW_START / 4;
        let bytes = usize::try_from(quarter).unwrap();
        let (mut passing, mut piling) = (Inward::new(now), Inward::new(now));
        // Two quarters wait all the time.
        piling.receive(now, 2 * bytes).unwrap();
        for _ in 0..64 {
            for inward in [&mut passing, &mut piling] {
                inward.receive(now, bytes).unwrap();
                pass_on(inward, now, quarter);
            }
        }
        assert!(passing.window.bytes() > CIRCUIT_WINDOW_START);
        assert_eq!(piling.window.bytes(), CIRCUIT_WINDOW_START);
    }

    #[test]
    fn a_window_grows_though_the_headers_of_data_tell_all_credit_before_it_is_due() {
        let now = Instant::now();
        let mut inward = Inward::new(now);
        for _ in 0..64 {
            let step = CREDIT_STEP_MIN / 2;
            inward.receive(now, usize::try_from(step).unwrap()).unwrap();
            inward.free(now, step, Growth::Allowed);
            inward.announce(now);
        }
        assert!(inward.window.bytes() > CIRCUIT_WINDOW_START);
    }

    #[test]
    fn a_client_whose_bytes_are_all_gone_has_credit_for_a_record() {
        let now = Instant::now();
        for piece in [1_u32, 1000, 4099, 16_384, 65_535] {
            let mut inward = Inward::new(now);
            for _ in 0..2_000_000 / piece {
                inward.receive(now, usize::try_from(piece).unwrap()).unwrap();
                pass_on(&mut inward, now, piece);
                let left = usize::try_from(credit_left(inward.announced, inward.received)).unwrap();
                assert!(left >= RECORD_WIRE_MAX, "{left} after {} in pieces of {piece}", inward.received);
            }
        }
    }

    #[test]
    fn a_circuit_goes_on_where_its_counts_wrap() {
        let (mut now, trip) = (Instant::now(), Duration::from_millis(50));
        let mut inward = Inward::new(now);
        let (mut all, mut wrapped) = (0_u64, false);
        while all < (1 << 33) {
            // Whatever the client may send arrives a round trip later, at once, and goes on.
            let window = credit_left(inward.announced, inward.received);
            assert!(window >= CIRCUIT_WINDOW_START / 2, "{window} after {all}");
            now += trip;
            inward.receive(now, usize::try_from(window).unwrap()).unwrap();
            pass_on(&mut inward, now, window);
            all += u64::from(window);
            wrapped |= u64::from(inward.received) < all;
        }
        assert!(wrapped && inward.buffered() == 0);
        assert_eq!((inward.window.bytes(), inward.window.round_trip()), (CIRCUIT_WINDOW_MAX, Some(trip)));
    }

    proptest! {
        /// Whatever the order of sends, frees and credits: no count goes negative, the buffer stays within the window.
        #[test]
        fn credit_holds_for_any_schedule(steps in proptest::collection::vec((0u8..4, 1usize..200_000), 1..200)) {
            let pool = Pool::new(Budget::new(1 << 30));
            let now = Instant::now();
            let (mut inward, mut outward) = (Inward::new(now), Outward::new(now));
            let (mut allowed, mut sent, mut taken) = (u64::from(CIRCUIT_WINDOW_START), 0_u64, 0_u64);
            let mut client_credit = u64::from(CIRCUIT_WINDOW_START);
            for (step, amount) in steps {
                match step {
                    0 => {
                        let fits = sent + amount as u64 <= allowed;
                        prop_assert_eq!(inward.receive(now, amount).is_ok(), fits);
                        if fits {
                            sent += amount as u64;
                            outward.push(now, Piece::copied(&pool, &vec![0; amount]), 0);
                        }
                    }
                    1 => {
                        let count = outward.sendable().min(amount);
                        let mut got = 0;
                        outward.take(now, count, |piece| got += piece.len());
                        prop_assert_eq!(got, count);
                        taken += count as u64;
                        if pass_on(&mut inward, now, u32::try_from(count).unwrap()) {
                            let announced = u64::from(inward.announced());
                            prop_assert!(announced >= allowed);
                            allowed = announced;
                        }
                    }
                    2 => {
                        client_credit += amount as u64;
                        outward.raise_credit(u32::try_from(client_credit).unwrap());
                    }
                    _ => outward.raise_credit(u32::try_from(client_credit / 2).unwrap()),
                }
                prop_assert!(taken <= client_credit);
                prop_assert_eq!(outward.queued_bytes() as u64, sent - taken);
                prop_assert_eq!(u64::from(inward.buffered()), sent - taken);
                prop_assert!(inward.buffered() <= CIRCUIT_WINDOW_MAX);
            }
        }
    }
}
