//! For simulations: a node of another version than this one.

use super::Node;
use crate::wire::{Control, Features};

impl Node {
    /// Names other features than this version has, in every handshake that comes.
    pub fn set_features(&mut self, features: Features) {
        self.handshakes.set_features(features);
    }

    /// What both ends of the link can do, while it is up.
    pub fn link_features(&self) -> Option<&Features> {
        self.uplink.features()
    }

    /// Says something to the relay, if the link is up.
    pub fn say(&mut self, message: &Control) {
        self.uplink.send(message);
    }
}
