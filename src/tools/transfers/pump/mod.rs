//! Joins an engine in a thread of its own to a stream of a session that lives in the loop.
//!
//! ```text
//!  loop:    session ─ copy ─▶ inbox ═╗ lock ╔═▶ recv    engine: disk, hashes, zstd
//!           session ◀─ copy ─ outbox ╝      ╚═◀ send
//!                             free buffers go round
//! ```
//!
//! Two queues and one stack of free buffers behind one lock that nobody holds while doing work. It opens no file and
//! knows no message. The engine may block, the loop never does.
//!
//! Invariants: both queues are bounded in bytes; a byte is consumed in the session when the engine is done with its buffer;
//! no wake-up is lost, because whoever goes to sleep says so under the lock and whoever changes something looks there; few
//! are made, because a sleeper is left alone until a good deal waits for it or until nothing more is coming.

mod port;

pub use port::{News, SoFar, Teller, ThreadPort};

use crate::net::reactor::Waker;
use crate::session::{Half, Session};
use crate::transfer::messages::ANSWER_BYTES;
use crate::transfer::messages::CHUNK_BYTES;
use port::{Shared, State};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// Bytes that the engine may have and not be done with. Beyond it the session keeps them, and the sender's credit ends.
const INBOX_BYTES: usize = 1024 * 1024;
/// Bytes of the engine that wait for the session; beyond it the engine waits.
const OUTBOX_BYTES: usize = 1024 * 1024;
/// So much is worth a wake-up while more is coming: one frame of the link.
const WAKE_BYTES: usize = 256 * 1024;
/// A buffer holds what the engine sends at once, or one piece of the session, and no more: a full read needs no zeroing.
const BUFFER_BYTES: usize = CHUNK_BYTES;
/// Buffers kept for later: both queues full.
const FREE_MAX: usize = (INBOX_BYTES + OUTBOX_BYTES) / BUFFER_BYTES;

const _: () = assert!(OUTBOX_BYTES >= ANSWER_BYTES);
const _: () = assert!(WAKE_BYTES <= INBOX_BYTES / 2 && WAKE_BYTES <= OUTBOX_BYTES / 2);

/// The engine's thread came to a bad end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// The loop's side. `T` is what the engine yields.
pub struct Pump<T> {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<T>>,
    stream: u32,
    /// What the session has not taken all of, and how much it has.
    leaving: Option<(Vec<u8>, usize)>,
    finished: bool,
}

