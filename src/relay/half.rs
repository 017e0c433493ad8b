//! One half of an open circuit: what a link sends into it, what goes out to the link, and the credit of both.
//!
//! ```text
//!   client ── DATA ──▶ │ inward │ ──▶ the other half's outward queue ──▶ its client
//!   client ◀── DATA ── │ outward queue │ ◀── the other half's inward
//! ```
//! Counts are absolute and wrap at 2^32, as on the wire; windows are far smaller.

use super::End;
use super::block::Piece;
use super::window::{Growth, Window};
use crate::link::credit_left;
use crate::wire::CloseCode;
use crate::wire::limits::CIRCUIT_WINDOW_START;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Least credit worth a frame of its own, bytes: a quarter of a DATA frame.
const CREDIT_STEP_MIN: u32 = 64 * 1024;

/// What one circuit may hold here, both directions together, bytes. Both directions of a long path may have a large window,
/// and then both clients' connections may come to a halt: rare enough to let the session find a new circuit.
pub const CIRCUIT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The client sent more than it was allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun;

/// The direction from the client into the relay.
#[derive(Debug)]
pub struct Inward {
    received: u32,
    freed: u32,
    announced: u32,
    window: Window,
    finished: bool,
}

impl Inward {
    fn new(now: Instant) -> Inward {
        let window = Window::new(now);
        Inward { received: 0, freed: 0, announced: window.bytes(), window, finished: false }
    }

    /// Counts `bytes` that arrived.
    pub fn receive(&mut self, now: Instant, bytes: usize) -> Result<(), Overrun> {
        let bytes = u32::try_from(bytes).map_err(|_| Overrun)?;
        if self.finished || bytes > credit_left(self.announced, self.received) {
            return Err(Overrun);
        }
        self.received = self.received.wrapping_add(bytes);
        self.window.handle_received(now, self.received);
        Ok(())
    }

    /// The client sends no more.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether the client has said so.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Bytes received and not yet in the kernel towards the other side.
    pub fn buffered(&self) -> u32 {
        self.received.wrapping_sub(self.freed)
    }

    /// Counts bytes that the kernel took towards the other side. True if it is time to send a CREDIT.
    pub fn free(&mut self, now: Instant, bytes: u32, growth: Growth) -> bool {
        self.freed = self.freed.wrapping_add(bytes);
        if self.finished {
            return false;
        }
        // Not only when a CREDIT is due: where bytes go both ways, the headers of DATA tell all of it before that.
        if growth == Growth::Allowed {
            self.window.grow(now, self.received, self.buffered());
        }
        self.is_due()
    }

    /// Enough has been freed and not been announced. In small steps: what is not announced yet is missing from the window.
    fn is_due(&self) -> bool {
        let step = (self.window.bytes() / 8).max(CREDIT_STEP_MIN);
        self.target().wrapping_sub(self.announced) >= step
    }

    fn target(&self) -> u32 {
        self.freed.wrapping_add(self.window.bytes())
    }

    /// The credit that the client knows of or is about to.
    pub fn announced(&self) -> u32 {
        self.announced
    }

    /// The credit to put into the next header: never less than before.
    pub fn announce(&mut self, now: Instant) -> u32 {
        let target = self.target();
        let before = std::mem::replace(&mut self.announced, target);
        if self.announced != before {
            self.window.handle_granted(now, before);
        }
        self.announced
    }
}

/// How far the end of a direction has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Open,
    FinQueued,
    FinSent,
    ResetQueued(CloseCode),
}

/// The direction from the relay to the client.
#[derive(Debug)]
pub struct Outward {
    queue: VecDeque<Piece>,
    queued_bytes: usize,
    sent: u32,
    credit: u32,
    tail: Tail,
    /// When bytes last left for the client.
    moved: Instant,
}

