//! What the receiving engine makes of what the sender says.

use super::policy::{GivenUp, OnReceived, ReceivePolicy};
use super::progress::{ItemKind, Meter, Progress};
use super::sending::wide;
use super::sink::{Offered, Sink, Verdict};
use super::tops::Tops;
use super::underway::Underway;
use crate::store::adopt::Checkpoints;
use crate::transfer::Fault;
use crate::transfer::hash::ContentHash;
use crate::transfer::messages::{CHECKPOINTS_MAX, Content, Entry, Hash, Hello, VERSION};
use crate::transfer::outcome::{Side, Tally};
use crate::transfer::{Fact, Reception};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::num::NonZeroU64;
use std::time::Instant;

/// Hash states kept at once for files that may be resumed, beyond one each: 2 MiB, or twice that of files with blank blocks.
const CHECKPOINTS_KEPT_MAX: usize = 1_024;

/// An item that was answered, and that the sender has to say something about.
pub(crate) struct Pending {
    pub item: Offered,
    /// States that its content may go on from.
    states: Checkpoints,
}

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
    pub policy: ReceivePolicy,
    pub on_received: Option<Box<OnReceived<'a>>>,
    pub given_up: GivenUp,
    pub progress: &'p mut dyn Progress,
    /// What may come, and what is answered.
    pub reception: Reception,
    pub current: Current,
    /// Those that are not settled, by number.
    pub underway: BTreeMap<u32, Underway>,
    pub pending: VecDeque<Pending>,
    pub checkpoints: usize,
    /// Hashes of the paths that were offered: a table of 36 MB for as many as there may be.
    pub seen: HashSet<u128>,
    pub promised_bytes: u64,
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
            reception: Reception::default(),
            current: Current::Nothing,
            underway: BTreeMap::new(),
            pending: VecDeque::new(),
            checkpoints: 0,
            seen: HashSet::new(),
            promised_bytes: 0,
            tops: Tops::default(),
            tally: Tally::default(),
            meter: Meter::default(),
            received_bytes: 0,
            command_status: None,
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
        match self.admit(&item).and_then(|checkpoints| self.sink.look(now, &item, checkpoints)) {
            Ok(verdict) => {
                self.tops.add(&item.path, &item.kind);
                self.answer(item, verdict);
            }
            Err(fault) => self.settle_item(item, fault.into()),
        }
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
        let (index, size) = (item.index, item.size);
        match verdict {
            Verdict::Taken => {}
            Verdict::Have(hash, otherwise) => {
                self.note_hash(index, &hash);
                self.reception.have(index, size, hash, otherwise);
                self.pending.push_back(Pending { item, states: Vec::new() });
            }
            Verdict::Want(states) => {
                self.checkpoints += states.len();
                let prefixes = states.iter().map(|(length, state)| (*length, state.hash())).collect();
                self.reception.want(index, size, prefixes);
                self.pending.push_back(Pending { item, states });
            }
        }
    }

    /// The item that the sender deals with: the reception has made sure that it is its turn.
    pub(crate) fn next_pending(&mut self, index: u32) -> Option<Pending> {
        let pending = self.pending.pop_front_if(|pending| pending.item.index == index)?;
        self.checkpoints -= pending.states.len();
        Some(pending)
    }

    pub(crate) fn begin(&mut self, index: u32, offset: u64) {
        let Some(Pending { item, states }) = self.next_pending(index) else { return };
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
        let item = self.next_pending(index)?.item;
        self.meter.skip(item.size.unwrap_or(0));
        Some(item)
    }
}
