//! What was read, on its way through the machine.

use super::block::{Buffer, Piece};
use std::sync::Arc;

/// A block, and how much of what was read into it has been used.
pub(crate) struct Cursor<'a> {
    /// The block.
    pub block: &'a Arc<Buffer>,
    /// Up to here it is used.
    pub at: usize,
    /// Up to here it was read into.
    pub filled: usize,
}

impl<'a> Cursor<'a> {
    /// What was read into the front of `blocks`, `filled` bytes in all.
    pub(crate) fn over(blocks: &'a [Arc<Buffer>], filled: usize) -> impl Iterator<Item = Cursor<'a>> {
        blocks.iter().scan(filled, |left, block| {
            let filled = (*left).min(block.bytes().len());
            *left -= filled;
            (filled > 0).then_some(Cursor { block, at: 0, filled })
        })
    }

    /// What was held before.
    pub(crate) fn again(piece: &'a Piece) -> Cursor<'a> {
        let (block, range) = piece.place();
        Cursor { block, at: range.start, filled: range.end }
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.block.bytes()[self.at..self.filled]
    }

    /// What is left, to be kept.
    pub(crate) fn into_piece(self) -> Piece {
        Piece::kept(self.block, self.at..self.filled)
    }
}
