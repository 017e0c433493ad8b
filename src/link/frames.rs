//! Frames on an established link.
//!
//! ```text
//! input   │ 32 B sealed header │ body … │ 32 B sealed header │ …
//!             └ opened here        └ DATA: handed on in pieces, as it arrives and untouched
//!                                    CONTROL: waited for, opened, decoded
//! ```

use crate::noise::{OpenError, Opener, SealError, Sealer};
use crate::wire::limits::{HEADER_BYTES, SEALED_HEADER_BYTES, TAG_BYTES};
use crate::wire::{Control, ControlError, Features, Header, HeaderError, Kind};
use std::fmt;
use std::ops::Range;

/// What one call of [`Link::advance`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A piece of a circuit's bytes: where it lies in the input. One DATA frame may yield several pieces.
    Data {
        /// The circuit.
        circuit: u32,
        /// Where the bytes lie in the input of this call.
        bytes: Range<usize>,
        /// Piggy-backed credit for the other direction.
        credit: u32,
    },
    /// A control message.
    Control(Control),
    /// Credit for what this side sends on the circuit: an absolute count modulo 2^32.
    Credit {
        /// The circuit.
        circuit: u32,
        /// Bytes this side may have sent in all, modulo 2^32.
        credit: u32,
    },
    /// The other side sends no more on this circuit.
    Fin {
        /// The circuit.
        circuit: u32,
    },
    /// The circuit is gone.
    Reset {
        /// The circuit.
        circuit: u32,
        /// A close code.
        code: u16,
    },
    /// A heartbeat to answer with [`Link::pong`].
    Ping(u32),
    /// The answer to a heartbeat.
    Pong(u32),
    /// Only part of a frame, or a control message of a later version: nothing to do.
    Nothing,
}

/// The link is broken; it must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// A message did not authenticate: damaged on the way.
    Unauthentic,
    /// The other side broke the protocol: an impossible header.
    Header(HeaderError),
    /// The other side broke the protocol: an impossible control message.
    Control(ControlError),
    /// This side has sealed as many messages as its key allows.
    Exhausted,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkError::Unauthentic => "bytes were changed on the way",
            LinkError::Header(_) | LinkError::Control(_) => "the other side broke the link protocol",
            LinkError::Exhausted => "the link's key is used up",
        })
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LinkError::Header(error) => Some(error),
            LinkError::Control(error) => Some(error),
            _ => None,
        }
    }
}

impl From<OpenError> for LinkError {
    fn from(_: OpenError) -> LinkError {
        LinkError::Unauthentic
    }
}

impl From<SealError> for LinkError {
    fn from(_: SealError) -> LinkError {
        LinkError::Exhausted
    }
}

#[derive(Clone, Copy, Debug)]
enum Await {
    Header,
    Body { circuit: u32, left: usize, credit: u32 },
    Control { length: usize },
    Failed(LinkError),
}

/// An established link: one end's sealer, opener and place in the incoming frame.
///
/// Its keys may [rest](Link::rest) where a control message or a heartbeat was the last word: an idle link says nothing else,
/// and the schedules would be a third of what it costs.
pub struct Link {
    sealer: Sealer,
    opener: Opener,
    /// Whether a control message or a heartbeat was sealed last.
    has_sealed_word: bool,
    /// Whether one was opened last.
    has_opened_word: bool,
    awaiting: Await,
    features: Features,
}

impl Link {
    /// A link over the two halves of a finished handshake, in which both ends named these features.
    pub fn new(sealer: Sealer, opener: Opener, features: Features) -> Link {
        Link { sealer, opener, has_sealed_word: true, has_opened_word: true, awaiting: Await::Header, features }
    }

    /// What both ends can do.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Takes what it can use from the front of `input` and tells what that was. Used 0 bytes: read more, keep the rest
    /// (always less than one control frame). Call again until then.
    pub fn advance(&mut self, input: &[u8]) -> Result<(usize, Frame), LinkError> {
        let result = self.step(input);
        if let Err(error) = result {
            self.awaiting = Await::Failed(error);
        }
        result
    }

