//! The sealed channel of a link: frames out of bytes that come in any pieces, and headers and messages into sealed bytes.

use crate::link::{Frame, Link, LinkError};
use crate::wire::limits::SEALED_HEADER_BYTES;
use crate::wire::{Control, Header};

/// See the module.
pub(super) struct Channel {
    link: Link,
    /// The start of a header or control message whose rest has not arrived. Bodies never wait here.
    unfinished: Vec<u8>,
    /// How long the body is of a DATA frame that has begun and of which nobody has asked that.
    begun_bytes: usize,
}

impl Channel {
    /// A channel at its start.
    pub(super) fn new(link: Link) -> Channel {
        Channel { link, unfinished: Vec::new(), begun_bytes: 0 }
    }

    /// Takes one frame off the front of `input`, or keeps the start of one; returns how much it used.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<(usize, Frame), LinkError> {
        let read = self.advance(input)?;
        if matches!(read, (1.., Frame::Nothing)) {
            self.begun_bytes = self.link.body_left();
        }
        Ok(read)
    }

    /// How long the body of the DATA frame is whose first piece was read last. 0: that was a later one.
    pub(super) fn take_begun(&mut self) -> usize {
        std::mem::take(&mut self.begun_bytes)
    }

    fn advance(&mut self, input: &[u8]) -> Result<(usize, Frame), LinkError> {
        if self.unfinished.is_empty() {
            let (used, frame) = self.link.advance(input)?;
            if used > 0 {
                return Ok((used, frame));
            }
            self.unfinished.extend_from_slice(input);
            return Ok((input.len(), Frame::Nothing));
        }
        let missing = self.link.wanted().saturating_sub(self.unfinished.len());
        let here = missing.min(input.len());
        self.unfinished.extend_from_slice(&input[..here]);
        if here < missing {
            return Ok((here, Frame::Nothing));
        }
        let whole = std::mem::take(&mut self.unfinished);
        let (_, frame) = self.link.advance(&whole)?;
        Ok((here, frame))
    }

    /// There is nothing more to read or to write at once.
    pub(super) fn rest(&mut self) {
        self.link.rest();
    }

    /// Seals a header, the next on the link.
    pub(super) fn header(&mut self, header: Header) -> Result<[u8; SEALED_HEADER_BYTES], LinkError> {
        let mut sealed = [0; SEALED_HEADER_BYTES];
        self.link.seal_header(header, &mut sealed)?;
        Ok(sealed)
    }

    /// Seals a control message, the next on the link.
    pub(super) fn control(&mut self, message: &Control) -> Result<Vec<u8>, LinkError> {
        let mut sealed = Vec::new();
        self.link.control(message, &mut sealed)?;
        Ok(sealed)
    }
}
