//! What the nodes of simulated worlds are made of.

use vp::identity::{Identity, PeerId};
use vp::node::{Callers, Config, Kind, Wait};
use vp::session::Times;

/// A node with one relay, which waits for ever and is called by one at a time.
pub fn config(identity: Identity, relay: PeerId, callers: Callers, times: Times) -> Config {
    Config {
        identity,
        kind: Kind::Pipe,
        relays: vec![relay],
        callers,
        wait: Wait::Forever,
        times,
        callers_max: 1,
        exclusive: false,
        seed: 0,
    }
}
