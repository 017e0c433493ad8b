//! What waits in a circuit for a client: bytes within its credit, then the end.

use super::age::Wait;
use crate::link::credit_left;
use crate::relay::memory::block::Piece;
use crate::wire::CloseCode;
use crate::wire::limits::CIRCUIT_WINDOW_START;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Memory that may be kept beyond the bytes that wait, for one circuit together with what is in order for its client: four
/// reads that brought little.
const IDLE_MAX: usize = 256 * 1024;
/// So much of a block is not worth copying the rest of it: a sixty-fourth.
const IDLE_MIN: usize = 1024;

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
pub(crate) struct Outward {
    queue: VecDeque<Piece>,
    queued_bytes: usize,
    /// Memory that is kept beyond those bytes.
    idle_bytes: usize,
    sent: u32,
    credit: u32,
    tail: Tail,
    /// When bytes last left for the client.
    moved: Instant,
    wait: Wait,
}

impl Outward {
    /// An empty queue, with the credit of a fresh circuit.
    pub(crate) fn new(now: Instant) -> Outward {
        let credit = CIRCUIT_WINDOW_START;
        Outward {
            queue: VecDeque::new(),
            queued_bytes: 0,
            idle_bytes: 0,
            sent: 0,
            credit,
            tail: Tail::Open,
            moved: now,
            wait: Wait::default(),
        }
    }

    /// Queues bytes; those after a FIN are dropped, which only a broken caller can bring about. They stay where they were
    /// read, unless much memory is kept for little already, here or, `elsewhere_idle_bytes`, in order for the client: then
    /// they get memory of their size. Where bytes flow, nothing waits that long.
    pub(crate) fn push(&mut self, now: Instant, mut piece: Piece, elsewhere_idle_bytes: usize) {
        if self.tail != Tail::Open || piece.is_empty() {
            return;
        }
        self.queued_bytes += piece.len();
        self.wait.set(now, 0, self.queued_bytes);
        let mut follows = false;
        if let Some(last) = self.queue.back_mut() {
            self.idle_bytes -= last.idle_bytes();
            let gathered = last.gather(&piece);
            follows = !gathered && piece.follow(last);
            self.idle_bytes += last.idle_bytes();
            if gathered {
                return;
            }
        }
        // What follows in the same block keeps nothing that was not kept before.
        let idle = piece.idle_bytes();
        if !follows && idle > IDLE_MIN && self.idle_bytes + elsewhere_idle_bytes + idle > IDLE_MAX {
            piece = piece.compacted();
        }
        self.idle_bytes += piece.idle_bytes();
        self.queue.push_back(piece);
    }

    /// The other side sends no more.
    pub(crate) fn finish(&mut self) {
        if self.tail == Tail::Open {
            self.tail = Tail::FinQueued;
        }
    }

    /// The circuit is gone, and RESET goes out behind what is queued. False if there is nothing to wait for, or no credit
    /// for all of it: then it is time to forget the circuit.
    pub(crate) fn reset_behind(&mut self, code: CloseCode) -> bool {
        let waits = self.queued_bytes > 0 && self.sendable() == self.queued_bytes;
        if waits {
            self.tail = Tail::ResetQueued(code);
        }
        waits
    }

    /// The RESET, once it is next.
    pub(crate) fn next_reset(&self) -> Option<CloseCode> {
        match self.tail {
            Tail::ResetQueued(code) if self.queued_bytes == 0 => Some(code),
            _ => None,
        }
    }

    /// The client's credit: the newest count wins, an older one changes nothing.
    pub(crate) fn raise_credit(&mut self, credit: u32) {
        if credit_left(credit, self.sent) > credit_left(self.credit, self.sent) {
            self.credit = credit;
        }
    }

    /// Bytes that wait.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Bytes that may go out now.
    pub(crate) fn sendable(&self) -> usize {
        let left = usize::try_from(credit_left(self.credit, self.sent)).unwrap_or(usize::MAX);
        self.queued_bytes.min(left)
    }

    /// Whether bytes have waited for so long, and the client gave no credit for any in that time. Clients grant on receipt,
    /// so such a client is broken, or wants the relay to hold them for ever.
    pub(crate) fn is_stalled(&self, now: Instant, time: Duration) -> bool {
        self.sendable() == 0 && now >= self.moved + time && self.wait.lasts(now, time)
    }

    /// How long bytes wait here.
    pub(crate) fn wait(&self) -> &Wait {
        &self.wait
    }

    /// The memory that it keeps, bytes. It looks at every piece, for what is left of one may keep a whole block.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.queue.iter().map(Piece::kept_bytes).sum()
    }

    /// Whether there is anything to put on the link now: bytes with credit, or the FIN after the last byte.
    pub(crate) fn is_ready(&self) -> bool {
        self.sendable() > 0 || self.fin_is_next() || self.next_reset().is_some()
    }

    fn fin_is_next(&self) -> bool {
        self.queued_bytes == 0 && self.tail == Tail::FinQueued
    }

    /// Takes the FIN if it is next.
    pub(crate) fn take_fin(&mut self) -> bool {
        let next = self.fin_is_next();
        if next {
            self.tail = Tail::FinSent;
        }
        next
    }

    /// Whether the FIN is out.
    pub(crate) fn is_finished(&self) -> bool {
        self.tail == Tail::FinSent
    }

    /// Counts `bytes` as sent and hands their pieces to `take`, in order. `bytes` is at most [`Outward::sendable`].
    pub(crate) fn take(&mut self, now: Instant, bytes: usize, mut take: impl FnMut(Piece)) {
        self.moved = now;
        let mut left = bytes.min(self.sendable());
        // Below the credit, which is 32 bits.
        self.sent = self.sent.wrapping_add(u32::try_from(left).unwrap_or(0));
        self.queued_bytes -= left;
        self.wait.set(now, left, self.queued_bytes);
        while left > 0 {
            let Some(front) = self.queue.front_mut() else { break };
            if front.len() > left {
                take(front.split_front(left));
                break;
            }
            left -= front.len();
            if let Some(piece) = self.queue.pop_front() {
                self.idle_bytes -= piece.idle_bytes();
                take(piece);
            }
        }
        if self.queue.is_empty() {
            // A circuit that is open and quiet keeps no memory.
            self.queue = VecDeque::new();
        }
    }
}
