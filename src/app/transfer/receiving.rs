//! What the receiving engine makes of each message.

use super::messages::{
    Answer, CHECKPOINTS_MAX, Content, ENTRIES_MAX, Entry, Hash, Hello, IfDifferent, ItemOutcome,
    OPEN_ENTRIES_MAX, Offer, VERSION,
};
use super::outcome::{ReceiveOutcome, Status, Tally, Violation};
use super::progress::{Meter, Progress};
use super::receiver::{OnReceived, ReceivePolicy, Received};
use super::sending::{hash_zeros, wide};
use super::sink::{Offered, Settled, Sink, Verdict};
use crate::store::Fault;
use crate::store::names::TreePath;
use crate::store::part::Checkpoints;
use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU64;
use std::time::Instant;

/// Hash states kept at once for files that may be resumed, beyond one each: 2 MiB.
const CHECKPOINTS_KEPT_MAX: usize = 1_024;

/// An item that was answered, and that the sender has to say something about.
struct Pending {
    item: Offered,
    expect: Expect,
}

enum Expect {
    /// Content, from one of these states on.
    Content(Checkpoints),
    /// Whether it is the same.
    Comparison(IfDifferent),
}

/// What is being received.
enum Current {
    /// Nothing has been said yet.
    Greeting,
    /// Between files.
    Nothing,
    /// A file, up to this offset.
    File {
        item: Offered,
        offset: u64,
        hasher: Box<blake3::Hasher>,
    },
    /// The rest of a file that has failed here.
    Remains { index: u32, offset: u64, size: u64 },
    /// A stream.
    Stream { item: Offered, bytes: u64 },
    /// A stream that has failed here.
    StreamRemains,
    /// The end.
    Finished(Option<Fault>),
}

/// The engine's state.
pub(super) struct Receiver<'p, 'a> {
    sink: Box<dyn Sink>,
    policy: ReceivePolicy,
    on_received: Option<Box<OnReceived<'a>>>,
    progress: &'p mut dyn Progress,
    current: Current,
    next_index: u32,
    unsettled: usize,
    pending: VecDeque<Pending>,
    checkpoints: usize,
    seen: HashSet<u128>,
    promised_bytes: u64,
    answers: Vec<Answer>,
    tops: Vec<(Received, bool)>,
    tops_by_name: HashMap<Vec<u8>, usize>,
    tally: Tally,
    meter: Meter,
    received_bytes: u64,
    command_status: i32,
}

impl<'p, 'a> Receiver<'p, 'a> {
    pub fn new(
        sink: Box<dyn Sink>,
        policy: ReceivePolicy,
        on_received: Option<Box<OnReceived<'a>>>,
        progress: &'p mut dyn Progress,
    ) -> Self {
        Self {
            sink,
            policy,
            on_received,
            progress,
            current: Current::Greeting,
            next_index: 0,
            unsettled: 0,
            pending: VecDeque::new(),
            checkpoints: 0,
            seen: HashSet::new(),
            promised_bytes: 0,
            answers: Vec::new(),
            tops: Vec::new(),
            tops_by_name: HashMap::new(),
            tally: Tally::default(),
            meter: Meter::default(),
            received_bytes: 0,
            command_status: 0,
        }
    }

    pub fn is_finished(&self) -> bool {
        matches!(self.current, Current::Finished(_))
    }

    /// Why the whole transfer was refused, if it was.
    pub fn refusal(&self) -> Option<Fault> {
        if let Current::Finished(fault) = self.current {
            fault
        } else {
            None
        }
    }

    pub fn into_outcome(self) -> ReceiveOutcome {
        ReceiveOutcome {
            status: self.tally.status(self.command_status),
            tally: self.tally,
            received_bytes: self.received_bytes,
            command_status: (self.command_status != 0).then_some(self.command_status),
        }
    }

    /// What is to be said, in order.
    pub fn answers(&mut self) -> impl Iterator<Item = Answer> {
        self.answers.drain(..)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.sink.deadline()
    }

