//! Whether a link may be read or granted more now: the rate of its peer, and the circuits whose credit that holds back.

use super::rate::Metered;
use super::replies::Replies;
use super::sharing::Party;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

/// Whether a connection may be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayRead {
    /// Yes.
    Now,
    /// From then on: it is over its rate.
    From(Instant),
    /// Not now; later, without further notice.
    Later,
    /// Never again.
    Never,
}

impl MayRead {
    /// Whether it may be read at this time.
    pub(crate) fn is_now(self, now: Instant) -> bool {
        match self {
            MayRead::Now => true,
            MayRead::From(at) => at <= now,
            MayRead::Later | MayRead::Never => false,
        }
    }
}

/// Of those for whom credit is held back so many are looked at, at once.
const LOOKS_AT_ONCE: usize = 8;

/// See the module. The default has no bound.
#[derive(Debug, Default)]
pub(super) struct Pace {
    metered: Metered,
    /// Circuits whose credit has to wait, by whose part of the rate they are.
    held_back: BTreeMap<Party, VecDeque<u32>>,
    /// When to look at those of each of them.
    looks: BTreeSet<(Instant, Party)>,
    replies: Replies,
}

impl Pace {
    /// Another rate from now on. Circuits that are held back stay so until that allows more.
    pub(super) fn set_rate(&mut self, now: Instant, metered: Metered) {
        self.metered = metered;
        self.looks = self.held_back.keys().map(|party| (now, *party)).collect();
    }

    /// Counts bytes that came in.
    pub(super) fn receive(&mut self, now: Instant, bytes: usize) {
        self.metered.receive(now, bytes);
    }

    /// So many of those somebody has it send, or come with that.
    pub(super) fn note_bidden(&mut self, with: Party, bytes: usize) {
        self.metered.note_bidden(with, bytes);
    }

    /// So many that an ended circuit was to bring have come.
    pub(super) fn note_late(&self, with: Party, bytes: usize) {
        self.metered.note_late(with, bytes);
    }

    /// The link is brought a call, with so many early bytes.
    pub(super) fn handle_call(&mut self, early_bytes: usize) {
        self.replies.handle_call(early_bytes);
    }

    /// So many of those that came in were replies to calls. How many of them are for the link to pay for all the same.
    pub(super) fn note_reply(&mut self, bytes: usize) -> usize {
        let free = self.replies.take(bytes);
        self.metered.note_free(free);
        bytes - free
    }

    /// Whether there is a bound.
    pub(super) fn is_bounded(&self) -> bool {
        self.metered.is_bounded()
    }

    /// Whether more may be granted that somebody has it send.
    pub(super) fn allows(&self, now: Instant, with: Party) -> bool {
        self.metered.allows(now, with)
    }

    /// The credit of this circuit has to wait.
    pub(super) fn hold_back(&mut self, now: Instant, with: Party, circuit: u32) {
        let circuits = self.held_back.entry(with).or_default();
        if circuits.is_empty() {
            self.looks.insert((now, with));
        }
        circuits.push_back(circuit);
    }

    /// Takes circuits that were held back and for which more may be granted by now, of some whose part of the rate they are. There
    /// may be others if [`Pace::next_timeout`] says so: how long a look takes grows with all who have the peer send something.
    pub(super) fn take_allowed(&mut self, now: Instant) -> Vec<u32> {
        let mut allowed = Vec::new();
        for _ in 0..LOOKS_AT_ONCE {
            let Some((at, party)) = self.looks.first().copied().filter(|(at, _)| *at <= now) else { break };
            self.looks.remove(&(at, party));
            match self.metered.allows_from(party).filter(|from| *from > now) {
                Some(from) => drop(self.looks.insert((from, party))),
                None => allowed.extend(self.held_back.remove(&party).into_iter().flatten()),
            }
        }
        allowed
    }

    /// From when on what the link brings may be used. None: at any time.
    pub(super) fn reads_from(&self) -> Option<Instant> {
        self.metered.reads_from()
    }

    /// How much may be read at once, bytes.
    pub(super) fn read_most(&self) -> usize {
        self.metered.read_most()
    }

    /// When more may be granted, if that is waited for.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.looks.first().map(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerId;
    use crate::relay::rate::Rate;
    use std::time::Duration;

    fn party(n: u16) -> Party {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        Some(PeerId::from_bytes(bytes))
    }

    /// A look at one takes as long as there are others, so a look at all takes the square of that.
    #[test]
    fn of_many_for_whom_credit_is_held_back_some_are_looked_at_at_once_and_each_is_granted_in_time() {
        const MANY: u16 = 500;
        let mut now = Instant::now();
        let mut pace = Pace::default();
        pace.set_rate(now, Metered::new(Some(Rate::new(now, 1_000_000, 1000))));
        for n in 0..MANY {
            pace.receive(now, 10_000);
            pace.note_bidden(party(n), 10_000);
            [0, 1].into_iter().for_each(|circuit| pace.hold_back(now, party(n), 2 * u32::from(n) + circuit));
        }
        let (mut granted, mut looks) = (Vec::new(), 0);
        let mut turns = 0..10_000;
        while let Some(at) = pace.next_timeout() {
            assert!(turns.next().is_some(), "it is never all that waited");
            now = now.max(at);
            let allowed = pace.take_allowed(now);
            assert!(allowed.len() <= 2 * LOOKS_AT_ONCE, "{}", allowed.len());
            granted.extend(allowed);
            looks += 1;
        }
        granted.sort_unstable();
        assert!(granted.into_iter().eq(0..2 * u32::from(MANY)));
        assert!(looks <= 3 * usize::from(MANY), "{looks}");
        // Another rate, and more at once than are looked at.
        (0..MANY).for_each(|n| pace.hold_back(now, party(n), u32::from(n)));
        pace.set_rate(now, Metered::default());
        let parts: Vec<usize> =
            std::iter::from_fn(|| pace.next_timeout().map(|_| pace.take_allowed(now).len())).collect();
        assert_eq!(
            (parts.iter().sum::<usize>(), parts.iter().max().copied()),
            (usize::from(MANY), Some(LOOKS_AT_ONCE))
        );
        assert!(pace.take_allowed(now + Duration::from_secs(1)).is_empty());
    }
}
