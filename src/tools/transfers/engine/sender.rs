//! The sending engine: announces what there is, deals with what is wanted.
//!
//! Announcing runs ahead of the answers by up to [`OPEN_ENTRIES_MAX`] items, and content follows
//! in the order it is wanted, so that no item costs a round trip of its own.

use super::outgoing::Outgoing;
use super::port::{Port, TryRecv};
use super::progress::{ItemEnd, ItemKind, Meter, Progress};
use super::underway::Underway;
use crate::session::Parcel;
use crate::store::beneath::Nearby;
use crate::store::links::Links;
use crate::store::omit::Omit;
use crate::store::read::measure_by_reading;
use crate::store::source::{Found, Met, Skipped, Step, Walk, measure};
use crate::transfer::Fault;
use crate::transfer::blocks::{BlockEncoder, Compression};
use crate::transfer::decoder::{Decoder, Piece};
use crate::transfer::item::Kind;
use crate::transfer::limit::RateLimit;
use crate::transfer::messages::{
    Answer, Content, ENTRIES_MAX, Entry, Hash, Hello, IfDifferent, ItemOutcome, OPEN_ENTRIES_MAX, Offer, RawPath,
    VERSION,
};
use crate::transfer::path::TreePath;
use crate::transfer::{
    outcome::{SendOutcome, Side, Tally, TransferError, Violation},
    status::{Counts, Status},
};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Sources of more items than this are sent without counting them first.
const COUNTED_ITEMS_MAX: u64 = 100_000;

/// What to send, and how.
#[derive(Debug, Clone, Default)]
pub struct SendJob {
    /// Files and directories. A symbolic link named here stands for what it points to.
    pub sources: Vec<PathBuf>,
    /// What is left out of them.
    pub omit: Omit,
    /// What becomes of symbolic links.
    pub links: Links,
    /// A name for the whole, for people at the other end; may be empty.
    pub name: Vec<u8>,
    /// When to compress.
    pub compression: Compression,
    /// Bytes per second on the wire at most.
    pub limit: Option<NonZeroU64>,
}

impl SendJob {
    /// All that there is to send.
    #[must_use]
    pub fn walk(&self) -> Walk {
        Walk::new(self.sources.clone()).without(self.omit.clone()).with_links(self.links)
    }

    /// Sends everything and waits until the receiver has it. Blocks; belongs into a thread.
    ///
    /// Items that cannot be sent are in the outcome; they stop nothing.
    ///
    /// # Errors
    /// When the transfer as a whole ended early; what was committed by then stays.
    pub fn run(self, port: &mut dyn Port, progress: &mut dyn Progress) -> Result<SendOutcome, TransferError> {
        let now = Instant::now();
        let totals = measure(self.walk(), COUNTED_ITEMS_MAX);
        let limit = self.limit.map(|rate| RateLimit::new(rate, now));
        let encoder = BlockEncoder::new(self.compression);
        let mut sender = Sender {
            out: Outgoing::new(port, encoder, limit, now),
            decoder: Decoder::default(),
            walk: Some(self.walk()),
            held_back: None,
            next_index: 0,
            open: VecDeque::new(),
            unanswered: 0,
            wanted: VecDeque::new(),
            tally: Tally::default(),
            block: Vec::new(),
            nearby: Nearby::default(),
            sent_bytes: 0,
            meter: Meter {
                bytes_total: totals.map(|totals| totals.bytes),
                items_total: totals.map(|totals| totals.items),
                ..Meter::default()
            },
            progress,
            accepted: false,
            done: None,
        };
        let content = Content::Files;
        let hello = Hello { version: VERSION, content, totals, name: self.name };
        let greeted = sender.out.say(&Offer::Hello(hello)).map_err(TransferError::from);
        greeted.and_then(|()| sender.drive()).map_err(|error| match error {
            TransferError::Closed(_) => sender.last_words().unwrap_or(error),
            other => other,
        })
    }
}

/// An announced item that the receiver has not settled, or not in turn.
struct Open {
    path: TreePath,
    state: OpenState,
    underway: Underway,
}

enum OpenState {
    /// Not answered yet. Files keep what is needed to send them.
    Unanswered(Option<Box<Found>>),
    /// Wanted, or being compared.
    Answered,
    /// Wanted, but we could not read it.
    GivenUp,
    /// ITEM has come.
    Settled,
}

/// A file that the receiver waits for.
pub(crate) struct Wanted {
    pub index: u32,
    pub found: Box<Found>,
    pub ask: Ask,
}

/// What the receiver said about a file.
pub(crate) enum Ask {
    /// Send it, from the longest of these prefixes that is yours.
    Content(Vec<(u64, Hash)>),
    /// Is it this?
    Compare(Hash, IfDifferent),
}

struct Done {
    status: Status,
    counts: Counts,
    command_status: i32,
}

