//! The hash of a file's content, fed with pieces of any length and with zeros by their number.
//!
//! ```text
//!  content:  data │ blank │ blank │ data │ da        blocks of 64 KiB, blank: zeros throughout
//!  hash:     BLAKE3 of the data where no block is blank, else BLAKE3 of (where blank blocks are ‖ hash of the data)
//! ```
//! So a hole costs what its description costs, on both sides, and whether it is one or zeros that take room changes nothing.
//!
//! BLAKE3 works on 16 KiB at once where the processor can, but only on whole ones that begin at a multiple of
//! that: fed with pieces as they come in, it reaches little more than half its speed.

/// BLAKE3 of some content, or what stands for it.
pub type Hash = [u8; 32];

/// Sixteen chunks of BLAKE3, the widest that any processor takes at once.
const STRIDE_BYTES: usize = 16 << 10;
/// A block that is left out if it is blank: large enough to be worth its description, and what a hole costs at its two ends.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK: u64 = 64 << 10;
/// Zeros are looked for in steps of this.
const LOOK_BYTES: usize = 4 << 10;
/// Keeps what is hashed with blank blocks apart from anything else.
const CONTEXT: &str = "vp transfer 1 content with blank blocks";

static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// The hash of what has been fed so far.
#[derive(Debug, Clone)]
pub struct ContentHash {
    /// Of everything but blank blocks.
    data: blake3::Hasher,
    /// The front of a stride whose rest has not come; shorter than that.
    pending: Vec<u8>,
    length: u64,
    /// Of the present block nothing but zeros has come, of which none has gone into `data`.
    only_zeros: bool,
    blank: Blank,
}

/// Where blank blocks are.
#[derive(Debug, Clone, Default)]
struct Blank {
    /// Of the runs of them that have ended.
    runs: Option<Box<blake3::Hasher>>,
    /// The first block of the last run, and how many there are.
    last: Option<(u64, u64)>,
}

impl Blank {
    fn add(&mut self, first: u64, count: u64) {
        match &mut self.last {
            Some((begin, length)) if *begin + *length == first => *length += count,
            _ => {
                self.end_run();
                self.last = Some((first, count));
            }
        }
    }

    fn end_run(&mut self) {
        if let Some((first, count)) = self.last.take() {
            let runs = self.runs.get_or_insert_with(|| Box::new(blake3::Hasher::new_derive_key(CONTEXT)));
            runs.update(&first.to_le_bytes()).update(&count.to_le_bytes());
        }
    }
}

impl Default for ContentHash {
    fn default() -> Self {
        let (data, blank) = (blake3::Hasher::new(), Blank::default());
        Self { data, pending: Vec::new(), length: 0, only_zeros: true, blank }
    }
}

impl ContentHash {
    /// Feeds the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = BLOCK_BYTES - self.in_block();
            if self.only_zeros {
                let front = &bytes[..left.min(bytes.len())];
                let zeros = zeros_at_front(front);
                self.pass_zeros(zeros);
                if zeros < front.len() {
                    self.feed(&ZEROS[..self.in_block()]);
                    self.only_zeros = false;
                }
                bytes = &bytes[zeros..];
                continue;
            }
            // A block whose first byte is something else is not blank: so all of them go in one piece.
            let mut until = left.min(bytes.len());
            while bytes.get(until).is_some_and(|first| *first != 0) {
                until = bytes.len().min(until + BLOCK_BYTES);
            }
            let (data, rest) = bytes.split_at(until);
            self.feed(data);
            self.length += wide(until);
            self.only_zeros = self.in_block() == 0;
            bytes = rest;
        }
    }

    /// Feeds so many zeros.
    pub(crate) fn update_zeros(&mut self, mut count: u64) {
        while count > 0 {
            let left = BLOCK_BYTES - self.in_block();
            let now = usize::try_from(count).map_or(left, |count| count.min(left));
            if self.only_zeros && left == BLOCK_BYTES && count >= BLOCK {
                let blocks = count / BLOCK;
                self.blank.add(self.length / BLOCK, blocks);
                self.length += blocks * BLOCK;
                count -= blocks * BLOCK;
            } else if self.only_zeros {
                self.pass_zeros(now);
                count -= wide(now);
            } else {
                self.feed(&ZEROS[..now]);
                self.length += wide(now);
                self.only_zeros = self.in_block() == 0;
                count -= wide(now);
            }
        }
    }

    /// The state so far, to go on from.
    pub(crate) fn checkpoint(&mut self) -> Self {
        self.data.update(&self.pending);
        self.pending.clear();
        self.clone()
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut data = self.data.clone();
        data.update(&self.pending);
        if self.only_zeros {
            // A last block that is not whole counts as data.
            data.update(&ZEROS[..self.in_block()]);
        }
        let data = *data.finalize().as_bytes();
        let mut blank = self.blank.clone();
        blank.end_run();
        blank.runs.map_or(data, |mut runs| *runs.update(&data).finalize().as_bytes())
    }

    /// Passes over zeros that nothing but zeros precedes in their block, and that reach its end at most.
    fn pass_zeros(&mut self, count: usize) {
        let block = self.length / BLOCK;
        self.length += wide(count);
        if count > 0 && self.in_block() == 0 {
            self.blank.add(block, 1);
        }
    }

    fn in_block(&self) -> usize {
        // A remainder of a `usize` fits one.
        usize::try_from(self.length % BLOCK).unwrap_or(0)
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        let missing = self.bytes_to_border();
        if missing < STRIDE_BYTES {
            let (front, rest) = bytes.split_at(missing.min(bytes.len()));
            self.pending.extend_from_slice(front);
            if front.len() < missing {
                return;
            }
            self.data.update(&self.pending);
            self.pending.clear();
            bytes = rest;
        }
        let (strides, rest) = bytes.split_at(bytes.len() - bytes.len() % STRIDE_BYTES);
        self.data.update(strides);
        self.pending.extend_from_slice(rest);
    }

    /// How much is missing to the next border between strides; a whole stride on one.
    fn bytes_to_border(&self) -> usize {
        // As above.
        let fed = usize::try_from(self.data.count() % wide(STRIDE_BYTES)).unwrap_or(0);
        STRIDE_BYTES - (fed + self.pending.len()) % STRIDE_BYTES
    }
}