impl Outward {
    fn new(now: Instant) -> Outward {
        let credit = CIRCUIT_WINDOW_START;
        Outward { queue: VecDeque::new(), queued_bytes: 0, sent: 0, credit, tail: Tail::Open, moved: now }
    }

    /// Queues bytes; those after a FIN are dropped, which only a broken caller can bring about.
    pub fn push(&mut self, piece: Piece) {
        if self.tail != Tail::Open || piece.is_empty() {
            return;
        }
        self.queued_bytes += piece.len();
        let gathered = self.queue.back_mut().is_some_and(|last| last.gather(&piece));
        if !gathered {
            self.queue.push_back(piece);
        }
    }

    /// The other side sends no more.
    pub fn finish(&mut self) {
        if self.tail == Tail::Open {
            self.tail = Tail::FinQueued;
        }
    }

    /// The circuit is gone, and RESET goes out behind what is queued. False if there is nothing to wait for, or no credit
    /// for all of it: then it is time to forget the circuit.
    pub fn reset_behind(&mut self, code: CloseCode) -> bool {
        let waits = self.queued_bytes > 0 && self.sendable() == self.queued_bytes;
        if waits {
            self.tail = Tail::ResetQueued(code);
        }
        waits
    }

    /// The RESET, once it is next.
    pub fn next_reset(&self) -> Option<CloseCode> {
        match self.tail {
            Tail::ResetQueued(code) if self.queued_bytes == 0 => Some(code),
            _ => None,
        }
    }

    /// The client's credit: the newest count wins, an older one changes nothing.
    pub fn raise_credit(&mut self, credit: u32) {
        if credit_left(credit, self.sent) > credit_left(self.credit, self.sent) {
            self.credit = credit;
        }
    }

    /// Bytes that may go out now.
    pub fn sendable(&self) -> usize {
        let left = usize::try_from(credit_left(self.credit, self.sent)).unwrap_or(usize::MAX);
        self.queued_bytes.min(left)
    }

    /// Bytes that the client has given no credit for in `time`. Clients grant on receipt, so such a client is broken, or
    /// wants the relay to hold them for ever.
    pub fn stalled_bytes(&self, now: Instant, time: Duration) -> usize {
        if self.sendable() == 0 && now >= self.moved + time { self.queued_bytes } else { 0 }
    }

    /// Whether there is anything to put on the link now: bytes with credit, or the FIN after the last byte.
    pub fn is_ready(&self) -> bool {
        self.sendable() > 0 || self.fin_is_next() || self.next_reset().is_some()
    }

    fn fin_is_next(&self) -> bool {
        self.queued_bytes == 0 && self.tail == Tail::FinQueued
    }

    /// Takes the FIN if it is next.
    pub fn take_fin(&mut self) -> bool {
        let next = self.fin_is_next();
        if next {
            self.tail = Tail::FinSent;
        }
        next
    }

    /// Whether the FIN is out.
    pub fn is_finished(&self) -> bool {
        self.tail == Tail::FinSent
    }

    /// Counts `bytes` as sent and hands their pieces to `take`, in order. `bytes` is at most [`Outward::sendable`].
    pub fn take(&mut self, now: Instant, bytes: usize, mut take: impl FnMut(Piece)) {
        self.moved = now;
        let mut left = bytes.min(self.sendable());
        // Below the credit, which is 32 bits.
        self.sent = self.sent.wrapping_add(u32::try_from(left).unwrap_or(0));
        self.queued_bytes -= left;
        while left > 0 {
            let Some(front) = self.queue.front_mut() else { break };
            if front.len() > left {
                take(front.split_front(left));
                break;
            }
            left -= front.len();
            if let Some(piece) = self.queue.pop_front() {
                take(piece);
            }
        }
        if self.queue.is_empty() {
            // A circuit that is open and quiet keeps no memory.
            self.queue = VecDeque::new();
        }
    }
}