impl<T: Send + 'static> Pump<T> {
    /// Starts `engine` in a thread of this name.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
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

    /// Puts bytes into the engine's hands ahead of those in the session.
    pub fn push_first(&mut self, bytes: Vec<u8>) {
        let mut state = self.shared.lock();
        // They are counted like the session's, whose credit they never used: a few hundred bytes too many, once.
        state.inbox_bytes += bytes.len();
        state.inbox.push_back(bytes);
        self.shared.wake_engine(state);
    }

    /// Moves what can be moved. True if anything was.
    pub fn pump(&mut self, now: Instant, session: &mut Session) -> bool {
        let recycled = {
            let mut state = self.shared.lock();
            state.loop_sleeps = false;
            std::mem::take(&mut state.recycled)
        };
        if recycled > 0 {
            session.stream_mut(self.stream).consume(now, recycled);
        }
        let received = self.receive(session);
        let sent = self.send(session);
        let mut state = self.shared.lock();
        state.loop_sleeps = true;
        // What the engine sent since we looked was not worth a wake-up while we were awake.
        let more = !self.finished && state.is_output_due();
        // While bytes keep coming a waiting engine is left to wait for a good deal of them.
        if state.engine_waits && (!received || state.inbox_bytes >= WAKE_BYTES) && state.has_work_for_engine() {
            self.shared.wake_engine(state);
        }
        received || sent || more
    }

    fn receive(&mut self, session: &mut Session) -> bool {
        let mut moved = false;
        loop {
            let bytes = session.stream(self.stream).readable();
            if bytes.is_empty() {
                break;
            }
            let Some(mut buffer) = self.shared.lock().room_for_input() else { return moved };
            let count = bytes.len().min(BUFFER_BYTES);
            buffer.extend_from_slice(&bytes[..count]);
            session.stream_mut(self.stream).read(count);
            let mut state = self.shared.lock();
            state.inbox_bytes += count;
            state.inbox.push_back(buffer);
            moved = true;
        }
        let broken = matches!(session.stream(self.stream).recv_half(), Half::Broken(_));
        if broken || session.stream(self.stream).is_read_out() {
            let mut state = self.shared.lock();
            moved |= !state.inbox_ended;
            state.inbox_ended = true;
            state.closed |= broken;
        }
        moved
    }

    fn send(&mut self, session: &mut Session) -> bool {
        let mut moved = false;
        {
            let mut state = self.shared.lock();
            state.session_full = false;
            if !state.is_output_due() {
                return false;
            }
        }
        loop {
            let Some((chunk, at)) = &mut self.leaving else {
                let mut state = self.shared.lock();
                match state.outbox.pop_front() {
                    Some(chunk) => self.leaving = Some((chunk, 0)),
                    None if state.engine_gone && !self.finished => {
                        self.finished = true;
                        session.stream_mut(self.stream).finish();
                        return true;
                    }
                    None => {
                        state.hurry = false;
                        return moved;
                    }
                }
                continue;
            };
            let count = session.stream_mut(self.stream).write(&chunk[*at..]);
            *at += count;
            moved |= count > 0;
            if *at < chunk.len() {
                self.shared.lock().session_full = true;
                return moved;
            }
            if let Some((chunk, _)) = self.leaving.take() {
                let mut state = self.shared.lock();
                state.outbox_bytes -= chunk.len();
                state.give_free(chunk);
                if state.engine_waits && state.outbox_bytes <= OUTBOX_BYTES / 2 {
                    self.shared.wake_engine(state);
                }
            }
        }
    }

    /// The stream is gone: the engine learns it when it next wants something of it.
    pub fn close(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.wake_engine(state);
    }

    /// What the engine wants people to know.
    pub fn take_news(&mut self) -> News {
        let mut state = self.shared.lock();
        let news = self.shared.take_news(&mut state);
        if !(news.items.is_empty() && news.left_out.is_empty()) {
            // It may have waited to tell more.
            self.shared.wake_engine(state);
        }
        news
    }

    /// Whether the engine has come to its end, and all it said is in the session.
    pub fn is_flushed(&self) -> bool {
        self.finished
    }

    /// What the engine yielded, once, when it has come to its end.
    pub fn take_end(&mut self) -> Option<Result<T, Panicked>> {
        if !self.shared.lock().engine_gone {
            return None;
        }
        // The thread has let go of its port: what is left of it takes microseconds.
        self.thread.take().map(|thread| thread.join().map_err(|_| Panicked))
    }
}

impl State {
    /// A buffer for bytes of the session, if the engine may have more.
    fn room_for_input(&mut self) -> Option<Vec<u8>> {
        (self.inbox_bytes < INBOX_BYTES).then(|| self.take_free())
    }

    fn has_work_for_engine(&self) -> bool {
        !self.inbox.is_empty() || self.inbox_ended || self.closed
    }

    /// Something should go to the session, which may have room. While the engine has more to say, a frame's worth is
    /// waited for: small frames cost the relay and both ends nearly as much as large ones.
    fn is_output_due(&self) -> bool {
        let enough = self.outbox_bytes >= WAKE_BYTES;
        let last = self.outbox_bytes > 0 && (self.hurry || self.engine_waits);
        !self.session_full && (enough || last || self.engine_gone)
    }

    fn take_free(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    fn give_free(&mut self, mut buffer: Vec<u8>) {
        if self.free.len() < FREE_MAX && buffer.capacity() >= BUFFER_BYTES {
            buffer.clear();
            self.free.push(buffer);
        }
    }
}
