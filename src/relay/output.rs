//! The bytes of a link in their final order: headers sealed, bodies where they were read.

use super::memory::block::Piece;
use super::memory::charge::Charge;
use crate::wire::limits::SEALED_HEADER_BYTES;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Slices of one vectored write. The kernel takes up to 1024; past 64 a call costs no less per byte.
pub(crate) const SLICES_MAX: usize = 64;
/// Bytes that are put in order ahead of a write. More would only delay control messages.
const AHEAD_BYTES: usize = 512 * 1024;

#[derive(Debug)]
enum Part {
    Header([u8; SEALED_HEADER_BYTES]),
    Sealed(Vec<u8>, Option<Charge>),
    Body { circuit: u32, piece: Piece },
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Part::Header(bytes) => bytes,
            Part::Sealed(bytes, _) => bytes,
            Part::Body { piece, .. } => piece.bytes(),
        }
    }
}

/// Output in order, with the place up to which the kernel has taken it.
#[derive(Debug, Default)]
pub(super) struct Output {
    parts: VecDeque<Part>,
    /// Bytes of the first part that are gone.
    gone: usize,
    bytes: usize,
    /// Memory that is kept for bodies beyond their bytes.
    idle_bytes: usize,
}

impl Output {
    /// Whether more may be put in order now.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < AHEAD_BYTES && self.parts.len() < SLICES_MAX - 2
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What messages in it are charged, bytes.
    pub(super) fn charged_bytes(&self) -> usize {
        let charge = |part: &Part| match part {
            Part::Sealed(_, Some(charge)) => charge.bytes(),
            _ => 0,
        };
        self.parts.iter().map(charge).sum()
    }

    /// Bytes in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The memory that it keeps, bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        let kept = |part: &Part| match part {
            Part::Body { piece, .. } => piece.kept_bytes(),
            Part::Sealed(bytes, charge) => charge.as_ref().map_or(bytes.len(), Charge::bytes),
            Part::Header(bytes) => bytes.len(),
        };
        self.parts.iter().map(kept).sum()
    }

    /// Memory that is kept for bodies in it beyond their bytes.
    pub(super) fn idle_bytes(&self) -> usize {
        self.idle_bytes
    }

    /// Appends a sealed header.
    pub(super) fn header(&mut self, sealed: [u8; SEALED_HEADER_BYTES]) {
        self.bytes += sealed.len();
        self.parts.push_back(Part::Header(sealed));
    }

    /// Appends other sealed bytes, and what they are charged.
    pub(super) fn sealed(&mut self, bytes: Vec<u8>, charge: Option<Charge>) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.parts.push_back(Part::Sealed(bytes, charge));
        }
    }

    /// Appends bytes of a circuit.
    pub(super) fn body(&mut self, circuit: u32, piece: Piece) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.idle_bytes += piece.idle_bytes();
            self.parts.push_back(Part::Body { circuit, piece });
        }
    }

    /// Fills `slices` from the front; returns how many are in use.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let mut used = 0;
        let mut skip = self.gone;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(&part.bytes()[skip..]);
            skip = 0;
            used += 1;
        }
        used
    }

    /// The kernel took `count` bytes: drops them and reports the bodies among them as (circuit, bytes), in order.
    pub(super) fn advance(&mut self, count: usize, mut freed: impl FnMut(u32, usize)) {
        let mut left = count.min(self.bytes);
        self.bytes -= left;
        while let Some(front) = self.parts.front() {
            let here = left.min(front.bytes().len() - self.gone);
            if let Part::Body { circuit, .. } = front
                && here > 0
            {
                freed(*circuit, here);
            }
            left -= here;
            self.gone += here;
            if self.gone < front.bytes().len() {
                return;
            }
            self.gone = 0;
            if let Some(Part::Body { piece, .. }) = self.parts.pop_front() {
                self.idle_bytes -= piece.idle_bytes();
            }
        }
        // Idle links keep no memory for output.
        self.parts = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::memory::block::Pool;
    use crate::relay::memory::budget::Budget;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_partial_writes_yield_the_same_bytes_and_count_every_body(cuts in proptest::collection::vec(1usize..5000, 1..80)) {
            let pool = Pool::new(Budget::new(1 << 20));
            let mut output = Output::default();
            let mut expected = Vec::new();
            for n in 0..12_u8 {
                let body = vec![n; 1 + usize::from(n) * 97];
                output.header([n; SEALED_HEADER_BYTES]);
                output.body(u32::from(n % 3), Piece::copied(&pool, &body));
                output.sealed(vec![n; usize::from(n % 2) * 40], None);
                expected.extend([n; SEALED_HEADER_BYTES]);
                expected.extend(&body);
                expected.extend(vec![n; usize::from(n % 2) * 40]);
            }
            let (mut written, mut freed) = (Vec::<u8>::new(), [0; 3]);
            let mut cuts = cuts.into_iter().cycle();
            let mut turns = 0..1_000_000;
            while !output.is_empty() {
                assert!(turns.next().is_some(), "it is never all written");
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let used = output.slices(&mut slices);
                let flat: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
                let count = flat.len().min(cuts.next().unwrap());
                written.extend(&flat[..count]);
                output.advance(count, |circuit, bytes| freed[usize::try_from(circuit).unwrap()] += bytes);
            }
            prop_assert_eq!(written, expected);
            prop_assert_eq!(freed.iter().sum::<usize>(), (0..12).map(|n| 1 + n * 97).sum::<usize>());
        }
    }
}
