//! The sending side of a transfer: what is said when, and which answer may come when, for files and streams alike.
//!
//! ```text
//! greeting ─▶ content … ──────────────────────────────▶ END ─▶ (DONE came: it fits what was settled)
//!         └─▶ entry … ◀─ asked ─▶ file, or why none ──┘
//! ```
//!
//! Commands become bytes for the receiver, bytes of it become facts. The answer to the greeting is not waited for, so that a
//! refusal may come while items are announced and content is said. Where content comes from is the caller's business.

use super::blocks::{BlockEncoder, Compression, Encoded};
use super::decoder::{Decoder, Piece};
use super::encode::{HEADER_BYTES, data_header};
use super::item::Totals;
use super::messages::{
    Answer, Content, ENTRIES_MAX, Entry, Hash, Hello, IfDifferent, ItemOutcome, OPEN_ENTRIES_MAX, Offer, VERSION,
};
use super::outcome::{Side, TransferError, Violation};
use super::status::{Counts, Status};
use crate::transfer::Fault;
use std::collections::VecDeque;

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Of the entry; 0 of a stream.
    pub index: u32,
    /// Its end.
    pub outcome: ItemOutcome,
    /// On whose side what went wrong did: the receiver gives our own faults back to us.
    pub side: Side,
}

/// What the receiver wants to know of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// All of it, from the longest of these prefixes on that is ours too.
    Content(Vec<(u64, Hash)>),
    /// Is it this?
    Compare(Hash, IfDifferent),
}

/// A file that the receiver waits for, and that is owed a [`FileEnd`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Of the entry.
    pub index: u32,
    /// What it waits for.
    pub ask: Ask,
}

/// The last word about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileEnd {
    /// All of it was sent, and this is the hash of the whole.
    Sent(Hash),
    /// The receiver has the same already.
    Same,
    /// It has something else, which stays.
    Differs,
    /// There is no more of it.
    Failed(Fault),
}

/// The receiver's last word, which fits all that it has said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastWord {
    /// In one word.
    pub status: Status,
    /// Of its command, if that failed; 0 if it only did not take everything.
    pub command_status: Option<i32>,
}

/// DONE as it came.
#[derive(Debug)]
struct Done {
    status: Status,
    counts: Counts,
    command_status: i32,
}

/// How far an item is.
#[derive(Debug, Clone, Copy)]
enum Progress {
    /// Not answered yet. Of files alone more than their end may be said.
    Unanswered {
        is_file: bool,
    },
    /// Wanted, or being compared.
    Asked,
    /// Asked for, but it cannot be sent.
    GivenUp,
    Settled,
}

/// The items that were announced.
#[derive(Debug, Default)]
struct Ledger {
    next_index: u32,
    /// The items from `next_index - open.len()` on: at most [`OPEN_ENTRIES_MAX`].
    open: VecDeque<Progress>,
    /// Files among them that may yet be asked for.
    unanswered: usize,
    /// In the order in which they are to be dealt with.
    asked: VecDeque<Asked>,
}

#[derive(Debug)]
enum Offered {
    /// With its end, once that is told.
    Stream(Option<ItemOutcome>),
    Files(Ledger),
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Offering {
    decoder: Decoder<Answer>,
    blocks: BlockEncoder,
    offered: Offered,
    is_accepted: bool,
    /// END was said.
    is_finished: bool,
    counts: Counts,
    done: Option<Done>,
    content_bytes: u64,
    offers: Vec<u8>,
}

impl Offering {
    /// Of a stream with this name, which may be empty. The greeting is the first that is to be sent.
    #[must_use]
    pub(crate) fn stream(name: Vec<u8>, compression: Compression) -> Self {
        let hello = Hello { version: VERSION, content: Content::Stream, totals: None, name };
        Self::new(hello, Offered::Stream(None), compression)
    }

    /// Of files. The greeting is the first that is to be sent.
    #[must_use]
    pub(crate) fn files(name: Vec<u8>, totals: Option<Totals>, compression: Compression) -> Self {
        let hello = Hello { version: VERSION, content: Content::Files, totals, name };
        Self::new(hello, Offered::Files(Ledger::default()), compression)
    }

    fn new(hello: Hello, offered: Offered, compression: Compression) -> Self {
        let mut offering = Self {
            decoder: Decoder::default(),
            blocks: BlockEncoder::new(compression),
            offered,
            is_accepted: false,
            is_finished: false,
            counts: Counts::default(),
            done: None,
            content_bytes: 0,
            offers: Vec::new(),
        };
        offering.say(&Offer::Hello(hello));
        offering
    }

    fn say(&mut self, offer: &Offer) {
        offer.encode(&mut self.offers);
    }

    /// Takes answers off the front of `input` until one settles an item; `None` when there are no more, and then `input` is
    /// empty.
    ///
    /// # Errors
    /// The receiver broke the protocol, or refused all.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Settled>, TransferError> {
        loop {
            let settled = match self.decoder.next(input)? {
                None => return Ok(None),
                Some(Piece::Message(answer)) => self.handle_answer(answer)?,
                // The decoder lets no content through in this direction.
                Some(Piece::Data(_) | Piece::Packed { .. }) => return Err(Violation::Order.into()),
            };
            if settled.is_some() {
                return Ok(settled);
            }
        }
    }

