//! The memory that a worker's next read goes to.

use super::block::{Buffer, Pool};
use std::sync::Arc;

/// Blocks of one read: 256 KiB, a whole DATA frame.
pub(crate) const READ_BLOCKS: usize = 4;

/// The blocks of the next read. What a read leaves unused, and what is not shared afterwards, is used again.
#[derive(Debug)]
pub(crate) struct Reader {
    pool: Arc<Pool>,
    blocks: Vec<Arc<Buffer>>,
}

impl Reader {
    /// A reader that takes its blocks from `pool`.
    pub(crate) fn new(pool: Arc<Pool>) -> Reader {
        Reader { pool, blocks: Vec::with_capacity(READ_BLOCKS) }
    }

    /// Gets blocks that nobody else holds. False: memory is used up, and nothing can be read until some is back. Blocks that
    /// are there already do not change that, for what is read may be copied out of them.
    pub(crate) fn prepare(&mut self) -> bool {
        self.blocks.retain_mut(|block| Arc::get_mut(block).is_some());
        if self.pool.budget().is_overdrawn() {
            return false;
        }
        while self.blocks.len() < READ_BLOCKS {
            let Some(block) = self.pool.take() else { break };
            self.blocks.push(block);
        }
        !self.blocks.is_empty()
    }

    /// The blocks of the last read.
    pub(crate) fn blocks(&self) -> &[Arc<Buffer>] {
        &self.blocks
    }

    /// The blocks to read into, in order, after [`Reader::prepare`].
    pub(crate) fn rooms(&mut self) -> impl Iterator<Item = &mut [u8]> {
        // `prepare` has dropped every block that somebody else holds.
        self.blocks.iter_mut().map_while(|block| Arc::get_mut(block).map(Buffer::bytes_mut))
    }

    /// Bytes of blocks that hold nothing for anybody.
    #[cfg(any(feature = "canaries", feature = "fuzzing"))]
    pub(crate) fn free_bytes(&self) -> usize {
        let free = self.blocks.iter().filter(|block| Arc::strong_count(block) == 1);
        free.map(|block| block.bytes().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::memory::block::{BLOCK_BYTES, Piece};
    use crate::relay::memory::budget::Budget;

    #[test]
    fn nothing_is_read_while_what_was_copied_takes_more_than_there_is() {
        let budget = Budget::new(READ_BLOCKS * BLOCK_BYTES + 10_000);
        let pool = Pool::new(Arc::clone(&budget));
        let mut reader = Reader::new(Arc::clone(&pool));
        assert!(reader.prepare());
        let mut copies = vec![Piece::new(&reader.blocks()[0], 0..6000)];
        assert!(reader.prepare());
        copies.push(Piece::new(&reader.blocks()[0], 6000..12_000));
        assert!(!reader.prepare() && reader.free_bytes() == READ_BLOCKS * BLOCK_BYTES);
        copies.pop();
        assert!(reader.prepare());
        drop((copies, reader));
        assert_eq!(budget.used_bytes(), 0);
    }
}
