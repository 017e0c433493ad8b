//! Memory for bodies: what was read stays where it was read until it has been written.
//!
//! ```text
//!   read ──▶ │ block, 64 KiB                                   │ ◀── one Arc
//!            │ header │ body of circuit 2 ……… │ header │ body … │
//!                      └── Piece ───────────┘          └ Piece
//! ```
//! A block is filled once, while nobody else holds it, and is only read afterwards. Its memory returns to the pool of the
//! worker that took it when the last piece is gone, wherever that happens.

use super::budget::Budget;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Size of a block: large enough that a read of 256 KiB needs four, small enough that a slow circuit pins little.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
/// Pieces up to this size are copied into buffers of their own, so that a small piece never pins a whole block.
pub(crate) const COPY_MAX: usize = 8 * 1024;
/// Small pieces that wait together share one buffer up to this size.
const GATHER_MAX: usize = 16 * 1024;
/// Such a buffer grows by this at least: what it has beyond its bytes is an eighth of them at most, when it takes no more.
const GATHER_STEP: usize = 1024;
/// Blocks a pool keeps for the next read: 4 MiB. The rest goes back to the system.
const FREE_BLOCKS_MAX: usize = 64;

const _: () = assert!(COPY_MAX <= GATHER_MAX && GATHER_MAX < BLOCK_BYTES);

/// One worker's supply of blocks. Last in, first out: the next read lands in memory that is still in the cache.
#[derive(Debug)]
pub(crate) struct Pool {
    budget: Arc<Budget>,
    free: Mutex<Vec<Box<[u8]>>>,
}

impl Pool {
    /// An empty pool that draws on `budget`.
    pub(crate) fn new(budget: Arc<Budget>) -> Arc<Pool> {
        Arc::new(Pool { budget, free: Mutex::new(Vec::new()) })
    }

    /// The budget behind the pool.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// A block that nobody else holds, of [`BLOCK_BYTES`], or None while the budget is used up.
    pub(crate) fn take(self: &Arc<Pool>) -> Option<Arc<Buffer>> {
        if !self.budget.try_charge(BLOCK_BYTES) {
            return None;
        }
        let recycled = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = recycled.unwrap_or_else(|| vec![0; BLOCK_BYTES].into_boxed_slice());
        Some(Arc::new(Buffer { bytes: Bytes::Block(bytes), charged: BLOCK_BYTES, pool: Arc::clone(self) }))
    }

    /// A buffer of its own for a few bytes. Never refused, but it counts: [`Reader::prepare`](crate::relay::Reader::prepare)
    /// lets nothing be read that could be copied next.
    fn copy(self: &Arc<Pool>, bytes: &[u8]) -> Arc<Buffer> {
        self.budget.charge(bytes.len());
        Arc::new(Buffer { bytes: Bytes::Small(bytes.to_vec()), charged: bytes.len(), pool: Arc::clone(self) })
    }
}

#[derive(Debug)]
enum Bytes {
    Block(Box<[u8]>),
    Small(Vec<u8>),
}

/// Memory that pieces point into.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Bytes,
    charged: usize,
    pool: Arc<Pool>,
}

impl Buffer {
    /// The whole buffer.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Block(bytes) => bytes,
            Bytes::Small(bytes) => bytes,
        }
    }

    /// The whole buffer, to read into.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Bytes::Block(bytes) => bytes,
            Bytes::Small(bytes) => bytes,
        }
    }

    /// Appends to a small buffer that has room; false if this is none.
    fn append(&mut self, more: &[u8]) -> bool {
        let Bytes::Small(bytes) = &mut self.bytes else { return false };
        if bytes.len() + more.len() > GATHER_MAX {
            return false;
        }
        if bytes.capacity() - bytes.len() < more.len() {
            bytes.reserve_exact(more.len().max(GATHER_STEP.min(GATHER_MAX - bytes.len())));
        }
        bytes.extend_from_slice(more);
        let capacity = bytes.capacity();
        if capacity > self.charged {
            self.pool.budget.charge(capacity - self.charged);
            self.charged = capacity;
        }
        true
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.budget.discharge(self.charged);
        if let Bytes::Block(bytes) = &mut self.bytes {
            let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < FREE_BLOCKS_MAX {
                free.push(std::mem::take(bytes));
            }
        }
    }
}

