//! The life of a circuit, told for whoever looks for a fault.

use super::presence::PRESENCE;
use super::siblings::is_siblings;
use crate::identity::PeerId;
use crate::names::AppName;
use crate::wire::{CloseCode, Name};

/// What a circuit is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// A session with this application.
    Session(AppName),
    /// A further lane of a session.
    Lane,
    /// To learn whether the peer is there.
    Presence,
    /// To learn whether another process of this key receives the same.
    Sibling,
}

impl Aim {
    pub(super) fn of(name: &Name) -> Aim {
        match name {
            Name::App(app) => Aim::Session(app.clone()),
            Name::Session(PRESENCE) => Aim::Presence,
            Name::Session(name) if is_siblings(name) => Aim::Sibling,
            Name::Session(_) => Aim::Lane,
        }
    }
}

/// A step in a circuit's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CircuitStep {
    /// We ask the relay for it.
    Asked(PeerId, Aim),
    /// A peer, by the relay's word, asks for it; our answer is a refusal if there is a code.
    Came(PeerId, Aim, Option<CloseCode>),
    /// The other side has taken it.
    Opened,
    /// It has ended, or was not taken.
    Ended(CloseCode),
}
