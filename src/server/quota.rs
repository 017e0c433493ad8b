//! How many lines the log takes on what one peer does: nobody fills a disk by listening and unlistening.

use crate::identity::PeerId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines are counted for this long, then anew.
const PERIOD: Duration = Duration::from_secs(60);
/// Lines about one peer in that time: a hub that comes back tells of a few hundred circuits.
const LINES_MAX: u64 = 600;
/// Peers that are counted one by one. The rest have as many lines as one peer, all together.
const PEERS_MAX: usize = 4096;

/// Lines of one period that were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Whom they were about; None for those peers that are not counted one by one.
    pub peer: Option<PeerId>,
    /// How many there were.
    pub lines: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Quota {
    began: Option<Instant>,
    lines: HashMap<PeerId, u64>,
    others: u64,
}

impl Quota {
    /// Time has passed. Where a period has ended: what was left out in it.
    pub fn begin_period(&mut self, now: Instant) -> Vec<LeftOut> {
        if self.began.is_some_and(|began| now < began + PERIOD) {
            return Vec::new();
        }
        self.began = Some(now);
        let of_peers = std::mem::take(&mut self.lines).into_iter().map(|(peer, lines)| (Some(peer), lines));
        let all = of_peers.chain([(None, std::mem::take(&mut self.others))]);
        let left_out = all.map(|(peer, lines)| LeftOut { peer, lines: lines.saturating_sub(LINES_MAX) });
        left_out.filter(|left_out| left_out.lines > 0).collect()
    }

    /// Counts a line about a peer; whether it may be written.
    pub fn spend(&mut self, peer: PeerId) -> bool {
        let is_counted = self.lines.len() < PEERS_MAX || self.lines.contains_key(&peer);
        let lines = if is_counted { self.lines.entry(peer).or_default() } else { &mut self.others };
        *lines += 1;
        *lines <= LINES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: usize) -> PeerId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_le_bytes());
        PeerId::from_bytes(id)
    }

    #[test]
    fn a_peer_that_does_too_much_is_told_of_no_more_until_the_next_period_and_takes_nothing_from_others() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        assert_eq!(quota.begin_period(start), []);
        let told = (0..LINES_MAX + 7).filter(|_| quota.spend(peer(1))).count();
        assert_eq!(told as u64, LINES_MAX);
        assert!(quota.spend(peer(2)));
        assert_eq!(quota.begin_period(start + PERIOD - Duration::from_secs(1)), []);
        assert_eq!(quota.begin_period(start + PERIOD), [LeftOut { peer: Some(peer(1)), lines: 7 }]);
        assert!(quota.spend(peer(1)));
    }

    #[test]
    fn whoever_makes_a_key_for_each_attempt_has_a_bound_and_is_not_remembered() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        quota.begin_period(start);
        let told = (0..3 * PEERS_MAX).filter(|n| quota.spend(peer(*n))).count();
        assert_eq!(told as u64, PEERS_MAX as u64 + LINES_MAX);
        assert_eq!(quota.lines.len(), PEERS_MAX);
        let lines = 2 * PEERS_MAX as u64 - LINES_MAX;
        assert_eq!(quota.begin_period(start + PERIOD), [LeftOut { peer: None, lines }]);
        assert!(quota.lines.is_empty());
    }
}
