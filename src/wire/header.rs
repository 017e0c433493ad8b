//! The 16-byte frame header, coded by hand: it is opened once a frame, at the relay twice.
//!
//! ```text
//!  0      1      2         4            8           12          16
//!  | kind | flags| reserved|  circuit   |  length   |  credit   |      little-endian
//! ```

use super::limits::{CONTROL_BODY_MAX, DATA_BODY_MAX, HEADER_BYTES, TAG_BYTES};
use std::fmt;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A piece of a circuit's byte pipe follows, opaque to the relay. `credit` is piggy-backed.
    Data = 1,
    /// A sealed control message follows.
    Control = 2,
    /// No body. `credit`: how many bytes of this circuit the receiver of this frame may have sent in all, modulo 2^32.
    Credit = 3,
    /// No body. This direction of the circuit carries no more bytes.
    Fin = 4,
    /// No body. The circuit is gone in both directions; `credit` carries the close code.
    Reset = 5,
    /// No body, circuit 0. `credit` is echoed.
    Ping = 6,
    /// No body, circuit 0. The echo.
    Pong = 7,
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// The circuit, 0 for the link itself.
    pub circuit: u32,
    /// Bytes that follow the header.
    pub length: u32,
    /// Credit, code or echo, by kind.
    pub credit: u32,
}

/// A header that authenticated but cannot be: the peer is broken or from another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// No such kind.
    Kind(u8),
    /// Flags or reserved bytes that this version leaves zero are not.
    Reserved,
    /// The length does not fit the kind.
    Length(u32),
    /// The circuit does not fit the kind.
    Circuit(u32),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Kind(kind) => write!(f, "frame of unknown kind {kind}"),
            HeaderError::Reserved => f.write_str("frame with reserved bits set"),
            HeaderError::Length(length) => write!(f, "frame body of {length} bytes does not fit its kind"),
            HeaderError::Circuit(circuit) => write!(f, "circuit {circuit} does not fit the frame's kind"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl Header {
    /// A header without a body.
    pub const fn bare(kind: Kind, circuit: u32, credit: u32) -> Header {
        Header { kind, circuit, length: 0, credit }
    }

    /// The 16 bytes that are sealed.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.circuit.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.credit.to_le_bytes());
        bytes
    }

    /// Reads and checks an opened header.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, HeaderError> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let kind = match bytes[0] {
            1 => Kind::Data,
            2 => Kind::Control,
            3 => Kind::Credit,
            4 => Kind::Fin,
            5 => Kind::Reset,
            6 => Kind::Ping,
            7 => Kind::Pong,
            other => return Err(HeaderError::Kind(other)),
        };
        if bytes[1..4] != [0; 3] {
            return Err(HeaderError::Reserved);
        }
        let header = Header { kind, circuit: word(4), length: word(8), credit: word(12) };
        header.check()
    }

    fn check(self) -> Result<Header, HeaderError> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let fits = match self.kind {
            Kind::Data => (1..=DATA_BODY_MAX).contains(&length),
            Kind::Control => (TAG_BYTES + 1..=CONTROL_BODY_MAX).contains(&length),
            _ => length == 0,
        };
        if !fits {
            return Err(HeaderError::Length(self.length));
        }
        let of_link = matches!(self.kind, Kind::Control | Kind::Ping | Kind::Pong);
        if of_link != (self.circuit == 0) {
            return Err(HeaderError::Circuit(self.circuit));
        }
        Ok(self)
    }
}

/// Fuzz entry: whatever decodes has one encoding.
#[cfg(feature = "fuzzing")]
pub fn fuzz_header(bytes: &[u8]) {
    if let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() {
        if let Ok(header) = Header::decode(bytes) {
            assert_eq!(header.encode(), *bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_laid_out_as_documented() {
        let header = Header { kind: Kind::Data, circuit: 6, length: 0x0001_0040, credit: 0x0004_0000 };
        assert_eq!(header.encode(), [1, 0, 0, 0, 6, 0, 0, 0, 0x40, 0, 1, 0, 0, 0, 4, 0],);
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn lengths_and_circuits_must_fit_the_kind() {
        let data = |length| Header { kind: Kind::Data, circuit: 1, length, credit: 0 }.encode();
        assert_eq!(Header::decode(&data(0)), Err(HeaderError::Length(0)));
        assert!(Header::decode(&data(262_144)).is_ok());
        assert_eq!(Header::decode(&data(262_145)), Err(HeaderError::Length(262_145)));
        let ping = Header::bare(Kind::Ping, 1, 0).encode();
        assert_eq!(Header::decode(&ping), Err(HeaderError::Circuit(1)));
        let credit = Header::bare(Kind::Credit, 0, 0).encode();
        assert_eq!(Header::decode(&credit), Err(HeaderError::Circuit(0)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in any::<[u8; HEADER_BYTES]>()) {
            fuzz_header(&bytes);
        }
    }
}
