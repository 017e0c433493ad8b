//! What the receiving engine makes of what the sender says.

use super::admission::Admission;
use super::answered::{Answered, Pending};
use super::hook::Hook;
use super::policy::{OnReceived, ReceivePolicy};
use super::progress::{ItemKind, Meter, Progress};
use super::sink::{Offered, Sink, Verdict};
use super::tops::Tops;
use super::underway::Underway;
use crate::transfer::Fault;
use crate::transfer::hash::ContentHash;
use crate::transfer::messages::{Content, Entry, Hash, Hello, VERSION};
use crate::transfer::outcome::{Side, Tally};
use crate::transfer::{Fact, Reception};
use std::collections::BTreeMap;
use std::time::Instant;

/// What is being received.
pub(crate) enum Current {
    /// Nothing, or what has failed here and still comes.
    Nothing,
    /// A file, up to this offset.
    File { item: Offered, offset: u64, hasher: Box<ContentHash> },
    /// A stream.
    Stream { item: Offered, bytes: u64, hasher: Box<ContentHash> },
}

/// The engine's state.
pub(crate) struct Receiver<'p, 'a> {
    pub sink: Box<dyn Sink>,
    pub admission: Admission,
    pub hook: Hook<'a>,
    pub progress: &'p mut dyn Progress,
    /// What may come, and what is answered.
    pub reception: Reception,
    pub current: Current,
    /// Those that are not settled, by number.
    pub underway: BTreeMap<u32, Underway>,
    pub answered: Answered,
    pub tops: Tops,
    pub tally: Tally,
    pub meter: Meter,
    pub received_bytes: u64,
}

impl<'p, 'a> Receiver<'p, 'a> {
    pub(crate) fn new(
        sink: Box<dyn Sink>,
        policy: ReceivePolicy,
        on_received: Option<Box<OnReceived<'a>>>,
        progress: &'p mut dyn Progress,
    ) -> Self {
        Self {
            sink,
            admission: Admission::new(policy),
            hook: Hook::new(on_received),
            progress,
            reception: Reception::default(),
            current: Current::Nothing,
            underway: BTreeMap::new(),
            answered: Answered::default(),
            tops: Tops::default(),
            tally: Tally::default(),
            meter: Meter::default(),
            received_bytes: 0,
        }
    }

    /// Takes a fact that is no content.
    pub(crate) fn handle(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Hello(hello) => self.greet(&hello),
            Fact::Entry(entry) => self.entry(entry, now),
            Fact::Begin { index, offset } => self.begin(index, offset),
            // Content is taken where it lies.
            Fact::Data(_) | Fact::Unpacked(_) => {}
            Fact::Hole(zeros) => self.hole(zeros),
            Fact::End { index, hash, length } => self.end((index, length), &hash, now),
            Fact::Failed { index, fault } => self.broken_off(index, fault),
            Fact::Same { index } => self.same(index, now),
            Fact::Differs { index } => {
                if let Some(item) = self.compared(index) {
                    self.settle_item(item, Fault::Exists.into());
                }
            }
            Fact::StreamEnd => self.finish_stream(now),
            Fact::Finish { skipped } => {
                self.tally.skipped_there(skipped);
                self.conclude();
            }
        }
    }

    pub(crate) fn greet(&mut self, hello: &Hello) {
        let within = self.admission.check_totals(hello.totals.unwrap_or_default());
        let refused = match (hello, within) {
            (Hello { version, .. }, _) if *version != VERSION => Err(Fault::Version),
            // Told of each item it would be the same, many times.
            _ if hello.is_several() && !self.sink.takes_several() => Err(Fault::TreeNotTaken),
            (_, Err(fault)) => Err(fault),
            (Hello { content: Content::Files, .. }, _) => Ok(Current::Nothing),
            (Hello { content: Content::Stream, name, .. }, _) => {
                let begun = self.sink.begin_stream(name);
                self.underway.insert(0, Underway::new(ItemKind::Stream, 0));
                let hasher = Box::default();
                begun.map(|item| Current::Stream { item, bytes: 0, hasher })
            }
        };
        if let Some(totals) = hello.totals {
            self.meter.bytes_total = Some(totals.bytes);
            self.meter.items_total = Some(totals.items);
        }
        match refused {
            Ok(current) => {
                self.current = current;
                self.reception.accept();
            }
            Err(fault) => self.reception.refuse(fault),
        }
    }

    pub(crate) fn entry(&mut self, entry: Entry, now: Instant) {
        self.underway.insert(entry.index, Underway::new(ItemKind::from(&entry.kind), entry.size.unwrap_or(0)));
        let Ok(path) = entry.path.check() else {
            let shown = entry.path.components().collect::<Vec<_>>().join(&b'/');
            return self.settle_named(entry.index, &shown, (Fault::Name.into(), Side::Here));
        };
        let item = Offered {
            index: entry.index,
            path,
            kind: entry.kind,
            size: entry.size,
            mode: Some(entry.mode),
            mtime: Some(entry.mtime),
            hash: None,
        };
        let admitted = self.admission.admit(&item, &self.tops);
        match admitted.and_then(|()| self.sink.look(now, &item, self.answered.room())) {
            Ok(verdict) => {
                self.tops.add(&item.path, &item.kind);
                self.answer(item, verdict);
            }
            Err(fault) => self.settle_item(item, fault.into()),
        }
    }

    pub(crate) fn answer(&mut self, item: Offered, verdict: Verdict) {
        let (index, size) = (item.index, item.size);
        match verdict {
            Verdict::Taken => {}
            Verdict::Have(hash, otherwise) => {
                self.note_hash(index, &hash);
                self.reception.have(index, size, hash, otherwise);
                self.answered.push(item, Vec::new());
            }
            Verdict::Want(states) => {
                let prefixes = states.iter().map(|(length, state)| (*length, state.hash())).collect();
                self.reception.want(index, size, prefixes);
                self.answered.push(item, states);
            }
        }
    }

    pub(crate) fn begin(&mut self, index: u32, offset: u64) {
        let Some(Pending { item, states }) = self.answered.next(index) else { return };
        let state = states.into_iter().find(|(length, _)| *length == offset);
        let hasher = state.map_or_else(ContentHash::default, |(_, state)| state);
        self.meter.skip(offset);
        self.underway.entry(index).and_modify(|underway| underway.since = Instant::now());
        match self.sink.begin(&item, offset) {
            Ok(()) => self.current = Current::File { item, offset, hasher: Box::new(hasher) },
            Err(fault) => self.fail(item, fault),
        }
    }

    /// The file that is here is the one that was offered.
    pub(crate) fn same(&mut self, index: u32, now: Instant) {
        let settled = self.compared(index).and_then(|item| self.sink.keep(now, item));
        if let Some(settled) = settled {
            self.settle(settled);
        }
    }

    /// This is the content that the item has.
    pub(crate) fn note_hash(&mut self, index: u32, hash: &Hash) {
        self.underway.entry(index).and_modify(|underway| underway.hash = Some(*hash));
    }

    fn compared(&mut self, index: u32) -> Option<Offered> {
        let item = self.answered.next(index)?.item;
        self.meter.skip(item.size.unwrap_or(0));
        Some(item)
    }
}