    pub fn commit_if_due(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.commit();
        }
    }

    fn commit(&mut self) {
        for settled in self.sink.commit() {
            self.settle(settled);
        }
    }

    /// The transfer ended early: keeps what is complete, and what can be resumed.
    pub fn rescue(&mut self) {
        self.commit();
        match std::mem::replace(&mut self.current, Current::Finished(None)) {
            Current::File { item, .. } | Current::Stream { item, .. } => {
                self.sink.abandon(&item, Fault::Cancelled);
            }
            _ => {}
        }
    }

    pub fn handle(&mut self, offer: Offer, now: Instant) -> Result<(), Violation> {
        match (offer, &self.current) {
            (Offer::Hello(hello), Current::Greeting) => {
                self.greet(&hello);
                Ok(())
            }
            (_, Current::Greeting) | (Offer::Hello(_), _) => Err(Violation::Hello),
            (
                Offer::Finish {
                    entries: 0,
                    skipped: 0,
                },
                _,
            ) if self.is_stream() => {
                self.finish_stream(now);
                Ok(())
            }
            (Offer::Entry(entry), Current::Nothing) => self.entry(entry, now),
            (Offer::Begin { index, offset }, Current::Nothing) => self.begin(index, offset),
            (Offer::Same { index }, Current::Nothing) => {
                self.compared(index, None, ItemOutcome::Exists)
            }
            (Offer::Differs { index }, Current::Nothing) => {
                self.compared(index, Some(IfDifferent::Leave), Fault::Exists.into())
            }
            (Offer::Finish { entries, skipped }, Current::Nothing) => self.finish(entries, skipped),
            (Offer::Failed { index, fault }, Current::Nothing) => {
                let item = self.next_pending(index)?.item;
                self.settle_item(item, fault.into());
                Ok(())
            }
            (Offer::Failed { index, fault }, _) => self.broken_off(index, fault),
            (Offer::Hole(zeros), _) => self.hole(zeros),
            (Offer::End { index, hash }, _) => self.end(index, &hash, now),
            _ => Err(Violation::Order),
        }
    }

    fn greet(&mut self, hello: &Hello) {
        let totals = hello.totals.unwrap_or_default();
        let too_large = self
            .policy
            .bytes_max
            .is_some_and(|most| totals.bytes > most);
        let refused = match hello {
            Hello { version, .. } if *version != VERSION => Err(Fault::Version),
            _ if too_large => Err(Fault::TooLarge),
            Hello {
                content: Content::Files,
                ..
            } => Ok(Current::Nothing),
            Hello {
                content: Content::Stream,
                name,
                ..
            } => {
                let begun = self.sink.begin_stream(name);
                begun.map(|item| Current::Stream { item, bytes: 0 })
            }
        };
        if let Some(totals) = hello.totals {
            self.meter.bytes_total = Some(totals.bytes);
            self.meter.items_total = Some(totals.items);
        }
        let (current, answer) = match refused {
            Ok(current) => (current, Answer::Accepted),
            Err(fault) => (Current::Finished(Some(fault)), Answer::Refused(fault)),
        };
        self.current = current;
        self.answers.push(answer);
    }

    fn entry(&mut self, entry: Entry, now: Instant) -> Result<(), Violation> {
        if entry.index != self.next_index {
            return Err(Violation::Index);
        }
        if self.next_index >= ENTRIES_MAX || self.unsettled >= OPEN_ENTRIES_MAX {
            return Err(Violation::Entries);
        }
        self.next_index += 1;
        self.unsettled += 1;
        let Ok(path) = entry.path.check() else {
            let shown = entry.path.components().collect::<Vec<_>>().join(&b'/');
            self.settle_named(entry.index, &shown, Fault::Name.into());
            return Ok(());
        };
        let item = Offered {
            index: entry.index,
            path,
            kind: entry.kind,
            size: Some(entry.size),
            mode: Some(entry.mode),
            mtime: Some(entry.mtime),
        };
        if item.path.depth() == 1 && !self.tops_by_name.contains_key(item.path.as_bytes()) {
            self.tops_by_name
                .insert(item.path.as_bytes().to_vec(), self.tops.len());
            let (path, kind) = (item.path.clone(), item.kind.clone());
            self.tops.push((
                Received {
                    path,
                    kind,
                    fresh: false,
                },
                true,
            ));
        }
        match self
            .admit(&item)
            .and_then(|checkpoints| self.sink.look(now, &item, checkpoints))
        {
            Ok(verdict) => self.answer(item, verdict),
            Err(fault) => self.settle_item(item, fault.into()),
        }
        Ok(())
    }

    /// Applies the limits of this receiver; how many checkpoints the item may have.
    fn admit(&mut self, item: &Offered) -> Result<NonZeroU64, Fault> {
        if self.policy.items_max.is_some_and(|most| item.index >= most) {
            return Err(Fault::TooMany);
        }
        let size = item.size.unwrap_or(0);
        let promised = self.promised_bytes.saturating_add(size);
        // A file longer than a signed offset cannot exist.
        let most = self
            .policy
            .bytes_max
            .unwrap_or(u64::MAX)
            .min(i64::MAX.unsigned_abs());
        if promised > most {
            return Err(Fault::TooLarge);
        }
        let mut short = [0; 16];
        blake3::Hasher::new()
            .update(item.path.as_bytes())
            .finalize_xof()
            .fill(&mut short);
        if !self.seen.insert(u128::from_le_bytes(short)) {
            return Err(Fault::Duplicate);
        }
        self.promised_bytes = promised;
        let plenty = self.checkpoints < CHECKPOINTS_KEPT_MAX;
        Ok(NonZeroU64::new(wide(CHECKPOINTS_MAX))
            .filter(|_| plenty)
            .unwrap_or(NonZeroU64::MIN))
    }

    fn answer(&mut self, item: Offered, verdict: Verdict) {
        let index = item.index;
        match verdict {
            Verdict::Taken => {}
            Verdict::Settled(outcome) => self.settle_item(item, outcome),
            Verdict::Have(hash, otherwise) => {
                self.answers.push(Answer::Have {
                    index,
                    otherwise,
                    hash,
                });
                self.pending.push_back(Pending {
                    item,
                    expect: Expect::Comparison(otherwise),
                });
            }
            Verdict::Want(states) => {
                self.checkpoints += states.len();
                let prefixes = states
                    .iter()
                    .map(|(length, state)| (*length, *state.finalize().as_bytes()))
                    .collect();
                self.answers.push(Answer::Want { index, prefixes });
                self.pending.push_back(Pending {
                    item,
                    expect: Expect::Content(states),
                });
            }
        }
    }

    fn next_pending(&mut self, index: u32) -> Result<Pending, Violation> {
        let pending = self
            .pending
            .pop_front()
            .filter(|pending| pending.item.index == index)
            .ok_or(Violation::Index)?;
        if let Expect::Content(states) = &pending.expect {
            self.checkpoints -= states.len();
        }
        Ok(pending)
    }

    fn begin(&mut self, index: u32, offset: u64) -> Result<(), Violation> {
        let Pending { item, expect } = self.next_pending(index)?;
        let hasher = match expect {
            Expect::Comparison(IfDifferent::Leave) => return Err(Violation::Order),
            _ if offset == 0 => blake3::Hasher::new(),
            Expect::Comparison(IfDifferent::Send) => return Err(Violation::Offset),
            Expect::Content(states) => {
                let state = states.into_iter().find(|(length, _)| *length == offset);
                state.ok_or(Violation::Offset)?.1
            }
        };
        self.meter.bytes_done += offset;
        match self.sink.begin(&item, offset) {
            Ok(()) => {
                self.current = Current::File {
                    item,
                    offset,
                    hasher: Box::new(hasher),
                }
            }
            Err(fault) => self.fail(item, offset, fault),
        }
        Ok(())
    }

    /// Gives up the current file; what the sender has sent of it meanwhile is passed over.
    fn fail(&mut self, item: Offered, offset: u64, fault: Fault) {
        self.sink.abandon(&item, fault);
        let (index, size) = (item.index, item.size.unwrap_or(0));
        self.current = Current::Remains {
            index,
            offset,
            size,
        };
        self.settle_item(item, fault.into());
    }

    fn compared(
        &mut self,
        index: u32,
        only: Option<IfDifferent>,
        outcome: ItemOutcome,
    ) -> Result<(), Violation> {
        let Pending { item, expect } = self.next_pending(index)?;
        match expect {
            Expect::Comparison(otherwise) if only.is_none_or(|only| only == otherwise) => {
                self.meter.bytes_done += item.size.unwrap_or(0);
                self.settle_item(item, outcome);
                Ok(())
            }
            _ => Err(Violation::Order),
        }
    }

    /// Takes content of the current file or stream.
    pub fn content(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let count = wide(bytes.len());
        self.received_bytes += count;
        self.advance(count)?;
        let written = match &mut self.current {
            Current::File { hasher, .. } => {
                hasher.update(bytes);
                self.sink.write(bytes)
            }
            Current::Stream { .. } => self.sink.write(bytes),
            _ => Ok(()),
        };
        self.keep_or_fail(written);
        Ok(())
    }

    fn hole(&mut self, zeros: u64) -> Result<(), Violation> {
        if self.is_stream() {
            return Err(Violation::Order);
        }
        self.advance(zeros)?;
        if let Current::File { hasher, .. } = &mut self.current {
            hash_zeros(hasher, zeros);
            let skipped = self.sink.skip(zeros);
            self.keep_or_fail(skipped);
        }
        Ok(())
    }

    /// Counts content that is about to be taken, or passed over.
    fn advance(&mut self, count: u64) -> Result<(), Violation> {
        let (offset, size) = match &mut self.current {
            Current::File { item, offset, .. } => (offset, item.size.unwrap_or(0)),
            Current::Remains { offset, size, .. } => (offset, *size),
            Current::Stream { bytes, .. } => (bytes, u64::MAX),
            Current::StreamRemains => return Ok(()),
            Current::Greeting => return Err(Violation::Hello),
            Current::Nothing | Current::Finished(_) => return Err(Violation::Order),
        };
        *offset = offset
            .checked_add(count)
            .filter(|end| *end <= size)
            .ok_or(Violation::Length)?;
        self.meter.bytes_done += count;
        Ok(())
    }

    fn keep_or_fail(&mut self, written: Result<(), Fault>) {
        let too_large = match &self.current {
            Current::Stream { bytes, .. } => {
                self.policy.bytes_max.is_some_and(|most| *bytes > most)
            }
            _ => false,
        };
        let written = if too_large {
            Err(Fault::TooLarge)
        } else {
            written
        };
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

    fn end(&mut self, index: u32, hash: &Hash, now: Instant) -> Result<(), Violation> {
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::File {
                item,
                offset,
                hasher,
            } if item.index == index => {
                if item.size != Some(offset) {
                    return Err(Violation::Length);
                }
                if hasher.finalize().as_bytes() != hash {
                    self.sink.abandon(&item, Fault::Integrity);
                    self.settle_item(item, Fault::Integrity.into());
                    return Ok(());
                }
                self.complete(item, now);
                Ok(())
            }
            Current::Remains { index: current, .. } if current == index => Ok(()),
            _ => Err(Violation::Index),
        }
    }

    fn complete(&mut self, item: Offered, now: Instant) {
        let (index, path) = (item.index, item.path.clone());
        match self.sink.complete(now, item) {
            Ok(None) => {}
            Ok(Some(settled)) => self.settle(settled),
            Err(fault) => {
                self.settle(Settled {
                    index,
                    path,
                    outcome: fault.into(),
                    renamed: None,
                });
            }
        }
    }

    fn broken_off(&mut self, index: u32, fault: Fault) -> Result<(), Violation> {
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::File { item, .. } if item.index == index => {
                self.sink.abandon(&item, fault);
                self.settle_item(item, fault.into());
                Ok(())
            }
            Current::Remains { index: current, .. } if current == index => Ok(()),
            _ => Err(Violation::Index),
        }
    }

    fn is_stream(&self) -> bool {
        matches!(
            self.current,
            Current::Stream { .. } | Current::StreamRemains
        )
    }

    fn settle_item(&mut self, item: Offered, outcome: ItemOutcome) {
        let Offered { index, path, .. } = item;
        self.settle(Settled {
            index,
            path,
            outcome,
            renamed: None,
        });
    }

    fn settle(&mut self, settled: Settled) {
        let Settled {
            index,
            path,
            outcome,
            renamed,
        } = settled;
        if let Some(at) = self.tops_by_name.get(path.first())
            && let Some((top, whole)) = self.tops.get_mut(*at)
        {
            top.fresh |= outcome == ItemOutcome::Committed;
            *whole &= matches!(outcome, ItemOutcome::Committed | ItemOutcome::Exists);
            if let Some(name) = renamed.filter(|_| path.depth() == 1)
                && let Ok(path) = TreePath::top(&name)
            {
                top.path = path;
            }
        }
        self.settle_named(index, path.as_bytes(), outcome);
    }

    fn settle_named(&mut self, index: u32, path: &[u8], outcome: ItemOutcome) {
        self.unsettled = self.unsettled.saturating_sub(1);
        self.answers.push(Answer::Item { index, outcome });
        if let Some(failure) = self.tally.settle(path, outcome) {
            self.progress.warn(&failure);
        }
        self.meter.items_done += 1;
        self.progress.report(self.meter.at(path));
    }

    fn finish(&mut self, entries: u32, skipped: u32) -> Result<(), Violation> {
        if entries != self.next_index || !self.pending.is_empty() {
            return Err(Violation::Order);
        }
        self.tally.skipped = skipped;
        self.conclude();
        Ok(())
    }

    fn finish_stream(&mut self, now: Instant) {
        if let Current::Stream { item, .. } = std::mem::replace(&mut self.current, Current::Nothing)
        {
            self.tops_by_name.insert(item.path.as_bytes().to_vec(), 0);
            let (path, kind) = (item.path.clone(), item.kind.clone());
            self.tops.push((
                Received {
                    path,
                    kind,
                    fresh: true,
                },
                true,
            ));
            self.unsettled += 1;
            self.complete(item, now);
        }
        self.conclude();
    }

    /// Everything has come: makes it safe, runs the hook, says so.
    fn conclude(&mut self) {
        self.commit();
        for (path, fault) in self.sink.finish() {
            let failure = self.tally.note_late(path.as_bytes(), fault);
            self.progress.warn(&failure);
        }
        if let Some(on_received) = &mut self.on_received {
            for (top, _) in self.tops.iter().filter(|(_, whole)| *whole) {
                let status = on_received(top);
                if self.command_status == 0 {
                    self.command_status = status;
                }
            }
        }
        let status = self.tally.status(self.command_status);
        let command_status = if status == Status::CommandFailed {
            self.command_status
        } else {
            0
        };
        self.answers.push(Answer::Done {
            status,
            counts: self.tally.counts,
            command_status,
        });
        self.current = Current::Finished(None);
    }
}
