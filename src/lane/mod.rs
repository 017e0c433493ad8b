//! Lanes: sealed channels over ordered pipes that may break at any time, and what must be sent again when one does.
//!
//! ```text
//! record on the pipe: length u16 (big-endian) ‖ ciphertext and tag;   the counter is implicit
//! sent ───────────────────────────────▶ n
//!        acknowledged ≤ sent;  (acknowledged, sent] is retained, reliable records only
//! ```
//!
//! | file | what |
//! |---|---|
//! | `record` | sealing and opening |
//! | `ledger` | what was sent and not acknowledged, on live lanes and on dead ones; what was taken |
//! | `path` | pings and pongs: whether the other end is there, and how far away |
//! | `lanes` | the lanes of one session, by number |
//! | `first` | what the handshake of the first lane leaves for the later ones |
//! | `join` | how a later lane comes up |
//! | `buffers` | record-sized memory, used again |
//!
//! A lane does not know what a record means, what a relay is, or what time it is.
//!
//! Invariants: record *n* opens only after records 1 to *n* − 1, so one count in each direction says what arrived; what is
//! retained leaves the ledger only by a count from the peer; nothing a pipe delivers counts before it authenticated.

mod buffers;
mod first;
mod join;
mod lanes;
mod ledger;
mod path;
mod record;
#[cfg(test)]
pub(crate) mod testkit;

pub(crate) use buffers::{BUFFER_BYTES, COPY_BELOW, Pool, Record};
pub use first::JoinSecret;
pub use join::PendingJoin;
#[cfg(feature = "fuzzing")]
pub use join::fuzz_acks;
pub(crate) use join::{Acks, JoinRequest};
pub use join::{JoinAnswer, JoinRefused};
pub(crate) use lanes::{LaneTimes, Lanes};
pub(crate) use ledger::{ACK_DELAY, Ledger, NeverSent, Retained};
pub(crate) use record::{Channel, LaneError, wire_bytes};

use crate::link::heartbeat::{Heartbeat, Side};
use ledger::{Sent, Taken};
use path::Path;
use record::Opened;
use std::time::{Duration, Instant};

/// Records in one direction after which a lane gives way to a fresh one: 64 GiB, if they are full.
pub const LANE_RECORDS_MAX: u64 = 1 << 20;
/// Dead lanes whose acks are remembered for the peer.
pub const DEAD_LANES_KEPT: usize = 16;

/// One lane that lives.
pub(crate) struct Lane {
    pub(crate) id: u32,
    born: Instant,
    is_old: bool,
    /// The other end has shown itself: a responder moves nothing to a lane before.
    confirmed: bool,
    channel: Channel,
    sent: Sent,
    pub(crate) taken: Taken,
    pub(crate) path: Path,
    heartbeat: Heartbeat,
}

impl Lane {
    pub(crate) fn new(now: Instant, id: u32, channel: Channel, dead_time: Duration) -> Lane {
        let mut heartbeat = Heartbeat::new(now, Side::Client, dead_time);
        heartbeat.set_busy(now, true);
        Lane {
            id,
            born: now,
            is_old: false,
            confirmed: false,
            channel,
            sent: Sent::default(),
            taken: Taken::default(),
            path: Path::new(now, id),
            heartbeat,
        }
    }

    /// The other end is known to be there.
    #[must_use]
    pub(crate) fn confirmed(mut self) -> Lane {
        self.confirmed = true;
        self
    }

    /// Whether the other end has shown itself.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Seals one record to the end of `out`.
    pub(crate) fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), LaneError> {
        self.channel.seal(plaintext, out)?;
        self.sent.add();
        Ok(())
    }

    /// Opens the record at the front of `input` into `plaintext`, which has [`BUFFER_BYTES`].
    pub(crate) fn open(&mut self, now: Instant, input: &[u8], plaintext: &mut [u8]) -> Result<Opened, LaneError> {
        self.heartbeat.handle_received(now);
        let opened = self.channel.open(input, plaintext)?;
        if opened.record.is_some() {
            self.taken.add();
        }
        Ok(opened)
    }

    /// Whoever drives us was stopped for a while: silence counts from now on.
    fn handle_pause(&mut self, now: Instant) {
        self.heartbeat.handle_pause(now);
    }

    fn handle_timeout(&mut self, now: Instant, life: Duration) {
        self.taken.handle_timeout(now);
        self.is_old |= now >= self.born + life;
        if self.heartbeat.take_ping(now) {
            self.path.ask(now);
        }
    }

    /// Age or use enough for fresh keys.
    fn is_worn(&self) -> bool {
        self.is_old || self.sent.count().max(self.taken.count()) >= LANE_RECORDS_MAX
    }
}
