//! Content that has come and is not with the sink yet: in the session, as it came, or unpacked.

use crate::session::Session;
use std::time::Instant;

/// See the module's text.
#[derive(Default)]
pub(super) struct Content {
    /// So many bytes at the front of the session's stream are for the sink.
    owed: usize,
    /// What came in packed, from `at` on.
    unpacked: Vec<u8>,
    at: usize,
    /// What that took in the session: consumed when all of it is gone.
    packed_length: usize,
}

impl Content {
    /// So many bytes at the front of the stream.
    pub(super) fn owe(&mut self, length: usize) {
        self.owed = length;
    }

    /// These bytes, which took so many in the session.
    pub(super) fn unpack(&mut self, bytes: Vec<u8>, packed_length: usize) {
        *self = Content { owed: 0, unpacked: bytes, at: 0, packed_length };
    }

    /// Whether all that came is with the sink.
    pub(super) fn is_empty(&self) -> bool {
        self.owed == 0 && !self.is_packed()
    }

    /// Whether there are bytes that came in packed.
    pub(super) fn is_packed(&self) -> bool {
        !self.unpacked.is_empty()
    }

    /// What is there for the sink by now.
    pub(super) fn bytes<'a>(&'a self, session: &'a Session, stream: u32) -> &'a [u8] {
        if self.is_packed() {
            return &self.unpacked[self.at..];
        }
        let bytes = session.stream(stream).readable();
        &bytes[..bytes.len().min(self.owed)]
    }

    /// The sink has taken so many, or they are passed over.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        session: &mut Session,
        stream: u32,
        count: usize,
    ) -> Option<Vec<u8>> {
        if !self.is_packed() {
            self.owed -= count;
            session.stream_mut(stream).read(count);
            session.stream_mut(stream).consume(now, count);
            return None;
        }
        self.at += count;
        if self.at < self.unpacked.len() {
            return None;
        }
        session.stream_mut(stream).consume(now, self.packed_length);
        Some(std::mem::take(&mut self.unpacked))
    }
}
