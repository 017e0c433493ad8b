//! What the sending engine does with one file that the receiver asked about.

use super::sender::{Sender, Wanted};
use crate::store::extent::Extent;
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

impl Sender<'_> {
    /// Does what the receiver asked about one file.
    pub(super) fn deal_with(&mut self, wanted: Wanted) -> Result<(), TransferError> {
        let index = wanted.index;
        self.progress.report(self.meter.at(wanted.found.path.as_bytes()));
        let (begin, before) = (Instant::now(), self.out.offering.content_bytes());
        let end = match SourceFile::open(&wanted.found, &mut self.nearby) {
            Err(fault) => FileEnd::Failed(fault),
            Ok(file) => match &wanted.ask {
                Ask::Content(prefixes) => self.send_from(&wanted, &file, prefixes)?,
                Ask::Compare(theirs, otherwise) => match hash_whole(&file) {
                    Err(fault) => FileEnd::Failed(fault),
                    Ok(ours) if ours == *theirs => {
                        self.meter.skip(file.size().unwrap_or(0));
                        FileEnd::Same
                    }
                    Ok(_) if *otherwise == IfDifferent::Leave => {
                        self.meter.skip(file.size().unwrap_or(0));
                        FileEnd::Differs
                    }
                    Ok(_) => self.send_from(&wanted, &file, &[])?,
                },
            },
        };
        let sent = self.out.offering.content_bytes() - before;
        if let Some(underway) = self.underway(index) {
            underway.since = begin;
            if wanted.found.unmeasured {
                underway.bytes = sent;
            }
            underway.hash = match (&end, &wanted.ask) {
                (FileEnd::Sent(hash), _) | (FileEnd::Same, Ask::Compare(hash, _)) => Some(*hash),
                _ => None,
            };
        }
        self.out.offering.end_file(index, end);
        self.out.say()?;
        Ok(())
    }

    /// Sends a file from the longest common prefix on; what is to be said at its end.
    fn send_from(
        &mut self,
        wanted: &Wanted,
        file: &SourceFile,
        prefixes: &[(u64, Hash)],
    ) -> Result<FileEnd, TransferError> {
        let (offset, hasher) = match common_prefix(file, prefixes) {
            Ok(common) => common,
            Err(fault) => return Ok(FileEnd::Failed(fault)),
        };
        self.out.offering.begin_file(wanted.index, offset);
        self.out.say()?;
        self.meter.skip(offset);
        let content = self.send_content(wanted, file, offset, hasher)?;
        Ok(match content.and_then(|hash| file.check_unchanged(&hash).map(|()| hash)) {
            Ok(hash) => FileEnd::Sent(hash),
            Err(fault) => FileEnd::Failed(fault),
        })
    }

    fn send_content(
        &mut self,
        wanted: &Wanted,
        file: &SourceFile,
        mut offset: u64,
        mut hasher: ContentHash,
    ) -> Result<Content, TransferError> {
        let end = file.size().unwrap_or(u64::MAX);
        while offset < end {
            let until = match file.extent(offset) {
                Extent::Data { until } => until,
                Extent::Hole { until } => {
                    let zeros = (until - offset).min(HOLE_BYTES_MAX);
                    self.out.offering.hole(zeros);
                    self.out.say()?;
                    hasher.update_zeros(zeros);
                    self.meter.skip(zeros);
                    offset += zeros;
                    offset // of which nothing is to be read
                }
            };
            while offset < until {
                match self.send_piece(file, offset, until - offset, &mut hasher)? {
                    // Of what has no size the end is where nothing more comes.
                    Ok(0) => return Ok(Ok(hasher.hash())),
                    Ok(sent) => offset += sent,
                    Err(fault) => return Ok(Err(fault)),
                }
                if !self.goes_on(wanted)? {
                    return Ok(Err(Fault::Cancelled));
                }
            }
            if !self.goes_on(wanted)? {
                return Ok(Err(Fault::Cancelled));
            }
        }
        Ok(Ok(hasher.hash()))
    }

    /// Reports where we are and listens; false if the receiver has given the file up.
    fn goes_on(&mut self, wanted: &Wanted) -> Result<bool, TransferError> {
        self.progress.report(self.meter.at(wanted.found.path.as_bytes()));
        self.take_answers()?;
        Ok(!self.out.offering.is_settled(wanted.index))
    }

    /// Sends some of the next `left` bytes; how many.
    fn send_piece(
        &mut self,
        file: &SourceFile,
        offset: u64,
        left: u64,
        hasher: &mut ContentHash,
    ) -> Result<Result<u64, Fault>, PortClosed> {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let sent = match self.out.offering.blocks().plan() {
            Plan::Raw(most) => match self.out.read_raw(file, offset, most.min(left))? {
                Err(fault) => return Ok(Err(fault)),
                Ok(bytes) => {
                    hasher.update(bytes);
                    wide(bytes.len())
                }
            },
            Plan::Compress(most) => {
                let mut block = std::mem::take(&mut self.block);
                let most = most.min(left);
                // A byte behind the end, which a last read asks for.
                block.resize(block.len().max(most + 1), 0);
                let read = file.read_into(&mut block, offset, most);
                let Ok(count) = read else { return Ok(read.map(wide)) };
                hasher.update(&block[..count]);
                if count > 0 {
                    self.out.pack(&block[..count])?;
                }
                self.block = block;
                wide(count)
            }
        };
        self.meter.bytes_done += sent;
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
    let mut hasher = ContentHash::default();
    let mut offset = 0;
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