/// Some bytes of a circuit, where they were read.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    buffer: Arc<Buffer>,
    range: Range<usize>,
    /// Bytes of the buffer that hold nothing of use, as far as this piece answers for them.
    idle: usize,
}

impl Piece {
    /// The bytes `range` of `buffer`: shared if there are many, copied if there are few.
    pub(crate) fn new(buffer: &Arc<Buffer>, range: Range<usize>) -> Piece {
        if range.len() > COPY_MAX {
            return Piece::shared(buffer, range);
        }
        Piece::copied(&buffer.pool, &buffer.bytes()[range])
    }

    /// The same, and shared also if the buffer is a small one: what is kept again and again is copied once.
    pub(crate) fn kept(buffer: &Arc<Buffer>, range: Range<usize>) -> Piece {
        match buffer.bytes {
            Bytes::Block(_) => Piece::new(buffer, range),
            Bytes::Small(_) => Piece::shared(buffer, range),
        }
    }

    fn shared(buffer: &Arc<Buffer>, range: Range<usize>) -> Piece {
        let idle = buffer.charged.saturating_sub(range.len());
        Piece { buffer: Arc::clone(buffer), range, idle }
    }

    /// A piece with memory of its own, charged to `pool`.
    pub(crate) fn copied(pool: &Arc<Pool>, bytes: &[u8]) -> Piece {
        Piece { buffer: pool.copy(bytes), range: 0..bytes.len(), idle: 0 }
    }

    /// The same bytes in memory of just their size.
    pub(crate) fn compacted(self) -> Piece {
        Piece::copied(&self.buffer.pool, self.bytes())
    }

    /// Memory that is kept for this piece beyond its bytes. Of pieces of one buffer in a row the last answers for all.
    pub(crate) fn idle_bytes(&self) -> usize {
        self.idle
    }