    /// How many bytes, from where the last call's use ended, the next step needs in one piece. A reader whose bytes lie in
    /// several buffers joins that many and no more; inside a body it is 1.
    pub fn wanted(&self) -> usize {
        match self.awaiting {
            Await::Header => SEALED_HEADER_BYTES,
            Await::Control { length } => length,
            Await::Body { .. } | Await::Failed(_) => 1,
        }
    }

    /// How much of the body of the present DATA frame is yet to come, bytes.
    pub(crate) fn body_left(&self) -> usize {
        if let Await::Body { left, .. } = self.awaiting { left } else { 0 }
    }

    fn step(&mut self, input: &[u8]) -> Result<(usize, Frame), LinkError> {
        match self.awaiting {
            Await::Failed(error) => Err(error),
            Await::Header => {
                let Some((sealed, _)) = input.split_first_chunk::<SEALED_HEADER_BYTES>() else {
                    return Ok((0, Frame::Nothing));
                };
                // The cipher may use the tag's place while it works, so the buffer has room for it.
                let mut opened = [0; SEALED_HEADER_BYTES];
                self.opener.open(sealed, &mut opened)?;
                let plain = opened.first_chunk::<HEADER_BYTES>().expect("16 of 32 bytes");
                let header = Header::decode(plain).map_err(LinkError::Header)?;
                Ok((SEALED_HEADER_BYTES, self.begin(header)))
            }
            Await::Body { circuit, left, credit } => {
                let here = left.min(input.len());
                if here == 0 {
                    return Ok((0, Frame::Nothing));
                }
                let left = left - here;
                self.awaiting = if left == 0 { Await::Header } else { Await::Body { circuit, left, credit } };
                Ok((here, Frame::Data { circuit, bytes: 0..here, credit }))
            }
            Await::Control { length } => {
                let Some(sealed) = input.get(..length) else { return Ok((0, Frame::Nothing)) };
                let mut opened = vec![0; length];
                let plain = self.opener.open(sealed, &mut opened)?;
                self.awaiting = Await::Header;
                let frame = match Control::decode(&opened[..plain]).map_err(LinkError::Control)? {
                    // Of a later version: whoever sends it can do without an answer.
                    Control::Unknown { .. } => Frame::Nothing,
                    known => Frame::Control(known),
                };
                Ok((length, frame))
            }
        }
    }

    fn begin(&mut self, header: Header) -> Frame {
        let Header { kind, circuit, length, credit } = header;
        self.has_opened_word = is_word(kind);
        let length = usize::try_from(length).expect("checked against its cap");
        match kind {
            Kind::Data => {
                self.awaiting = Await::Body { circuit, left: length, credit };
                Frame::Nothing
            }
            Kind::Control => {
                self.awaiting = Await::Control { length };
                Frame::Nothing
            }
            Kind::Credit => Frame::Credit { circuit, credit },
            Kind::Fin => Frame::Fin { circuit },
            // Codes are 16-bit numbers in a 32-bit field; a larger one reads as unknown.
            Kind::Reset => Frame::Reset { circuit, code: u16::try_from(credit).unwrap_or(u16::MAX) },
            Kind::Ping => Frame::Ping(credit),
            Kind::Pong => Frame::Pong(credit),
        }
    }

    /// Gives back what sealing and opening need, in the directions in which no bytes flow. To be called where there is
    /// nothing more to read or to write at once: the next message computes it again, in half a microsecond.
    pub fn rest(&mut self) {
        if self.has_sealed_word {
            self.sealer.rest();
        }
        if self.has_opened_word {
            self.opener.rest();
        }
    }

    /// Seals a header into the 32 bytes at `place`. The frame's body must follow before any other frame.
    pub fn seal_header(&mut self, header: Header, place: &mut [u8]) -> Result<(), LinkError> {
        self.sealer.seal(&header.encode(), place)?;
        self.has_sealed_word = is_word(header.kind);
        Ok(())
    }

    /// Appends a frame without a body.
    pub fn bare(&mut self, kind: Kind, circuit: u32, credit: u32, out: &mut Vec<u8>) -> Result<(), LinkError> {
        self.append_header(Header::bare(kind, circuit, credit), out)
    }

