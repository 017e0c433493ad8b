//! What the receiving engine makes of what the sender says.

use super::admission::Admission;
use super::answered::Answered;
use super::content::{Arriving, Whole};
use super::hook::Hook;
use super::items::Items;
use super::policy::{OnReceived, ReceivePolicy};
use super::progress::{ItemKind, Progress};
use super::sink::{Offered, Sink, Verdict};
use super::underway::Underway;
use crate::transfer::messages::{Content, Entry, Hello, VERSION};
use crate::transfer::outcome::{ReceiveOutcome, Side};
use crate::transfer::status::Status;
use crate::transfer::{Fact, Fault};
use std::time::Instant;

/// The engine's state.
pub(crate) struct Receiver<'p, 'a> {
    pub items: Items<'p>,
    pub arriving: Arriving,
    answered: Answered,
    pub hook: Hook<'a>,
}

impl<'p, 'a> Receiver<'p, 'a> {
    pub(crate) fn new(
        sink: Box<dyn Sink>,
        policy: ReceivePolicy,
        on_received: Option<Box<OnReceived<'a>>>,
        progress: &'p mut dyn Progress,
    ) -> Self {
        Self {
            items: Items::new(progress),
            arriving: Arriving::new(sink, Admission::new(policy)),
            answered: Answered::default(),
            hook: Hook::new(on_received),
        }
    }

    /// Takes a fact that is no content.
    pub(crate) fn handle(&mut self, fact: Fact, now: Instant) {
        let (items, arriving) = (&mut self.items, &mut self.arriving);
        match fact {
            Fact::Hello(hello) => self.greet(&hello),
            Fact::Entry(entry) => self.entry(entry, now),
            Fact::Begin { index, offset } => {
                if let Some(answered) = self.answered.next(index) {
                    arriving.begin(items, answered, offset);
                }
            }
            // Content is taken where it lies.
            Fact::Data(_) | Fact::Unpacked(_) => {}
            Fact::Hole(zeros) => arriving.skip(items, zeros),
            Fact::End { index, hash, length } => arriving.end(items, &Whole { index, length, hash }, now),
            // The sender cannot send it, or not to its end.
            Fact::Failed { index, fault } => match self.answered.next(index) {
                Some(answered) => items.settle_given_up(answered.item, fault),
                None => arriving.break_off(items, fault),
            },
            Fact::Same { index } => self.same(index, now),
            Fact::Differs { index } => {
                if let Some(item) = self.compared(index) {
                    self.items.settle_item(item, Fault::Exists.into());
                }
            }
            Fact::StreamEnd => {
                arriving.end_stream(items, now);
                self.conclude();
            }
            Fact::Finish { skipped } => {
                items.tally.skipped_there(skipped);
                self.conclude();
            }
        }
    }

    /// Takes content.
    pub(crate) fn content(&mut self, bytes: &[u8]) {
        self.arriving.take(&mut self.items, bytes);
    }

    pub(crate) fn greet(&mut self, hello: &Hello) {
        let within = self.arriving.admission.check_totals(hello.totals.unwrap_or_default());
        let taken = match (hello, within) {
            (Hello { version, .. }, _) if *version != VERSION => Err(Fault::Version),
            // Told of each item it would be the same, many times.
            _ if hello.is_several() && !self.arriving.sink.takes_several() => Err(Fault::TreeNotTaken),
            (_, Err(fault)) => Err(fault),
            (Hello { content: Content::Files, .. }, _) => Ok(()),
            (Hello { content: Content::Stream, name, .. }, _) => {
                self.items.add(0, Underway::new(ItemKind::Stream, 0));
                self.arriving.begin_stream(name)
            }
        };
        if let Some(totals) = hello.totals {
            self.items.meter.bytes_total = Some(totals.bytes);
            self.items.meter.items_total = Some(totals.items);
        }
        match taken {
            Ok(()) => self.items.reception.accept(),
            Err(fault) => self.items.reception.refuse(fault),
        }
    }

