//! BLAKE3 over content that comes in pieces of any length.
//!
//! BLAKE3 works on [`STRIDE_BYTES`] at once where the processor can, but only on whole ones that begin at a multiple of
//! that: fed with pieces as they come in, it reaches little more than half its speed.

use super::messages::Hash;
use super::sending::{wide, zeros};

/// Sixteen chunks of BLAKE3, the widest that any processor takes at once.
const STRIDE_BYTES: usize = 16 << 10;

/// The hash of what has been fed so far.
pub(super) struct ContentHash {
    state: blake3::Hasher,
    /// The front of a stride whose rest has not come; shorter than that.
    pending: Vec<u8>,
}

impl From<blake3::Hasher> for ContentHash {
    /// Goes on after whatever has been fed to `state`.
    fn from(state: blake3::Hasher) -> Self {
        Self { state, pending: Vec::new() }
    }
}

impl ContentHash {
    /// Feeds the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let missing = self.bytes_to_border();
        if missing < STRIDE_BYTES {
            let (front, rest) = bytes.split_at(missing.min(bytes.len()));
            self.pending.extend_from_slice(front);
            if front.len() < missing {
                return;
            }
            self.state.update(&self.pending);
            self.pending.clear();
            bytes = rest;
        }
        let (strides, rest) = bytes.split_at(bytes.len() - bytes.len() % STRIDE_BYTES);
        self.state.update(strides);
        self.pending.extend_from_slice(rest);
    }

    /// Feeds so many zeros.
    pub fn update_zeros(&mut self, count: u64) {
        zeros(count).for_each(|piece| self.update(piece));
    }

    /// The hash of everything.
    pub fn finish(mut self) -> Hash {
        self.state.update(&self.pending);
        *self.state.finalize().as_bytes()
    }

    /// How much is missing to the next border between strides; a whole stride on one.
    fn bytes_to_border(&self) -> usize {
        // A remainder of a `usize` fits one.
        let fed = usize::try_from(self.state.count() % wide(STRIDE_BYTES)).unwrap_or(0);
        STRIDE_BYTES - (fed + self.pending.len()) % STRIDE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    proptest! {
        #[test]
        fn pieces_of_any_length_give_the_hash_of_the_whole(
            before in 0_usize..40_000,
            lengths in proptest::collection::vec(prop_oneof![0_usize..40, 0_usize..70_000], 0..8),
            zeros in 0_u64..200_000,
        ) {
            let content = noise(before + lengths.iter().sum::<usize>());
            let mut whole = content.clone();
            whole.resize(content.len() + usize::try_from(zeros).unwrap(), 0);
            let (begin, mut rest) = content.split_at(before);
            let mut state = blake3::Hasher::new();
            state.update(begin);
            let mut hash = ContentHash::from(state);
            for length in lengths {
                let (piece, later) = rest.split_at(length);
                hash.update(piece);
                prop_assert!(hash.pending.len() < STRIDE_BYTES);
                prop_assert!(hash.pending.is_empty() || hash.bytes_to_border() < STRIDE_BYTES);
                rest = later;
            }
            hash.update_zeros(zeros);
            prop_assert_eq!(hash.finish(), *blake3::hash(&whole).as_bytes());
        }
    }

    #[test]
    fn whole_strides_are_not_copied() {
        let mut hash = ContentHash::from(blake3::Hasher::new());
        hash.update(&noise(3 * STRIDE_BYTES));
        assert_eq!((hash.state.count(), hash.pending.capacity()), (wide(3 * STRIDE_BYTES), 0));
        hash.update(b"x");
        assert_eq!((hash.state.count(), hash.pending.len()), (wide(3 * STRIDE_BYTES), 1));
    }
}
