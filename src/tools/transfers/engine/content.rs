//! What the receiving engine does with the content of a file or stream.

use super::receiving::{Current, Receiver};
use super::sending::wide;
use super::sink::{Offered, Settled};
use crate::transfer::Fault;
use crate::transfer::messages::Hash;
use crate::transfer::outcome::Violation;
use std::time::Instant;

impl Receiver<'_, '_> {
    /// Takes content of the current file or stream.
    pub(crate) fn content(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let count = wide(bytes.len());
        self.received_bytes += count;
        self.advance(count)?;
        self.meter.bytes_done += count;
        let written = match &mut self.current {
            Current::File { hasher, .. } | Current::Stream { hasher, .. } => {
                hasher.update(bytes);
                self.sink.write(bytes)
            }
            _ => Ok(()),
        };
        self.keep_or_fail(written);
        Ok(())
    }

    pub(crate) fn hole(&mut self, zeros: u64) -> Result<(), Violation> {
        if self.is_stream() {
            return Err(Violation::Order);
        }
        self.advance(zeros)?;
        self.meter.skip(zeros);
        if let Current::File { hasher, .. } = &mut self.current {
            hasher.update_zeros(zeros);
            let skipped = self.sink.skip(zeros);
            self.keep_or_fail(skipped);
        }
        Ok(())
    }

    /// Moves on over content that is about to be taken, or passed over.
    pub(crate) fn advance(&mut self, count: u64) -> Result<(), Violation> {
        let (offset, size) = match &mut self.current {
            Current::File { item, offset, .. } => (offset, item.size.unwrap_or(u64::MAX)),
            Current::Remains { offset, size, .. } => (offset, *size),
            Current::Stream { bytes, .. } => (bytes, u64::MAX),
            Current::StreamRemains => return Ok(()),
            Current::Greeting => return Err(Violation::Hello),
            Current::Nothing | Current::Finished(_) => return Err(Violation::Order),
        };
        *offset = offset.checked_add(count).filter(|end| *end <= size).ok_or(Violation::Length)?;
        Ok(())
    }

    /// Whether so many bytes in all are more than this receiver takes. A file longer than a signed offset cannot exist.
    pub(crate) fn exceeds(&self, bytes: u64) -> bool {
        bytes > self.policy.bytes_max.unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs())
    }

    pub(crate) fn keep_or_fail(&mut self, written: Result<(), Fault>) {
        let too_large = match &self.current {
            Current::Stream { bytes, .. } => self.exceeds(*bytes),
            // What has no size was not counted when it was announced.
            Current::File { item, offset, .. } if item.size.is_none() => {
                self.exceeds(self.promised_bytes.saturating_add(*offset))
            }
            _ => false,
        };
        let written = if too_large { Err(Fault::TooLarge) } else { written };
        if let Err(fault) = written {
            match std::mem::replace(&mut self.current, Current::StreamRemains) {
                Current::File { item, offset, .. } => self.fail(item, offset, fault),
                Current::Stream { item, .. } => {
                    self.sink.abandon(&item, fault);
                    self.unsettled += 1;
                    self.settle_item(item, fault.into());
                }
                other => self.current = other,
            }
        } else if let Current::File { item, .. } | Current::Stream { item, .. } = &self.current {
            self.progress.report(self.meter.at(item.path.as_bytes()));
        }
    }

    /// Gives up the current file; what the sender has sent of it meanwhile is passed over.
    pub(crate) fn fail(&mut self, item: Offered, offset: u64, fault: Fault) {
        self.sink.abandon(&item, fault);
        let (index, size) = (item.index, item.size.unwrap_or(u64::MAX));
        self.current = Current::Remains { index, offset, size };
        self.settle_item(item, fault.into());
    }

    pub(crate) fn end(&mut self, index: u32, hash: &Hash, now: Instant) -> Result<(), Violation> {
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::File { item, offset, hasher } if item.index == index => {
                if item.size.is_some_and(|size| size != offset) {
                    return Err(Violation::Length);
                }
                if hasher.hash() != *hash {
                    self.sink.abandon(&item, Fault::Integrity);
                    self.settle_item(item, Fault::Integrity.into());
                    return Ok(());
                }
                if item.size.is_none() {
                    self.promised_bytes = self.promised_bytes.saturating_add(offset);
                }
                self.note_hash(index, hash);
                self.underway.entry(index).and_modify(|underway| underway.bytes = offset);
                self.complete(Offered { size: Some(offset), hash: Some(*hash), ..item }, now);
                Ok(())
            }
            Current::Remains { index: current, .. } if current == index => Ok(()),
            _ => Err(Violation::Index),
        }
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

    pub(crate) fn broken_off(&mut self, index: u32, fault: Fault) -> Result<(), Violation> {
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::File { item, .. } if item.index == index => {
                self.sink.abandon(&item, fault);
                self.settle_given_up(item, fault);
                Ok(())
            }
            Current::Remains { index: current, .. } if current == index => Ok(()),
            _ => Err(Violation::Index),
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.current, Current::Stream { .. } | Current::StreamRemains)
    }
}
