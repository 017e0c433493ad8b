//! The messages of a transfer, version 1: what one stream of a session carries between a sender
//! and a receiver of files.
//!
//! # Layout (normative)
//!
//! All integers are little-endian, without padding. A message is
//!
//! ```text
//!  type u8 ‖ length u32 ‖ body: `length` bytes
//! ```
//!
//! A body has exactly the fields below: what is missing, left over, out of range or of an unknown type below 80 ends the
//! transfer. A message of a type from 80 on is of a later version; it has at most 16,384 bytes, is not the first of its
//! sender, and is skipped. `path` is `count u8 (1..=64) ‖ count × (length u8 ‖ bytes)`, at most 4,096 bytes with one
//! separator between components. `hash` has 32 bytes: see [`crate::transfer::hash`].
//!
//! Sender to receiver:
//!
//! ```text
//!  01 HELLO        version u16 (1) ‖ kind u8 (0 stream, 1 files) ‖ flags u8 (1: totals known)
//!                  ‖ items u64 ‖ bytes u64 (0 unless known) ‖ name length u8 ‖ name
//!  02 ENTRY        index u32 ‖ kind u8 (0 file, 1 directory, 2 link) ‖ mode u16 (≤ 0o777)
//!                  ‖ mtime s i64 ‖ mtime ns u32 (< 10^9) ‖ size u64 (0 unless file; all ones: told by
//!                  its end) ‖ path
//!                  ‖ target length u16 (0 unless link, then 1..=4095) ‖ target
//!  03 FILE_BEGIN   index u32 ‖ offset u64
//!  04 DATA         1..=262,144 bytes of the file or stream
//!  05 ZDATA        raw length u32 (1..=262,144) ‖ one zstd frame of at most 262,144 + 1,024 bytes
//!  06 HOLE         length u64 (1..=2^30): zeros that need no storage
//!  07 FILE_END     index u32 ‖ hash of the whole file
//!  08 FILE_FAILED  index u32 ‖ fault u8
//!  09 FILE_SAME    index u32
//!  0a FILE_DIFFERS index u32
//!  0b END          entries u32 ‖ skipped u32 (items that were not even offered)
//! ```
//!
//! Receiver to sender:
//!
//! ```text
//!  41 ACCEPTED     (empty)
//!  42 REFUSED      fault u8
//!  43 WANT         index u32 ‖ count u8 (0..=64) ‖ count × (prefix length u64 ‖ hash), rising
//!  44 HAVE         index u32 ‖ if different u8 (0 leave it, 1 send it) ‖ hash
//!  45 ITEM         index u32 ‖ outcome u8 (0 committed, 1 exists, 2 refused, 3 failed, 4 exists with
//!                  another mode or time, which stay) ‖ fault u8 (0 unless refused or failed)
//!  46 DONE         status u8 ‖ committed u32 ‖ exists u32 ‖ refused u32 ‖ failed u32
//!                  ‖ command status i32 (0 unless status is 6; with it, 0 says that the command
//!                  wanted no more)
//! ```
//!
//! # Rules
//!
//! 1. HELLO comes first. The receiver answers ACCEPTED or REFUSED; the sender need not wait.
//! 2. Kind *stream*: DATA and ZDATA follow, then END{0, 0}. The receiver answers ITEM for index 0
//!    and then DONE. An ITEM before the sender's END says that the rest is not wanted.
//! 3. Kind *files*: ENTRYs are numbered from 0 without gaps, a directory before what is in it, at
//!    most 2,048 of them without their ITEM. They may stand between any two other messages, but
//!    not between FILE_BEGIN and the FILE_END or FILE_FAILED that closes it.
//! 4. The receiver answers each ENTRY in order: WANT (a file), HAVE (a file it may have already), or
//!    at once ITEM. Directories and links only ever get ITEM.
//! 5. The sender deals with WANT and HAVE in their order. After WANT: FILE_BEGIN, whose offset is 0 or one of the prefix
//!    lengths, then DATA, ZDATA and HOLE for exactly the rest of the file (of one without a size, for all there is), then
//!    FILE_END; or FILE_FAILED at any point. After HAVE: FILE_SAME, or FILE_DIFFERS if it was to be left, or FILE_BEGIN at
//!    0, or FILE_FAILED.
//! 6. ITEM is final for its index, and comes once. *Committed* says: verified, synced, and renamed.
//!    *Exists* says: the same is there and synced, whoever put it there, under its name or, where both
//!    are kept, under another. If an ITEM comes while its file is under way, the sender sends
//!    FILE_FAILED and goes on with the next.
//! 7. END{number of ENTRYs, skipped} comes when every ENTRY has been dealt with; DONE follows every ITEM.
//!
//! Faults: see [`FAULTS`]. Statuses: see [`super::Status`].

