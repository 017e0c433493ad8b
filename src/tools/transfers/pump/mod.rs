//! Joins an engine in a thread of its own to a stream of a session that lives in the loop.
//!
//! ```text
//!  loop:    session ─▶ inbox ═╗ lock ╔═▶ recv    engine: disk, hashes, zstd
//!           session ◀─ outbox ╝      ╚═◀ send
//! ```
//!
//! Two queues behind one lock that nobody holds while doing work. What is in them are the session's own buffers, so that a
//! byte is not copied on the way; they go round. It opens no file and knows no message. The engine may block, the loop never
//! does.
//!
//! Invariants: both queues are bounded in memory; a byte is consumed in the session when the engine is done with its buffer;
//! no wake-up is lost, because whoever goes to sleep says so under the lock and whoever changes something looks there; few
//! are made, because a sleeper is left alone until a good deal waits for it or until nothing more is coming.

mod news;
mod port;
mod shared;
mod teller;

pub(crate) use news::{News, SoFar};
pub(crate) use port::ThreadPort;
pub(crate) use teller::Teller;

use crate::net::reactor::Waker;
use crate::session::{Half, Parcel, Session};
use crate::transfer::messages::ANSWER_BYTES;
use shared::Shared;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// Buffers that the engine may have and not be done with, a megabyte. Beyond it the session keeps what comes, where small
/// pieces share a buffer, and the sender's credit ends.
const INBOX_PARCELS_MAX: usize = 16;
/// Bytes of the engine that wait for the session; beyond it the engine waits.
const OUTBOX_BYTES: usize = 1024 * 1024;
/// So much is worth a wake-up while more is coming: one frame of the link.
const WAKE_BYTES: usize = 256 * 1024;

const _: () = assert!(OUTBOX_BYTES >= ANSWER_BYTES);
const _: () = assert!(WAKE_BYTES <= INBOX_PARCELS_MAX / 2 * Parcel::BYTES_MAX && WAKE_BYTES <= OUTBOX_BYTES / 2);

/// The engine's thread came to a bad end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// The loop's side. `T` is what the engine yields.
pub(crate) struct Pump<T> {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<T>>,
    stream: u32,
    /// What the session has not taken all of.
    leaving: Option<Parcel>,
    finished: bool,
}

impl<T: Send + 'static> Pump<T> {
    /// Starts `engine` in a thread of this name.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        name: &str,
        stream: u32,
        waker: &Arc<Waker>,
        engine: impl FnOnce(&mut ThreadPort, &mut Teller) -> T + Send + 'static,
    ) -> io::Result<Pump<T>> {
        let shared = Arc::new(Shared::new(Arc::clone(waker)));
        let mut port = ThreadPort::new(Arc::clone(&shared));
        let mut teller = Teller::new(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let end = engine(&mut port, &mut teller);
            drop(port);
            end
        })?;
        Ok(Pump { shared, thread: Some(thread), stream, leaving: None, finished: false })
    }

    /// Moves what can be moved. True if anything was.
    pub(crate) fn pump(&mut self, now: Instant, session: &mut Session) -> bool {
        let room = self.take_back(now, session);
        let received = self.receive(session, room);
        let sent = self.send(session);
        let mut state = self.shared.lock();
        state.loop_sleeps = true;
        // What the engine sent since we looked was not worth a wake-up while we were awake.
        let more = !self.finished && state.is_output_due();
        // While bytes keep coming a waiting engine is left to wait for a good deal of them.
        if state.engine_waits && (!received || state.inbox.bytes >= WAKE_BYTES) && state.has_work_for_engine() {
            self.shared.wake_engine(state);
        }
        received || sent || more
    }

    /// Consumes what the engine is done with. So many buffers more it may have.
    fn take_back(&mut self, now: Instant, session: &mut Session) -> usize {
        let mut state = self.shared.lock();
        state.loop_sleeps = false;
        let (spent, bytes) = (std::mem::take(&mut state.inbox.spent), std::mem::take(&mut state.inbox.spent_bytes));
        let room = state.inbox.room();
        drop(state);
        for parcel in spent {
            session.stream_mut(self.stream).give_back(parcel);
        }
        if bytes > 0 {
            session.stream_mut(self.stream).consume(now, bytes);
        }
        room
    }

    fn receive(&mut self, session: &mut Session, room: usize) -> bool {
        let mut came = Vec::new();
        while came.len() < room {
            let Some(parcel) = session.stream_mut(self.stream).take_parcel() else { break };
            came.push(parcel);
        }
        let broken = matches!(session.stream(self.stream).recv_half(), Half::Broken(_));
        let ended = broken || session.stream(self.stream).is_read_out();
        let mut moved = !came.is_empty();
        if moved || ended {
            let mut state = self.shared.lock();
            came.into_iter().for_each(|parcel| state.inbox.put(parcel));
            moved |= ended && !state.inbox.ended;
            state.inbox.ended |= ended;
            state.closed |= broken;
        }
        moved
    }

    fn send(&mut self, session: &mut Session) -> bool {
        let mut moved = false;
        {
            let mut state = self.shared.lock();
            state.outbox.session_full = false;
            if !state.is_output_due() {
                return false;
            }
        }
        loop {
            let Some(parcel) = &mut self.leaving else {
                let mut state = self.shared.lock();
                self.leaving = state.outbox.parcels.pop_front();
                match self.leaving {
                    Some(_) => continue,
                    None if state.engine_gone && !self.finished => {
                        self.finished = true;
                        session.stream_mut(self.stream).finish();
                        return true;
                    }
                    None => {
                        state.outbox.hurry = false;
                        return moved;
                    }
                }
            };
            let count = session.stream_mut(self.stream).write_parcel(parcel);
            moved |= count > 0;
            let empty = if parcel.is_empty() { self.leaving.take() } else { None };
            let mut state = self.shared.lock();
            state.outbox.bytes -= count;
            let Some(empty) = empty else {
                state.outbox.session_full = true;
                return moved;
            };
            state.outbox.give_free(empty);
            if state.engine_waits && state.outbox.bytes <= OUTBOX_BYTES / 2 {
                self.shared.wake_engine(state);
            }
        }
    }

    /// The stream is gone: the engine learns it when it next wants something of it.
    pub(crate) fn close(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.wake_engine(state);
    }

    /// What the engine wants people to know.
    pub(crate) fn take_news(&mut self) -> News {
        let mut state = self.shared.lock();
        let news = self.shared.take_news(&mut state);
        if !(news.items.is_empty() && news.left_out.is_empty()) {
            // It may have waited to tell more.
            self.shared.wake_engine(state);
        }
        news
    }

    /// Whether the engine goes on when the peer says or takes something, and not before; or only its last words have yet to
    /// be taken.
    pub(crate) fn waits_for_peer(&self) -> bool {
        let state = self.shared.lock();
        state.engine_waits || state.engine_gone
    }

    /// Whether the engine has come to its end, and all it said is in the session.
    pub(crate) fn is_flushed(&self) -> bool {
        self.finished
    }

    /// What the engine yielded, once, when it has come to its end.
    pub(crate) fn take_end(&mut self) -> Option<Result<T, Panicked>> {
        if !self.shared.lock().engine_gone {
            return None;
        }
        // The thread has let go of its port: what is left of it takes microseconds.
        self.thread.take().map(|thread| thread.join().map_err(|_| Panicked))
    }
}
