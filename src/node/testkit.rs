//! Nodes for tests of what stands on a node.

use super::{Callers, Config, Kind, Node, Wait};
use crate::identity::Identity;
use crate::session::Times;
use std::time::{Duration, Instant};

/// A node with one relay that nobody may call, and whose patience outlasts any test.
pub(crate) fn node(now: Instant, kind: Kind) -> Node {
    let long = Duration::from_secs(600);
    let config = Config {
        identity: Identity::from_seed(&[1; 32]),
        kind,
        relays: vec![Identity::from_seed(&[2; 32]).id()],
        callers: Callers::Nobody,
        wait: Wait::Forever,
        times: Times { dead_time: long, resume_timeout: long, lane_life: long },
        callers_max: 1,
        exclusive: false,
        seed: 1,
    };
    Node::new(now, config)
}