use super::status::{Counts, Status};
use crate::session::frame::STREAM_HEADER_BYTES;
use crate::transfer::Fault;
use crate::transfer::item::{Kind, Mtime};
use crate::transfer::path::{DEPTH_MAX, LINK_BYTES_MAX, NameFault, PATH_BYTES_MAX, TreePath};
use crate::wire::limits::RECORD_PLAINTEXT_MAX;

/// How many bytes a chunk holds: exactly what fits into one record of the session, so that a piece of a file is copied
/// into one record, and written by the receiver in one piece.
pub(crate) const CHUNK_BYTES: usize = RECORD_PLAINTEXT_MAX - STREAM_HEADER_BYTES;

/// Bytes of answers that may be under way to a sender that is not reading.
///
/// A port with the session behind it must take this much from `Port::send` before it blocks.
/// The sender limits what it leaves unanswered accordingly, so that the two engines, each of
/// which reads only between its writes, can never wait for each other.
pub(crate) const ANSWER_BYTES: usize = 256 << 10;

/// The version spoken here.
pub const VERSION: u16 = 1;
/// Most raw bytes in one DATA or ZDATA.
pub const BLOCK_BYTES_MAX: usize = 256 << 10;
/// Longest body of ZDATA: a block that zstd could not shrink, with its overhead.
pub const ZDATA_BYTES_MAX: usize = BLOCK_BYTES_MAX + 1_024 + 4;
/// Most zeros in one HOLE: a receiver without a file to leave a hole in writes them, and should notice within a second that
/// the sender has gone.
pub const HOLE_BYTES_MAX: u64 = 1 << 30;
/// Longest body of any other message: an ENTRY with the longest path and target.
pub const BODY_BYTES_MAX: usize = 16 << 10;
/// Most prefix hashes in one WANT.
pub const CHECKPOINTS_MAX: usize = 64;
/// Most ENTRYs in one transfer.
pub const ENTRIES_MAX: u32 = 1_000_000;
/// Most ENTRYs without their ITEM. With them all answered by HAVE or by WANT with one prefix
/// (50 bytes) and then ITEM (11 bytes), 122 KiB of answers: see `ANSWER_BYTES`.
pub const OPEN_ENTRIES_MAX: usize = 2_048;

const _: () = assert!(OPEN_ENTRIES_MAX * (50 + 11) + 96 * 1_024 < ANSWER_BYTES);
const _: () = assert!(BODY_BYTES_MAX > PATH_BYTES_MAX + DEPTH_MAX + LINK_BYTES_MAX + 64);
const _: () = assert!(BODY_BYTES_MAX > CHECKPOINTS_MAX * 40 + 5);

/// The size in an ENTRY that says none: no file is so long.
pub(crate) const SIZE_UNKNOWN: u64 = u64::MAX;

pub use super::hash::Hash;

/// The numbers of faults on the wire.
pub const FAULTS: [(Fault, u8); 24] = [
    (Fault::Name, 1),
    (Fault::Duplicate, 2),
    (Fault::Exists, 3),
    (Fault::Parent, 4),
    (Fault::LinkTarget, 5),
    (Fault::TooLarge, 6),
    (Fault::TooMany, 7),
    (Fault::Special, 8),
    (Fault::TreeNotTaken, 9),
    (Fault::Version, 10),
    (Fault::Changed, 11),
    (Fault::NotFound, 12),
    (Fault::Denied, 13),
    (Fault::NoSpace, 14),
    (Fault::ReadOnly, 15),
    (Fault::NoDescriptors, 16),
    (Fault::Busy, 17),
    (Fault::Integrity, 18),
    (Fault::Cancelled, 19),
    (Fault::Io, 20),
    (Fault::NotEmpty, 21),
    (Fault::OnlyReplaces, 22),
    (Fault::NoLinks, 23),
    (Fault::Terminal, 24),
];

/// What a transfer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Bytes of unknown length.
    Stream,
    /// Files, directories and links.
    Files,
}

/// What a transfer will carry in all, where the sender knows.
pub use super::item::Totals;

/// The first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The sender's version.
    pub version: u16,
    /// What follows.
    pub content: Content,
    /// How much follows, if known.
    pub totals: Option<Totals>,
    /// A name for people, and for a stream that is put into a directory. Any bytes.
    pub name: Vec<u8>,
}

impl Hello {
    /// Whether it is certain that more follows than one file: a directory, or several files.
    #[must_use]
    pub(crate) fn is_several(&self) -> bool {
        self.content == Content::Files && self.totals.is_some_and(|totals| totals.items > 1)
    }
}

/// Components as they came: not looked at yet, so that a bad name costs its item and no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPath(pub(crate) Vec<u8>);

