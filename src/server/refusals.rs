//! Whom the relay has turned away lately: its operator should hear of each, and a client that tries again and again must not
//! fill the log.

use crate::identity::PeerId;
use crate::wire::CloseCode;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Between two lines about one peer.
const PAUSE: Duration = Duration::from_secs(60);
/// Peers that are remembered, and so lines a minute: whoever makes a key for each attempt is told of no more often.
const PEERS_MAX: usize = 128;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<(PeerId, u16), (Instant, u64)>);

impl Refusals {
    /// A peer was turned away. If that is to be told: how often it was since it was told last.
    pub(super) fn take(&mut self, now: Instant, peer: PeerId, code: CloseCode) -> Option<u64> {
        if self.0.len() >= PEERS_MAX {
            self.0.retain(|_, (told, _)| now < *told + PAUSE);
        }
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&(peer, code.to_wire())) {
            return None;
        }
        match self.0.get_mut(&(peer, code.to_wire())) {
            Some((told, count)) if now < *told + PAUSE => {
                *count += 1;
                None
            }
            Some((told, count)) => {
                *told = now;
                Some(std::mem::replace(count, 0) + 1)
            }
            None => {
                self.0.insert((peer, code.to_wire()), (now, 0));
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_is_told_of_at_once_and_then_once_a_minute_with_a_count() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let mut take = |second: u64, peer: u8| {
            refusals.take(start + Duration::from_secs(second), PeerId::from_bytes([peer; 32]), CloseCode::Refused)
        };
        assert_eq!(
            [(0, 1), (1, 1), (2, 2), (59, 1)].map(|(second, peer)| take(second, peer)),
            [Some(1), None, Some(1), None]
        );
        assert_eq!([take(60, 1), take(61, 1), take(200, 1)], [Some(3), None, Some(2)]);
    }

    #[test]
    fn a_crowd_is_not_remembered_for_ever() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        for n in 0..u32::try_from(3 * PEERS_MAX).unwrap() {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_le_bytes());
            let told = refusals.take(now, PeerId::from_bytes(id), CloseCode::Refused);
            assert_eq!(told, ((n as usize) < PEERS_MAX).then_some(1));
            assert!(refusals.0.len() <= PEERS_MAX);
        }
    }
}
