//! The items of a transfer at its receiver, from the offer to the end: what is known of each, and who is told how it ended.

use super::progress::{Meter, Progress};
use super::sending::wide;
use super::sink::{Offered, Settled};
use super::tops::Tops;
use super::underway::Underway;
use crate::transfer::Fault;
use crate::transfer::Reception;
use crate::transfer::messages::{Hash, ItemOutcome};
use crate::transfer::outcome::{Side, Tally};
use std::collections::BTreeMap;
use std::time::Instant;

/// See the module's text.
pub(crate) struct Items<'p> {
    /// What may come, and what is answered.
    pub reception: Reception,
    pub progress: &'p mut dyn Progress,
    /// Those that are not settled, by number.
    underway: BTreeMap<u32, Underway>,
    pub tops: Tops,
    pub tally: Tally,
    pub meter: Meter,
}

impl<'p> Items<'p> {
    /// None yet.
    pub(super) fn new(progress: &'p mut dyn Progress) -> Self {
        Self {
            reception: Reception::default(),
            progress,
            underway: BTreeMap::new(),
            tops: Tops::default(),
            tally: Tally::default(),
            meter: Meter::default(),
        }
    }

    /// One more is offered.
    pub(super) fn add(&mut self, index: u32, underway: Underway) {
        self.underway.insert(index, underway);
    }

    /// Whether there are as many as the sender has counted.
    pub(super) fn are_all_offered(&self) -> bool {
        self.meter.items_total == Some(self.meter.items_done + wide(self.underway.len()))
    }

    /// Its content comes from now on.
    pub(super) fn note_begun(&mut self, index: u32) {
        self.underway.entry(index).and_modify(|underway| underway.since = Instant::now());
    }

    /// This is the content that the item has.
    pub(super) fn note_hash(&mut self, index: u32, hash: &Hash) {
        self.underway.entry(index).and_modify(|underway| underway.hash = Some(*hash));
    }

    /// So long is that content.
    pub(super) fn note_length(&mut self, index: u32, bytes: u64) {
        self.underway.entry(index).and_modify(|underway| underway.bytes = bytes);
    }

    /// Tells how far the transfer is, at this item.
    pub(super) fn report(&mut self, path: &[u8]) {
        self.progress.report(self.meter.at(path));
    }

    /// An item has come to this end.
    pub(super) fn settle_item(&mut self, item: Offered, outcome: ItemOutcome) {
        let Offered { index, path, .. } = item;
        self.settle(Settled { index, path, outcome, renamed: None });
    }

    /// The same, of one that the sink knows.
    pub(super) fn settle(&mut self, settled: Settled) {
        let Settled { index, path, outcome, renamed } = settled;
        self.tops.settle(&path, outcome, renamed.as_deref());
        if let (Some(underway), Some(name)) = (self.underway.get_mut(&index), renamed) {
            underway.renamed = Some(name).filter(|name| name != path.name());
        }
        self.settle_named(index, path.as_bytes(), (outcome, Side::Here));
    }

    /// The sender cannot send it.
    pub(super) fn settle_given_up(&mut self, item: Offered, fault: Fault) {
        let Offered { index, path, .. } = item;
        let outcome = fault.into();
        self.tops.settle(&path, outcome, None);
        self.settle_named(index, path.as_bytes(), (outcome, Side::There));
    }

    /// The same, of one that is shown by this name.
    pub(super) fn settle_named(&mut self, index: u32, path: &[u8], (outcome, side): (ItemOutcome, Side)) {
        self.reception.settle(index, outcome);
        if let Some(underway) = self.underway.remove(&index) {
            self.progress.settled(underway.end(path, outcome));
        }
        if let Some(failure) = self.tally.settle(path, outcome, side) {
            self.progress.warn(&failure);
        }
        self.meter.items_done += 1;
        self.report(path);
    }
}