    fn handle_answer(&mut self, answer: Answer) -> Result<Option<Settled>, TransferError> {
        if self.done.is_some() {
            return Err(Violation::Order.into());
        }
        match (answer, &mut self.offered) {
            (Answer::Accepted, _) if !self.is_accepted => self.is_accepted = true,
            (Answer::Refused(fault), _) if !self.is_accepted => return Err(TransferError::Refused(fault)),
            _ if !self.is_accepted => return Err(Violation::Hello.into()),
            (Answer::Item { index: 0, outcome }, Offered::Stream(told @ None)) => {
                *told = Some(outcome);
                return Ok(Some(self.settle(0, outcome, Side::There)));
            }
            (Answer::Item { index, outcome }, Offered::Files(ledger)) => {
                let side = ledger.settle(index)?;
                return Ok(Some(self.settle(index, outcome, side)));
            }
            (Answer::Want { index, prefixes }, Offered::Files(ledger)) => ledger.ask(index, Ask::Content(prefixes))?,
            (Answer::Have { index, otherwise, hash }, Offered::Files(ledger)) => {
                ledger.ask(index, Ask::Compare(hash, otherwise))?;
            }
            (Answer::Done { status, counts, command_status }, offered) => {
                // Whether the items have been dealt with is looked at when nothing is left to say: see `ending`.
                if matches!(offered, Offered::Stream(told) if told.is_none() || !self.is_finished) {
                    return Err(Violation::Order.into());
                }
                self.done = Some(Done { status, counts, command_status });
            }
            _ => return Err(Violation::Order.into()),
        }
        Ok(None)
    }

    fn settle(&mut self, index: u32, outcome: ItemOutcome, side: Side) -> Settled {
        outcome.count(&mut self.counts);
        Settled { index, outcome, side }
    }

    /// The number of the next item, if any more may follow in this transfer.
    #[must_use]
    pub(crate) fn next_index(&self) -> Option<u32> {
        match &self.offered {
            Offered::Files(ledger) => Some(ledger.next_index).filter(|index| *index < ENTRIES_MAX),
            Offered::Stream(_) => None,
        }
    }