fn zeros_at_front(bytes: &[u8]) -> usize {
    let mut zeros = 0;
    for piece in bytes.chunks(LOOK_BYTES) {
        if piece != &ZEROS[..piece.len()] {
            return zeros + piece.iter().take_while(|byte| **byte == 0).count();
        }
        zeros += piece.len();
    }
    zeros
}

/// A length in memory as a length in a file: never more than 64 bits.
fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same from the definition, of content that is there as a whole.
    fn defined(content: &[u8]) -> Hash {
        let is_blank = |block: &[u8]| block.len() == BLOCK_BYTES && block.iter().all(|byte| *byte == 0);
        let (mut data, mut runs) = (Vec::new(), Vec::<(u64, u64)>::new());
        for (number, block) in (0..).zip(content.chunks(BLOCK_BYTES)) {
            match runs.last_mut() {
                _ if !is_blank(block) => data.extend_from_slice(block),
                Some((first, count)) if *first + *count == number => *count += 1,
                _ => runs.push((number, 1)),
            }
        }
        let data = *blake3::hash(&data).as_bytes();
        if runs.is_empty() {
            return data;
        }
        let mut described: Vec<u8> =
            runs.iter().flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()]).flatten().collect();
        described.extend_from_slice(&data);
        blake3::derive_key(CONTEXT, &described)
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    #[derive(Debug, Clone)]
    enum Piece {
        Noise(usize),
        Zeros(usize),
        Hole(usize),
    }

    fn piece() -> impl Strategy<Value = Piece> {
        let length =
            || prop_oneof![0_usize..40, 0_usize..200_000, (0_usize..4).prop_map(|blocks| blocks * BLOCK_BYTES)];
        prop_oneof![length().prop_map(Piece::Noise), length().prop_map(Piece::Zeros), length().prop_map(Piece::Hole)]
    }

    proptest! {
        #[test]
        fn pieces_of_any_length_and_kind_give_the_hash_of_the_whole(pieces in proptest::collection::vec(piece(), 0..8)) {
            let (mut content, mut hash) = (Vec::new(), ContentHash::default());
            for piece in pieces {
                let begin = content.len();
                match piece {
                    Piece::Noise(length) => content.extend(noise(length)),
                    Piece::Zeros(length) | Piece::Hole(length) => content.resize(begin + length, 0),
                }
                match piece {
                    Piece::Hole(length) => hash.update_zeros(wide(length)),
                    _ => hash.update(&content[begin..]),
                }
                prop_assert!(hash.pending.len() < STRIDE_BYTES);
                prop_assert_eq!(hash.hash(), defined(&content));
                prop_assert_eq!(hash.checkpoint().hash(), defined(&content));
            }
        }
    }

    #[test]
    fn content_without_a_blank_block_has_its_plain_hash() {
        let mut content = noise(3 * BLOCK_BYTES);
        content.extend_from_slice(&ZEROS[1..]);
        let mut hash = ContentHash::default();
        hash.update(&content);
        assert_eq!(hash.hash(), *blake3::hash(&content).as_bytes());
        hash.update(&[0]);
        assert_ne!(hash.hash(), *blake3::hash(&[&content[..], &[0]].concat()).as_bytes());
    }

    #[test]
    fn whole_strides_are_not_copied() {
        let mut hash = ContentHash::default();
        hash.update(&noise(3 * STRIDE_BYTES));
        assert_eq!((hash.data.count(), hash.pending.capacity()), (wide(3 * STRIDE_BYTES), 0));
        hash.update(b"x");
        assert_eq!((hash.data.count(), hash.pending.len()), (wide(3 * STRIDE_BYTES), 1));
    }

    #[test]
    fn a_hole_of_any_length_costs_its_description() {
        let mut hash = ContentHash::default();
        hash.update_zeros(1 << 62);
        assert_eq!((hash.data.count(), hash.blank.last), (0, Some((0, 1 << 46))));
    }
}
