//! How many lines the log takes on what one peer does, or comes from one source: nobody fills a disk by listening and
//! unlistening, or by connecting again and again.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Lines are counted for this long, then anew.
const PERIOD: Duration = Duration::from_secs(60);
/// Lines about one in that time: a hub that comes back tells of a few hundred circuits.
const LINES_MAX: u64 = 600;
/// Lines about all together in that time, and a line for each of those of whom some were left out: a relay that is back tells a
/// few of each of some thousand clients. A line has some 150 bytes.
const LINES_IN_ALL_MAX: u64 = 32_768;
/// Peers or sources that are counted one by one. The rest have as many lines as one, all together.
const COUNTED_MAX: usize = 4096;

/// Lines of one period that were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut<K> {
    /// Whom they were about; None for those that are not counted one by one.
    pub about: Option<K>,
    /// How many there were.
    pub lines: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Quota<K> {
    began: Option<Instant>,
    lines: HashMap<K, Lines>,
    others: Lines,
    written: u64,
}

/// Lines about one.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    written: u64,
    left_out: u64,
}

impl<K> Default for Quota<K> {
    fn default() -> Quota<K> {
        Quota { began: None, lines: HashMap::new(), others: Lines::default(), written: 0 }
    }
}

impl<K: Copy + Eq + Hash> Quota<K> {
    /// Time has passed. Where a period has ended: what was left out in it.
    pub(super) fn begin_period(&mut self, now: Instant) -> Vec<LeftOut<K>> {
        if self.began.is_some_and(|began| now < began + PERIOD) {
            return Vec::new();
        }
        self.began = Some(now);
        self.written = 0;
        let counted = std::mem::take(&mut self.lines).into_iter().map(|(about, lines)| (Some(about), lines));
        let all = counted.chain([(None, std::mem::take(&mut self.others))]);
        let left_out = all.map(|(about, lines)| LeftOut { about, lines: lines.left_out });
        left_out.filter(|left_out| left_out.lines > 0).collect()
    }

    /// Counts a line; whether it may be written.
    pub(super) fn spend(&mut self, about: K) -> bool {
        let is_counted = self.lines.len() < COUNTED_MAX || self.lines.contains_key(&about);
        let lines = if is_counted { self.lines.entry(about).or_default() } else { &mut self.others };
        let may = lines.written < LINES_MAX && self.written < LINES_IN_ALL_MAX;
        if may {
            lines.written += 1;
            self.written += 1;
        } else {
            lines.left_out += 1;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerId;

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
        assert_eq!(quota.begin_period(start + PERIOD), [LeftOut { about: Some(peer(1)), lines: 7 }]);
        assert!(quota.spend(peer(1)));
    }

    #[test]
    fn whoever_makes_a_key_for_each_attempt_has_a_bound_and_is_not_remembered() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        quota.begin_period(start);
        let told = (0..3 * COUNTED_MAX).filter(|n| quota.spend(peer(*n))).count();
        assert_eq!(told as u64, COUNTED_MAX as u64 + LINES_MAX);
        assert_eq!(quota.lines.len(), COUNTED_MAX);
        let lines = 2 * COUNTED_MAX as u64 - LINES_MAX;
        assert_eq!(quota.begin_period(start + PERIOD), [LeftOut { about: None, lines }]);
        assert!(quota.lines.is_empty());
    }

    #[test]
    fn many_who_do_too_much_have_a_bound_together_and_each_is_told_of_by_what_was_left_out() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        quota.begin_period(start);
        let told = (0..100 * LINES_MAX).filter(|n| quota.spend(peer(usize::try_from(n % 100).unwrap()))).count();
        assert_eq!(told as u64, LINES_IN_ALL_MAX);
        let left_out = quota.begin_period(start + PERIOD);
        assert_eq!(left_out.len(), 100);
        assert_eq!(left_out.iter().map(|left_out| left_out.lines).sum::<u64>(), 100 * LINES_MAX - LINES_IN_ALL_MAX);
        assert!(quota.spend(peer(1)));
    }
}
