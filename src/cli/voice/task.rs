//! What the tool is there for, as far as that decides what it says.

use super::connect::{Limits, Verb};

/// What counts of a tool for what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is ready when it has met the peer, not when it can be met.
    Dials,
    /// It waits for nothing that it is told is not there.
    Asks,
    /// To wait is its business: that need be said only once.
    Serves,
    /// None of these.
    Other,
}

/// See the module's text.
pub(super) struct Task {
    pub role: Role,
    pub verb: Verb,
    /// Our own command, as it may be called.
    pub command: Option<String>,
    /// It ends soon if it meets nobody, and tells then why.
    pub ends_soon: bool,
    /// What this side takes.
    pub limits: Limits,
}
