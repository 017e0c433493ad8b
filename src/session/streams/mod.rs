//! The streams of a session, and which of them wait for what.
//!
//! [`Streams::get`] yields one stream together with the queues it may stand in: one look-up, whatever is done with it then.

mod entry;
pub(super) mod recv;
pub(super) mod send;

use super::Role;
use super::credit::STREAM_WINDOW_START;
use super::violation::Violation;
use crate::lane::{Pool, Record};
use entry::Entry;
use foldhash::HashMap;
use recv::{Progress, RecvHalf};
use send::SendHalf;
use std::collections::VecDeque;
use std::time::Instant;

/// Streams a peer may have open at once.
pub const STREAMS_MAX: u32 = 8192;
/// Pieces that wait for what lies before them, over all streams: a megabyte of table. In order they never wait.
const EARLY_PIECES_MAX: usize = 16 * 1024;

/// How one direction of a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Bytes may still pass.
    Open,
    /// Sending: the peer's application has put all of it where it belongs. Receiving: ended, and all of it was consumed.
    Done,
    /// Given up, by a close code: by the peer's RESET when receiving, by the peer's STOP when sending.
    Broken(u16),
}

/// One stream.
pub(super) struct StreamState {
    pub(super) send: SendHalf,
    pub(super) recv: RecvHalf,
    pub(super) is_ours: bool,
    /// The application is done with it.
    pub(super) is_released: bool,
    /// It waits for its turn to send.
    is_queued: bool,
    /// The application is to look at it.
    is_touched: bool,
    /// The peer is to hear how far its receiving half is.
    is_news: bool,
    /// The peer has heard that all of it was consumed.
    is_end_told: bool,
}

impl StreamState {
    /// Nothing more comes of either direction.
    fn is_over(&self) -> bool {
        self.send.is_over() && self.recv.is_over()
    }
}

/// Streams with something to send, in the order of their turns: brief ones first.
#[derive(Default)]
struct Turns {
    brief: VecDeque<u32>,
    bulk: VecDeque<u32>,
}

impl Turns {
    fn push_back(&mut self, id: u32, send: &SendHalf) {
        if send.is_brief() { self.brief.push_back(id) } else { self.bulk.push_back(id) }
    }

    fn push_front(&mut self, id: u32, send: &SendHalf) {
        if send.is_brief() { self.brief.push_front(id) } else { self.bulk.push_front(id) }
    }

    fn pop(&mut self) -> Option<u32> {
        self.brief.pop_front().or_else(|| self.bulk.pop_front())
    }
}

/// Streams of whose receiving half the peer is to hear.
#[derive(Default)]
struct News {
    queue: VecDeque<u32>,
    /// When it is worth a record of its own.
    due_at: Option<Instant>,
    is_due: bool,
}

/// A stream with a record to send.
pub(super) struct Sendable {
    pub(super) id: u32,
    /// Its data.
    pub(super) bytes: u64,
}

pub(super) struct Streams {
    known: HashMap<u32, StreamState>,
    next_ours: u32,
    next_theirs: u32,
    turns: Turns,
    touched: VecDeque<u32>,
    news: News,
    early_pieces: usize,
}

impl Streams {
    pub(super) fn new(role: Role) -> Streams {
        let first = if role == Role::Initiator { 0 } else { 1 };
        Streams {
            known: HashMap::default(),
            next_ours: first,
            next_theirs: 1 - first,
            turns: Turns::default(),
            touched: VecDeque::new(),
            news: News::default(),
            early_pieces: 0,
        }
    }

    /// One stream, to be looked at.
    pub(super) fn peek(&self, id: u32) -> Option<&StreamState> {
        self.known.get(&id)
    }