/// One half of an open circuit.
#[derive(Debug)]
pub struct Half {
    /// The other half.
    pub peer: End,
    /// From the client.
    pub inward: Inward,
    /// To the client.
    pub outward: Outward,
    /// Whether the circuit stands in the link's round.
    pub in_round: bool,
    /// Whether a CREDIT waits in the link's queue.
    pub credit_queued: bool,
}

impl Half {
    /// A fresh half, both windows at their start.
    pub fn new(now: Instant, peer: End) -> Half {
        Half { peer, inward: Inward::new(now), outward: Outward::new(now), in_round: false, credit_queued: false }
    }

    /// Whether the circuit holds more than it may. What came in here waits at the other half, what waits here came in there.
    pub fn is_overfull(&self) -> bool {
        let inward = usize::try_from(self.inward.buffered()).unwrap_or(usize::MAX);
        inward.saturating_add(self.outward.queued_bytes) > CIRCUIT_BYTES_MAX
    }

    /// Whether both directions have ended in order.
    pub fn is_done(&self) -> bool {
        self.inward.is_finished() && self.outward.is_finished()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::block::{Budget, Pool};
    use crate::wire::limits::{CIRCUIT_WINDOW_MAX, RECORD_WIRE_MAX};
    use proptest::prelude::*;

    #[test]
    fn a_client_may_send_its_window_and_not_a_byte_more() {
        let now = Instant::now();
        let mut inward = Inward::new(now);
        let window = usize::try_from(CIRCUIT_WINDOW_START).unwrap();
        assert_eq!(inward.receive(now, window), Ok(()));
        assert_eq!(inward.receive(now, 1), Err(Overrun));
        assert!(!inward.free(now, 1000, Growth::Held));
        assert_eq!(inward.receive(now, 1), Err(Overrun), "credit that was not announced is none");
        assert!(inward.free(now, CIRCUIT_WINDOW_START / 2, Growth::Held));
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
        assert!(!inward.free(now, u32::MAX / 2, Growth::Allowed));
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
                if inward.free(now, quarter, Growth::Allowed) {
                    inward.announce(now);
                }
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
                if inward.free(now, piece, Growth::Allowed) {
                    inward.announce(now);
                }
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
            if inward.free(now, window, Growth::Allowed) {
                inward.announce(now);
            }
            all += u64::from(window);
            wrapped |= u64::from(inward.received) < all;
        }
        assert!(wrapped && inward.buffered() == 0);
        assert_eq!((inward.window.bytes(), inward.window.round_trip()), (CIRCUIT_WINDOW_MAX, trip));
    }

    #[test]
    fn a_circuit_is_overfull_by_what_waits_in_both_directions_together() {
        let (now, pool) = (Instant::now(), Pool::new(Budget::new(1 << 30)));
        let end = End { worker: 0, link: crate::relay::LinkId::new(1), circuit: 1 };
        let mut half = Half::new(now, end);
        half.inward.announced = u32::MAX / 2;
        half.inward.receive(now, CIRCUIT_BYTES_MAX - 100).unwrap();
        half.outward.push(Piece::copied(&pool, &[0; 100]));
        assert!(!half.is_overfull());
        half.outward.push(Piece::copied(&pool, &[0; 1]));
        assert!(half.is_overfull());
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
                            outward.push(Piece::copied(&pool, &vec![0; amount]));
                        }
                    }
                    1 => {
                        let count = outward.sendable().min(amount);
                        let mut got = 0;
                        outward.take(now, count, |piece| got += piece.len());
                        prop_assert_eq!(got, count);
                        taken += count as u64;
                        if inward.free(now, u32::try_from(count).unwrap(), Growth::Allowed) {
                            let announced = u64::from(inward.announce(now));
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
                prop_assert_eq!(outward.queued_bytes as u64, sent - taken);
                prop_assert_eq!(u64::from(inward.buffered()), sent - taken);
                prop_assert!(inward.buffered() <= CIRCUIT_WINDOW_MAX);
            }
        }
    }
}
