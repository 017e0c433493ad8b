//! Why a circuit closed, and for which reasons a relay ends one by itself.

use crate::wire::CloseCode;

/// Why the relay itself ended a circuit. Its clients are told LIMIT, whichever it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It was full, so its link was not read, and what else is on that had to wait for longer than it has to.
    BlockedItsLink,
    /// It was full, and more came in all the same.
    Overflowed,
    /// Memory was used up, and a client gave no credit for what waited for it.
    GotNoCredit,
    /// Memory was used up, and a client took little of the much that waited for it.
    TakenTooSlowly,
}

/// Why a circuit is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Both clients had sent all they had.
    Finished,
    /// One of the clients reset it, with this code.
    Reset(CloseCode),
    /// The caller gave up while the callee accepted.
    GivenUp,
    /// The link of one of the clients ended.
    LinkEnded,
    /// The relay ended it.
    Cut(Cut),
}
