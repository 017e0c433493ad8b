//! What the receiving engine does with the content of a file or stream.

use super::admission::Admission;
use super::answered::Pending;
use super::items::Items;
use super::sending::wide;
use super::sink::{Offered, Settled, Sink};
use crate::transfer::Fault;
use crate::transfer::hash::ContentHash;
use crate::transfer::messages::Hash;
use std::time::Instant;

/// What is being received.
enum Current {
    /// Nothing, or what has failed here and still comes.
    Nothing,
    /// A file, up to this offset.
    File { item: Offered, offset: u64, hasher: Box<ContentHash> },
    /// A stream.
    Stream { item: Offered, bytes: u64, hasher: Box<ContentHash> },
}

/// What the sender says at the end of a file.
pub(super) struct Whole {
    pub index: u32,
    pub length: u64,
    pub hash: Hash,
}

/// Content on its way to where it belongs.
pub(crate) struct Arriving {
    pub sink: Box<dyn Sink>,
    pub admission: Admission,
    current: Current,
    /// Bytes that came.
    pub bytes: u64,
}

impl Arriving {
    /// None yet.
    pub(super) fn new(sink: Box<dyn Sink>, admission: Admission) -> Self {
        Self { sink, admission, current: Current::Nothing, bytes: 0 }
    }

    /// Whether no content is coming that is wanted.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.current, Current::Nothing)
    }

    /// A stream of this name comes.
    ///
    /// # Errors
    /// It is not taken.
    pub(super) fn begin_stream(&mut self, name: &[u8]) -> Result<(), Fault> {
        let item = self.sink.begin_stream(name)?;
        self.current = Current::Stream { item, bytes: 0, hasher: Box::default() };
        Ok(())
    }

    /// A file that was answered comes, from here on.
    pub(super) fn begin(&mut self, items: &mut Items<'_>, answered: Pending, offset: u64) {
        let Pending { item, states } = answered;
        let state = states.into_iter().find(|(length, _)| *length == offset);
        let hasher = state.map_or_else(ContentHash::default, |(_, state)| state);
        items.meter.skip(offset);
        items.note_begun(item.index);
        match self.sink.begin(&item, offset) {
            Ok(()) => self.current = Current::File { item, offset, hasher: Box::new(hasher) },
            Err(fault) => self.fail(items, item, fault),
        }
    }

    /// Takes content of the current file or stream; of one that has failed here it is only counted.
    pub(super) fn take(&mut self, items: &mut Items<'_>, bytes: &[u8]) {
        let count = wide(bytes.len());
        self.bytes += count;
        items.meter.bytes_done += count;
        let written = match &mut self.current {
            Current::File { hasher, offset: at, .. } | Current::Stream { hasher, bytes: at, .. } => {
                *at += count;
                hasher.update(bytes);
                self.sink.write(bytes)
            }
            Current::Nothing => Ok(()),
        };
        self.keep_or_fail(items, written);
    }

    /// So many zeros of the current file.
    pub(super) fn skip(&mut self, items: &mut Items<'_>, zeros: u64) {
        items.meter.skip(zeros);
        if let Current::File { hasher, offset, .. } = &mut self.current {
            *offset += zeros;
            hasher.update_zeros(zeros);
            let skipped = self.sink.skip(zeros);
            self.keep_or_fail(items, skipped);
        }
    }

    fn keep_or_fail(&mut self, items: &mut Items<'_>, written: Result<(), Fault>) {
        let too_large = match &self.current {
            Current::Stream { bytes, .. } => self.admission.is_exceeded_by(*bytes),
            // What has no size was not counted when it was announced.
            Current::File { item, offset, .. } if item.size.is_none() => self.admission.is_exceeded_by_further(*offset),
            _ => false,
        };
        let written = if too_large { Err(Fault::TooLarge) } else { written };
        if let Err(fault) = written {
            match std::mem::replace(&mut self.current, Current::Nothing) {
                Current::File { item, .. } | Current::Stream { item, .. } => self.fail(items, item, fault),
                Current::Nothing => {}
            }
        } else if let Current::File { item, .. } | Current::Stream { item, .. } = &self.current {
            items.report(item.path.as_bytes());
        }
    }

    /// Gives up an item; what the sender has sent of it meanwhile is passed over.
    fn fail(&mut self, items: &mut Items<'_>, item: Offered, fault: Fault) {
        self.sink.abandon(&item, fault);
        items.settle_item(item, fault.into());
    }

    /// All of a file has come, unless it has failed here.
    pub(super) fn end(&mut self, items: &mut Items<'_>, whole: &Whole, now: Instant) {
        let Current::File { item, hasher, .. } = std::mem::replace(&mut self.current, Current::Nothing) else { return };
        let Whole { index, length, hash } = *whole;
        if hasher.hash() != hash {
            return self.fail(items, item, Fault::Integrity);
        }
        if item.size.is_none() {
            self.admission.count_further(length);
        }
        items.note_hash(index, &hash);
        items.note_length(index, length);
        self.complete(items, Offered { size: Some(length), hash: Some(hash), ..item }, now);
    }

    /// All of a stream has come, unless it has failed here.
    pub(super) fn end_stream(&mut self, items: &mut Items<'_>, now: Instant) {
        let Current::Stream { item, bytes, hasher } = std::mem::replace(&mut self.current, Current::Nothing) else {
            return;
        };
        let hash = hasher.hash();
        items.note_length(item.index, bytes);
        items.note_hash(item.index, &hash);
        let item = Offered { hash: Some(hash), ..item };
        items.tops.add(&item.path, &item.kind);
        self.complete(items, item, now);
    }

    fn complete(&mut self, items: &mut Items<'_>, item: Offered, now: Instant) {
        let (index, path) = (item.index, item.path.clone());
        match self.sink.complete(now, item) {
            Ok(None) => {}
            Ok(Some(settled)) => items.settle(settled),
            Err(fault) => items.settle(Settled { index, path, outcome: fault.into(), renamed: None }),
        }
    }

    /// The sender cannot send the current file to its end.
    pub(super) fn break_off(&mut self, items: &mut Items<'_>, fault: Fault) {
        if let Current::File { item, .. } = std::mem::replace(&mut self.current, Current::Nothing) {
            self.sink.abandon(&item, fault);
            items.settle_given_up(item, fault);
        }
    }

    /// Nothing more comes: keeps what can be resumed.
    pub(super) fn give_up(&mut self) {
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::File { item, .. } | Current::Stream { item, .. } => self.sink.abandon(&item, Fault::Cancelled),
            Current::Nothing => {}
        }
    }
}
