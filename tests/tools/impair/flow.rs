//! One direction of one connection: a bounded queue and the time at which each of its bytes leaves. Pure: time is an
//! argument. It does not know sockets or faults.
//!
//! The model is a link of a given rate followed by a wire of a given delay: a slice starts on the link when it has
//! arrived and the link is free, occupies it for its length over the rate, and comes out one delay later. Jitter adds to
//! the delay but never reorders.

use std::collections::VecDeque;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::{Duration, Instant};

/// In flight at most, bytes, unless told otherwise: 16 MiB carry 640 MB/s at 25 ms each way.
pub const QUEUE_BYTES: usize = 16 << 20;
/// At a given rate a slice lasts at most this long, so that a slow path trickles instead of bursting.
const SLICES_PER_SECOND: u64 = 200;

/// How a path behaves while no fault is set; the same both ways.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Time from arrival to delivery, each way.
    pub delay: Duration,
    /// Up to this much more, evenly distributed.
    pub jitter: Duration,
    /// Bytes per second, each way, each connection.
    pub rate: Option<NonZeroU64>,
    /// Bytes per write at most.
    pub slice: Option<NonZeroUsize>,
    /// Bytes in flight at most, each way, each connection; beyond it the sender is not read.
    pub queue_bytes: usize,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { delay: Duration::ZERO, jitter: Duration::ZERO, rate: None, slice: None, queue_bytes: QUEUE_BYTES }
    }
}

/// What a direction can do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<'a> {
    /// These bytes may be written; report how many were with [`Flow::taken`].
    Bytes(&'a mut [u8]),
    /// The sender's end of stream has come out; nothing follows.
    End,
    /// Nothing before this time.
    At(Instant),
    /// Nothing is in flight.
    Nothing,
}

/// What was read at one time. Empty data is the end of the stream, which travels like a byte.
struct Chunk {
    arrived: Instant,
    data: Vec<u8>,
    gone: usize,
}

/// The bytes of one direction that have arrived and not been delivered.
pub struct Flow {
    chunks: VecDeque<Chunk>,
    in_flight: usize,
    /// The slice at the head: when it may leave, and how much of it is left, bytes.
    head: Option<(Instant, usize)>,
    link_free: Instant,
    last_due: Instant,
    chance: u64,
}

impl Flow {
    /// An empty direction. `seed` decides the jitter.
    pub fn new(now: Instant, seed: u64) -> Flow {
        Flow { chunks: VecDeque::new(), in_flight: 0, head: None, link_free: now, last_due: now, chance: seed }
    }

    /// Bytes that may still be pushed.
    pub fn room(&self, shape: &Shape) -> usize {
        shape.queue_bytes.saturating_sub(self.in_flight)
    }

    /// Bytes have arrived.
    pub fn push(&mut self, now: Instant, data: Vec<u8>) {
        debug_assert!(!data.is_empty(), "an empty chunk would read as the end");
        self.in_flight += data.len();
        self.chunks.push_back(Chunk { arrived: now, data, gone: 0 });
    }

    /// The sender's end of stream has arrived.
    pub fn end(&mut self, now: Instant) {
        self.chunks.push_back(Chunk { arrived: now, data: Vec::new(), gone: 0 });
    }

    /// Everything in flight is lost.
    pub fn lose(&mut self) {
        self.chunks.clear();
        self.in_flight = 0;
        self.head = None;
    }

    /// What can be done now.
    pub fn due(&mut self, now: Instant, shape: &Shape) -> Due<'_> {
        let Some((at, bytes)) = self.head.or_else(|| self.schedule(shape)) else {
            return Due::Nothing;
        };
        self.head = Some((at, bytes));
        if at > now {
            return Due::At(at);
        }
        match self.chunks.front_mut() {
            Some(chunk) if bytes > 0 => Due::Bytes(&mut chunk.data[chunk.gone..chunk.gone + bytes]),
            _ => Due::End,
        }
    }

    /// Of the bytes last returned by [`Flow::due`], `bytes` have been written.
    pub fn taken(&mut self, bytes: usize) {
        let (Some((at, left)), Some(chunk)) = (self.head, self.chunks.front_mut()) else {
            return;
        };
        chunk.gone += bytes;
        self.in_flight -= bytes;
        self.head = (bytes < left).then(|| (at, left - bytes));
        if chunk.gone == chunk.data.len() {
            self.chunks.pop_front();
        }
    }

    fn schedule(&mut self, shape: &Shape) -> Option<(Instant, usize)> {
        let chunk = self.chunks.front()?;
        let mut bytes = chunk.data.len() - chunk.gone;
        bytes = bytes.min(shape.slice.map_or(usize::MAX, NonZeroUsize::get));
        let mut leaves = chunk.arrived;
        if let Some(rate) = shape.rate {
            let most = usize::try_from(rate.get() / SLICES_PER_SECOND).unwrap_or(usize::MAX).max(1);
            bytes = bytes.min(most);
            leaves = leaves.max(self.link_free) + time_on_link(bytes, rate);
            self.link_free = leaves;
        }
        self.last_due = self.last_due.max(leaves + shape.delay + self.jitter(shape.jitter));
        Some((self.last_due, bytes))
    }

    /// Evenly distributed in `0..=most`. SplitMix64: small, seeded, good enough for a delay.
    fn jitter(&mut self, most: Duration) -> Duration {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(mixed % (nanos + 1))
    }
}

