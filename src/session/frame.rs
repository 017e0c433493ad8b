//! The frames inside a record: fixed little-endian layouts, read in place.
//!
//! ```text
//! STREAM       01 flags  id u32  length u16  offset u64  bytes…      flags: 1 = FIN
//! OPEN         02  id u32  length u8  service…
//! OPENED       03  id u32
//! OPEN_FAILED  04  id u32  code u16
//! RESET        05  id u32  code u16  final offset u64
//! STOP         06  id u32  code u16
//! CLOSE        07  code u16
//! CONSUMED     10  id u32  consumed u64  limit u64
//! LIMITS       11  session limit u64  streams u32
//! LANE_ACK     12  lane u32  records u64
//! PING         13  token u32
//! PONG         14  token u32
//! (unknown)    80 to ff  length u16  bytes…
//! ```
//!
//! Frames 01 to 07 are reliable: their record is kept until acknowledged and sent again on another lane if need be.
//! Frames 10 to 14 state absolute facts, so the newest replaces all before it and none is ever kept.
//!
//! Frames from 80 on are of later versions, and skipped: those up to bf are reliable, as far as whoever sends them is
//! concerned, so their record is acknowledged like others. Anything else is malformed.

use std::ops::Range;

/// Bytes in front of the data of a STREAM frame.
pub(crate) const STREAM_HEADER_BYTES: usize = 16;
/// Longest service name in OPEN, bytes.
pub const SERVICE_MAX: usize = 64;

const FIN: u8 = 1;

/// One frame; `at` ranges lie in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A piece of a stream.
    Stream {
        /// The stream.
        id: u32,
        /// Where the piece begins in the stream.
        offset: u64,
        /// Whether the stream ends behind the piece.
        fin: bool,
        /// Where the bytes lie in the record.
        at: Range<usize>,
    },
    /// A new stream towards a service.
    Open {
        /// The stream.
        id: u32,
        /// Where the service name lies in the record.
        at: Range<usize>,
    },
    /// The service took the stream.
    Opened {
        /// The stream.
        id: u32,
    },
    /// The service did not take the stream.
    OpenFailed {
        /// The stream.
        id: u32,
        /// A close code.
        code: u16,
    },
    /// The sender of the stream gives it up.
    Reset {
        /// The stream.
        id: u32,
        /// A close code.
        code: u16,
        /// How many bytes of the stream count against credit.
        final_offset: u64,
    },
    /// The receiver of the stream wants no more of it.
    Stop {
        /// The stream.
        id: u32,
        /// A close code.
        code: u16,
    },
    /// The session ends.
    Close {
        /// A close code.
        code: u16,
    },
    /// How far the application took a stream, and how far the sender may go.
    Consumed {
        /// The stream.
        id: u32,
        /// Bytes the application has put where they belong.
        consumed: u64,
        /// Offset up to which the sender may send.
        limit: u64,
    },
    /// How many stream bytes in all, and how many streams, the other side may send.
    Limits {
        /// Sum of all streams' bytes.
        session: u64,
        /// Streams open at once.
        streams: u32,
    },
    /// How many records of a lane were taken.
    LaneAck {
        /// The lane.
        lane: u32,
        /// Records taken from its beginning.
        records: u64,
    },
    /// Asks for an answer.
    Ping(u32),
    /// The answer.
    Pong(u32),
    /// That of the feature for tests.
    #[cfg(feature = "canaries")]
    Trial,
    /// A frame of a later version, to be skipped.
    Unknown {
        /// 80 or above.
        number: u8,
        /// Where its bytes lie in the record.
        at: Range<usize>,
    },
}

/// The first type of a frame that a reader skips if it does not know it.
const UNKNOWN: u8 = 0x80;
/// From here on such a frame is not reliable.
pub(super) const UNKNOWN_FACTS: u8 = 0xc0;
/// In the lower half: an error to whoever does not know it.
#[cfg(feature = "canaries")]
const TRIAL: u8 = 0x7f;

/// The record authenticated but does not parse: the peer is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

struct Cursor<'a> {
    record: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.record[self.at..].first_chunk::<N>().ok_or(Malformed)?;
        self.at += N;
        Ok(*bytes)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn range(&mut self, length: usize) -> Result<Range<usize>, Malformed> {
        let at = self.at..self.at + length;
        if at.end > self.record.len() {
            return Err(Malformed);
        }
        self.at = at.end;
        Ok(at)
    }
}