    /// Whether an item may be announced before another is settled.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        matches!(&self.offered, Offered::Files(ledger) if ledger.open.len() < OPEN_ENTRIES_MAX)
    }

    /// Announces an item, with the number of [`Offering::next_index`].
    pub(crate) fn announce(&mut self, entry: Entry) {
        if let Offered::Files(ledger) = &mut self.offered {
            ledger.announce(&entry);
            self.say(&Offer::Entry(entry));
        }
    }

    /// The next file to be dealt with. Whatever is done about it ends with [`Offering::end_file`], also if it is settled by
    /// then.
    pub(crate) fn poll_asked(&mut self) -> Option<Asked> {
        match &mut self.offered {
            Offered::Files(ledger) => ledger.asked.pop_front(),
            Offered::Stream(_) => None,
        }
    }

    /// The content of this file follows, from this offset on: 0, or one of the prefixes that were told.
    pub(crate) fn begin_file(&mut self, index: u32, offset: u64) {
        self.say(&Offer::Begin { index, offset });
    }

    /// Takes note that so many bytes of content follow, at most [`super::messages::BLOCK_BYTES_MAX`], and returns what
    /// stands before them: it is not among the [`Offering::offers`].
    pub(crate) fn data(&mut self, count: usize) -> [u8; HEADER_BYTES] {
        self.blocks.note_raw(count);
        self.content_bytes += wide(count);
        data_header(count)
    }

    /// Says content, packed if that pays. If not, nothing is said yet.
    pub(crate) fn pack(&mut self, block: &[u8]) -> Encoded {
        let encoded = self.blocks.encode(block, &mut self.offers);
        if encoded == Encoded::Packed {
            self.content_bytes += wide(block.len());
        }
        encoded
    }

    /// Says content as it is.
    pub(crate) fn copy(&mut self, block: &[u8]) {
        let header = self.data(block.len());
        self.offers.extend_from_slice(&header);
        self.offers.extend_from_slice(block);
    }

    /// So many zeros follow, at most [`super::messages::HOLE_BYTES_MAX`].
    pub(crate) fn hole(&mut self, zeros: u64) {
        self.say(&Offer::Hole(zeros));
    }

    /// Says the last word about a file that was asked for.
    pub(crate) fn end_file(&mut self, index: u32, end: FileEnd) {
        self.say(&match end {
            FileEnd::Sent(hash) => Offer::End { index, hash },
            FileEnd::Same => Offer::Same { index },
            FileEnd::Differs => Offer::Differs { index },
            FileEnd::Failed(fault) => Offer::Failed { index, fault },
        });
        if let (FileEnd::Failed(_), Offered::Files(ledger)) = (end, &mut self.offered)
            && let Some(progress @ Progress::Asked) = ledger.progress(index)
        {
            *progress = Progress::GivenUp;
        }
    }

    /// Nothing follows; so many items could not even be offered.
    pub(crate) fn finish(&mut self, skipped: u32) {
        let entries = match &self.offered {
            Offered::Files(ledger) => ledger.next_index,
            Offered::Stream(_) => 0,
        };
        self.say(&Offer::Finish { entries, skipped });
        self.is_finished = true;
    }

    /// What is to be sent, in order. What has gone is taken off its front.
    pub(crate) fn offers(&mut self) -> &mut Vec<u8> {
        &mut self.offers
    }

    /// What decides what is compressed, to be told how long that took and how the link takes what comes out.
    pub(crate) fn blocks(&mut self) -> &mut BlockEncoder {
        &mut self.blocks
    }

    /// Bytes of content that were said, before compression, holes not counted.
    #[must_use]
    pub(crate) fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Whether the receiver takes the transfer, as far as it has said.
    #[must_use]
    pub(crate) fn is_accepted(&self) -> bool {
        self.is_accepted
    }

    /// Whether the receiver has told what became of this item.
    #[must_use]
    pub(crate) fn is_settled(&self, index: u32) -> bool {
        match &self.offered {
            Offered::Files(ledger) => ledger.place(index).is_none_or(|place| ledger.open[place].is_settled()),
            Offered::Stream(told) => told.is_some(),
        }
    }

    /// What became of the stream, once that is told.
    #[must_use]
    pub(crate) fn stream_outcome(&self) -> Option<ItemOutcome> {
        match &self.offered {
            Offered::Stream(told) => *told,
            Offered::Files(_) => None,
        }
    }

    /// Whether nothing is owed about any item that was announced: the next that is said may be the end. Only files are asked for; what
    /// becomes of others may be told after it.
    #[must_use]
    pub(crate) fn is_all_dealt_with(&self) -> bool {
        match &self.offered {
            Offered::Files(ledger) => ledger.unanswered == 0 && ledger.asked.is_empty(),
            Offered::Stream(_) => true,
        }
    }

    /// Whether all has been said.
    #[must_use]
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Whether the receiver has said its last word, fitting or not.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// The receiver's last word, if it has come. To be asked when nothing can be said any more before something is heard.
    ///
    /// # Errors
    /// It came too early, or contradicts what was settled.
    pub(crate) fn ending(&self) -> Result<Option<LastWord>, Violation> {
        let Some(Done { status, counts, command_status }) = &self.done else { return Ok(None) };
        if !self.is_finished {
            return Err(Violation::Order);
        }
        let has_command_failed = *status == Status::CommandFailed;
        let fits = match &self.offered {
            // A stream is its only item, so the words for both are the same.
            Offered::Stream(told) => has_command_failed || told.is_some_and(|outcome| outcome.status() == *status),
            Offered::Files(ledger) => ledger.open.is_empty(),
        };
        if !fits || *counts != self.counts {
            return Err(Violation::Counts);
        }
        Ok(Some(LastWord { status: *status, command_status: has_command_failed.then_some(*command_status) }))
    }
}

impl Progress {
    fn is_settled(self) -> bool {
        matches!(self, Self::Settled)
    }
}

impl Ledger {
    fn announce(&mut self, entry: &Entry) {
        let is_file = entry.kind == super::item::Kind::File;
        self.next_index += 1;
        self.unanswered += usize::from(is_file);
        self.open.push_back(Progress::Unanswered { is_file });
    }

    /// Of an item that is not settled, or not in turn.
    fn progress(&mut self, index: u32) -> Option<&mut Progress> {
        self.place(index).map(|place| &mut self.open[place])
    }

    /// Where in `open` it is.
    fn place(&self, index: u32) -> Option<usize> {
        let behind = usize::try_from(self.next_index.checked_sub(index)?).ok()?;
        self.open.len().checked_sub(behind).filter(|place| *place < self.open.len())
    }

    fn ask(&mut self, index: u32, ask: Ask) -> Result<(), Violation> {
        match self.progress(index) {
            Some(progress @ Progress::Unanswered { is_file: true }) => *progress = Progress::Asked,
            _ => return Err(Violation::Index),
        }
        self.unanswered -= 1;
        self.asked.push_back(Asked { index, ask });
        Ok(())
    }

    /// On whose side it failed, should it have.
    fn settle(&mut self, index: u32) -> Result<Side, Violation> {
        let progress = self.progress(index).ok_or(Violation::Index)?;
        let side = match std::mem::replace(progress, Progress::Settled) {
            Progress::Unanswered { is_file } => {
                self.unanswered -= usize::from(is_file);
                Side::There
            }
            Progress::Asked => Side::There,
            Progress::GivenUp => Side::Here,
            Progress::Settled => return Err(Violation::Index),
        };
        while self.open.front().is_some_and(|progress| progress.is_settled()) {
            self.open.pop_front();
        }
        Ok(side)
    }
}

/// A length in memory as a length in a file: never more than 64 bits.
fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "tests/offering.rs"]
mod tests;
