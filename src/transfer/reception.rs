//! The receiving side of a transfer: which message may come when, and what is answered, for files and streams alike.
//!
//! ```text
//! greeting ─▶ greeted ─▶ stream ─▶ (told) ───────────────┐
//!                │  └──▶ between files ◀─▶ file ─▶ (told) ├─▶ all said
//!                └─ refused ─────────────────────────────┘
//! ```
//!
//! Bytes of the sender become facts, commands become bytes for it. What is told of a file or stream before its end makes its
//! rest unwanted: that is still counted, and means nothing. Where content goes is the caller's business.

use super::decoder::{Decoder, Piece};
use super::messages::{
    Answer, Content, ENTRIES_MAX, Entry, Hash, Hello, IfDifferent, ItemOutcome, OPEN_ENTRIES_MAX, Offer,
};
use super::outcome::{TransferError, Violation};
use super::status::{Counts, Status};
use super::unblock::BlockDecoder;
use crate::transfer::Fault;
use std::collections::VecDeque;

/// What the sender has said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The greeting: to be answered by [`Reception::accept`] or [`Reception::refuse`] before anything else.
    Hello(Hello),
    /// One more item.
    Entry(Entry),
    /// The content of this item follows, from this offset on.
    Begin {
        /// Of the entry.
        index: u32,
        /// 0, or one of the prefixes that were told.
        offset: u64,
    },
    /// So many bytes of content, which are the last ones that were taken off the input.
    Data(usize),
    /// Content that came packed. The buffer should come back by [`Reception::give_back`].
    Unpacked(Vec<u8>),
    /// So many zeros.
    Hole(u64),
    /// The content of this item is complete.
    End {
        /// Of the entry.
        index: u32,
        /// As the sender computed it.
        hash: Hash,
        /// How long it is.
        length: u64,
    },
    /// The sender has given this item up, whether its content had begun or not.
    Failed {
        /// Of the entry.
        index: u32,
        /// Why.
        fault: Fault,
    },
    /// The file that is here is what the sender has.
    Same {
        /// Of the entry.
        index: u32,
    },
    /// It is not, and stays.
    Differs {
        /// Of the entry.
        index: u32,
    },
    /// The stream has ended. Its item may have been told already.
    StreamEnd,
    /// Nothing follows.
    Finish {
        /// Items that could not even be offered.
        skipped: u32,
    },
}

/// A transfer whose greeting has come and is not answered.
#[derive(Debug)]
pub(crate) struct Greeted {
    /// What took it.
    pub reception: Reception,
    /// The greeting.
    pub hello: Hello,
}

/// What the sender has to say about an item.
#[derive(Debug)]
enum Expect {
    /// Content, from its beginning or behind one of these prefixes.
    Content(Vec<u64>),
    /// Whether it is the same.
    Comparison(IfDifferent),
}

/// An item that was answered, and that the sender has to say something about.
#[derive(Debug)]
struct Pending {
    index: u32,
    size: Option<u64>,
    expect: Expect,
}

/// Content that is coming.
#[derive(Debug, Clone, Copy)]
struct Arriving {
    index: u32,
    offset: u64,
    size: Option<u64>,
    /// Its item was told already.
    unwanted: bool,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing has been said yet.
    #[default]
    Greeting,
    /// The greeting has come and is not answered.
    Greeted(Content),
    Stream,
    /// Between files.
    Between,
    File(Arriving),
    /// The sender has said all; this side has not.
    StreamEnded,
    Ended,
    /// Nothing more is to be said by anybody.
    Finished,
}

