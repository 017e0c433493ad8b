//! The link between a client and its relay: handshake, sealed frame headers, control messages, and the heartbeat, which lanes
//! have too.
//!
//! A link turns the bytes of one carrier into frames and frames into bytes. It knows no socket and no circuit: what a
//! circuit is, who may open one and how much credit it has is decided above ([`crate::node`] at a client,
//! [`crate::relay`] at a relay).
//!
//! Invariants: a header is sealed when its frame enters the output in final order, because header counters are implicit;
//! bodies of DATA frames are never opened; after the first error nothing is read any more.

mod frames;
mod handshake;
pub(crate) mod heartbeat;

pub(crate) use crate::link::heartbeat::Heartbeat;
pub use crate::link::heartbeat::Side;
pub use frames::{Frame, Link, LinkError, credit_left};
#[cfg(feature = "fuzzing")]
pub use handshake::fuzz_answer;
pub use handshake::{Admitted, Answer, Answered, Dial, HandshakeFailure};

use crate::noise::Suite;

/// The clear bytes that open a carrier: `'v' 'p' version suite`.
pub(crate) const HELLO_BYTES: usize = 4;

fn hello(suite: Suite) -> [u8; HELLO_BYTES] {
    [b'v', b'p', crate::wire::limits::VERSION, suite.number()]
}