impl Frame {
    /// Reads the frame at `at` of `record`: the frame and where the next one begins.
    pub fn decode(record: &[u8], at: usize) -> Result<(Frame, usize), Malformed> {
        let mut c = Cursor { record, at };
        let frame = match c.u8()? {
            0x01 => {
                let flags = c.u8()?;
                let id = c.u32()?;
                let length = usize::from(c.u16()?);
                let offset = c.u64()?;
                let at = c.range(length)?;
                let end = offset.checked_add(u64::try_from(length).map_err(|_| Malformed)?);
                if flags > FIN || end.is_none() || (at.is_empty() && flags == 0) {
                    return Err(Malformed);
                }
                Frame::Stream { id, offset, fin: flags == FIN, at }
            }
            0x02 => {
                let id = c.u32()?;
                let length = usize::from(c.u8()?);
                if length > SERVICE_MAX {
                    return Err(Malformed);
                }
                Frame::Open { id, at: c.range(length)? }
            }
            0x03 => Frame::Opened { id: c.u32()? },
            0x04 => Frame::OpenFailed { id: c.u32()?, code: c.u16()? },
            0x05 => Frame::Reset { id: c.u32()?, code: c.u16()?, final_offset: c.u64()? },
            0x06 => Frame::Stop { id: c.u32()?, code: c.u16()? },
            0x07 => Frame::Close { code: c.u16()? },
            0x10 => Frame::Consumed { id: c.u32()?, consumed: c.u64()?, limit: c.u64()? },
            0x11 => Frame::Limits { session: c.u64()?, streams: c.u32()? },
            0x12 => Frame::LaneAck { lane: c.u32()?, records: c.u64()? },
            0x13 => Frame::Ping(c.u32()?),
            0x14 => Frame::Pong(c.u32()?),
            #[cfg(feature = "canaries")]
            TRIAL => Frame::Trial,
            number @ UNKNOWN.. => {
                let length = usize::from(c.u16()?);
                Frame::Unknown { number, at: c.range(length)? }
            }
            _ => return Err(Malformed),
        };
        Ok((frame, c.at))
    }

    /// Whether the peer keeps its record until we acknowledge it. (It keeps the last CONSUMED of a stream, too, but nobody waits
    /// for that.)
    pub fn is_reliable(&self) -> bool {
        match self {
            Frame::Stream { .. }
            | Frame::Open { .. }
            | Frame::Opened { .. }
            | Frame::OpenFailed { .. }
            | Frame::Reset { .. }
            | Frame::Stop { .. }
            | Frame::Close { .. } => true,
            #[cfg(feature = "canaries")]
            Frame::Trial => true,
            Frame::Unknown { number, .. } => *number < UNKNOWN_FACTS,
            Frame::Consumed { .. } | Frame::Limits { .. } | Frame::LaneAck { .. } | Frame::Ping(_) | Frame::Pong(_) => {
                false
            }
        }
    }

    /// Appends a frame other than STREAM, OPEN and unknown ones, which carry bytes of their own.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Frame::Stream { .. } | Frame::Open { .. } | Frame::Unknown { .. } => {
                debug_assert!(false, "these carry bytes")
            }
            Frame::Opened { id } => put(out, 0x03, &[&id.to_le_bytes()]),
            Frame::OpenFailed { id, code } => put(out, 0x04, &[&id.to_le_bytes(), &code.to_le_bytes()]),
            Frame::Reset { id, code, final_offset } => {
                put(out, 0x05, &[&id.to_le_bytes(), &code.to_le_bytes(), &final_offset.to_le_bytes()]);
            }
            Frame::Stop { id, code } => put(out, 0x06, &[&id.to_le_bytes(), &code.to_le_bytes()]),
            Frame::Close { code } => put(out, 0x07, &[&code.to_le_bytes()]),
            Frame::Consumed { id, consumed, limit } => {
                put(out, 0x10, &[&id.to_le_bytes(), &consumed.to_le_bytes(), &limit.to_le_bytes()]);
            }
            Frame::Limits { session, streams } => put(out, 0x11, &[&session.to_le_bytes(), &streams.to_le_bytes()]),
            Frame::LaneAck { lane, records } => put(out, 0x12, &[&lane.to_le_bytes(), &records.to_le_bytes()]),
            Frame::Ping(token) => put(out, 0x13, &[&token.to_le_bytes()]),
            Frame::Pong(token) => put(out, 0x14, &[&token.to_le_bytes()]),
            #[cfg(feature = "canaries")]
            Frame::Trial => put(out, TRIAL, &[]),
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, fields: &[&[u8]]) {
    out.push(kind);
    for field in fields {
        out.extend_from_slice(field);
    }
}