    /// One stream, to work with.
    pub(super) fn get(&mut self, id: u32) -> Option<Entry<'_>> {
        let stream = self.known.get_mut(&id)?;
        let (turns, touched, news) = (&mut self.turns, &mut self.touched, &mut self.news);
        Some(Entry { id, stream, turns, touched, news, early_pieces: &mut self.early_pieces })
    }

    /// Streams that are still remembered.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    pub(super) fn is_known(&self, id: u32) -> bool {
        self.known.contains_key(&id)
    }

    /// Whether there ever was such a stream.
    pub(super) fn was_opened(&self, id: u32) -> bool {
        id < if id % 2 == self.next_theirs % 2 { self.next_theirs } else { self.next_ours }
    }

    /// As many are known as one end may have open.
    pub(super) fn are_many(&self) -> bool {
        self.known.len() >= usize::try_from(STREAMS_MAX).unwrap_or(usize::MAX)
    }

    /// A stream of ours. Yields its number.
    pub(super) fn open(&mut self, now: Instant) -> u32 {
        let id = self.next_ours;
        self.next_ours += 2;
        self.insert(now, id, true);
        id
    }

    /// The peer opens a stream. Yields whether it is news: it may have been sent again.
    pub(super) fn handle_open(&mut self, now: Instant, id: u32) -> Result<bool, Violation> {
        if id % 2 != self.next_theirs % 2 {
            return Err(Violation::OurNumber);
        }
        if id < self.next_theirs {
            return Ok(false);
        }
        if id != self.next_theirs {
            return Err(Violation::Skipped);
        }
        self.next_theirs += 2;
        if self.are_theirs_too_many() {
            return Err(Violation::TooManyStreams);
        }
        self.insert(now, id, false);
        Ok(true)
    }

    fn insert(&mut self, now: Instant, id: u32, is_ours: bool) {
        let stream = StreamState {
            send: SendHalf::new(id, STREAM_WINDOW_START),
            recv: RecvHalf::new(now),
            is_ours,
            is_released: false,
            is_queued: false,
            is_touched: false,
            is_news: false,
            is_end_told: false,
        };
        self.known.insert(id, stream);
    }

    /// Those that are over in both directions count no more, though our application may not have looked at them yet: the
    /// peer has forgotten them.
    fn are_theirs_too_many(&self) -> bool {
        let most = usize::try_from(STREAMS_MAX).unwrap_or(usize::MAX);
        // They are only counted when there may be as many.
        self.are_many() && self.known.values().filter(|stream| !stream.is_ours && !stream.is_over()).count() >= most
    }

    /// Forgets a stream that is over, once the application is done with it.
    pub(super) fn reap(&mut self, id: u32) {
        if self.known.get(&id).is_some_and(|stream| stream.is_released && stream.is_over()) {
            self.known.remove(&id);
        }
    }

    /// The peer has cut its streams into more pieces than an honest one has reason to.
    pub(super) fn are_scattered(&self) -> bool {
        self.early_pieces > EARLY_PIECES_MAX
    }

    /// A stream with news for the application since it was last asked for.
    pub(super) fn poll_touched(&mut self) -> Option<u32> {
        let id = self.touched.pop_front()?;
        if let Some(stream) = self.known.get_mut(&id) {
            stream.is_touched = false;
        }
        Some(id)
    }

    /// There is room again: whoever was refused may write on.
    pub(super) fn wake_writers(&mut self) {
        for (id, stream) in &mut self.known {
            if stream.send.take_room_news() && !std::mem::replace(&mut stream.is_touched, true) {
                self.touched.push_back(*id);
            }
        }
    }

    /// Drops what no lane has taken yet.
    pub(super) fn reset_all(&mut self, pool: &mut Pool) {
        for stream in self.known.values_mut() {
            stream.send.reset(pool);
        }
    }

    /// Some stream could send more.
    pub(super) fn have_more_to_send(&self) -> bool {
        self.known.values().any(|stream| stream.send.next_bytes().is_some())
    }

    /// Some stream waits for its turn.
    pub(super) fn are_queued(&self) -> bool {
        !self.turns.brief.is_empty() || !self.turns.bulk.is_empty()
    }

    /// How many wait for their turn, or to be told of.
    #[cfg(debug_assertions)]
    pub(super) fn waiting(&self) -> usize {
        self.turns.brief.len() + self.turns.bulk.len() + self.news.queue.len()
    }

    /// The stream whose turn it is. It leaves the queue.
    pub(super) fn next_turn(&mut self) -> Option<Sendable> {
        loop {
            let id = self.turns.pop()?;
            let Some(stream) = self.known.get_mut(&id) else { continue };
            stream.is_queued = false;
            if let Some(bytes) = stream.send.next_bytes() {
                return Some(Sendable { id, bytes });
            }
        }
    }

    /// It could not go: it is the next one again.
    pub(super) fn put_back(&mut self, turn: &Sendable) {
        if let Some(stream) = self.known.get_mut(&turn.id) {
            stream.is_queued = true;
            self.turns.push_front(turn.id, &stream.send);
        }
    }

    /// It goes: takes its record, and puts the stream behind the others if it has more.
    pub(super) fn take_record(&mut self, pool: &mut Pool, turn: &Sendable) -> Option<Record> {
        let mut stream = self.get(turn.id)?;
        let record = stream.send.take(pool);
        let has_room = stream.send.take_room_news();
        stream.queue();
        if has_room {
            stream.touch();
        }
        Some(record)
    }

    /// A planted defect: bulk ahead of what is brief.
    pub(super) fn plant_bulk_first(&mut self) {
        std::mem::swap(&mut self.turns.brief, &mut self.turns.bulk);
    }

    /// The peer hears at once how far every receiving half is, because it may have missed it.
    pub(super) fn tell_all(&mut self, now: Instant) {
        let ids: Vec<u32> = self.known.keys().copied().collect();
        for id in ids {
            if let Some(mut stream) = self.get(id) {
                stream.recv.hurry();
                stream.add_news(now);
            }
        }
    }

    /// Whether news is worth a record of its own.
    pub(super) fn is_news_due(&self) -> bool {
        self.news.is_due
    }

    /// When it will be.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.news.due_at
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.news.is_due |= self.news.due_at.take_if(|at| *at <= now).is_some();
    }

    /// The next stream of which the peer is to hear, and what. Counts as told.
    pub(super) fn next_news(&mut self) -> Option<(u32, Progress)> {
        while let Some(id) = self.news.queue.pop_front() {
            if let Some(stream) = self.known.get_mut(&id) {
                stream.is_news = false;
                if stream.recv.has_news() {
                    return Some((id, stream.recv.report()));
                }
            }
        }
        self.note_news_told();
        None
    }

    /// Nothing is due when nothing is left to tell.
    pub(super) fn note_news_told(&mut self) {
        if self.news.queue.is_empty() {
            self.news.due_at = None;
            self.news.is_due = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_peer_come_in_their_order() {
        let now = Instant::now();
        let mut streams = Streams::new(Role::Responder);
        assert_eq!((streams.open(now), streams.open(now)), (1, 3));
        assert_eq!(streams.handle_open(now, 0), Ok(true));
        assert_eq!(streams.handle_open(now, 0), Ok(false), "sent again");
        assert_eq!(streams.handle_open(now, 1), Err(Violation::OurNumber));
        assert_eq!(streams.handle_open(now, 4), Err(Violation::Skipped));
        assert_eq!(streams.handle_open(now, 2), Ok(true));
        let opened = [0, 1, 2, 3, 4, 5].map(|id| streams.was_opened(id));
        assert_eq!((opened, streams.count()), ([true, true, true, true, false, false], 4));
    }

    fn write(streams: &mut Streams, pool: &mut Pool, id: u32, count: usize) {
        let mut left = count;
        while left > 0 {
            let some = streams.get(id).unwrap().into_room(pool).len().min(left);
            assert!(some > 0, "there is room");
            let mut stream = streams.get(id).unwrap();
            stream.send.commit(some);
            stream.queue();
            left -= some;
        }
    }

    #[test]
    fn brief_streams_go_ahead_of_bulk_and_bulk_takes_turns() {
        let (now, mut pool) = (Instant::now(), Pool::default());
        let mut streams = Streams::new(Role::Initiator);
        let ids = [(); 3].map(|()| streams.open(now));
        write(&mut streams, &mut pool, ids[0], 150_000);
        write(&mut streams, &mut pool, ids[1], 150_000);
        let mut order = Vec::new();
        let mut turns = 0..100;
        while let Some(turn) = streams.next_turn() {
            assert!(turns.next().is_some(), "there is no end of turns");
            order.push(turn.id);
            streams.take_record(&mut pool, &turn).unwrap();
            if order.len() == 2 {
                write(&mut streams, &mut pool, ids[2], 10);
            }
        }
        assert_eq!(order, [0, 2, 4, 0, 2, 0, 2]);
        assert!(!streams.are_queued());
    }

    #[test]
    fn a_turn_that_is_put_back_is_the_next_one() {
        let (now, mut pool) = (Instant::now(), Pool::default());
        let mut streams = Streams::new(Role::Initiator);
        for _ in 0..2 {
            let id = streams.open(now);
            write(&mut streams, &mut pool, id, 100);
        }
        let turn = streams.next_turn().unwrap();
        streams.put_back(&turn);
        assert_eq!(streams.next_turn().map(|turn| (turn.id, turn.bytes)), Some((turn.id, 100)));
    }

    #[test]
    fn a_stream_is_forgotten_when_it_is_over_and_released() {
        let (now, mut pool) = (Instant::now(), Pool::default());
        let mut streams = Streams::new(Role::Initiator);
        let id = streams.open(now);
        streams.get(id).unwrap().is_released = true;
        streams.reap(id);
        assert!(streams.is_known(id));
        let mut stream = streams.get(id).unwrap();
        stream.send.reset(&mut pool);
        stream.handle_reset(&mut pool, 1, 0).unwrap();
        streams.reap(id);
        assert!(!streams.is_known(id) && streams.was_opened(id));
    }
}
