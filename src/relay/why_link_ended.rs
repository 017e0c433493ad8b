//! Why a connection or link ended; why a circuit did is in `router/why_circuit_closed.rs`.

use crate::wire::CloseCode;

/// Why a connection or link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The other side closed it.
    Closed,
    /// Nothing was heard, or nothing taken, for its dead time; or its handshake took too long.
    Dead,
    /// What was for it waited for long, while memory was used up.
    Slow,
    /// What it sent does not authenticate, or is not our protocol.
    Garbage,
    /// Another took its place.
    Evicted,
    /// It had none: too many of its source had not proven who they are.
    Crowded,
    /// The relay ended it, with this code.
    Ended(CloseCode),
}
