//! What the sending engine does with one file that the receiver asked about.

use super::announced::Announced;
use crate::store::beneath::Nearby;
use crate::store::extent::Extent;
use crate::store::found::Found;
use crate::store::read::SourceFile;
use crate::transfer::Fault;
use crate::transfer::blocks::Plan;
use crate::transfer::hash::ContentHash;
use crate::transfer::messages::{HOLE_BYTES_MAX, Hash, IfDifferent};
use crate::transfer::offering::{Ask, FileEnd};
use crate::transfer::outcome::PortClosed;
use crate::transfer::outcome::TransferError;
use std::time::Instant;

/// A length in memory as a length in a file: never more than 64 bits.
pub(crate) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// So many zeros, in pieces as large as those in which other content comes.
pub(crate) fn zeros(mut count: u64) -> impl Iterator<Item = &'static [u8]> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    std::iter::from_fn(move || {
        let now = usize::try_from(count).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        count -= wide(now);
        (now > 0).then(|| &ZEROS[..now])
    })
}

/// A file's end: its hash, or why there is none.
type Content = Result<Hash, Fault>;

/// A file that the receiver waits for.
pub(super) struct Wanted {
    pub index: u32,
    pub found: Box<Found>,
    pub ask: Ask,
}

/// What the engine keeps from one file to the next.
#[derive(Default)]
pub(super) struct Workspace {
    /// Where blocks are read that may be compressed.
    block: Vec<u8>,
    /// Where the file that was sent last is.
    nearby: Nearby,
}

/// Does what the receiver asked about one file.
///
/// # Errors
/// The transfer as a whole has ended.
pub(super) fn deal_with(
    announced: &mut Announced<'_>,
    workspace: &mut Workspace,
    wanted: &Wanted,
) -> Result<(), TransferError> {
    let Wanted { index, found, ask } = wanted;
    announced.report(&found.path);
    let (begin, before) = (Instant::now(), announced.out.offering.content_bytes());
    let end = match SourceFile::open(found, &mut workspace.nearby) {
        Err(fault) => FileEnd::Failed(fault),
        Ok(file) => match agree(announced, &file, ask) {
            Ok((offset, hasher)) => {
                let block = &mut workspace.block;
                Sending { announced: &mut *announced, block, wanted, file: &file, offset, hasher }.run()?
            }
            Err(end) => end,
        },
    };
    let sent = announced.out.offering.content_bytes() - before;
    if let Some(underway) = announced.underway(*index) {
        underway.since = begin;
        if found.unmeasured {
            underway.bytes = sent;
        }
        underway.hash = match (&end, ask) {
            (FileEnd::Sent(hash), _) | (FileEnd::Same, Ask::Compare(hash, _)) => Some(*hash),
            _ => None,
        };
    }
    announced.out.offering.end_file(*index, end);
    Ok(announced.out.say()?)
}

/// One file on its way.
struct Sending<'s, 'p> {
    announced: &'s mut Announced<'p>,
    block: &'s mut Vec<u8>,
    wanted: &'s Wanted,
    file: &'s SourceFile,
    /// How far it is, and the hash of that.
    offset: u64,
    hasher: ContentHash,
}

/// From where on it is to be sent, and the hash of what is before that: the longest prefix that both have. Or its end, where
/// nothing is to be sent.
fn agree(announced: &mut Announced<'_>, file: &SourceFile, ask: &Ask) -> Result<(u64, ContentHash), FileEnd> {
    let (theirs, otherwise) = match ask {
        Ask::Content(prefixes) => return common_prefix(file, prefixes).map_err(FileEnd::Failed),
        Ask::Compare(theirs, otherwise) => (theirs, *otherwise),
    };
    let is_same = hash_whole(file).map_err(FileEnd::Failed)? == *theirs;
    if !is_same && otherwise != IfDifferent::Leave {
        return Ok((0, ContentHash::default()));
    }
    announced.meter.skip(file.size().unwrap_or(0));
    Err(if is_same { FileEnd::Same } else { FileEnd::Differs })
}