fn time_on_link(bytes: usize, rate: NonZeroU64) -> Duration {
    let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Drains everything due at `now` and returns it with the number of writes it took.
    fn drain(flow: &mut Flow, now: Instant, shape: &Shape) -> (Vec<u8>, usize) {
        let (mut out, mut writes) = (Vec::new(), 0);
        while let Due::Bytes(bytes) = flow.due(now, shape) {
            let n = bytes.len();
            out.extend_from_slice(bytes);
            flow.taken(n);
            writes += 1;
        }
        (out, writes)
    }

    #[test]
    fn a_byte_leaves_one_delay_after_it_came_and_not_before() {
        let t = Instant::now();
        let shape = Shape { delay: 25 * MS, ..Shape::default() };
        let mut flow = Flow::new(t, 1);
        flow.push(t, b"first".to_vec());
        flow.push(t + 10 * MS, b"second".to_vec());
        assert_eq!(flow.due(t + 24 * MS, &shape), Due::At(t + 25 * MS));
        assert_eq!(drain(&mut flow, t + 25 * MS, &shape).0, b"first");
        assert_eq!(flow.due(t + 30 * MS, &shape), Due::At(t + 35 * MS));
        assert_eq!(drain(&mut flow, t + 35 * MS, &shape).0, b"second");
        assert_eq!(flow.due(t + 35 * MS, &shape), Due::Nothing);
    }

    #[test]
    fn rate_spreads_bytes_and_delay_comes_on_top() {
        let t = Instant::now();
        let shape = Shape { rate: NonZeroU64::new(1000), delay: 50 * MS, ..Shape::default() };
        let mut flow = Flow::new(t, 1);
        flow.push(t, vec![7; 100]);
        assert_eq!(drain(&mut flow, t + 54 * MS, &shape).0.len(), 0);
        assert_eq!(drain(&mut flow, t + 100 * MS, &shape).0.len(), 50);
        assert_eq!(drain(&mut flow, t + 150 * MS, &shape).0.len(), 50);
    }

    #[test]
    fn slices_are_one_write_each_and_the_end_comes_last() {
        let t = Instant::now();
        let shape = Shape { slice: NonZeroUsize::new(3), ..Shape::default() };
        let mut flow = Flow::new(t, 1);
        flow.push(t, b"0123456789".to_vec());
        flow.end(t);
        assert_eq!(drain(&mut flow, t, &shape), (b"0123456789".to_vec(), 4));
        assert_eq!(flow.due(t, &shape), Due::End);
    }

    #[test]
    fn jitter_delays_but_never_reorders() {
        let t = Instant::now();
        let shape = Shape { jitter: 20 * MS, ..Shape::default() };
        let mut flow = Flow::new(t, 42);
        let (mut out, mut waited) = (Vec::new(), Duration::ZERO);
        for byte in 0..100u8 {
            let now = t + u32::from(byte) * MS;
            flow.push(now, vec![byte]);
            if let Due::At(at) = flow.due(now, &shape) {
                waited = waited.max(at - now);
            }
            out.extend(drain(&mut flow, now, &shape).0);
        }
        out.extend(drain(&mut flow, t + 200 * MS, &shape).0);
        assert_eq!(out, (0..100).collect::<Vec<u8>>());
        assert!(waited > 5 * MS, "jitter of up to 20 ms was never more than {waited:?}");
    }

    #[test]
    fn queue_is_full_until_bytes_leave() {
        let t = Instant::now();
        let shape = Shape { queue_bytes: 10, delay: MS, ..Shape::default() };
        let mut flow = Flow::new(t, 1);
        flow.push(t, vec![0; 8]);
        assert_eq!(flow.room(&shape), 2);
        drain(&mut flow, t + MS, &shape);
        assert_eq!(flow.room(&shape), 10);
    }

    #[test]
    fn partial_write_keeps_the_rest_due() {
        let t = Instant::now();
        let shape = Shape::default();
        let mut flow = Flow::new(t, 1);
        flow.push(t, b"abcdef".to_vec());
        assert!(matches!(flow.due(t, &shape), Due::Bytes(_)));
        flow.taken(2);
        assert_eq!(drain(&mut flow, t, &shape).0, b"cdef");
    }
}