    /// Appends a RESET.
    pub fn reset(&mut self, circuit: u32, code: u16, out: &mut Vec<u8>) -> Result<(), LinkError> {
        self.bare(Kind::Reset, circuit, u32::from(code), out)
    }

    /// Appends a heartbeat.
    pub fn ping(&mut self, token: u32, out: &mut Vec<u8>) -> Result<(), LinkError> {
        self.bare(Kind::Ping, 0, token, out)
    }

    /// Appends the answer to a heartbeat.
    pub fn pong(&mut self, token: u32, out: &mut Vec<u8>) -> Result<(), LinkError> {
        self.bare(Kind::Pong, 0, token, out)
    }

    /// Appends a control message.
    pub fn control(&mut self, message: &Control, out: &mut Vec<u8>) -> Result<(), LinkError> {
        let plain = message.encode().map_err(LinkError::Control)?;
        let length = u32::try_from(plain.len() + TAG_BYTES).expect("capped by the encoder");
        self.append_header(Header { kind: Kind::Control, circuit: 0, length, credit: 0 }, out)?;
        self.sealer.seal_into(&plain, out)?;
        Ok(())
    }

    fn append_header(&mut self, header: Header, out: &mut Vec<u8>) -> Result<(), LinkError> {
        let at = out.len();
        out.resize(at + SEALED_HEADER_BYTES, 0);
        self.seal_header(header, &mut out[at..])
    }
}

fn is_word(kind: Kind) -> bool {
    matches!(kind, Kind::Control | Kind::Ping | Kind::Pong)
}

/// The credit `granted` on top of `base`, as a distance: absolute counts wrap at 2^32, windows are far smaller.
/// A count that lies behind reads as no credit.
pub fn credit_left(granted: u32, sent: u32) -> u32 {
    let left = granted.wrapping_sub(sent);
    if left > i32::MAX.unsigned_abs() { 0 } else { left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{JoinInitiator, JoinResponder, Suite};

    /// Both ends of a link, the keys of which never met a handshake of links.
    fn ends() -> [Link; 2] {
        let psk = [1; 32];
        let (initiator, first) = JoinInitiator::start(Suite::AesGcm, &psk, b"", b"").expect("starts");
        let (_, responder) = JoinResponder::accept(Suite::AesGcm, &psk, b"", &first).expect("accepts");
        let (second, sealer, opener) = responder.reply(b"").expect("replies");
        let theirs = Link::new(sealer, opener, Features::ours());
        let (_, sealer, opener) = initiator.finish(&second).expect("finishes");
        [Link::new(sealer, opener, Features::ours()), theirs]
    }

    fn heard(link: &mut Link, mut input: &[u8]) -> usize {
        let mut frames = 0;
        while !input.is_empty() {
            let (used, frame) = link.advance(input).expect("own bytes");
            assert!(used > 0, "whole frames");
            frames += usize::from(frame != Frame::Nothing);
            input = &input[used..];
        }
        frames
    }

    fn are_resting(ends: &[Link; 2]) -> bool {
        ends[0].sealer.is_resting() && ends[1].opener.is_resting()
    }

    #[test]
    fn keys_rest_when_told_where_nothing_but_words_and_heartbeats_is_said() {
        let mut ends = ends();
        for say in [
            |link: &mut Link, out: &mut Vec<u8>| link.control(&Control::Welcome { circuits: 4 }, out),
            |link: &mut Link, out: &mut Vec<u8>| link.ping(7, out),
            |link: &mut Link, out: &mut Vec<u8>| link.pong(8, out),
        ] {
            let mut words = Vec::new();
            say(&mut ends[0], &mut words).expect("fits");
            assert_eq!(heard(&mut ends[1], &words), 1);
            assert!(!are_resting(&ends), "there may be more to say");
            ends.iter_mut().for_each(Link::rest);
            assert!(are_resting(&ends));
        }
        let mut bytes = Vec::new();
        ends[0].bare(Kind::Credit, 1, 5, &mut bytes).expect("fits");
        assert_eq!(heard(&mut ends[1], &bytes), 1);
        ends.iter_mut().for_each(Link::rest);
        assert!(!ends[0].sealer.is_resting() && !ends[1].opener.is_resting());
    }
}