/// What may come next.
#[derive(Debug, Default)]
struct Order {
    state: State,
    next_index: u32,
    /// Entries without their ITEM.
    open: usize,
    /// In the order in which the sender deals with them.
    pending: VecDeque<Pending>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Reception {
    decoder: Decoder<Offer>,
    blocks: BlockDecoder,
    /// An empty buffer for what comes packed.
    spare: Vec<u8>,
    order: Order,
    item_told: bool,
    refused: Option<Fault>,
    answers: Vec<u8>,
}

impl Reception {
    /// Takes the next message, or piece of content, off the front of `input`; `None` when more must come first, and then
    /// `input` is empty.
    ///
    /// # Errors
    /// The sender broke the protocol.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Fact>, TransferError> {
        let Self { decoder, blocks, order, spare, .. } = self;
        let Some(piece) = decoder.next(input)? else { return Ok(None) };
        Ok(Some(match piece {
            Piece::Data(bytes) => {
                order.advance(wide(bytes.len()))?;
                Fact::Data(bytes.len())
            }
            Piece::Packed { raw_length, frame } => {
                let raw = blocks.decode(raw_length, frame).map_err(|_| Violation::Block)?;
                order.advance(wide(raw.len()))?;
                let mut unpacked = std::mem::take(spare);
                unpacked.extend_from_slice(raw);
                Fact::Unpacked(unpacked)
            }
            Piece::Message(offer) => order.handle_offer(offer)?,
        }))
    }

    /// Takes the buffer of what came packed back.
    pub(crate) fn give_back(&mut self, mut unpacked: Vec<u8>) {
        unpacked.clear();
        self.spare = unpacked;
    }

    /// What comes is wanted.
    pub(crate) fn accept(&mut self) {
        self.say(&Answer::Accepted);
        self.order.state = match self.order.state {
            State::Greeted(Content::Stream) => State::Stream,
            _ => State::Between,
        };
    }

    /// It is not. Nothing more is expected.
    pub(crate) fn refuse(&mut self, fault: Fault) {
        self.say(&Answer::Refused(fault));
        self.refused = Some(fault);
        self.order.state = State::Finished;
    }

    /// Wants the content of an item of this size, or what follows one of these prefixes.
    pub(crate) fn want(&mut self, index: u32, size: Option<u64>, prefixes: Vec<(u64, Hash)>) {
        let expect = Expect::Content(prefixes.iter().map(|prefix| prefix.0).collect());
        self.order.pending.push_back(Pending { index, size, expect });
        self.say(&Answer::Want { index, prefixes });
    }

    /// Asks whether an item of this size is the one with this hash.
    pub(crate) fn have(&mut self, index: u32, size: Option<u64>, hash: Hash, otherwise: IfDifferent) {
        self.order.pending.push_back(Pending { index, size, expect: Expect::Comparison(otherwise) });
        self.say(&Answer::Have { index, otherwise, hash });
    }

    /// Tells what became of an item; of a stream once only. What still comes of it is unwanted.
    pub(crate) fn settle(&mut self, index: u32, outcome: ItemOutcome) {
        match &mut self.order.state {
            State::Stream | State::StreamEnded if std::mem::replace(&mut self.item_told, true) => return,
            State::File(place) => place.unwanted |= place.index == index,
            _ => {}
        }
        self.order.open = self.order.open.saturating_sub(1);
        self.say(&Answer::Item { index, outcome });
    }

    /// Tells what became of the whole. It is the last word.
    pub(crate) fn conclude(&mut self, status: Status, counts: Counts, command_status: i32) {
        self.say(&Answer::Done { status, counts, command_status });
        self.order.state = State::Finished;
    }

    fn say(&mut self, answer: &Answer) {
        answer.encode(&mut self.answers);
    }

    /// What is to be sent, in order. What has gone is taken off its front.
    pub(crate) fn answers(&mut self) -> &mut Vec<u8> {
        &mut self.answers
    }

    /// Whether nothing more is expected of the sender.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.order.state, State::Finished)
    }

    /// Why the whole transfer was refused, if it was.
    pub(crate) fn refusal(&self) -> Option<Fault> {
        self.refused
    }
}

