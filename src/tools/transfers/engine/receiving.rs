//! What the receiving engine makes of each message.

use super::progress::{ItemKind, Meter, Progress};
use super::receiver::{GivenUp, OnReceived, ReceivePolicy};
use super::sending::wide;
use super::sink::{Offered, Sink, Verdict};
use super::tops::Tops;
use super::underway::Underway;
use crate::store::part::Checkpoints;
use crate::transfer::Fault;
use crate::transfer::hash::ContentHash;
use crate::transfer::messages::{
    Answer, CHECKPOINTS_MAX, Content, ENTRIES_MAX, Entry, Hash, Hello, IfDifferent, OPEN_ENTRIES_MAX, Offer, VERSION,
};
use crate::transfer::outcome::{Side, Tally, Violation};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::num::NonZeroU64;
use std::time::Instant;

/// Hash states kept at once for files that may be resumed, beyond one each: 2 MiB, or twice that of files with blank blocks.
const CHECKPOINTS_KEPT_MAX: usize = 1_024;

/// An item that was answered, and that the sender has to say something about.
pub(crate) struct Pending {
    pub item: Offered,
    expect: Expect,
}

pub(crate) enum Expect {
    /// Content, from one of these states on.
    Content(Checkpoints),
    /// Whether it is the same.
    Comparison(IfDifferent),
}

/// What is being received.
pub(crate) enum Current {
    /// Nothing has been said yet.
    Greeting,
    /// Between files.
    Nothing,
    /// A file, up to this offset.
    File { item: Offered, offset: u64, hasher: Box<ContentHash> },
    /// The rest of a file that has failed here.
    Remains { index: u32, offset: u64, size: u64 },
    /// A stream.
    Stream { item: Offered, bytes: u64, hasher: Box<ContentHash> },
    /// A stream that has failed here.
    StreamRemains,
    /// The end.
    Finished(Option<Fault>),
}

