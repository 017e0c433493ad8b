//! One lane: records over an ordered byte pipe, and what must be sent again should the pipe break.
//!
//! ```text
//! record on the wire: length u16 (big-endian) ‖ ciphertext and tag;   the counter is implicit
//! sent ───────────────────────────────▶ n
//!        acked ≤ sent;  (acked, sent] is retained, reliable records only
//! ```

mod buffers;
mod first;

pub use buffers::BUFFER_BYTES;
pub(crate) use buffers::{COPY_BELOW, Piece, Pool, Record};
pub use first::SessionSecret;

use crate::link::heartbeat::{Heartbeat, Side};
use crate::noise::{OpenError, Opener, SealError, Sealer};
use crate::wire::limits::{RECORD_PLAINTEXT_MAX, RECORD_PREFIX_BYTES, RECORD_WIRE_MAX, TAG_BYTES};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Records taken before the other side is told without waiting for a reason to write: 2 MiB in bulk, half of what
/// a sender may always retain.
const ACK_EVERY: u64 = 32;
/// Longest wait before the other side is told: long enough to ride on an answer, short enough to free its buffers.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(25);

/// The plaintext of a sent record, kept until the peer says that it took it.
pub(crate) enum Retained {
    Large(Record),
    Small(Box<[u8]>),
}

impl Retained {
    pub fn new(pool: &mut Pool, record: Record) -> Retained {
        if record.length < COPY_BELOW {
            let small = record.buffer[..record.length].into();
            pool.give(record.buffer);
            Retained::Small(small)
        } else {
            Retained::Large(record)
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Retained::Large(record) => &record.buffer[..record.length],
            Retained::Small(bytes) => bytes,
        }
    }

    /// Memory it holds.
    pub fn held(&self) -> usize {
        match self {
            Retained::Large(_) => BUFFER_BYTES,
            Retained::Small(bytes) => bytes.len() + size_of::<Self>(),
        }
    }

    pub fn release(self, pool: &mut Pool) {
        if let Retained::Large(record) = self {
            pool.give(record.buffer);
        }
    }
}

/// Why a lane is of no more use. The session lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneError {
    /// A record did not authenticate.
    Unauthentic,
    /// A record's length cannot be.
    Length,
    /// The key has sealed as much as it may.
    Exhausted,
}

impl From<OpenError> for LaneError {
    fn from(_: OpenError) -> LaneError {
        LaneError::Unauthentic
    }
}

impl From<SealError> for LaneError {
    fn from(_: SealError) -> LaneError {
        LaneError::Exhausted
    }
}

pub(crate) struct Lane {
    pub id: u32,
    pub born: Instant,
    pub is_old: bool,
    sealer: Sealer,
    opener: Opener,
    partial: Vec<u8>,
    sent: u64,
    retained: VecDeque<(u64, Retained)>,
    pub taken: u64,
    told: u64,
    ack_at: Option<Instant>,
    ack_due: bool,
    pub heartbeat: Heartbeat,
    pub pong: Option<u32>,
    pub ping_due: bool,
    pub ping_sent: Option<(u32, Instant)>,
    /// Whether a record of the peer came in: a responder moves nothing to a lane before.
    pub confirmed: bool,
}

impl Lane {
    pub fn new(now: Instant, id: u32, keys: (Sealer, Opener), dead_time: Duration) -> Lane {
        let mut heartbeat = Heartbeat::new(now, Side::Client, dead_time);
        heartbeat.set_busy(now, true);
        Lane {
            id,
            born: now,
            is_old: false,
            sealer: keys.0,
            opener: keys.1,
            partial: Vec::new(),
            sent: 0,
            retained: VecDeque::new(),
            taken: 0,
            told: 0,
            ack_at: None,
            ack_due: false,
            heartbeat,
            pong: None,
            ping_due: false,
            ping_sent: None,
            confirmed: false,
        }
    }

    /// Records of the busier direction.
    pub fn records(&self) -> u64 {
        self.sent.max(self.taken)
    }