    /// Its part of the memory that it keeps, in which the other pieces of the same read have as large a part each.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.buffer.charged / Arc::strong_count(&self.buffer)
    }

    /// This piece follows another: if both are in one buffer, it takes over what that one answers for. Whether they are.
    pub(crate) fn follow(&mut self, before: &mut Piece) -> bool {
        let same = Arc::ptr_eq(&self.buffer, &before.buffer);
        if same {
            self.idle = std::mem::take(&mut before.idle).saturating_sub(self.len());
        }
        same
    }

    /// The memory behind it, and where in that it is.
    pub(crate) fn place(&self) -> (&Arc<Buffer>, Range<usize>) {
        (&self.buffer, self.range.clone())
    }

    /// The memory behind it.
    #[cfg(any(feature = "canaries", feature = "fuzzing"))]
    pub(crate) fn into_buffer(self) -> Arc<Buffer> {
        self.buffer
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[self.range.clone()]
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether it holds no byte.
    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Takes off the first `count` bytes, at most all.
    pub(crate) fn split_front(&mut self, count: usize) -> Piece {
        let middle = self.range.start + count.min(self.range.len());
        let front = Piece { buffer: Arc::clone(&self.buffer), range: self.range.start..middle, idle: 0 };
        self.range.start = middle;
        front
    }

    /// Appends `more` to this piece's own memory if both are small; false if that cannot be.
    pub(crate) fn gather(&mut self, more: &Piece) -> bool {
        if more.len() > COPY_MAX {
            return false;
        }
        let Some(buffer) = Arc::get_mut(&mut self.buffer) else { return false };
        let at_end = self.range.end == buffer.bytes().len();
        let gathered = at_end && buffer.append(more.bytes());
        if gathered {
            self.range.end += more.len();
            self.idle = buffer.charged.saturating_sub(self.range.len());
        }
        gathered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_returns_when_its_last_piece_is_gone_and_the_budget_knows() {
        let budget = Budget::new(2 * BLOCK_BYTES);
        let pool = Pool::new(Arc::clone(&budget));
        let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        let mut piece = Piece::new(&first, 10..BLOCK_BYTES);
        let front = piece.split_front(20_000);
        drop(first);
        drop(piece);
        assert!(pool.take().is_none());
        drop(front);
        assert_eq!(budget.used_bytes(), BLOCK_BYTES);
        assert!(pool.take().is_some());
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn small_pieces_pin_no_block_and_gather_in_one_buffer() {
        let budget = Budget::new(BLOCK_BYTES);
        let pool = Pool::new(Arc::clone(&budget));
        let mut block = pool.take().unwrap();
        Arc::get_mut(&mut block).unwrap().bytes_mut()[..4].copy_from_slice(b"abcd");
        let mut piece = Piece::new(&block, 0..2);
        let more = Piece::new(&block, 2..4);
        assert!(Arc::get_mut(&mut block).is_some());
        drop(block);
        assert!(piece.gather(&more));
        assert_eq!(piece.bytes(), b"abcd");
        let held = piece.split_front(1);
        assert!(!piece.gather(&more), "bytes that are on their way out do not move");
        assert_eq!((held.bytes(), piece.bytes()), (&b"a"[..], &b"bcd"[..]));
        drop((held, piece, more));
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn what_is_kept_beyond_the_bytes_is_answered_for_once() {
        let pool = Pool::new(Budget::new(BLOCK_BYTES));
        let block = pool.take().unwrap();
        let mut first = Piece::new(&block, 0..10_000);
        assert_eq!(first.idle_bytes(), BLOCK_BYTES - 10_000);
        let mut second = Piece::new(&block, 20_000..40_000);
        assert!(second.follow(&mut first));
        assert_eq!((first.idle_bytes(), second.idle_bytes()), (0, BLOCK_BYTES - 30_000));
        let front = second.split_front(5000);
        assert_eq!((front.idle_bytes(), second.idle_bytes()), (0, BLOCK_BYTES - 30_000));
        let copy = second.compacted();
        assert_eq!((copy.len(), copy.idle_bytes()), (15_000, 0));
        let mut other = Piece::copied(&pool, &[1; 100]);
        assert!(!other.follow(&mut first));
    }

    #[test]
    fn what_keeps_a_block_counts_as_that_however_little_of_it_is_left() {
        let pool = Pool::new(Budget::new(BLOCK_BYTES));
        let block = pool.take().unwrap();
        let (mut first, second) = (Piece::new(&block, 0..10_000), Piece::new(&block, 20_000..40_000));
        drop(block);
        assert_eq!((first.kept_bytes(), second.kept_bytes()), (BLOCK_BYTES / 2, BLOCK_BYTES / 2));
        drop(second);
        drop(first.split_front(9_999));
        assert_eq!((first.len(), first.kept_bytes()), (1, BLOCK_BYTES));
    }

    #[test]
    fn a_buffer_that_gathers_is_hardly_larger_than_its_bytes() {
        for size in [1, 10, 1000, 3000, 5000, COPY_MAX] {
            let pool = Pool::new(Budget::new(BLOCK_BYTES));
            let mut piece = Piece::copied(&pool, &vec![1; size]);
            let is_full = |piece: &mut Piece| !piece.gather(&Piece::copied(&pool, &vec![2; size]));
            assert!((0..2 * BLOCK_BYTES).any(|_| is_full(&mut piece)), "it gathers without end");
            let used = pool.budget().used_bytes();
            assert!(
                used <= piece.len() * 9 / 8 && used == piece.len() + piece.idle_bytes(),
                "{used} for {}",
                piece.len()
            );
        }
    }

    #[test]
    fn gathering_stops_at_its_cap() {
        let pool = Pool::new(Budget::new(BLOCK_BYTES));
        let mut piece = Piece::copied(&pool, &[1; COPY_MAX]);
        let more = Piece::copied(&pool, &[2; COPY_MAX]);
        assert!(piece.gather(&more));
        assert_eq!(piece.len(), GATHER_MAX);
        assert!(!piece.gather(&Piece::copied(&pool, &[3])));
    }
}