impl RawPath {
    /// Checks the names.
    ///
    /// # Errors
    /// The first thing wrong with them.
    pub fn check(&self) -> Result<TreePath, NameFault> {
        TreePath::from_components(self.components())
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.get(1..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (&length, tail) = rest.split_first()?;
            let (name, tail) = tail.split_at_checked(length.into())?;
            rest = tail;
            Some(name)
        })
    }
}

impl From<&TreePath> for RawPath {
    fn from(path: &TreePath) -> Self {
        // A TreePath has at most 64 names of at most 255 bytes, so every length fits.
        let mut raw = vec![u8::try_from(path.depth()).unwrap_or(u8::MAX)];
        for name in path.components() {
            raw.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            raw.extend_from_slice(name);
        }
        Self(raw)
    }
}

/// One item on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in this transfer, from 0 without gaps.
    pub index: u32,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 0o777 at most.
    pub mode: u16,
    /// Time of modification.
    pub mtime: Mtime,
    /// Length of a file in bytes; `None` if only its end will tell.
    pub size: Option<u64>,
    /// Where it belongs.
    pub path: RawPath,
}

/// What a sender says, apart from the bytes of DATA and ZDATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// The first message.
    Hello(Hello),
    /// One more item.
    Entry(Entry),
    /// The rest of a file follows, from this offset.
    Begin {
        /// Of the entry.
        index: u32,
        /// Where the first byte goes.
        offset: u64,
    },
    /// So many zeros, at most [`HOLE_BYTES_MAX`].
    Hole(u64),
    /// The file is complete.
    End {
        /// Of the entry.
        index: u32,
        /// Of the whole file, from its first byte.
        hash: Hash,
    },
    /// The file will not come.
    Failed {
        /// Of the entry.
        index: u32,
        /// Why.
        fault: Fault,
    },
    /// The receiver has the same already.
    Same {
        /// Of the entry.
        index: u32,
    },
    /// The receiver has something else, which stays.
    Differs {
        /// Of the entry.
        index: u32,
    },
    /// Nothing follows.
    Finish {
        /// How many entries there were.
        entries: u32,
        /// How many items could not even be offered.
        skipped: u32,
    },
}

/// What becomes of a file that the receiver has, if it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfDifferent {
    /// It stays; the item is refused.
    Leave,
    /// The sender's version is wanted.
    Send,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemOutcome {
    /// Verified, synced and renamed.
    Committed,
    /// The same was there already.
    Exists,
    /// The same was there already, but for its mode or its time of modification, which stay.
    ExistsUnlike,
    /// The receiver will not have it.
    Refused(Fault),
    /// Something went wrong.
    Failed(Fault),
}

impl ItemOutcome {
    /// What it is for a transfer that has no other item.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Committed => Status::Complete,
            Self::Exists | Self::ExistsUnlike => Status::NothingToDo,
            Self::Refused(_) => Status::Refused,
            Self::Failed(Fault::Integrity) => Status::Integrity,
            Self::Failed(_) => Status::LocalIo,
        }
    }

    /// Counts it.
    pub fn count(self, counts: &mut Counts) {
        match self {
            Self::Committed => counts.committed += 1,
            Self::Exists | Self::ExistsUnlike => counts.exists += 1,
            Self::Refused(_) => counts.refused += 1,
            Self::Failed(_) => counts.failed += 1,
        }
    }

    /// Why it did not come about, if so.
    #[must_use]
    pub fn fault(self) -> Option<Fault> {
        match self {
            Self::Refused(fault) | Self::Failed(fault) => Some(fault),
            Self::Committed | Self::Exists | Self::ExistsUnlike => None,
        }
    }
}

impl From<Fault> for ItemOutcome {
    fn from(fault: Fault) -> Self {
        if fault.is_refusal() { Self::Refused(fault) } else { Self::Failed(fault) }
    }
}

/// What a receiver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Accepted,
    /// Not this transfer.
    Refused(Fault),
    /// Send this file, from any of these prefixes on if it is yours too.
    Want {
        /// Of the entry.
        index: u32,
        /// Lengths and hashes of prefixes, rising.
        prefixes: Vec<(u64, Hash)>,
    },
    /// A file of that size is here.
    Have {
        /// Of the entry.
        index: u32,
        /// What to do if it is not the same.
        otherwise: IfDifferent,
        /// Of the file that is here.
        hash: Hash,
    },
    /// What became of an item.
    Item {
        /// Of the entry.
        index: u32,
        /// Its end.
        outcome: ItemOutcome,
    },
    /// What became of the whole.
    Done {
        /// In one word.
        status: Status,
        /// In numbers.
        counts: Counts,
        /// Of the command run at the receiver, if it failed; else 0, also if it ended well without taking everything.
        command_status: i32,
    },
}
