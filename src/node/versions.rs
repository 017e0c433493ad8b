//! For simulations: a node of another version than this one.

use super::Node;
use crate::wire::{Control, Features};

/// See the module's text.
pub struct OtherVersion<'n>(pub &'n mut Node);

impl<'n> OtherVersion<'n> {
    /// Names other features than this version has, in every handshake that comes.
    pub fn set_features(self, features: Features) {
        self.0.handshakes.set_features(features);
    }

    /// What both ends of the link can do, while it is up.
    pub fn link_features(self) -> Option<&'n Features> {
        self.0.uplink.features()
    }

    /// Says something to the relay, if the link is up.
    pub fn say(self, message: &Control) {
        self.0.uplink.send(message);
    }
}
