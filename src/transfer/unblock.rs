//! Unpacks compressed blocks. A block says how much is in it, and gets no more memory than that.

use super::messages::BLOCK_BYTES_MAX;
use std::fmt;
use zstd::bulk::Decompressor;

/// A block that is not what it claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBlock;

/// Unpacks blocks; never holds more than one block, whatever a frame claims.
#[derive(Default)]
pub struct BlockDecoder {
    decompressor: Option<Decompressor<'static>>,
    raw: Vec<u8>,
}

impl fmt::Debug for BlockDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockDecoder").finish_non_exhaustive()
    }
}

impl BlockDecoder {
    /// The bytes in a frame, which must be `raw_length`, at most [`BLOCK_BYTES_MAX`].
    ///
    /// The frame is unpacked straight into a buffer of that length: zstd needs no window of its
    /// own then, and stops with an error when the buffer is full.
    ///
    /// # Errors
    /// `BadBlock` if it is no zstd frame, or holds more or less than declared.
    pub fn decode(&mut self, raw_length: usize, frame: &[u8]) -> Result<&[u8], BadBlock> {
        if raw_length > BLOCK_BYTES_MAX {
            return Err(BadBlock);
        }
        if self.decompressor.is_none() {
            self.decompressor = Some(Decompressor::new().map_err(|_| BadBlock)?);
        }
        let decompressor = self.decompressor.as_mut().ok_or(BadBlock)?;
        if self.raw.len() < raw_length {
            self.raw.resize(raw_length, 0);
        }
        let target = &mut self.raw[..raw_length];
        match decompressor.decompress_to_buffer(frame, target) {
            Ok(length) if length == raw_length => Ok(&self.raw[..raw_length]),
            _ => Err(BadBlock),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bombs_and_liars_are_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        let mut decoder = BlockDecoder::default();
        assert!(bomb.len() < 10_000);
        for declared in [1, 1_000, BLOCK_BYTES_MAX, BLOCK_BYTES_MAX + 1, 64 << 20] {
            assert_eq!(decoder.decode(declared, &bomb), Err(BadBlock), "{declared}");
        }
        let small = zstd::bulk::compress(b"0123456789", 3).unwrap();
        assert_eq!(decoder.decode(11, &small), Err(BadBlock));
        assert_eq!(decoder.decode(9, &small), Err(BadBlock));
        assert_eq!(decoder.decode(10, &small[..small.len() - 1]), Err(BadBlock));
        assert_eq!(decoder.decode(10, b"garbage"), Err(BadBlock));
        assert_eq!(decoder.decode(10, b""), Err(BadBlock));
        assert_eq!(decoder.decode(10, &small), Ok(&b"0123456789"[..]));
        assert!(decoder.raw.len() <= BLOCK_BYTES_MAX);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_frames_never_panic(raw in 1_usize..300_000, frame: Vec<u8>) {
            let decoded = BlockDecoder::default().decode(raw, &frame).map(<[u8]>::len);
            proptest::prop_assert!(decoded.is_err() || decoded == Ok(raw));
        }
    }
}
