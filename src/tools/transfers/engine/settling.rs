//! How the receiving engine brings items, and the whole, to an end.

use super::receiving::{Current, Receiver};
use super::sink::{Offered, Settled};
use crate::transfer::Fault;
use crate::transfer::messages::ItemOutcome;
use crate::transfer::{
    outcome::{ReceiveOutcome, Side},
    status::Status,
};
use std::time::Instant;

impl Receiver<'_, '_> {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.sink.deadline()
    }

    pub(crate) fn commit_if_due(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.commit();
        }
    }

    pub(crate) fn commit(&mut self) {
        for settled in self.sink.commit() {
            self.settle(settled);
        }
    }

    pub(crate) fn settle_item(&mut self, item: Offered, outcome: ItemOutcome) {
        let Offered { index, path, .. } = item;
        self.settle(Settled { index, path, outcome, renamed: None });
    }

    pub(crate) fn settle(&mut self, settled: Settled) {
        let Settled { index, path, outcome, renamed } = settled;
        self.tops.settle(&path, outcome, renamed.as_deref());
        if let (Some(underway), Some(name)) = (self.underway.get_mut(&index), renamed) {
            underway.renamed = Some(name).filter(|name| name != path.name());
        }
        self.settle_named(index, path.as_bytes(), (outcome, Side::Here));
    }

    /// The sender cannot send it.
    pub(crate) fn settle_given_up(&mut self, item: Offered, fault: Fault) {
        let Offered { index, path, .. } = item;
        let outcome = fault.into();
        self.tops.settle(&path, outcome, None);
        self.settle_named(index, path.as_bytes(), (outcome, Side::There));
    }

    pub(crate) fn settle_named(&mut self, index: u32, path: &[u8], (outcome, side): (ItemOutcome, Side)) {
        self.reception.settle(index, outcome);
        if let Some(underway) = self.underway.remove(&index) {
            self.progress.settled(underway.end(path, outcome));
        }
        if let Some(failure) = self.tally.settle(path, outcome, side) {
            self.progress.warn(&failure);
        }
        self.meter.items_done += 1;
        self.progress.report(self.meter.at(path));
    }

    pub(crate) fn finish_stream(&mut self, now: Instant) {
        if let Current::Stream { item, bytes, hasher } = std::mem::replace(&mut self.current, Current::Nothing) {
            let hash = hasher.hash();
            self.underway.entry(item.index).and_modify(|underway| underway.bytes = bytes);
            self.note_hash(item.index, &hash);
            let item = Offered { hash: Some(hash), ..item };
            self.tops.add(&item.path, &item.kind);
            self.complete(item, now);
        }
        self.conclude();
    }

    /// Everything has come: makes it safe, runs the hook, says so.
    pub(crate) fn conclude(&mut self) {
        self.commit();
        for (path, fault) in self.sink.finish() {
            let failure = self.tally.note_late(path.as_bytes(), fault);
            self.progress.warn(&failure);
        }
        self.tell_unkept();
        if let Some(unlike) = &self.tally.unlike {
            self.progress.remark(unlike);
        }
        self.hook.status = self.sink.command_status();
        self.hook.run(&self.tops, &mut *self.sink, &mut self.tally, &mut *self.progress);
        let status = self.tally.status(self.hook.status);
        let command_status = self.hook.status.filter(|_| status == Status::CommandFailed).unwrap_or(0);
        self.reception.conclude(status, self.tally.counts, command_status);
    }

    fn tell_unkept(&mut self) {
        if let Some((place, what)) = self.sink.unkept() {
            self.progress.unkept(place, *what);
        }
    }

    /// The transfer ended early: keeps what is complete, and what can be resumed.
    pub(crate) fn rescue(&mut self) {
        self.commit();
        self.tell_unkept();
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::File { item, .. } | Current::Stream { item, .. } => {
                self.sink.abandon(&item, Fault::Cancelled);
            }
            Current::Nothing => {}
        }
    }

    pub(crate) fn into_outcome(self) -> ReceiveOutcome {
        ReceiveOutcome {
            status: self.tally.status(self.hook.status),
            tally: self.tally,
            received_bytes: self.received_bytes,
            command_status: self.hook.status,
        }
    }
}
