//! The sending engine: announces what there is, deals with what is wanted.
//!
//! Announcing runs ahead of the answers by up to [`OPEN_ENTRIES_MAX`](crate::transfer::messages::OPEN_ENTRIES_MAX)
//! items, and content follows in the order it is wanted, so that no item costs a round trip of its own. What is said, and what
//! may be answered, is the business of the [`Offering`].

use super::outgoing::Outgoing;
use super::port::{Port, TryRecv};
use super::progress::{ItemEnd, ItemKind, Meter, Progress};
use super::underway::Underway;
use crate::session::Parcel;
use crate::store::beneath::Nearby;
use crate::store::found::{Found, Skipped, WalkItem};
use crate::store::links::Links;
use crate::store::omit::Omit;
use crate::store::read::measure_by_reading;
use crate::store::source::{Met, Walk, measure};
use crate::transfer::Fault;
use crate::transfer::blocks::Compression;
use crate::transfer::item::Kind;
use crate::transfer::limit::RateLimit;
use crate::transfer::messages::{Entry, ItemOutcome, RawPath};
use crate::transfer::offering::{Ask, Asked, FileEnd, LastWord, Offering, Settled};
use crate::transfer::path::TreePath;
use crate::transfer::{
    outcome::{SendOutcome, Tally, TransferError},
    status::Status,
};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Sources of more items than this are sent without counting them first.
const COUNTED_ITEMS_MAX: u64 = 100_000;

/// What to send, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct SendJob {
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
    pub(crate) fn walk(&self) -> Walk {
        Walk::new(self.sources.clone()).without(self.omit.clone()).with_links(self.links)
    }

    /// Sends everything and waits until the receiver has it. Blocks; belongs into a thread.
    ///
    /// Items that cannot be sent are in the outcome; they stop nothing.
    ///
    /// # Errors
    /// When the transfer as a whole ended early; what was committed by then stays.
    pub(crate) fn run(self, port: &mut dyn Port, progress: &mut dyn Progress) -> Result<SendOutcome, TransferError> {
        let now = Instant::now();
        let totals = measure(self.walk(), COUNTED_ITEMS_MAX);
        let limit = self.limit.map(|rate| RateLimit::new(rate, now));
        let walk = self.walk();
        let offering = Offering::files(self.name, totals, self.compression);
        let mut sender = Sender {
            out: Outgoing::new(port, offering, limit, now),
            walk: Some(walk),
            held_back: None,
            announced: BTreeMap::new(),
            tally: Tally::default(),
            block: Vec::new(),
            nearby: Nearby::default(),
            meter: Meter {
                bytes_total: totals.map(|totals| totals.bytes),
                items_total: totals.map(|totals| totals.items),
                ..Meter::default()
            },
            progress,
        };
        let greeted = sender.out.say().map_err(TransferError::from);
        greeted.and_then(|()| sender.drive()).map_err(|error| match error {
            TransferError::Closed(_) => sender.last_words().unwrap_or(error),
            other => other,
        })
    }
}

/// An announced item that the receiver has not settled.
struct Announced {
    path: TreePath,
    /// What is needed to send a file, until that is dealt with.
    found: Option<Box<Found>>,
    underway: Underway,
}

/// A file that the receiver waits for.
pub(crate) struct Wanted {
    pub index: u32,
    pub found: Box<Found>,
    pub ask: Ask,
}