/// The engine's state.
pub(crate) struct Receiver<'p, 'a> {
    pub sink: Box<dyn Sink>,
    pub policy: ReceivePolicy,
    pub on_received: Option<Box<OnReceived<'a>>>,
    pub given_up: GivenUp,
    pub progress: &'p mut dyn Progress,
    pub current: Current,
    pub next_index: u32,
    pub unsettled: usize,
    /// Those that are not settled, by number.
    pub underway: BTreeMap<u32, Underway>,
    pub pending: VecDeque<Pending>,
    pub checkpoints: usize,
    pub seen: HashSet<u128>,
    pub promised_bytes: u64,
    pub answers: Vec<Answer>,
    pub tops: Tops,
    pub tally: Tally,
    pub meter: Meter,
    pub received_bytes: u64,
    pub command_status: Option<i32>,
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
            policy,
            on_received,
            given_up: Box::new(|| false),
            progress,
            current: Current::Greeting,
            next_index: 0,
            unsettled: 0,
            underway: BTreeMap::new(),
            pending: VecDeque::new(),
            checkpoints: 0,
            seen: HashSet::new(),
            promised_bytes: 0,
            answers: Vec::new(),
            tops: Tops::default(),
            tally: Tally::default(),
            meter: Meter::default(),
            received_bytes: 0,
            command_status: None,
        }
    }

    pub(crate) fn handle(&mut self, offer: Offer, now: Instant) -> Result<(), Violation> {
        match (offer, &self.current) {
            (Offer::Hello(hello), Current::Greeting) => {
                self.greet(&hello);
                Ok(())
            }
            (_, Current::Greeting) | (Offer::Hello(_), _) => Err(Violation::Hello),
            (Offer::Finish { entries: 0, skipped: 0 }, _) if self.is_stream() => {
                self.finish_stream(now);
                Ok(())
            }
            (Offer::Entry(entry), Current::Nothing) => self.entry(entry, now),
            (Offer::Begin { index, offset }, Current::Nothing) => self.begin(index, offset),
            (Offer::Same { index }, Current::Nothing) => self.same(index, now),
            (Offer::Differs { index }, Current::Nothing) => self.differs(index),
            (Offer::Finish { entries, skipped }, Current::Nothing) => self.finish(entries, skipped),
            (Offer::Failed { index, fault }, Current::Nothing) => {
                let item = self.next_pending(index)?.item;
                self.settle_given_up(item, fault);
                Ok(())
            }
            (Offer::Failed { index, fault }, _) => self.broken_off(index, fault),
            (Offer::Hole(zeros), _) => self.hole(zeros),
            (Offer::End { index, hash }, _) => self.end(index, &hash, now),
            _ => Err(Violation::Order),
        }
    }

    pub(crate) fn greet(&mut self, hello: &Hello) {
        let totals = hello.totals.unwrap_or_default();
        let too_large = self.policy.bytes_max.is_some_and(|most| totals.bytes > most);
        let too_many = self.policy.items_max.is_some_and(|most| totals.items > u64::from(most));
        let refused = match hello {
            Hello { version, .. } if *version != VERSION => Err(Fault::Version),
            // Told of each item it would be the same, many times.
            _ if hello.is_several() && !self.sink.takes_several() => Err(Fault::TreeNotTaken),
            _ if too_large => Err(Fault::TooLarge),
            _ if too_many => Err(Fault::TooMany),
            Hello { content: Content::Files, .. } => Ok(Current::Nothing),
            Hello { content: Content::Stream, name, .. } => {
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
        let (current, answer) = match refused {
            Ok(current) => (current, Answer::Accepted),
            Err(fault) => (Current::Finished(Some(fault)), Answer::Refused(fault)),
        };
        self.current = current;
        self.answers.push(answer);
    }

    pub(crate) fn entry(&mut self, entry: Entry, now: Instant) -> Result<(), Violation> {
        if entry.index != self.next_index {
            return Err(Violation::Index);
        }
        if self.next_index >= ENTRIES_MAX || self.unsettled >= OPEN_ENTRIES_MAX {
            return Err(Violation::Entries);
        }
        self.next_index += 1;
        self.unsettled += 1;
        self.underway.insert(entry.index, Underway::new(ItemKind::from(&entry.kind), entry.size.unwrap_or(0)));
        let Ok(path) = entry.path.check() else {
            let shown = entry.path.components().collect::<Vec<_>>().join(&b'/');
            self.settle_named(entry.index, &shown, (Fault::Name.into(), Side::Here));
            return Ok(());
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
        match self.admit(&item).and_then(|checkpoints| self.sink.look(now, &item, checkpoints)) {
            Ok(verdict) => {
                self.tops.add(&item.path, &item.kind);
                self.answer(item, verdict);
            }
            Err(fault) => self.settle_item(item, fault.into()),
        }
        Ok(())
    }

    /// Applies the limits of this receiver; how many checkpoints the item may have.
    pub(crate) fn admit(&mut self, item: &Offered) -> Result<NonZeroU64, Fault> {
        if self.policy.items_max.is_some_and(|most| item.index >= most) {
            return Err(Fault::TooMany);
        }
        self.tops.check_room(&item.path)?;
        let size = item.size.unwrap_or(0);
        let promised = self.promised_bytes.saturating_add(size);
        if self.exceeds(promised) {
            return Err(Fault::TooLarge);
        }
        let mut short = [0; 16];
        blake3::Hasher::new().update(item.path.as_bytes()).finalize_xof().fill(&mut short);
        if !self.seen.insert(u128::from_le_bytes(short)) {
            return Err(Fault::Duplicate);
        }
        self.promised_bytes = promised;
        let plenty = self.checkpoints < CHECKPOINTS_KEPT_MAX;
        Ok(NonZeroU64::new(wide(CHECKPOINTS_MAX)).filter(|_| plenty).unwrap_or(NonZeroU64::MIN))
    }

    pub(crate) fn answer(&mut self, item: Offered, verdict: Verdict) {
        let index = item.index;
        match verdict {
            Verdict::Taken => {}
            Verdict::Have(hash, otherwise) => {
                self.note_hash(index, &hash);
                self.answers.push(Answer::Have { index, otherwise, hash });
                self.pending.push_back(Pending { item, expect: Expect::Comparison(otherwise) });
            }
            Verdict::Want(states) => {
                self.checkpoints += states.len();
                let prefixes = states.iter().map(|(length, state)| (*length, state.hash())).collect();
                self.answers.push(Answer::Want { index, prefixes });
                self.pending.push_back(Pending { item, expect: Expect::Content(states) });
            }
        }
    }

    pub(crate) fn next_pending(&mut self, index: u32) -> Result<Pending, Violation> {
        let pending = self.pending.pop_front().filter(|pending| pending.item.index == index).ok_or(Violation::Index)?;
        if let Expect::Content(states) = &pending.expect {
            self.checkpoints -= states.len();
        }
        Ok(pending)
    }

    pub(crate) fn begin(&mut self, index: u32, offset: u64) -> Result<(), Violation> {
        let Pending { item, expect } = self.next_pending(index)?;
        let hasher = match expect {
            Expect::Comparison(IfDifferent::Leave) => return Err(Violation::Order),
            _ if offset == 0 => ContentHash::default(),
            Expect::Comparison(IfDifferent::Send) => return Err(Violation::Offset),
            Expect::Content(states) => {
                let state = states.into_iter().find(|(length, _)| *length == offset);
                state.ok_or(Violation::Offset)?.1
            }
        };
        self.meter.skip(offset);
        self.underway.entry(index).and_modify(|underway| underway.since = Instant::now());
        match self.sink.begin(&item, offset) {
            Ok(()) => self.current = Current::File { item, offset, hasher: Box::new(hasher) },
            Err(fault) => self.fail(item, offset, fault),
        }
        Ok(())
    }

    /// The file that is here is the one that was offered.
    pub(crate) fn same(&mut self, index: u32, now: Instant) -> Result<(), Violation> {
        let item = self.compared(index, None)?;
        if let Some(settled) = self.sink.keep(now, item) {
            self.settle(settled);
        }
        Ok(())
    }

    /// It is another one, and stays.
    pub(crate) fn differs(&mut self, index: u32) -> Result<(), Violation> {
        let item = self.compared(index, Some(IfDifferent::Leave))?;
        self.settle_item(item, Fault::Exists.into());
        Ok(())
    }

    /// This is the content that the item has.
    pub(crate) fn note_hash(&mut self, index: u32, hash: &Hash) {
        self.underway.entry(index).and_modify(|underway| underway.hash = Some(*hash));
    }

    fn compared(&mut self, index: u32, only: Option<IfDifferent>) -> Result<Offered, Violation> {
        let Pending { item, expect } = self.next_pending(index)?;
        match expect {
            Expect::Comparison(otherwise) if only.is_none_or(|only| only == otherwise) => {
                self.meter.skip(item.size.unwrap_or(0));
                Ok(item)
            }
            _ => Err(Violation::Order),
        }
    }
}
