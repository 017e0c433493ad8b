//! One end of an open circuit: what its client sends into it, what goes out to its client, and when it is full.
//!
//! ```text
//!   client ── DATA ──▶ │ inward │ ──▶ the other end's outward queue ──▶ its client
//!   client ◀── DATA ── │ outward queue │ ◀── the other end's inward
//! ```

use super::inward::{Inward, Overrun};
use super::outward::Outward;
use super::window::COVERED;
use crate::identity::PeerId;
use crate::relay::EndId;
use std::time::Instant;

/// What one circuit may hold here, both directions together, bytes.
pub(crate) const CIRCUIT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A circuit that holds more than this is full, bytes. It leaves room for one more read from each of its links, 256 KiB, and
/// for what one of them has in order for its client, which the other cannot see: 768 KiB.
const FULL_FROM: usize = CIRCUIT_BYTES_MAX - 1536 * 1024;
/// It is congested until it holds no more than this, bytes.
const CONGESTED_UNTIL: usize = CIRCUIT_BYTES_MAX / 2;
/// A direction in which no more than this waits has no part in that, bytes: what waits in the other must not shut the link
/// that may bring the credit for it. It is also the size of a read.
const PART_MIN: u32 = 256 * 1024;

const _: () = assert!((COVERED as usize) < FULL_FROM);

/// What bytes that came in have led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Nothing.
    Usual,
    /// The circuit has become congested: it gives no credit, and [`End::is_full`] tells when its link is not to be read.
    Congests,
    /// The circuit holds more than it may, because its link was read all the same.
    Overflows,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct End {
    /// The other end.
    pub far: EndId,
    /// Whose that is, if it was asked for or offered before.
    pub with: Option<PeerId>,
    /// From the client.
    pub inward: Inward,
    /// To the client.
    pub outward: Outward,
    /// Whether the circuit stands in the link's round.
    pub in_round: bool,
    /// Whether a CREDIT waits in the link's queue.
    pub credit_queued: bool,
}

impl End {
    /// A fresh end, both windows at their start.
    pub(crate) fn new(now: Instant, far: EndId) -> End {
        End {
            far,
            with: None,
            inward: Inward::new(now),
            outward: Outward::new(now),
            in_round: false,
            credit_queued: false,
        }
    }

    /// What the circuit holds, bytes. What came in here waits at the other end, what waits here came in there.
    fn held_bytes(&self) -> usize {
        let inward = usize::try_from(self.inward.buffered()).unwrap_or(usize::MAX);
        inward.saturating_add(self.outward.queued_bytes())
    }

    /// Counts `bytes` that arrived.
    pub(crate) fn receive(&mut self, now: Instant, bytes: usize) -> Result<Arrival, Overrun> {
        self.inward.receive(now, bytes)?;
        if usize::try_from(self.inward.buffered()).unwrap_or(usize::MAX) > CIRCUIT_BYTES_MAX {
            return Ok(Arrival::Overflows);
        }
        if self.inward.is_congested() || !self.is_crowded() {
            return Ok(Arrival::Usual);
        }
        self.inward.congest();
        Ok(Arrival::Congests)
    }

    /// Whether the circuit holds much, and what came in here has a part in that.
    fn is_crowded(&self) -> bool {
        self.held_bytes() > FULL_FROM && self.inward.buffered() > PART_MIN
    }

    /// Whether the client's link may not be read now, for it may bring what the circuit has no room for.
    pub(crate) fn is_full(&self) -> bool {
        self.is_crowded() && self.inward.may_bring_more_than(PART_MIN)
    }

    /// Whether it is congested, and has not drained far enough for that to be over.
    pub(crate) fn remains_congested(&self) -> bool {
        let is_high = self.held_bytes() > CONGESTED_UNTIL && self.inward.buffered() > PART_MIN;
        self.inward.is_congested() && is_high
    }

    /// Whether both directions have ended in order.
    pub(crate) fn is_done(&self) -> bool {
        self.inward.is_finished() && self.outward.is_finished()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::LinkId;
    use crate::relay::memory::block::{Piece, Pool};
    use crate::relay::memory::budget::Budget;

    /// An end with these bytes waiting in each direction, inward with as much credit as can be.
    fn holding(inward: usize, outward: usize) -> End {
        let (now, pool) = (Instant::now(), Pool::new(Budget::new(1 << 30)));
        let mut end = End::new(now, EndId { worker: 0, link: LinkId::new(1), circuit: 1 });
        end.inward.grant_for_test(u32::MAX / 2);
        end.outward.push(now, Piece::copied(&pool, &vec![0; outward]), 0);
        assert_eq!(end.receive(now, inward), Ok(Arrival::Usual));
        end
    }

    #[test]
    fn a_circuit_is_full_by_what_waits_in_both_directions_together_if_this_one_has_a_part_in_it() {
        let now = Instant::now();
        let part = usize::try_from(PART_MIN).unwrap();
        for (inward, outward) in [(FULL_FROM, 0), (2 * part, FULL_FROM - 2 * part)] {
            let mut end = holding(inward, outward);
            assert!(!end.is_full());
            assert_eq!(end.receive(now, 1), Ok(Arrival::Congests));
            assert_eq!(end.receive(now, 1), Ok(Arrival::Usual), "once");
            assert!(end.is_full() && end.remains_congested());
            end.inward.finish();
            assert!(!end.is_full(), "nothing more can come");
        }
        let mut small = holding(part - 1, FULL_FROM);
        assert_eq!(small.receive(now, 1), Ok(Arrival::Usual));
        assert!(!small.is_full());
        assert_eq!(small.receive(now, 1), Ok(Arrival::Congests));
        let mut huge = holding(FULL_FROM, 0);
        assert_eq!(huge.receive(now, CIRCUIT_BYTES_MAX - FULL_FROM), Ok(Arrival::Congests));
        assert_eq!(huge.receive(now, 1), Ok(Arrival::Overflows));
    }
}
