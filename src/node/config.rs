//! What a node is made of.

use super::{Callers, Kind};
use crate::identity::{Identity, PeerId};
use crate::session::Times;
use std::time::Duration;

/// How long to wait for a relay and for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For ever.
    Forever,
    /// At most so long.
    AtMost(Duration),
    /// Not at all: each relay is tried once, the peer is there or not.
    No,
}

/// What a node is made of.
pub struct Config {
    /// Who we are.
    pub identity: Identity,
    /// What we do with sessions, those we ask for and those of callers.
    pub kind: Kind,
    /// The relays by id, in order of preference.
    pub relays: Vec<PeerId>,
    /// Who may call.
    pub callers: Callers,
    /// How long to wait for relay and peer.
    pub wait: Wait,
    /// Times of sessions; the dead time is also the link's.
    pub times: Times,
    /// Sessions that callers may have open at once; with none free the node is not to be found.
    pub callers_max: usize,
    /// Whether this process is to be the only one of its key that receives what it receives.
    pub exclusive: bool,
    /// Randomness for back-off, and to tell this process from others of its key.
    pub seed: u64,
}
