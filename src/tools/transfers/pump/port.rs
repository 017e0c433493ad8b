//! The stream as an engine sees it, in its thread.

use super::shared::{Shared, State};
use super::{OUTBOX_BYTES, WAKE_BYTES};
use crate::session::Parcel;
use crate::tools::transfers::engine::{Port, TryRecv};
use crate::transfer::outcome::PortClosed;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Chunks shorter than this are copied behind the one before, so that many small answers do not hold a buffer each.
const SMALL_BYTES: usize = 8 * 1024;
/// After a chunk of at least so many bytes more is to come; a shorter one is the last for now.
const FULL_BYTES: usize = Parcel::BYTES_MAX - 2 * 1024;

/// See the module's text.
pub(crate) struct ThreadPort {
    shared: Arc<Shared>,
}

impl ThreadPort {
    pub(super) fn new(shared: Arc<Shared>) -> ThreadPort {
        ThreadPort { shared }
    }
}

impl Drop for ThreadPort {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.engine_gone = true;
        self.shared.wake_loop(state);
    }
}

impl Port for ThreadPort {
    fn recv(&mut self) -> Result<Option<Parcel>, PortClosed> {
        let mut state = self.shared.lock();
        loop {
            match next(&mut state)? {
                TryRecv::Bytes(chunk) => return Ok(Some(chunk)),
                TryRecv::Finished => return Ok(None),
                TryRecv::Empty => state = self.shared.wait(state, None),
            }
        }
    }

    fn try_recv(&mut self) -> Result<TryRecv, PortClosed> {
        next(&mut self.shared.lock())
    }

    fn recv_within(&mut self, wait: Duration) -> Result<TryRecv, PortClosed> {
        let deadline = Instant::now() + wait;
        let mut state = self.shared.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match next(&mut state)? {
                TryRecv::Empty if !left.is_zero() => state = self.shared.wait(state, Some(left)),
                other => return Ok(other),
            }
        }
    }

    fn send(&mut self, chunk: Parcel) -> Result<(), PortClosed> {
        let mut state = self.shared.lock();
        while state.outbox.bytes >= OUTBOX_BYTES && !state.closed {
            state = self.shared.wait(state, None);
        }
        if state.closed {
            return Err(PortClosed);
        }
        let (length, outbox) = (chunk.len(), &mut state.outbox);
        outbox.bytes += length;
        match outbox.parcels.back_mut() {
            Some(last) if length < SMALL_BYTES && last.vacancy() >= length => {
                last.push(&chunk);
                outbox.give_free(chunk);
            }
            _ => outbox.parcels.push_back(chunk),
        }
        outbox.hurry |= length < FULL_BYTES;
        if state.is_output_due() {
            self.shared.wake_loop(state);
        }
        Ok(())
    }

    fn recycle(&mut self, chunk: Parcel) {
        let mut state = self.shared.lock();
        state.inbox.take_back(chunk);
        if state.inbox.spent_bytes >= WAKE_BYTES {
            self.shared.wake_loop(state);
        }
    }

    fn buffer(&mut self) -> Parcel {
        self.shared.lock().outbox.take_free()
    }
}

/// What has come is delivered even if nothing more will.
fn next(state: &mut State) -> Result<TryRecv, PortClosed> {
    match state.inbox.parcels.pop_front() {
        Some(chunk) => Ok(TryRecv::Bytes(chunk)),
        None if state.closed => Err(PortClosed),
        None if state.inbox.ended => Ok(TryRecv::Finished),
        None => Ok(TryRecv::Empty),
    }
}
