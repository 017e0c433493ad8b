//! Channels and lanes for tests.

use super::{Channel, Lane, Retained};
use crate::noise::{JoinInitiator, JoinResponder, Opener, Sealer, Suite};
use std::time::{Duration, Instant};

/// Both ends of a channel, as a finished handshake leaves them.
pub(crate) fn keys() -> ((Sealer, Opener), (Sealer, Opener)) {
    let (initiator, first) = JoinInitiator::start(Suite::AesGcm, &[7; 32], b"", b"").unwrap();
    let (_, ready) = JoinResponder::accept(Suite::AesGcm, &[7; 32], b"", &first).unwrap();
    let (second, sealer, opener) = ready.reply(b"").unwrap();
    let (_, ours, theirs) = initiator.finish(&second).unwrap();
    ((ours, theirs), (sealer, opener))
}

/// A lane with this number.
pub(crate) fn lane(now: Instant, id: u32) -> Lane {
    Lane::new(now, id, Channel::new(keys().0), Duration::from_secs(10))
}

/// A record of one byte.
pub(crate) fn small(byte: u8) -> Retained {
    Retained::Small([byte].into())
}
