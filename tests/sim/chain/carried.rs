//! The carriers at both ends of a connection between a node and its relay.

use std::collections::VecDeque;
use std::io::IoSlice;
use vp::carrier::{Carrier, OWN_SLICES, Target, Visitor};

/// See the module.
pub struct Carried {
    pub client: Carrier,
    pub relay: Carrier,
    /// The node has been told that it is connected.
    pub told: bool,
}

impl Carried {
    pub fn new(by_websocket: bool) -> Carried {
        let target = Target { host: "relay", port: 80, path: "/vp", usual_port: 80 };
        let client = if by_websocket { Carrier::websocket(&target) } else { Carrier::plain() };
        Carried { client, relay: Carrier::undecided(Visitor::default()), told: false }
    }

    /// Whether the node is to be told so now.
    pub fn take_opened(&mut self) -> bool {
        self.client.is_open() && !std::mem::replace(&mut self.told, self.client.is_open())
    }
}

/// Writes all that a link has shown, and what its carrier has to say, in writes of so many bytes at most. What counts as taken is
/// never more than what is gone.
pub fn write(carrier: &mut Carrier, mut link: &[u8], most: usize, wire: &mut VecDeque<u8>) {
    while !link.is_empty() || carrier.has_own() {
        let shown = [IoSlice::new(link)];
        let mut slices = [IoSlice::new(&[]); 1 + OWN_SLICES];
        let used = carrier.wrap(&shown, &mut slices);
        let mut left = most;
        for slice in &slices[..used] {
            let here = &slice[..slice.len().min(left)];
            wire.extend(here);
            left -= here.len();
        }
        assert!(left < most, "a carrier with something to write writes nothing");
        let taken = carrier.handle_written(most - left);
        assert!(taken <= most - left && taken <= link.len());
        link = &link[taken..];
    }
}

/// What of these bytes is the link's.
pub fn read(carrier: &mut Carrier, mut wire: Vec<u8>) -> Vec<u8> {
    let kept = carrier.handle_wire(&mut wire);
    assert_eq!(carrier.end(), None, "nobody broke any rule");
    wire.truncate(kept);
    wire
}