    fn entry(&mut self, entry: Entry, now: Instant) {
        self.items.add(entry.index, Underway::new(ItemKind::from(&entry.kind), entry.size.unwrap_or(0)));
        let Ok(path) = entry.path.check() else {
            let shown = entry.path.components().collect::<Vec<_>>().join(&b'/');
            return self.items.settle_named(entry.index, &shown, (Fault::Name.into(), Side::Here));
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
        let admitted = self.arriving.admission.admit(&item, &self.items.tops);
        match admitted.and_then(|()| self.arriving.sink.look(now, &item, self.answered.room())) {
            Ok(verdict) => {
                self.items.tops.add(&item.path, &item.kind);
                self.answer(item, verdict);
            }
            Err(fault) => self.items.settle_item(item, fault.into()),
        }
    }

    fn answer(&mut self, item: Offered, verdict: Verdict) {
        let (index, size) = (item.index, item.size);
        match verdict {
            Verdict::Taken => {}
            Verdict::Have(hash, otherwise) => {
                self.items.note_hash(index, &hash);
                self.items.reception.have(index, size, hash, otherwise);
                self.answered.push(item, Vec::new());
            }
            Verdict::Want(states) => {
                let prefixes = states.iter().map(|(length, state)| (*length, state.hash())).collect();
                self.items.reception.want(index, size, prefixes);
                self.answered.push(item, states);
            }
        }
    }

    /// The file that is here is the one that was offered.
    fn same(&mut self, index: u32, now: Instant) {
        let settled = self.compared(index).and_then(|item| self.arriving.sink.keep(now, item));
        if let Some(settled) = settled {
            self.items.settle(settled);
        }
    }

    fn compared(&mut self, index: u32) -> Option<Offered> {
        let item = self.answered.next(index)?.item;
        self.items.meter.skip(item.size.unwrap_or(0));
        Some(item)
    }

    /// When something has to be committed at the latest: at once if nothing more comes that could share its sync.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let deadline = self.arriving.sink.deadline();
        deadline.map(|deadline| if self.has_come_whole() { deadline.min(now) } else { deadline })
    }

    /// Whether as many items have been offered as were announced, and none of them is still to come.
    fn has_come_whole(&self) -> bool {
        self.items.are_all_offered() && self.answered.is_empty() && self.arriving.is_between()
    }

    pub(crate) fn commit_if_due(&mut self, now: Instant) {
        if self.deadline(now).is_some_and(|deadline| deadline <= now) {
            self.commit();
        }
    }

    pub(crate) fn commit(&mut self) {
        for settled in self.arriving.sink.commit() {
            self.items.settle(settled);
        }
    }

    /// Everything has come: makes it safe, runs the hook, says so.
    fn conclude(&mut self) {
        self.commit();
        self.tell_of_whole();
        let (items, sink, hook) = (&mut self.items, &mut self.arriving.sink, &mut self.hook);
        hook.status = sink.command_status();
        hook.run(&items.tops, &mut **sink, &mut items.tally, &mut *items.progress);
        let status = items.tally.status(hook.status);
        let command_status = hook.status.filter(|_| status == Status::CommandFailed).unwrap_or(0);
        items.reception.conclude(status, items.tally.counts, command_status);
    }

    /// Finishes the directories, which get their modes and times last, and tells what shows at the end alone.
    fn tell_of_whole(&mut self) {
        let items = &mut self.items;
        for (path, fault) in self.arriving.sink.finish() {
            let failure = items.tally.note_late(path.as_bytes(), fault);
            items.progress.warn(&failure);
        }
        self.tell_unkept();
        let items = &mut self.items;
        if let Some(unlike) = &items.tally.unlike {
            items.progress.remark(unlike);
        }
    }

    fn tell_unkept(&mut self) {
        if let Some((place, what)) = self.arriving.sink.unkept() {
            self.items.progress.unkept(place, *what);
        }
    }

    /// The transfer ended early: keeps what is complete, and what can be resumed.
    pub(crate) fn rescue(&mut self) {
        self.commit();
        self.tell_unkept();
        self.arriving.give_up();
    }

    pub(crate) fn into_outcome(self) -> ReceiveOutcome {
        let tally = self.items.tally;
        ReceiveOutcome {
            status: tally.status(self.hook.status),
            tally,
            received_bytes: self.arriving.bytes,
            command_status: self.hook.status,
        }
    }
}