/// Appends an OPEN. `service` is at most [`SERVICE_MAX`] bytes: it is an application name.
pub fn encode_open(id: u32, service: &str, out: &mut Vec<u8>) {
    let length = u8::try_from(service.len()).expect("an application name has at most 64 bytes");
    put(out, 0x02, &[&id.to_le_bytes(), &[length], service.as_bytes()]);
}

/// Appends a frame of a later version, `number` being 80 or above. `bytes` fit a record.
#[cfg(any(feature = "canaries", feature = "fuzzing"))]
pub(crate) fn encode_unknown(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).expect("a record holds less than 64 KiB");
    put(out, number, &[&length.to_le_bytes(), bytes]);
}

/// The bytes in front of `length` bytes of stream data.
pub fn stream_header(id: u32, offset: u64, length: usize, fin: bool) -> [u8; STREAM_HEADER_BYTES] {
    let length = u16::try_from(length).expect("a record holds less than 64 KiB");
    let mut header = [0; STREAM_HEADER_BYTES];
    header[0] = 0x01;
    header[1] = if fin { FIN } else { 0 };
    header[2..6].copy_from_slice(&id.to_le_bytes());
    header[6..8].copy_from_slice(&length.to_le_bytes());
    header[8..16].copy_from_slice(&offset.to_le_bytes());
    header
}

/// Fuzz entry: any record is a run of frames that re-encode to themselves, or is refused.
#[cfg(feature = "fuzzing")]
pub fn fuzz_frames(record: &[u8]) {
    let mut at = 0;
    while at < record.len() {
        let Ok((frame, next)) = Frame::decode(record, at) else { return };
        let mut again = Vec::new();
        match &frame {
            Frame::Stream { id, offset, fin, at } => {
                again.extend(stream_header(*id, *offset, at.len(), *fin));
                again.extend(&record[at.clone()]);
            }
            Frame::Open { id, at } => match std::str::from_utf8(&record[at.clone()]) {
                Ok(service) => encode_open(*id, service, &mut again),
                Err(_) => again.extend(&record[at.start - 6..at.end]),
            },
            Frame::Unknown { number, at } => encode_unknown(*number, &record[at.clone()], &mut again),
            other => other.encode(&mut again),
        }
        assert_eq!(again, &record[at..next]);
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_follow_each_other_in_a_record() {
        let mut record = Vec::new();
        encode_open(2, "pg", &mut record);
        record.extend(stream_header(2, 7, 3, true));
        record.extend(b"abc");
        Frame::LaneAck { lane: 1, records: 9 }.encode(&mut record);
        let (open, at) = Frame::decode(&record, 0).unwrap();
        assert_eq!(open, Frame::Open { id: 2, at: 6..8 });
        let (stream, at) = Frame::decode(&record, at).unwrap();
        assert_eq!(stream, Frame::Stream { id: 2, offset: 7, fin: true, at: 24..27 });
        let (ack, at) = Frame::decode(&record, at).unwrap();
        assert_eq!((ack, at), (Frame::LaneAck { lane: 1, records: 9 }, record.len()));
    }

    #[test]
    fn a_piece_that_says_nothing_or_runs_over_is_refused() {
        assert_eq!(Frame::decode(&stream_header(1, 0, 0, false), 0), Err(Malformed));
        assert!(Frame::decode(&stream_header(1, 0, 0, true), 0).is_ok());
        assert_eq!(Frame::decode(&stream_header(1, 0, 1, false), 0), Err(Malformed));
        let mut over = stream_header(1, u64::MAX, 1, false).to_vec();
        over.push(0);
        assert_eq!(Frame::decode(&over, 0), Err(Malformed));
    }

    proptest! {
        #[test]
        fn frames_of_later_versions_are_passed_over(
            unknown in proptest::collection::vec((UNKNOWN.., proptest::collection::vec(any::<u8>(), 0..50)), 0..9),
        ) {
            let mut record = Vec::new();
            for (number, bytes) in &unknown {
                encode_unknown(*number, bytes, &mut record);
                Frame::Ping(7).encode(&mut record);
            }
            let (mut at, mut pings) = (0, 0);
            while at < record.len() {
                let (frame, next) = Frame::decode(&record, at).expect("frames");
                at = next;
                pings += usize::from(frame == Frame::Ping(7));
            }
            prop_assert_eq!(pings, unknown.len());
        }

        #[test]
        fn any_record_reads_back_or_is_refused(record in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz_frames(&record);
        }
    }
}
