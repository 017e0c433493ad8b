//! What the receiving engine does with the content of a file or stream.

use super::receiving::{Current, Receiver};
use super::sending::wide;
use super::sink::{Offered, Settled};
use crate::transfer::Fault;
use crate::transfer::messages::Hash;
use std::time::Instant;

impl Receiver<'_, '_> {
    /// Takes content of the current file or stream; of one that has failed here it is only counted.
    pub(crate) fn content(&mut self, bytes: &[u8]) {
        let count = wide(bytes.len());
        self.received_bytes += count;
        self.meter.bytes_done += count;
        let written = match &mut self.current {
            Current::File { hasher, offset: at, .. } | Current::Stream { hasher, bytes: at, .. } => {
                *at += count;
                hasher.update(bytes);
                self.sink.write(bytes)
            }
            Current::Nothing => Ok(()),
        };
        self.keep_or_fail(written);
    }

    pub(crate) fn hole(&mut self, zeros: u64) {
        self.meter.skip(zeros);
        if let Current::File { hasher, offset, .. } = &mut self.current {
            *offset += zeros;
            hasher.update_zeros(zeros);
            let skipped = self.sink.skip(zeros);
            self.keep_or_fail(skipped);
        }
    }

    pub(crate) fn keep_or_fail(&mut self, written: Result<(), Fault>) {
        let too_large = match &self.current {
            Current::Stream { bytes, .. } => self.admission.is_exceeded_by(*bytes),
            // What has no size was not counted when it was announced.
            Current::File { item, offset, .. } if item.size.is_none() => self.admission.is_exceeded_by_further(*offset),
            _ => false,
        };
        let written = if too_large { Err(Fault::TooLarge) } else { written };
        if let Err(fault) = written {
            match std::mem::replace(&mut self.current, Current::Nothing) {
                Current::File { item, .. } | Current::Stream { item, .. } => self.fail(item, fault),
                Current::Nothing => {}
            }
        } else if let Current::File { item, .. } | Current::Stream { item, .. } = &self.current {
            self.progress.report(self.meter.at(item.path.as_bytes()));
        }
    }

    /// Gives up an item; what the sender has sent of it meanwhile is passed over.
    pub(crate) fn fail(&mut self, item: Offered, fault: Fault) {
        self.sink.abandon(&item, fault);
        self.settle_item(item, fault.into());
    }

    /// All of an item has come, unless it has failed here.
    pub(crate) fn end(&mut self, (index, length): (u32, u64), hash: &Hash, now: Instant) {
        let Current::File { item, hasher, .. } = std::mem::replace(&mut self.current, Current::Nothing) else { return };
        if hasher.hash() != *hash {
            return self.fail(item, Fault::Integrity);
        }
        if item.size.is_none() {
            self.admission.count_further(length);
        }
        self.note_hash(index, hash);
        self.underway.entry(index).and_modify(|underway| underway.bytes = length);
        self.complete(Offered { size: Some(length), hash: Some(*hash), ..item }, now);
    }

    pub(crate) fn complete(&mut self, item: Offered, now: Instant) {
        let (index, path) = (item.index, item.path.clone());
        match self.sink.complete(now, item) {
            Ok(None) => {}
            Ok(Some(settled)) => self.settle(settled),
            Err(fault) => {
                self.settle(Settled { index, path, outcome: fault.into(), renamed: None });
            }
        }
    }

    /// The sender cannot send it, or not to its end.
    pub(crate) fn broken_off(&mut self, index: u32, fault: Fault) {
        if let Some(pending) = self.answered.next(index) {
            return self.settle_given_up(pending.item, fault);
        }
        if let Current::File { item, .. } = std::mem::replace(&mut self.current, Current::Nothing) {
            self.sink.abandon(&item, fault);
            self.settle_given_up(item, fault);
        }
    }
}
