//! Records on the pipe: each is sealed for itself and carries its length; an opener gathers one that comes in parts.

use super::buffers::BUFFER_BYTES;
use crate::noise::{OpenError, Opener, SealError, Sealer};
use crate::wire::limits::{RECORD_PLAINTEXT_MAX, RECORD_PREFIX_BYTES, RECORD_WIRE_MAX, TAG_BYTES};

/// Why a lane is of no more use. The session lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneError {
    /// A record did not authenticate.
    Unauthentic,
    /// A record's length cannot be.
    Length,
    /// The key has sealed as much as it may.
    Exhausted,
}

impl From<OpenError> for LaneError {
    fn from(_: OpenError) -> LaneError {
        LaneError::Unauthentic
    }
}

impl From<SealError> for LaneError {
    fn from(_: SealError) -> LaneError {
        LaneError::Exhausted
    }
}

/// What became of some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Bytes used.
    pub(crate) used: usize,
    /// Length of the plaintext, if a record came to its end.
    pub(crate) record: Option<usize>,
}

/// Both directions of the sealed channel.
pub(crate) struct Channel {
    sealer: Sealer,
    opener: Opener,
    /// A record that has come in part.
    partial: Vec<u8>,
}

impl Channel {
    pub(crate) fn new(keys: (Sealer, Opener)) -> Channel {
        Channel { sealer: keys.0, opener: keys.1, partial: Vec::new() }
    }

    pub(super) fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), LaneError> {
        let length = u16::try_from(plaintext.len() + TAG_BYTES).map_err(|_| LaneError::Length)?;
        out.extend_from_slice(&length.to_be_bytes());
        self.sealer.seal_into(plaintext, out)?;
        Ok(())
    }

    /// A record that lies whole in the input is opened where it lies.
    pub(super) fn open(&mut self, input: &[u8], plaintext: &mut [u8]) -> Result<Opened, LaneError> {
        if self.partial.is_empty() {
            if let Some(length) = wire_length(input)? {
                if let Some(sealed) = input.get(RECORD_PREFIX_BYTES..length) {
                    let opened = self.opener.open(sealed, plaintext)?;
                    return Ok(Opened { used: length, record: Some(opened) });
                }
            }
        }
        self.open_gathered(input, plaintext)
    }

    fn open_gathered(&mut self, input: &[u8], plaintext: &mut [u8]) -> Result<Opened, LaneError> {
        let mut used = 0;
        loop {
            let wanted = wire_length(&self.partial)?.unwrap_or(RECORD_PREFIX_BYTES);
            if wanted > RECORD_PREFIX_BYTES && self.partial.len() == wanted {
                break;
            }
            let here = (wanted - self.partial.len()).min(input.len() - used);
            if here == 0 {
                return Ok(Opened { used, record: None });
            }
            self.partial.extend_from_slice(&input[used..used + here]);
            used += here;
        }
        let opened = self.opener.open(&self.partial[RECORD_PREFIX_BYTES..], plaintext)?;
        self.partial.clear();
        Ok(Opened { used, record: Some(opened) })
    }
}

/// Length of the record that begins `bytes`, prefix included; None while the prefix is incomplete.
fn wire_length(bytes: &[u8]) -> Result<Option<usize>, LaneError> {
    let Some(prefix) = bytes.first_chunk::<RECORD_PREFIX_BYTES>() else { return Ok(None) };
    let sealed = usize::from(u16::from_be_bytes(*prefix));
    if !(TAG_BYTES + 1..=RECORD_PLAINTEXT_MAX + TAG_BYTES).contains(&sealed) {
        return Err(LaneError::Length);
    }
    Ok(Some(RECORD_PREFIX_BYTES + sealed))
}

/// Bytes on the pipe of a record with `plaintext` bytes.
pub(crate) fn wire_bytes(plaintext: usize) -> usize {
    RECORD_PREFIX_BYTES + plaintext + TAG_BYTES
}

const _: () = assert!(BUFFER_BYTES + RECORD_PREFIX_BYTES == RECORD_WIRE_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::testkit::keys;

    #[test]
    fn records_open_in_order_however_they_are_cut() {
        for piece in [1, 2, 3, 17, 1 << 20] {
            let (ours, theirs) = keys();
            let (mut sender, mut receiver) = (Channel::new(ours), Channel::new(theirs));
            let mut wire = Vec::new();
            for plaintext in [&b"a"[..], &[7; RECORD_PLAINTEXT_MAX], b"end"] {
                let before = wire.len();
                sender.seal(plaintext, &mut wire).unwrap();
                assert_eq!(wire.len() - before, wire_bytes(plaintext.len()));
            }
            let (mut record, mut lengths) = (vec![0; BUFFER_BYTES], Vec::new());
            for chunk in wire.chunks(piece) {
                let mut at = 0;
                while at < chunk.len() {
                    let opened = receiver.open(&chunk[at..], &mut record).unwrap();
                    at += opened.used;
                    lengths.extend(opened.record);
                }
            }
            assert_eq!(lengths, [1, RECORD_PLAINTEXT_MAX, 3], "pieces of {piece}");
            assert_eq!(&record[..3], b"end");
        }
    }

    #[test]
    fn a_length_that_cannot_be_and_a_changed_record_are_refused() {
        let mut record = vec![0; BUFFER_BYTES];
        for length in [0, TAG_BYTES, RECORD_PLAINTEXT_MAX + TAG_BYTES + 1] {
            let prefix = u16::try_from(length).unwrap().to_be_bytes();
            let mut receiver = Channel::new(keys().1);
            assert_eq!(receiver.open(&prefix, &mut record), Err(LaneError::Length), "{length}");
        }
        let (ours, theirs) = keys();
        let (mut sender, mut receiver) = (Channel::new(ours), Channel::new(theirs));
        let mut wire = Vec::new();
        sender.seal(b"abc", &mut wire).unwrap();
        wire[4] ^= 1;
        assert_eq!(receiver.open(&wire, &mut record), Err(LaneError::Unauthentic));
    }
}
