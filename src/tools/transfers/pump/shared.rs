//! What both sides share, and who is woken when.

use super::news::{News, SoFar};
use super::{INBOX_PARCELS_MAX, OUTBOX_BYTES, WAKE_BYTES};
use crate::net::reactor::Waker;
use crate::session::Parcel;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Empty buffers kept for later: the outbox full.
const FREE_MAX: usize = OUTBOX_BYTES / Parcel::BYTES_MAX;

/// What came for the engine.
#[derive(Default)]
pub(super) struct Inbox {
    pub parcels: VecDeque<Parcel>,
    /// Those here, and those that the engine has.
    pub held: usize,
    /// Bytes in them.
    pub bytes: usize,
    pub ended: bool,
    /// Those that the engine is done with, and their bytes, of which the session does not know.
    pub spent: Vec<Parcel>,
    pub spent_bytes: usize,
}

impl Inbox {
    /// So many more the engine may have.
    pub(super) fn room(&self) -> usize {
        INBOX_PARCELS_MAX.saturating_sub(self.held)
    }

    pub(super) fn put(&mut self, parcel: Parcel) {
        self.held += 1;
        self.bytes += parcel.len();
        self.parcels.push_back(parcel);
    }

    /// The engine is done with one.
    pub(super) fn take_back(&mut self, parcel: Parcel) {
        self.held = self.held.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(parcel.len());
        self.spent_bytes += parcel.len();
        self.spent.push(parcel);
    }
}

/// What the engine sent.
#[derive(Default)]
pub(super) struct Outbox {
    pub parcels: VecDeque<Parcel>,
    /// Bytes that the engine sent and the session has not taken.
    pub bytes: usize,
    free: Vec<Parcel>,
    /// What waits for the session is the last for now.
    pub hurry: bool,
    /// The session took no more when it was last asked: what waits for it is no news to the loop.
    pub session_full: bool,
}

impl Outbox {
    pub(super) fn take_free(&mut self) -> Parcel {
        self.free.pop().unwrap_or_default()
    }

    pub(super) fn give_free(&mut self, mut parcel: Parcel) {
        if self.free.len() < FREE_MAX {
            parcel.clear();
            self.free.push(parcel);
        }
    }
}

#[derive(Default)]
pub(super) struct State {
    pub inbox: Inbox,
    pub outbox: Outbox,
    pub closed: bool,
    pub engine_gone: bool,
    pub engine_waits: bool,
    pub loop_sleeps: bool,
    pub news: News,
    pub so_far: SoFar,
}

impl State {
    pub(super) fn has_work_for_engine(&self) -> bool {
        !self.inbox.parcels.is_empty() || self.inbox.ended || self.closed
    }

    /// Something should go to the session, which may have room. While the engine has more to say, a frame's worth is
    /// waited for: small frames cost the relay and both ends nearly as much as large ones.
    pub(super) fn is_output_due(&self) -> bool {
        let enough = self.outbox.bytes >= WAKE_BYTES;
        let last = self.outbox.bytes > 0 && (self.outbox.hurry || self.engine_waits);
        !self.outbox.session_full && (enough || last || self.engine_gone)
    }
}

pub(super) struct Shared {
    state: Mutex<State>,
    pub changed: Condvar,
    /// Bytes of content that were moved: they change more often than the lock is worth.
    pub moved: AtomicU64,
    waker: Arc<Waker>,
}

impl Shared {
    pub(super) fn new(waker: Arc<Waker>) -> Shared {
        Shared { state: Mutex::default(), changed: Condvar::new(), moved: AtomicU64::new(0), waker }
    }

    /// What there is to tell, once, and what it has come to.
    pub(super) fn take_news(&self, state: &mut State) -> News {
        let so_far = SoFar { bytes: self.moved.load(Ordering::Relaxed), ..state.so_far };
        News { so_far, ..std::mem::take(&mut state.news) }
    }

    /// Nobody leaves the state half changed, so one who panicked elsewhere changes nothing.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the state first, which the engine wants as soon as it is awake.
    pub(super) fn wake_engine(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.engine_waits) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Lets go of the state first, which the loop wants as soon as it is awake.
    pub(super) fn wake_loop(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.loop_sleeps) {
            drop(state);
            // It fails only with the event queue itself, and then the loop has ended.
            let _ = self.waker.wake();
        }
    }

    /// Sleeps until something changed, having handed over everything there is.
    pub(super) fn wait<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        most: Option<Duration>,
    ) -> MutexGuard<'s, State> {
        state.engine_waits = true;
        if state.loop_sleeps && (state.inbox.spent_bytes > 0 || state.is_output_due()) {
            self.wake_loop(state);
            state = self.lock();
            if !std::mem::take(&mut state.engine_waits) {
                return state; // somebody was quicker than we are
            }
            state.engine_waits = true;
        }
        let mut state = match most {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
        };
        state.engine_waits = false;
        state
    }
}
