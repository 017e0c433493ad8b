//! The items of a transfer at its sender, from the announcement to what the receiver says became of them.

use super::outgoing::Outgoing;
use super::port::TryRecv;
use super::progress::{ItemEnd, ItemKind, Meter, Progress};
use super::underway::Underway;
use crate::session::Parcel;
use crate::store::found::{Found, Skipped};
use crate::store::read::measure_by_reading;
use crate::transfer::item::Kind;
use crate::transfer::messages::{Entry, ItemOutcome, RawPath};
use crate::transfer::offering::{LastWord, Settled};
use crate::transfer::outcome::{PortClosed, SendOutcome, Tally, TransferError};
use crate::transfer::path::TreePath;
use crate::transfer::status::Status;
use std::collections::BTreeMap;
use std::time::Duration;

/// An announced item that the receiver has not settled.
struct Item {
    path: TreePath,
    /// What is needed to send a file, until that is dealt with.
    found: Option<Box<Found>>,
    underway: Underway,
}

/// See the module's text.
pub(super) struct Announced<'p> {
    pub out: Outgoing<'p>,
    /// By number.
    unsettled: BTreeMap<u32, Item>,
    tally: Tally,
    pub meter: Meter,
    pub progress: &'p mut dyn Progress,
}

impl<'p> Announced<'p> {
    /// Nothing yet.
    pub(super) fn new(out: Outgoing<'p>, meter: Meter, progress: &'p mut dyn Progress) -> Self {
        Self { out, unsettled: BTreeMap::new(), tally: Tally::default(), meter, progress }
    }

    /// Announces an item by the next number.
    ///
    /// # Errors
    /// The session has ended.
    pub(super) fn add(&mut self, index: u32, mut found: Found) -> Result<(), PortClosed> {
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
        self.unsettled.insert(index, Item { path, found, underway });
        Ok(())
    }

    /// An item that cannot even be announced.
    pub(super) fn skip(&mut self, skipped: &Skipped) {
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

    /// Everything has been announced.
    ///
    /// # Errors
    /// The session has ended.
    pub(super) fn finish(&mut self) -> Result<(), PortClosed> {
        self.out.offering.finish(self.tally.skipped);
        self.out.say()
    }

    /// What is needed to send a file, unless that has been settled since. Only once.
    pub(super) fn take_found(&mut self, index: u32) -> Option<Box<Found>> {
        self.unsettled.get_mut(&index)?.found.take()
    }

    /// What is known of an item that the receiver has not settled.
    pub(super) fn underway(&mut self, index: u32) -> Option<&mut Underway> {
        self.unsettled.get_mut(&index).map(|item| &mut item.underway)
    }

    /// Tells how far the transfer is, at this item.
    pub(super) fn report(&mut self, path: &TreePath) {
        self.progress.report(self.meter.at(path.as_bytes()));
    }

    /// Takes what the receiver has said so far, without waiting.
    ///
    /// # Errors
    /// It broke the protocol, or said that it takes nothing, or has gone.
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

    /// Waits for what it says next.
    ///
    /// # Errors
    /// The same.
    pub(super) fn listen(&mut self) -> Result<(), TransferError> {
        let chunk = self.out.listen()?.ok_or(TransferError::Truncated)?;
        self.hear(chunk)
    }

    /// The session ended: a refusal that lies unread is the better reason.
    pub(super) fn last_words(&mut self) -> Option<TransferError> {
        while let Ok(TryRecv::Bytes(chunk)) = self.out.heard() {
            match self.hear(chunk) {
                Ok(()) => {}
                Err(error @ TransferError::Refused(_)) => return Some(error),
                Err(_) => return None,
            }
        }
        None
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
        let Some(Item { path, underway, .. }) = self.unsettled.remove(&index) else { return };
        self.progress.settled(underway.end(path.as_bytes(), outcome));
        if let Some(failure) = self.tally.settle(path.as_bytes(), outcome, side) {
            self.progress.warn(&failure);
        }
        self.meter.items_done += 1;
        self.report(&path);
    }

    /// The receiver has said its last word.
    pub(super) fn conclude(&mut self, end: LastWord) -> SendOutcome {
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
}
