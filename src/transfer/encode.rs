//! Messages to bytes; the layout is specified in [`super::messages`].

use super::messages::*;
use super::status::Status;
use crate::transfer::Fault;
use crate::transfer::item::Kind;

/// Type and length.
pub const HEADER_BYTES: usize = 5;

pub(crate) const HELLO: u8 = 0x01;
pub(crate) const ENTRY: u8 = 0x02;
pub(crate) const FILE_BEGIN: u8 = 0x03;
pub(crate) const DATA: u8 = 0x04;
pub(crate) const ZDATA: u8 = 0x05;
pub(crate) const HOLE: u8 = 0x06;
pub(crate) const FILE_END: u8 = 0x07;
pub(crate) const FILE_FAILED: u8 = 0x08;
pub(crate) const FILE_SAME: u8 = 0x09;
pub(crate) const FILE_DIFFERS: u8 = 0x0a;
pub(crate) const END: u8 = 0x0b;
pub(crate) const ACCEPTED: u8 = 0x41;
pub(crate) const REFUSED: u8 = 0x42;
pub(crate) const WANT: u8 = 0x43;
pub(crate) const HAVE: u8 = 0x44;
pub(crate) const ITEM: u8 = 0x45;
pub(crate) const DONE: u8 = 0x46;

/// From here on a message is of a later version, and skipped by whoever does not know it.
pub(crate) const UNKNOWN: u8 = 0x80;

/// The header of a DATA message of this many bytes, at most [`BLOCK_BYTES_MAX`].
#[must_use]
pub fn data_header(length: usize) -> [u8; HEADER_BYTES] {
    header(DATA, length)
}

/// A header. Callers keep lengths far below 4 GiB, so that the bound here is never reached.
pub(crate) fn header(kind: u8, length: usize) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    [kind, a, b, c, d]
}

fn fault_number(fault: Fault) -> u8 {
    FAULTS.iter().find(|known| known.0 == fault).map_or(0, |known| known.1)
}

/// Appends one whole message; `body` writes what follows the header.
fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    body(out);
    let length = out.len() - begin - HEADER_BYTES;
    out[begin..begin + HEADER_BYTES].copy_from_slice(&header(kind, length));
}

fn indexed(out: &mut Vec<u8>, kind: u8, index: u32, rest: &[u8]) {
    message(out, kind, |out| {
        out.extend_from_slice(&index.to_le_bytes());
        out.extend_from_slice(rest);
    });
}

impl Offer {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => message(out, HELLO, |out| encode_hello(hello, out)),
            Self::Entry(entry) => message(out, ENTRY, |out| encode_entry(entry, out)),
            Self::Begin { index, offset } => {
                indexed(out, FILE_BEGIN, *index, &offset.to_le_bytes());
            }
            Self::Hole(length) => {
                message(out, HOLE, |out| out.extend_from_slice(&length.to_le_bytes()));
            }
            Self::End { index, hash } => indexed(out, FILE_END, *index, hash),
            Self::Failed { index, fault } => {
                indexed(out, FILE_FAILED, *index, &[fault_number(*fault)]);
            }
            Self::Same { index } => indexed(out, FILE_SAME, *index, &[]),
            Self::Differs { index } => indexed(out, FILE_DIFFERS, *index, &[]),
            Self::Finish { entries, skipped } => {
                indexed(out, END, *entries, &skipped.to_le_bytes());
            }
        }
    }
}

fn encode_hello(hello: &Hello, out: &mut Vec<u8>) {
    let totals = hello.totals.unwrap_or_default();
    // A longer name is cut: it is for people only, or for a file name, which may not be longer.
    let name = &hello.name[..hello.name.len().min(255)];
    out.extend_from_slice(&hello.version.to_le_bytes());
    out.push(match hello.content {
        Content::Stream => 0,
        Content::Files => 1,
    });
    out.push(u8::from(hello.totals.is_some()));
    out.extend_from_slice(&totals.items.to_le_bytes());
    out.extend_from_slice(&totals.bytes.to_le_bytes());
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name);
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    let (kind, target): (u8, &[u8]) = match &entry.kind {
        Kind::File => (0, &[]),
        Kind::Directory => (1, &[]),
        Kind::Link(target) => (2, target),
    };
    out.extend_from_slice(&entry.index.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&entry.mode.to_le_bytes());
    out.extend_from_slice(&entry.mtime.seconds.to_le_bytes());
    out.extend_from_slice(&entry.mtime.nanos.to_le_bytes());
    out.extend_from_slice(&entry.size.unwrap_or(SIZE_UNKNOWN).to_le_bytes());
    out.extend_from_slice(&entry.path.0);
    // The kernel gives no longer target than 4,095 bytes.
    out.extend_from_slice(&u16::try_from(target.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(target);
}

impl Answer {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Accepted => message(out, ACCEPTED, |_| {}),
            Self::Refused(fault) => message(out, REFUSED, |out| out.push(fault_number(*fault))),
            Self::Want { index, prefixes } => message(out, WANT, |out| {
                out.extend_from_slice(&index.to_le_bytes());
                let prefixes = &prefixes[..prefixes.len().min(CHECKPOINTS_MAX)];
                out.push(u8::try_from(prefixes.len()).unwrap_or(u8::MAX));
                for (length, hash) in prefixes {
                    out.extend_from_slice(&length.to_le_bytes());
                    out.extend_from_slice(hash);
                }
            }),
            Self::Have { index, otherwise, hash } => message(out, HAVE, |out| {
                out.extend_from_slice(&index.to_le_bytes());
                out.push(u8::from(*otherwise == IfDifferent::Send));
                out.extend_from_slice(hash);
            }),
            Self::Item { index, outcome } => {
                let end = match outcome {
                    ItemOutcome::Committed => [0, 0],
                    ItemOutcome::Exists => [1, 0],
                    ItemOutcome::Refused(fault) => [2, fault_number(*fault)],
                    ItemOutcome::Failed(fault) => [3, fault_number(*fault)],
                    ItemOutcome::ExistsUnlike => [4, 0],
                };
                indexed(out, ITEM, *index, &end);
            }
            Self::Done { status, counts, command_status } => message(out, DONE, |out| {
                let number = Status::ALL.iter().position(|known| known == status);
                out.push(number.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX));
                for count in [counts.committed, counts.exists, counts.refused, counts.failed] {
                    out.extend_from_slice(&count.to_le_bytes());
                }
                out.extend_from_slice(&command_status.to_le_bytes());
            }),
        }
    }
}
