//! How the rate of a peer is shared by those it talks with.
//!
//! Each has an account of its own, of what it had the peer send. All accounts that are not level are paid from the rate at once, in
//! equal parts, until they are (generalised processor sharing; Parekh and Gallager, 1993). So whoever has the peer send much
//! waits for himself to be paid for, and a peer that is there for many has an equal part of its rate for each.
//!
//! What was *paid* grows by the same for all who owe; an account is level when that has reached its *tag*. Both are times, in
//! which the whole rate pays for something: nothing here depends on how fast it is.

use crate::identity::PeerId;
use std::collections::{BTreeSet, HashMap};

/// Who has a peer send something; None: it does so by itself.
pub(super) type Party = Option<PeerId>;

/// See the module. Times are nanoseconds. As many accounts are kept as are not level: all that was charged to them is bounded by
/// the circuits that the peer may have.
#[derive(Clone, Debug, Default)]
pub(super) struct Sharing {
    /// Until when all is reckoned.
    reckoned: u64,
    /// What each that owes has been paid so far.
    paid: u64,
    tags: HashMap<Party, u64>,
    /// By which of them is level first.
    order: BTreeSet<(u64, Party)>,
    /// Until when the rate would pay for what circuits that have ended may bring each yet.
    expected: HashMap<Party, u64>,
    /// With how many of those to look for some that are over.
    sweep_at: usize,
}

/// So many are kept before anybody looks.
const EXPECTED_MIN: usize = 64;

impl Sharing {
    /// Time has passed.
    pub(super) fn reckon(&mut self, now: u64) {
        while let Some(&(tag, party)) = self.order.first() {
            let (left, each) = (now.saturating_sub(self.reckoned), parts(self.order.len()));
            let all = (tag - self.paid).saturating_mul(each);
            if all > left {
                self.paid += left / each;
                self.reckoned += left / each * each;
                return;
            }
            (self.paid, self.reckoned) = (tag, self.reckoned + all);
            self.order.pop_first();
            self.tags.remove(&party);
        }
        self.reckoned = self.reckoned.max(now);
    }

    /// So much more is to be paid for somebody.
    pub(super) fn charge(&mut self, party: Party, time: u64) {
        let tag = self.tag(party);
        self.set(party, tag, tag.saturating_add(time));
    }

    /// And so much less. How much of that had not been paid.
    pub(super) fn relieve(&mut self, party: Party, time: u64) -> u64 {
        let tag = self.tag(party);
        let time = time.min(tag - self.paid);
        self.set(party, tag, tag - time);
        time
    }

    /// So much that was to be paid for nobody is for somebody. What has been paid of it is not paid again.
    pub(super) fn hand_over(&mut self, party: Party, time: u64) {
        let left = self.relieve(None, time);
        self.charge(party, left);
    }

    /// So much may come for somebody that nobody asks for any more. It may never come: it is not charged, and it is expected for
    /// as long as the rate would take to pay for it. How much is expected now.
    pub(super) fn expect(&mut self, party: Party, now: u64, time: u64) -> u64 {
        if time == 0 {
            return self.expected(party, now);
        }
        if self.expected.len() >= self.sweep_at.max(EXPECTED_MIN) {
            self.expected.retain(|_, until| *until > now);
            self.sweep_at = 2 * self.expected.len();
        }
        let until = self.expected.entry(party).or_default();
        *until = (*until).max(now).saturating_add(time);
        *until - now
    }

    /// So much of that has come, and is charged.
    pub(super) fn handle_expected(&mut self, party: Party, time: u64) {
        if let Some(until) = self.expected.get_mut(&party) {
            *until = until.saturating_sub(time);
        }
    }

    fn expected(&self, party: Party, now: u64) -> u64 {
        self.expected.get(&party).map_or(0, |until| until.saturating_sub(now))
    }

    fn tag(&self, party: Party) -> u64 {
        self.tags.get(&party).copied().unwrap_or(self.paid)
    }

    fn set(&mut self, party: Party, before: u64, tag: u64) {
        self.order.remove(&(before, party));
        if tag > self.paid {
            self.order.insert((tag, party));
            self.tags.insert(party, tag);
        } else {
            self.tags.remove(&party);
        }
    }

    /// When no more than his part of `but_for` is left to be paid for somebody, with so much more, if nothing else is charged to
    /// anybody. What is left of all who owe is then no more than that for each once, half of it, a third and so on.
    pub(super) fn level_from(&self, party: Party, more: u64, but_for: u64) -> u64 {
        let (mut at, mut paid) = (self.reckoned, self.paid);
        // It owes until then, whether or not it does now and however little.
        let mut owing = self.order.len() + usize::from(!self.tags.contains_key(&party));
        let tag = self.tag(party).saturating_add(more).saturating_sub(but_for / parts(owing));
        let others = self.order.iter().filter(|(_, other)| *other != party);
        for &(other, _) in others.take_while(|(other, _)| *other < tag) {
            at = at.saturating_add((other - paid).saturating_mul(parts(owing)));
            (paid, owing) = (other, owing - 1);
        }
        at.saturating_add(tag.saturating_sub(paid).saturating_mul(parts(owing)))
    }