/// The engine's state; what it does with one file is in `sending`.
pub(crate) struct Sender<'p> {
    pub out: Outgoing<'p>,
    walk: Option<Walk>,
    /// What the walk has come upon and nobody is told before the receiver has accepted: the end of the walk is `None`.
    held_back: Option<Option<WalkItem>>,
    /// By number.
    announced: BTreeMap<u32, Announced>,
    tally: Tally,
    /// Where blocks are read that may be compressed.
    pub block: Vec<u8>,
    /// Where the file that was sent last is.
    pub nearby: Nearby,
    pub meter: Meter,
    pub progress: &'p mut dyn Progress,
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
        loop {
            self.take_answers()?;
            self.announce()?;
            if let Some(asked) = self.out.offering.poll_asked() {
                self.answer(asked)?;
                continue;
            }
            let offering = &mut self.out.offering;
            if self.walk.is_none() && offering.is_all_dealt_with() && !offering.is_finished() {
                offering.finish(self.tally.skipped);
                self.out.say()?;
            }
            if let Some(end) = self.out.offering.ending()? {
                return Ok(self.conclude(end));
            }
            let Some(chunk) = self.out.listen()? else {
                return Err(TransferError::Truncated);
            };
            self.hear(chunk)?;
        }
    }

    fn answer(&mut self, asked: Asked) -> Result<(), TransferError> {
        let Asked { index, ask } = asked;
        if let Some(found) = self.announced.get_mut(&index).and_then(|announced| announced.found.take()) {
            return self.deal_with(Wanted { index, found, ask });
        }
        // It has been settled since.
        self.out.offering.end_file(index, FileEnd::Failed(Fault::Cancelled));
        Ok(self.out.say()?)
    }

    fn conclude(&mut self, end: LastWord) -> SendOutcome {
        if let Some(unlike) = &self.tally.unlike {
            self.progress.remark(unlike);
        }
        // The receiver may know of something worse that no single item tells.
        let status = match self.tally.status(end.command_status) {
            Status::Complete | Status::NothingToDo => end.status,
            ours => ours,
        };
        SendOutcome {
            status,
            tally: std::mem::take(&mut self.tally),
            sent_bytes: self.out.offering.content_bytes(),
            command_status: end.command_status,
        }
    }

    /// Announces items as far ahead as allowed.
    fn announce(&mut self) -> Result<(), TransferError> {
        while self.out.offering.has_room() {
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
            if !self.out.offering.is_accepted() && !matches!(next, Some(Ok(_))) {
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
                Some(Ok(found)) => match self.out.offering.next_index() {
                    Some(index) => self.announce_one(index, found)?,
                    None => {
                        let path = found.path.as_bytes().to_vec();
                        self.skip(&Skipped { path, fault: Fault::TooMany, dangling: None });
                    }
                },
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

    fn announce_one(&mut self, index: u32, mut found: Found) -> Result<(), TransferError> {
        if found.kind == Kind::File {
            measure_by_reading(&mut found);
        }
        self.out.offering.announce(Entry {
            index,
            kind: found.kind.clone(),
            mode: found.stamp.mode,
            mtime: found.stamp.mtime,
            size: (!found.unmeasured).then_some(found.stamp.size),
            path: RawPath::from(&found.path),
        });
        self.out.say()?;
        let path = found.path.clone();
        let underway = Underway::new(ItemKind::from(&found.kind), found.stamp.size);
        let found = (found.kind == Kind::File).then(|| Box::new(found));
        self.announced.insert(index, Announced { path, found, underway });
        Ok(())
    }

    /// Takes what the receiver has said so far, without waiting.
    pub(super) fn take_answers(&mut self) -> Result<(), TransferError> {
        loop {
            match self.out.heard()? {
                TryRecv::Bytes(chunk) => self.hear(chunk)?,
                TryRecv::Empty => return Ok(()),
                TryRecv::Finished if self.out.offering.is_done() => return Ok(()),
                TryRecv::Finished => return Err(TransferError::Truncated),
            }
        }
    }

    fn hear(&mut self, chunk: Parcel) -> Result<(), TransferError> {
        let mut input = &chunk[..];
        while let Some(settled) = self.out.offering.next(&mut input)? {
            self.settle(settled);
        }
        self.out.recycle(chunk);
        Ok(())
    }

    fn settle(&mut self, settled: Settled) {
        let Settled { index, outcome, side } = settled;
        let Some(Announced { path, underway, .. }) = self.announced.remove(&index) else { return };
        self.progress.settled(underway.end(path.as_bytes(), outcome));
        if let Some(failure) = self.tally.settle(path.as_bytes(), outcome, side) {
            self.progress.warn(&failure);
        }
        self.meter.items_done += 1;
        self.progress.report(self.meter.at(path.as_bytes()));
    }

    /// What is known of an item that the receiver has not settled.
    pub(super) fn underway(&mut self, index: u32) -> Option<&mut Underway> {
        self.announced.get_mut(&index).map(|announced| &mut announced.underway)
    }
}
