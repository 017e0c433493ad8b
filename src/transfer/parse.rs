//! Bodies of messages from bytes, strictly; the layout is specified in [`super::messages`].

use super::encode::*;
use super::messages::*;
use super::status::{Counts, Status};
use crate::transfer::Fault;
use crate::transfer::item::{Kind, Mtime};
use crate::transfer::path::{DEPTH_MAX, LINK_BYTES_MAX, PATH_BYTES_MAX};

/// Takes fields off the front of a body.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn fault(&mut self) -> Option<Fault> {
        let number = self.u8()?;
        FAULTS.iter().find(|known| known.1 == number).map(|known| known.0)
    }

    fn path(&mut self) -> Option<RawPath> {
        let whole = self.0;
        let count = usize::from(self.u8()?);
        let mut total = count.saturating_sub(1);
        for _ in 0..count {
            let length = self.u8()?.into();
            total += self.bytes(length)?.len();
        }
        let ok = (1..=DEPTH_MAX).contains(&count) && total <= PATH_BYTES_MAX;
        ok.then(|| RawPath(whole[..whole.len() - self.0.len()].to_vec()))
    }
}

/// The messages of one direction.
pub trait Direction: Sized {
    /// True if DATA and ZDATA go this way.
    const CARRIES_DATA: bool;
    /// True if this type goes this way.
    fn knows(kind: u8) -> bool;
    /// Reads a body; `None` if it is not exactly one.
    fn parse(kind: u8, body: &[u8]) -> Option<Self>;
}

impl Direction for Offer {
    const CARRIES_DATA: bool = true;

    fn knows(kind: u8) -> bool {
        (HELLO..=END).contains(&kind)
    }

    fn parse(kind: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let offer = match kind {
            HELLO => Self::Hello(parse_hello(&mut fields)?),
            ENTRY => Self::Entry(parse_entry(&mut fields)?),
            FILE_BEGIN => Self::Begin { index: fields.u32()?, offset: fields.u64()? },
            HOLE => Self::Hole(fields.u64().filter(|length| (1..=HOLE_BYTES_MAX).contains(length))?),
            FILE_END => Self::End { index: fields.u32()?, hash: fields.array()? },
            FILE_FAILED => Self::Failed { index: fields.u32()?, fault: fields.fault()? },
            FILE_SAME => Self::Same { index: fields.u32()? },
            FILE_DIFFERS => Self::Differs { index: fields.u32()? },
            END => Self::Finish { entries: fields.u32()?, skipped: fields.u32()? },
            _ => return None,
        };
        fields.0.is_empty().then_some(offer)
    }
}

fn parse_hello(fields: &mut Fields<'_>) -> Option<Hello> {
    let version = fields.u16()?;
    let content = match fields.u8()? {
        0 => Content::Stream,
        1 => Content::Files,
        _ => return None,
    };
    let flags = fields.u8()?;
    let totals = Totals { items: fields.u64()?, bytes: fields.u64()? };
    let length = fields.u8()?.into();
    let name = fields.bytes(length)?.to_vec();
    let totals = match flags {
        0 if totals == Totals::default() => None,
        1 => Some(totals),
        _ => return None,
    };
    Some(Hello { version, content, totals, name })
}

fn parse_entry(fields: &mut Fields<'_>) -> Option<Entry> {
    let index = fields.u32()?;
    let kind = fields.u8()?;
    let mode = fields.u16().filter(|mode| *mode <= 0o777)?;
    let seconds = fields.i64()?;
    let nanos = fields.u32().filter(|nanos| *nanos < 1_000_000_000)?;
    let size = Some(fields.u64()?).filter(|size| *size != SIZE_UNKNOWN);
    let path = fields.path()?;
    let length = fields.u16()?.into();
    let target = fields.bytes(length)?;
    let kind = match kind {
        0 if target.is_empty() => Kind::File,
        1 if target.is_empty() && size == Some(0) => Kind::Directory,
        2 if (1..=LINK_BYTES_MAX).contains(&length) && size == Some(0) => Kind::Link(target.to_vec()),
        _ => return None,
    };
    Some(Entry { index, kind, mode, mtime: Mtime { seconds, nanos }, size, path })
}

impl Direction for Answer {
    const CARRIES_DATA: bool = false;

    fn knows(kind: u8) -> bool {
        (ACCEPTED..=DONE).contains(&kind)
    }

    fn parse(kind: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let answer = match kind {
            ACCEPTED => Self::Accepted,
            REFUSED => Self::Refused(fields.fault()?),
            WANT => parse_want(&mut fields)?,
            HAVE => Self::Have {
                index: fields.u32()?,
                otherwise: match fields.u8()? {
                    0 => IfDifferent::Leave,
                    1 => IfDifferent::Send,
                    _ => return None,
                },
                hash: fields.array()?,
            },
            ITEM => Self::Item { index: fields.u32()?, outcome: parse_outcome(&mut fields)? },
            DONE => Self::Done {
                status: *Status::ALL.get(usize::from(fields.u8()?))?,
                counts: Counts {
                    committed: fields.u32()?,
                    exists: fields.u32()?,
                    refused: fields.u32()?,
                    failed: fields.u32()?,
                },
                command_status: i32::from_le_bytes(fields.array()?),
            },
            _ => return None,
        };
        fields.0.is_empty().then_some(answer)
    }
}

fn parse_want(fields: &mut Fields<'_>) -> Option<Answer> {
    let index = fields.u32()?;
    let count = usize::from(fields.u8()?);
    let mut prefixes: Vec<(u64, Hash)> = Vec::with_capacity(count);
    let mut last = 0;
    for _ in 0..count {
        let prefix = (fields.u64()?, fields.array()?);
        if prefix.0 <= last {
            return None;
        }
        last = prefix.0;
        prefixes.push(prefix);
    }
    (count <= CHECKPOINTS_MAX).then_some(Answer::Want { index, prefixes })
}

fn parse_outcome(fields: &mut Fields<'_>) -> Option<ItemOutcome> {
    Some(match fields.u8()? {
        0 if fields.u8()? == 0 => ItemOutcome::Committed,
        1 if fields.u8()? == 0 => ItemOutcome::Exists,
        2 => ItemOutcome::Refused(fields.fault()?),
        3 => ItemOutcome::Failed(fields.fault()?),
        4 if fields.u8()? == 0 => ItemOutcome::ExistsUnlike,
        _ => return None,
    })
}