    /// The same accounts at another rate, where what is owed takes `by` for each `of`, reckoned from 0 on.
    pub(super) fn restarted(&self, by: u64, of: u64) -> Sharing {
        let mut sharing = Sharing::default();
        let takes =
            |time: u64| u64::try_from(u128::from(time) * u128::from(by) / u128::from(of.max(1))).unwrap_or(u64::MAX);
        for (&party, tag) in &self.tags {
            sharing.charge(party, takes(tag - self.paid));
        }
        for &party in self.expected.keys() {
            sharing.expect(party, 0, takes(self.expected(party, self.reckoned)));
        }
        sharing
    }
}

/// In how many parts the rate is paid where so many owe.
fn parts(owing: usize) -> u64 {
    u64::try_from(owing.max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn party(n: u8) -> Party {
        (n > 0).then(|| PeerId::from_bytes([n; 32]))
    }

    fn left(sharing: &Sharing, n: u8) -> u64 {
        sharing.tag(party(n)) - sharing.paid
    }

    #[test]
    fn whoever_owes_little_is_level_soon_however_much_others_owe() {
        let mut sharing = Sharing::default();
        sharing.charge(party(1), 1_000_000);
        sharing.reckon(400_000);
        assert_eq!(left(&sharing, 1), 600_000, "alone it has all of the rate");
        sharing.charge(party(2), 1000);
        assert_eq!((sharing.level_from(party(2), 0, 0), sharing.level_from(party(2), 0, 800)), (402_000, 401_200));
        assert_eq!(sharing.level_from(party(1), 0, 0), 1_001_000);
        sharing.reckon(401_000);
        assert_eq!([1, 2].map(|n| left(&sharing, n)), [599_500, 500]);
        sharing.charge(party(3), 100);
        assert_eq!(sharing.level_from(party(2), 0, 0), 401_000 + 300 + 800);
        sharing.reckon(1_001_100);
        assert!(sharing.tags.is_empty() && sharing.order.is_empty());
        assert_eq!(sharing.level_from(party(1), 0, 0), 1_001_100);
    }

    #[test]
    fn who_has_had_nothing_for_long_has_saved_up_nothing() {
        let mut sharing = Sharing::default();
        sharing.charge(party(1), 1000);
        sharing.reckon(1_000_000);
        sharing.charge(party(2), 1000);
        sharing.charge(party(1), 1000);
        assert_eq!([1, 2].map(|n| sharing.level_from(party(n), 0, 0)), [1_002_000; 2]);
    }

    #[test]
    fn at_a_slower_rate_as_much_is_owed() {
        let mut sharing = Sharing::default();
        sharing.charge(party(1), 1000);
        sharing.charge(party(2), 500);
        sharing.reckon(500);
        let slower = sharing.restarted(10, 1);
        assert_eq!([1, 2].map(|n| left(&slower, n)), [7500, 2500]);
        assert_eq!([1, 2].map(|n| left(&slower.restarted(1, 10), n)), [750, 250]);
    }

    #[test]
    fn what_more_would_take_is_foretold_as_it_is_once_it_is_charged() {
        let mut sharing = Sharing::default();
        sharing.charge(party(1), 1000);
        sharing.charge(party(2), 100_000);
        assert_eq!(sharing.level_from(party(1), 10_000, 0), 22_000);
        assert_eq!(sharing.level_from(party(3), 10_000, 0), 21_000);
    }

    proptest! {
        /// All that is charged is paid, no faster and no slower than the rate, and what is foretold holds.
        #[test]
        fn the_rate_pays_for_all_and_for_nothing_twice(
            steps in proptest::collection::vec((0..5_u8, 0..10_000_u64, 0..3000_u64, any::<bool>()), 1..100)
        ) {
            let (mut sharing, mut now, mut owed) = (Sharing::default(), 0_u64, 0_u64);
            for (who, time, pass, less) in steps {
                if less {
                    let time = time.min(left(&sharing, who));
                    sharing.relieve(party(who), time);
                    owed -= time;
                } else {
                    sharing.charge(party(who), time);
                    owed += time;
                }
                let foretold = sharing.level_from(party(who), 0, 0);
                let mut charged = sharing.clone();
                charged.charge(party(who), pass);
                prop_assert_eq!(sharing.level_from(party(who), pass, 0), charged.level_from(party(who), 0, 0));
                now += pass;
                let before: Vec<u64> = (0..5).map(|n| left(&sharing, n)).collect();
                sharing.reckon(now);
                owed = owed.saturating_sub(pass);
                let after: Vec<u64> = (0..5).map(|n| left(&sharing, n)).collect();
                let sum: u64 = after.iter().sum();
                // Less than a nanosecond for each is reckoned the next time.
                prop_assert!(sum.abs_diff(owed) <= 5, "{} left, {} owed", sum, owed);
                owed = sum;
                prop_assert!(left(&sharing, who) == 0 || now < foretold + 5);
                prop_assert!(left(&sharing, who) > 0 || now + 5 >= foretold);
                let paid: Vec<u64> = before.iter().zip(&after).map(|(before, after)| before - after).collect();
                let most = paid.iter().max().copied().unwrap();
                prop_assert!(paid.iter().zip(&after).all(|(paid, after)| *after == 0 || *paid == most), "equal parts");
                prop_assert_eq!(sharing.tags.len(), sharing.order.len());
                now = sharing.reckoned.max(now);
            }
        }
    }
}
