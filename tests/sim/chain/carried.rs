//! The carriers at both ends of a connection between a node and its relay.

use vp::carrier::{Carrier, Target, Visitor, testkit};

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

/// What of these bytes is the link's.
pub fn read(carrier: &mut Carrier, wire: &[u8]) -> Vec<u8> {
    let link = testkit::read(carrier, wire, usize::MAX);
    assert_eq!(carrier.end(), None, "nobody broke any rule");
    link
}