    /// Seals one record to the end of `out`.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), LaneError> {
        let length = u16::try_from(plaintext.len() + TAG_BYTES).map_err(|_| LaneError::Length)?;
        out.extend_from_slice(&length.to_be_bytes());
        self.sealer.seal_into(plaintext, out)?;
        self.sent += 1;
        Ok(())
    }

    /// Remembers the record sealed last.
    pub fn retain(&mut self, record: Retained) {
        self.retained.push_back((self.sent, record));
    }

    /// The peer has taken `records` of this lane. Yields the memory that became free.
    pub fn handle_ack(&mut self, pool: &mut Pool, records: u64) -> Result<usize, &'static str> {
        if records > self.sent {
            return Err("acknowledged what was never sent");
        }
        let mut freed = 0;
        while self.retained.front().is_some_and(|(number, _)| *number <= records) {
            if let Some((_, record)) = self.retained.pop_front() {
                freed += record.held();
                record.release(pool);
            }
        }
        Ok(freed)
    }

    /// What was not acknowledged, in order.
    pub fn into_retained(self) -> VecDeque<(u64, Retained)> {
        self.retained
    }

    /// Opens the record at the front of `input` into `plaintext`, which has [`BUFFER_BYTES`]. Yields the bytes used and,
    /// if a record came to its end, its length. A record that lies whole in the input is opened where it lies.
    pub fn open(&mut self, input: &[u8], plaintext: &mut [u8]) -> Result<(usize, Option<usize>), LaneError> {
        if self.partial.is_empty() {
            if let Some(length) = wire_length(input)? {
                if let Some(sealed) = input.get(RECORD_PREFIX_BYTES..length) {
                    let opened = self.opener.open(sealed, plaintext)?;
                    self.taken += 1;
                    return Ok((length, Some(opened)));
                }
            }
        }
        self.open_gathered(input, plaintext)
    }

    fn open_gathered(&mut self, input: &[u8], plaintext: &mut [u8]) -> Result<(usize, Option<usize>), LaneError> {
        let mut used = 0;
        loop {
            let wanted = wire_length(&self.partial)?.unwrap_or(RECORD_PREFIX_BYTES);
            if wanted > RECORD_PREFIX_BYTES && self.partial.len() == wanted {
                break;
            }
            let here = (wanted - self.partial.len()).min(input.len() - used);
            if here == 0 {
                return Ok((used, None));
            }
            self.partial.extend_from_slice(&input[used..used + here]);
            used += here;
        }
        let opened = self.opener.open(&self.partial[RECORD_PREFIX_BYTES..], plaintext)?;
        self.partial.clear();
        self.taken += 1;
        Ok((used, Some(opened)))
    }

    /// A record with something to acknowledge came in.
    pub fn handle_taken(&mut self, now: Instant) {
        self.ack_at.get_or_insert(now + ACK_DELAY);
        self.ack_due |= self.taken - self.told >= ACK_EVERY;
    }

    /// The peer waits for this acknowledgement.
    pub fn hurry_ack(&mut self) {
        self.ack_due = true;
    }

    /// When [`Lane::handle_timeout`] has something to do.
    pub fn ack_at(&self) -> Option<Instant> {
        self.ack_at
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ack_at.take_if(|at| *at <= now).is_some() {
            self.ack_due = true;
        }
    }

    pub fn ack_due(&self) -> bool {
        self.ack_due
    }

    pub fn has_ack_news(&self) -> bool {
        self.ack_due || self.ack_at.is_some()
    }

    pub fn handle_told(&mut self) {
        self.told = self.taken;
        self.ack_at = None;
        self.ack_due = false;
    }

    pub fn everything_acked(&self) -> bool {
        self.retained.is_empty()
    }
}

/// Length of the record that begins `bytes`, prefix included; None while the prefix is incomplete.
fn wire_length(bytes: &[u8]) -> Result<Option<usize>, LaneError> {
    let Some(prefix) = bytes.first_chunk::<RECORD_PREFIX_BYTES>() else { return Ok(None) };
    let sealed = usize::from(u16::from_be_bytes(*prefix));
    if !(TAG_BYTES + 1..=RECORD_PLAINTEXT_MAX + TAG_BYTES).contains(&sealed) {
        return Err(LaneError::Length);
    }
    Ok(Some(RECORD_PREFIX_BYTES + sealed))
}

/// Wire bytes of a record with `plaintext` bytes.
pub(crate) fn wire_bytes(plaintext: usize) -> usize {
    RECORD_PREFIX_BYTES + plaintext + TAG_BYTES
}

const _: () = assert!(BUFFER_BYTES + RECORD_PREFIX_BYTES == RECORD_WIRE_MAX);
