//! What a connection costs its worker, by the book.
//!
//! Every figure is the processor time of a whole relay for one frame, so also what that leads to elsewhere: an answer, a
//! write to somebody else, the router. `cargo bench --bench flood -- costs` measures them. They need not be exact: a
//! figure that is half of the truth leaves a flood of that kind twice its share. Bytes alone would leave it a hundred times.

use crate::link::Frame;
use crate::relay::to_end::ToEnd;
use crate::wire::Control;
use std::ops::Add;
use std::time::Duration;

/// Processor time, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Work(u64);

/// Reading once, whatever comes of it.
const READ: u64 = 1500;
/// A frame whose header alone does something: it is opened.
const BARE: u64 = 200;
/// An answer, or a frame for somebody else: it is sealed, and put in order.
const PASSED_ON: u64 = 400;
/// A question to the router, with the body that it came in and its answer.
const ASKED: u64 = 1400;
/// A question that concerns others besides.
const CALLED: u64 = 4000;
/// Bytes that are read, or written, in a nanosecond.
const BYTES: u64 = 5;
/// A byte that is its carrier's own: the head of a frame of a WebSocket is six of them, whatever is in it, and a record of TLS has
/// 22 beside its content.
const OVERHEAD: u64 = 10;
/// To open such bytes, or to seal them, takes so many times as long again, where TLS has the connection.
const SEALED: u64 = 1;
/// What the move of a link from one worker to another costs the two together.
const MOVE: u64 = 7400;
/// One of the two steps of a handshake.
const HANDSHAKE: u64 = 130_000;
/// Writing once.
const WRITE: u64 = 2500;

impl Work {
    /// None.
    pub(crate) const ZERO: Work = Work(0);
    /// No bound.
    pub(crate) const MAX: Work = Work(u64::MAX);
    /// A step of a handshake.
    pub(crate) const HANDSHAKE: Work = Work(HANDSHAKE);

    /// A link that moves, for both workers.
    pub(crate) const MOVE: Work = Work(MOVE);

    /// So many microseconds.
    pub(crate) const fn micros(micros: u64) -> Work {
        Work(micros * 1000)
    }

    /// What takes this time.
    pub(crate) fn of_time(time: Duration) -> Work {
        Work(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds.
    #[cfg(test)]
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// A read of so many bytes, without what they mean.
    pub(crate) fn of_read(bytes: usize) -> Work {
        Work(READ + of_bytes(bytes))
    }

    /// So many bytes of a read that are its carrier's own, beyond the read.
    pub(crate) fn of_overhead(bytes: usize) -> Work {
        Work(u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(OVERHEAD))
    }

    /// So many bytes that were opened beyond a read, or sealed beyond a write: those within TLS.
    pub(crate) fn of_sealed(bytes: usize) -> Work {
        Work(of_bytes(bytes).saturating_mul(SEALED))
    }

    /// A write that took so many bytes.
    pub(crate) fn of_write(bytes: usize) -> Work {
        Work(WRITE + of_bytes(bytes))
    }

    /// A frame, without its bytes.
    pub(crate) fn of_frame(frame: &Frame) -> Work {
        Work(match frame {
            Frame::Data { .. } | Frame::Fin { .. } => PASSED_ON,
            Frame::Control(Control::Connect { .. } | Control::Accept { .. } | Control::Reject { .. }) => CALLED,
            Frame::Control(_) => ASKED,
            // It may withdraw a call.
            Frame::Reset { .. } => ASKED,
            Frame::Credit { .. } | Frame::Ping(_) | Frame::Pong(_) | Frame::Nothing => BARE,
        })
    }

    /// What an end of a circuit is told by one at another worker, for the worker where it is told.
    pub(crate) fn of_told(what: &ToEnd) -> Work {
        Work(match what {
            ToEnd::Data(_) | ToEnd::Fin => PASSED_ON,
            // The router hears of it.
            ToEnd::Reset(_) => ASKED,
            ToEnd::Freed(_) => BARE,
        })
    }

    /// So many calls that somebody is to be offered, in turn.
    pub(crate) fn of_calls(count: usize) -> Work {
        Work(u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(CALLED))
    }

    /// What is left when so much of it is gone.
    pub(crate) fn saturating_sub(self, other: Work) -> Work {
        Work(self.0.saturating_sub(other.0))
    }
}

fn of_bytes(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX) / BYTES
}

impl Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work(self.0.saturating_add(other.0))
    }
}