/// The engine's state; what it does with one file is in `sending`.
pub(crate) struct Sender<'p> {
    pub out: Outgoing<'p>,
    decoder: Decoder<Answer>,
    walk: Option<Walk>,
    /// What the walk has come upon and nobody is told before the receiver has accepted: the end of the walk is `None`.
    held_back: Option<Option<Step>>,
    next_index: u32,
    /// The items from `next_index - open.len()` on.
    open: VecDeque<Open>,
    unanswered: usize,
    wanted: VecDeque<Wanted>,
    tally: Tally,
    /// Where blocks are read that may be compressed.
    pub block: Vec<u8>,
    /// Where the file that was sent last is.
    pub nearby: Nearby,
    pub sent_bytes: u64,
    pub meter: Meter,
    pub progress: &'p mut dyn Progress,
    accepted: bool,
    done: Option<Done>,
}

impl Sender<'_> {
    /// The session ended: a refusal that lies unread is the better reason.
    fn last_words(&mut self) -> Option<TransferError> {
        while let Ok(TryRecv::Bytes(chunk)) = self.out.heard() {
            match self.hear(chunk) {
                Ok(()) => {}
                Err(error @ TransferError::Refused(_)) => return Some(error),
                Err(_) => return None,
            }
        }
        None
    }

    fn drive(&mut self) -> Result<SendOutcome, TransferError> {
        let mut finished = false;
        loop {
            self.take_answers()?;
            self.announce()?;
            if let Some(wanted) = self.wanted.pop_front() {
                self.deal_with(wanted)?;
                continue;
            }
            if self.walk.is_none() && self.unanswered == 0 && !finished {
                finished = true;
                let (entries, skipped) = (self.next_index, self.tally.skipped);
                self.out.say(&Offer::Finish { entries, skipped })?;
            }
            if let Some(done) = self.done.take() {
                return if finished { self.conclude(&done) } else { Err(Violation::Order.into()) };
            }
            let Some(chunk) = self.out.listen()? else {
                return Err(TransferError::Truncated);
            };
            self.hear(chunk)?;
        }
    }

    fn conclude(&mut self, done: &Done) -> Result<SendOutcome, TransferError> {
        let settled = self.open.is_empty() && self.accepted;
        if !settled || done.counts != self.tally.counts {
            return Err(Violation::Counts.into());
        }
        let command_status = (done.status == Status::CommandFailed).then_some(done.command_status);
        if let Some(unlike) = &self.tally.unlike {
            self.progress.remark(unlike);
        }
        // The receiver may know of something worse that no single item tells.
        let status = match self.tally.status(command_status) {
            Status::Complete | Status::NothingToDo => done.status,
            ours => ours,
        };
        Ok(SendOutcome { status, tally: std::mem::take(&mut self.tally), sent_bytes: self.sent_bytes, command_status })
    }

    /// Announces items as far ahead as allowed.
    fn announce(&mut self) -> Result<(), TransferError> {
        while self.open.len() < OPEN_ENTRIES_MAX {
            let Some(walk) = &mut self.walk else { break };
            let next = match self.held_back.take() {
                Some(next) => next,
                None => match walk.meet() {
                    Some(Met::LeftOut(left_out)) => {
                        self.progress.left_out(&left_out);
                        continue;
                    }
                    Some(Met::Item(step)) => Some(step),
                    None => None,
                },
            };
            if !self.accepted && !matches!(next, Some(Ok(_))) {
                // Where all is refused, what else is amiss with it is no news.
                self.held_back = Some(next);
                break;
            }
            match next {
                None => {
                    self.progress.links_left_out(walk.left_links());
                    self.walk = None;
                }
                Some(Err(skipped)) => self.skip(&skipped),
                Some(Ok(found)) if self.next_index >= ENTRIES_MAX => {
                    let path = found.path.as_bytes().to_vec();
                    self.skip(&Skipped { path, fault: Fault::TooMany, dangling: None });
                }
                Some(Ok(found)) => self.announce_one(found)?,
            }
        }
        Ok(())
    }

    fn skip(&mut self, skipped: &Skipped) {
        let failure = self.tally.skip(&skipped.path, skipped.fault, skipped.dangling.clone());
        self.progress.warn(&failure);
        self.progress.skipped(ItemEnd {
            path: &skipped.path,
            kind: None,
            bytes: 0,
            hash: None,
            renamed: None,
            outcome: ItemOutcome::Failed(skipped.fault),
            dangling: skipped.dangling.as_ref(),
            took: Duration::ZERO,
        });
    }

    fn announce_one(&mut self, mut found: Found) -> Result<(), TransferError> {
        if found.kind == Kind::File {
            measure_by_reading(&mut found);
        }
        self.out.say(&Offer::Entry(Entry {
            index: self.next_index,
            kind: found.kind.clone(),
            mode: found.stamp.mode,
            mtime: found.stamp.mtime,
            size: (!found.unmeasured).then_some(found.stamp.size),
            path: RawPath::from(&found.path),
        }))?;
        self.next_index += 1;
        self.unanswered += 1;
        let path = found.path.clone();
        let underway = Underway::new(ItemKind::from(&found.kind), found.stamp.size);
        let file = (found.kind == Kind::File).then(|| Box::new(found));
        self.open.push_back(Open { path, state: OpenState::Unanswered(file), underway });
        Ok(())
    }

    /// Takes what the receiver has said so far, without waiting.
    pub fn take_answers(&mut self) -> Result<(), TransferError> {
        loop {
            match self.out.heard()? {
                TryRecv::Bytes(chunk) => self.hear(chunk)?,
                TryRecv::Empty => return Ok(()),
                TryRecv::Finished if self.done.is_some() => return Ok(()),
                TryRecv::Finished => return Err(TransferError::Truncated),
            }
        }
    }

    fn hear(&mut self, chunk: Parcel) -> Result<(), TransferError> {
        let mut decoder = std::mem::take(&mut self.decoder);
        let mut input = &chunk[..];
        while let Some(piece) = decoder.next(&mut input)? {
            match piece {
                Piece::Message(answer) => self.handle(answer)?,
                // The decoder lets no content through in this direction.
                Piece::Data(_) | Piece::Packed { .. } => return Err(Violation::Order.into()),
            }
        }
        self.decoder = decoder;
        self.out.recycle(chunk);
        Ok(())
    }

    fn handle(&mut self, answer: Answer) -> Result<(), TransferError> {
        if self.done.is_some() {
            return Err(Violation::Order.into());
        }
        match answer {
            Answer::Accepted if !self.accepted => self.accepted = true,
            Answer::Refused(fault) if !self.accepted => return Err(TransferError::Refused(fault)),
            _ if !self.accepted => return Err(Violation::Hello.into()),
            Answer::Want { index, prefixes } => self.want(index, Ask::Content(prefixes))?,
            Answer::Have { index, otherwise, hash } => {
                self.want(index, Ask::Compare(hash, otherwise))?;
            }
            Answer::Item { index, outcome } => self.settle(index, outcome)?,
            Answer::Done { status, counts, command_status } => {
                self.done = Some(Done { status, counts, command_status });
            }
            Answer::Accepted | Answer::Refused(_) => return Err(Violation::Order.into()),
        }
        Ok(())
    }

    fn entry(&mut self, index: u32) -> Option<&mut Open> {
        let behind = usize::try_from(self.next_index.checked_sub(index)?).ok()?;
        let at = self.open.len().checked_sub(behind)?;
        self.open.get_mut(at)
    }

    fn want(&mut self, index: u32, ask: Ask) -> Result<(), Violation> {
        let open = self.entry(index).ok_or(Violation::Index)?;
        match std::mem::replace(&mut open.state, OpenState::Answered) {
            OpenState::Unanswered(Some(found)) => {
                self.unanswered -= 1;
                self.wanted.push_back(Wanted { index, found, ask });
                Ok(())
            }
            OpenState::Unanswered(None) | OpenState::Answered | OpenState::GivenUp | OpenState::Settled => {
                Err(Violation::Index)
            }
        }
    }

    fn settle(&mut self, index: u32, outcome: ItemOutcome) -> Result<(), Violation> {
        let open = self.entry(index).ok_or(Violation::Index)?;
        let before = std::mem::replace(&mut open.state, OpenState::Settled);
        let path = open.path.clone();
        // The receiver gives our own faults back to us.
        let side = if matches!(before, OpenState::GivenUp) { Side::Here } else { Side::There };
        let underway = std::mem::replace(&mut open.underway, Underway::new(ItemKind::File, 0));
        match before {
            OpenState::Unanswered(_) => self.unanswered -= 1,
            OpenState::Answered | OpenState::GivenUp => {}
            OpenState::Settled => return Err(Violation::Index),
        }
        self.progress.settled(underway.end(path.as_bytes(), outcome));
        if let Some(failure) = self.tally.settle(path.as_bytes(), outcome, side) {
            self.progress.warn(&failure);
        }
        self.meter.items_done += 1;
        self.progress.report(self.meter.at(path.as_bytes()));
        while self.open.front().is_some_and(|open| matches!(open.state, OpenState::Settled)) {
            self.open.pop_front();
        }
        Ok(())
    }

    /// We cannot send it.
    pub fn give_up(&mut self, index: u32) {
        if let Some(state @ OpenState::Answered) = self.entry(index).map(|open| &mut open.state) {
            *state = OpenState::GivenUp;
        }
    }

    /// What is known of an item that the receiver has not settled.
    pub fn underway(&mut self, index: u32) -> Option<&mut Underway> {
        self.entry(index).map(|open| &mut open.underway)
    }

    /// True if the receiver has settled it, well or not.
    pub fn is_settled(&mut self, index: u32) -> bool {
        self.entry(index).is_none_or(|open| matches!(open.state, OpenState::Settled))
    }
}
