//! The sending engine: announces what there is, deals with what is wanted.
//!
//! Announcing runs ahead of the answers by up to [`OPEN_ENTRIES_MAX`](crate::transfer::messages::OPEN_ENTRIES_MAX)
//! items, and content follows in the order it is wanted, so that no item costs a round trip of its own. What is said, and what
//! may be answered, is the business of the [`Offering`].

use super::announced::Announced;
use super::outgoing::Outgoing;
use super::port::Port;
use super::progress::{Meter, Progress};
use super::sending::{Wanted, Workspace, deal_with};
use crate::store::found::{Skipped, WalkItem};
use crate::store::links::Links;
use crate::store::omit::Omit;
use crate::store::source::{Met, Walk, measure};
use crate::transfer::Fault;
use crate::transfer::blocks::Compression;
use crate::transfer::limit::RateLimit;
use crate::transfer::offering::{Asked, FileEnd, Offering};
use crate::transfer::outcome::{SendOutcome, TransferError};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Instant;

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
        let out = Outgoing::new(port, offering, limit, now);
        let meter = Meter {
            bytes_total: totals.map(|totals| totals.bytes),
            items_total: totals.map(|totals| totals.items),
            ..Meter::default()
        };
        let announced = Announced::new(out, meter, progress);
        let mut sender = Sender { announced, walk: Some(walk), held_back: None, workspace: Workspace::default() };
        let greeted = sender.announced.out.say().map_err(TransferError::from);
        greeted.and_then(|()| sender.drive()).map_err(|error| match error {
            TransferError::Closed(_) => sender.announced.last_words().unwrap_or(error),
            other => other,
        })
    }
}

/// The engine's state; what it does with one file is in `sending`.
struct Sender<'p> {
    announced: Announced<'p>,
    walk: Option<Walk>,
    /// What the walk has come upon and nobody is told before the receiver has accepted: the end of the walk is `None`.
    held_back: Option<Option<WalkItem>>,
    workspace: Workspace,
}

impl Sender<'_> {
    fn drive(&mut self) -> Result<SendOutcome, TransferError> {
        loop {
            self.announced.take_answers()?;
            self.announce()?;
            if let Some(asked) = self.announced.out.offering.poll_asked() {
                self.answer(asked)?;
                continue;
            }
            let offering = &self.announced.out.offering;
            if self.walk.is_none() && offering.is_all_dealt_with() && !offering.is_finished() {
                self.announced.finish()?;
            }
            if let Some(end) = self.announced.out.offering.ending()? {
                return Ok(self.announced.conclude(end));
            }
            self.announced.listen()?;
        }
    }

    fn answer(&mut self, asked: Asked) -> Result<(), TransferError> {
        let Asked { index, ask } = asked;
        if let Some(found) = self.announced.take_found(index) {
            return deal_with(&mut self.announced, &mut self.workspace, &Wanted { index, found, ask });
        }
        // It has been settled since.
        let out = &mut self.announced.out;
        out.offering.end_file(index, FileEnd::Failed(Fault::Cancelled));
        Ok(out.say()?)
    }

    /// Announces items as far ahead as allowed.
    fn announce(&mut self) -> Result<(), TransferError> {
        while self.announced.out.offering.has_room() {
            let Some(walk) = &mut self.walk else { break };
            let next = match self.held_back.take() {
                Some(next) => next,
                None => match walk.meet() {
                    Some(Met::LeftOut(left_out)) => {
                        self.announced.progress.left_out(&left_out);
                        continue;
                    }
                    Some(Met::Item(step)) => Some(step),
                    None => None,
                },
            };
            if !self.announced.out.offering.is_accepted() && !matches!(next, Some(Ok(_))) {
                // Where all is refused, what else is amiss with it is no news.
                self.held_back = Some(next);
                break;
            }
            match next {
                None => {
                    self.announced.progress.links_left_out(walk.left_links());
                    self.walk = None;
                }
                Some(Err(skipped)) => self.announced.skip(&skipped),
                Some(Ok(found)) => match self.announced.out.offering.next_index() {
                    Some(index) => self.announced.add(index, found)?,
                    None => {
                        let path = found.path.as_bytes().to_vec();
                        self.announced.skip(&Skipped { path, fault: Fault::TooMany, dangling: None });
                    }
                },
            }
        }
        Ok(())
    }
}