impl Sending<'_, '_> {
    /// Sends it; what is to be said at its end.
    fn run(mut self) -> Result<FileEnd, TransferError> {
        self.announced.out.offering.begin_file(self.wanted.index, self.offset);
        self.announced.out.say()?;
        self.announced.meter.skip(self.offset);
        let content = self.send_content()?;
        Ok(match content.and_then(|hash| self.file.check_unchanged(&hash).map(|()| hash)) {
            Ok(hash) => FileEnd::Sent(hash),
            Err(fault) => FileEnd::Failed(fault),
        })
    }

    fn send_content(&mut self) -> Result<Content, TransferError> {
        let end = self.file.size().unwrap_or(u64::MAX);
        while self.offset < end {
            let until = match self.file.extent(self.offset) {
                Extent::Data { until } => until,
                Extent::Hole { until } => {
                    self.send_hole((until - self.offset).min(HOLE_BYTES_MAX))?;
                    self.offset // of which nothing is to be read
                }
            };
            while self.offset < until {
                match self.send_piece(until - self.offset)? {
                    // Of what has no size the end is where nothing more comes.
                    Ok(0) => return Ok(Ok(self.hasher.hash())),
                    Ok(sent) => self.offset += sent,
                    Err(fault) => return Ok(Err(fault)),
                }
                if !self.goes_on()? {
                    return Ok(Err(Fault::Cancelled));
                }
            }
            if !self.goes_on()? {
                return Ok(Err(Fault::Cancelled));
            }
        }
        Ok(Ok(self.hasher.hash()))
    }

    fn send_hole(&mut self, zeros: u64) -> Result<(), PortClosed> {
        self.announced.out.offering.hole(zeros);
        self.announced.out.say()?;
        self.hasher.update_zeros(zeros);
        self.announced.meter.skip(zeros);
        self.offset += zeros;
        Ok(())
    }

    /// Reports where we are and listens; false if the receiver has given the file up.
    fn goes_on(&mut self) -> Result<bool, TransferError> {
        self.announced.report(&self.wanted.found.path);
        self.announced.take_answers()?;
        Ok(!self.announced.out.offering.is_settled(self.wanted.index))
    }

    /// Sends some of the next `left` bytes; how many.
    fn send_piece(&mut self, left: u64) -> Result<Result<u64, Fault>, PortClosed> {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let out = &mut self.announced.out;
        let sent = match out.offering.blocks().plan() {
            Plan::Raw(most) => match out.read_raw(self.file, self.offset, most.min(left))? {
                Err(fault) => return Ok(Err(fault)),
                Ok(bytes) => {
                    self.hasher.update(bytes);
                    wide(bytes.len())
                }
            },
            Plan::Compress(most) => {
                let most = most.min(left);
                // A byte behind the end, which a last read asks for.
                self.block.resize(self.block.len().max(most + 1), 0);
                let read = self.file.read_into(self.block, self.offset, most);
                let Ok(count) = read else { return Ok(read.map(wide)) };
                self.hasher.update(&self.block[..count]);
                if count > 0 {
                    out.pack(&self.block[..count])?;
                }
                wide(count)
            }
        };
        self.announced.meter.bytes_done += sent;
        Ok(Ok(sent))
    }
}

fn hash_whole(file: &SourceFile) -> Content {
    let mut hasher = ContentHash::default();
    file.hash_all(&mut hasher)?;
    let hash = hasher.hash();
    file.check_unchanged(&hash)?;
    Ok(hash)
}

/// The longest prefix that is the same on both sides, and the hash state after it. Prefixes rise,
/// so that the first that differs is the last that need be looked at.
fn common_prefix(file: &SourceFile, prefixes: &[(u64, Hash)]) -> Result<(u64, ContentHash), Fault> {
    let mut common = (0, ContentHash::default());
    if prefixes.is_empty() {
        return Ok(common);
    }
    let (mut hasher, mut offset) = (ContentHash::default(), 0);
    for (length, hash) in prefixes {
        if file.size().is_none_or(|size| *length > size) {
            break;
        }
        file.hash(&mut hasher, offset, *length)?;
        offset = *length;
        if hasher.hash() != *hash {
            break;
        }
        common = (offset, hasher.checkpoint());
    }
    Ok(common)
}
