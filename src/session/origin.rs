//! What a session is made of, and what its first handshake settled for good.

use crate::lane::JoinSecret;
use crate::noise::{Opener, Sealer};
use crate::wire::Features;
use std::time::Duration;

/// Which end of the session this is: the one that dialled numbers its streams evenly and dials again after a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Dialled.
    Initiator,
    /// Was called.
    Responder,
}

/// The times of a session.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Silence after which a lane is dead.
    pub dead_time: Duration,
    /// How long the session waits without a lane.
    pub resume_timeout: Duration,
    /// How long a lane, and so its key, is used: see [`super::LANE_LIFE`].
    pub lane_life: Duration,
}

/// What a session is made of: what its first handshake came to.
pub struct Config<'a> {
    /// Which end this is.
    pub role: Role,
    /// What both ends derived, and nobody else can.
    pub export: &'a [u8; 32],
    /// The keys of the first lane.
    pub keys: (Sealer, Opener),
    /// What both ends can do.
    pub features: Features,
    /// Its times.
    pub times: Times,
}

/// What stays as it is for as long as the session lives.
pub(super) struct Origin {
    pub(super) role: Role,
    pub(super) secret: JoinSecret,
    pub(super) features: Features,
}