impl Order {
    fn handle_offer(&mut self, offer: Offer) -> Result<Fact, Violation> {
        match (offer, &self.state) {
            (Offer::Hello(hello), State::Greeting) => {
                self.state = State::Greeted(hello.content);
                Ok(Fact::Hello(hello))
            }
            (_, State::Greeting) | (Offer::Hello(_), _) => Err(Violation::Hello),
            (Offer::Finish { entries: 0, skipped: 0 }, State::Stream) => {
                self.state = State::StreamEnded;
                Ok(Fact::StreamEnd)
            }
            (_, State::Stream | State::StreamEnded | State::Ended) => Err(Violation::Order),
            (Offer::Entry(entry), State::Between) => self.entry(entry),
            (Offer::Begin { index, offset }, State::Between) => self.begin(index, offset),
            (Offer::Same { index }, State::Between) => match self.next_pending(index)?.expect {
                Expect::Comparison(_) => Ok(Fact::Same { index }),
                Expect::Content(_) => Err(Violation::Order),
            },
            (Offer::Differs { index }, State::Between) => match self.next_pending(index)?.expect {
                Expect::Comparison(IfDifferent::Leave) => Ok(Fact::Differs { index }),
                _ => Err(Violation::Order),
            },
            (Offer::Failed { index, fault }, State::Between) => {
                self.next_pending(index)?;
                Ok(Fact::Failed { index, fault })
            }
            (Offer::Finish { entries, skipped }, State::Between) => {
                if entries != self.next_index || !self.pending.is_empty() {
                    return Err(Violation::Order);
                }
                self.state = State::Ended;
                Ok(Fact::Finish { skipped })
            }
            (Offer::Hole(zeros), State::File(_)) => self.advance(zeros).map(|()| Fact::Hole(zeros)),
            (Offer::Failed { index, fault }, State::File(place)) if place.index == index => {
                self.state = State::Between;
                Ok(Fact::Failed { index, fault })
            }
            (Offer::End { index, hash }, State::File(place)) if place.index == index => self.end(*place, hash),
            (Offer::Failed { .. } | Offer::End { .. }, _) => Err(Violation::Index),
            _ => Err(Violation::Order),
        }
    }

    fn entry(&mut self, entry: Entry) -> Result<Fact, Violation> {
        if entry.index != self.next_index {
            return Err(Violation::Index);
        }
        if self.next_index >= ENTRIES_MAX || self.open >= OPEN_ENTRIES_MAX {
            return Err(Violation::Entries);
        }
        self.next_index += 1;
        self.open += 1;
        Ok(Fact::Entry(entry))
    }

    fn next_pending(&mut self, index: u32) -> Result<Pending, Violation> {
        self.pending.pop_front().filter(|pending| pending.index == index).ok_or(Violation::Index)
    }

    fn begin(&mut self, index: u32, offset: u64) -> Result<Fact, Violation> {
        let Pending { size, expect, .. } = self.next_pending(index)?;
        match expect {
            Expect::Comparison(IfDifferent::Leave) => return Err(Violation::Order),
            _ if offset == 0 => {}
            Expect::Content(prefixes) if prefixes.contains(&offset) => {}
            Expect::Content(_) | Expect::Comparison(IfDifferent::Send) => return Err(Violation::Offset),
        }
        self.state = State::File(Arriving { index, offset, size, unwanted: false });
        Ok(Fact::Begin { index, offset })
    }

    fn end(&mut self, place: Arriving, hash: Hash) -> Result<Fact, Violation> {
        let Arriving { index, offset: length, size, unwanted } = place;
        self.state = State::Between;
        if size.is_some_and(|size| size != length) && !unwanted {
            return Err(Violation::Length);
        }
        Ok(Fact::End { index, hash, length })
    }

    /// Moves on over content.
    fn advance(&mut self, count: u64) -> Result<(), Violation> {
        match &mut self.state {
            State::File(place) => {
                let size = place.size.unwrap_or(u64::MAX);
                place.offset = place.offset.checked_add(count).filter(|end| *end <= size).ok_or(Violation::Length)?;
                Ok(())
            }
            State::Stream => Ok(()),
            State::Greeting => Err(Violation::Hello),
            _ => Err(Violation::Order),
        }
    }
}

/// A length in memory as a length in a file: never more than 64 bits.
fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "tests/reception.rs"]
mod tests;
