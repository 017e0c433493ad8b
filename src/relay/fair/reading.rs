//! Connections of a worker that have input, and what those of other workers have sent here: whose turn comes, and who may not
//! be read now.

use super::account::Account;
use super::line::Line;
use super::work::Work;
use crate::relay::pace::MayRead;
use crate::relay::{ConnId, LinkId};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is read before a worker looks what else there is: nobody who wants little waits longer than for a few of these.
const TURN: Work = Work::micros(500);
/// What is made of one read before others have their turn. The rest is held.
pub(crate) const AT_ONCE: Work = Work::micros(100);
/// How soon to look again at connections that may not be read now: a circuit is full, answers are not taken.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// And how late at the most: until then a connection with input counts as alive, however long it may not be read.
const LOOK_LATEST: Duration = Duration::from_secs(1);
/// Of those, so many are looked at in each turn that comes sooner.
const LOOKS_SOON: usize = 16;
/// And so many when it is time, or of those in line while memory is used up; the next of them the next time. That takes less
/// than a tenth of a millisecond, and of 10,000 each has been looked at after 40.
pub(crate) const LOOKS_MAX: usize = 512;

/// What has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// A connection that has input.
    Conn(ConnId),
    /// What ends of circuits here are told on the account of this link.
    Told(LinkId),
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Nowhere: it has no input, as far as is known, or none that may be used.
    #[default]
    Out,
    /// In line.
    InLine,
    /// Aside, until it may be read.
    Aside,
}

/// What is known of a connection's input.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// Its socket may have some.
    pub is_readable: bool,
    /// It is broken or closed: an error or an end follows what can be read.
    pub is_over: bool,
    /// Where it stands.
    pub stand: Stand,
    /// Whether it is in the list of those aside, perhaps from before.
    is_listed: bool,
}

impl Known {
    /// It was taken out of the list of those aside. Whether it stood there.
    pub(crate) fn leave_list(&mut self) -> bool {
        self.is_listed = false;
        self.stand == Stand::Aside
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Those whose turn comes.
    pub line: Line<Waits>,
    aside: VecDeque<ConnId>,
    /// When to look at those aside.
    look_at: Option<Instant>,
    /// Of those that were to be looked at by then, so many have not been, and when the next of them are.
    rest: usize,
    rest_at: Option<Instant>,
    /// So many in line have been looked at for want of memory, since the first of them was.
    looked: usize,
}

impl Reading {
    /// A turn begins. How many of those aside are to be looked at.
    pub(crate) fn begin(&mut self, now: Instant) -> usize {
        self.line.begin(TURN);
        if self.rest == 0 && self.look_at.take_if(|at| *at <= now).is_some() {
            (self.rest, self.rest_at) = (self.aside.len(), Some(now));
        }
        if self.rest_at.take_if(|at| *at <= now).is_none() {
            return self.aside.len().min(LOOKS_SOON);
        }
        let some = self.rest.min(LOOKS_MAX);
        self.rest -= some;
        self.rest_at = (self.rest > 0).then(|| now + LOOK_AGAIN);
        some
    }

    /// Some of those in line, which cannot be read for want of memory: those that come after the last of whom
    /// [`Reading::note_looked`] told.
    pub(crate) fn some_in_line(&self) -> Vec<Waits> {
        let start = self.looked.checked_rem(self.line.len()).unwrap_or(0);
        self.line.iter().skip(start).chain(self.line.iter().take(start)).take(LOOKS_MAX).collect()
    }

    /// So many of those were looked at.
    pub(crate) fn note_looked(&mut self, count: usize) {
        self.looked = (self.looked + count).checked_rem(self.line.len()).unwrap_or(0);
    }

    /// Takes one of those aside.
    pub(crate) fn take_aside(&mut self) -> Option<ConnId> {
        self.aside.pop_front()
    }

    /// A connection has input that may be used.
    pub(crate) fn line_up(&mut self, known: &mut Known, account: &Account, conn: ConnId) {
        if known.stand != Stand::InLine {
            known.stand = Stand::InLine;
            self.line.enter(account, Waits::Conn(conn));
        }
    }

    /// The same for one that is next of its owner: what was read from it is not used up, and takes memory.
    pub(crate) fn line_up_first(&mut self, known: &mut Known, account: &Account, conn: ConnId) {
        if known.stand != Stand::InLine {
            known.stand = Stand::InLine;
            self.line.enter_first(account, Waits::Conn(conn));
        }
    }

    /// A connection with input may not be read now.
    pub(crate) fn put_aside(&mut self, now: Instant, known: &mut Known, conn: ConnId, may_read: MayRead) {
        let soon = now + LOOK_AGAIN;
        let at = if let MayRead::From(at) = may_read { at.clamp(soon, now + LOOK_LATEST) } else { soon };
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
        known.stand = Stand::Aside;
        if !std::mem::replace(&mut known.is_listed, true) {
            self.aside.push_back(conn);
        }
    }

    /// When a turn is due, if nothing else happens.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        let look_at = self.look_at.filter(|_| self.rest == 0);
        look_at.or(self.rest_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn of_many_who_may_not_be_read_some_are_looked_at_each_time_and_each_of_them_soon() {
        let (mut reading, mut now) = (Reading::default(), Instant::now());
        let (many, later) = (20 * LOOKS_MAX, now + LOOK_LATEST / 2);
        let mut known: Vec<Known> = (0..many).map(|_| Known::default()).collect();
        let conn = |n: usize| ConnId::new(n.try_into().unwrap());
        for (n, known) in known.iter_mut().enumerate() {
            reading.put_aside(now, known, conn(n), MayRead::Later);
        }
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            now += LOOK_AGAIN;
            assert!(reading.next_look().is_some_and(|at| at <= now));
            let count = reading.begin(now);
            assert!(count <= LOOKS_MAX, "{count}");
            for _ in 0..count {
                let n = usize::try_from(reading.take_aside().unwrap().get()).unwrap();
                assert!(known[n].leave_list());
                seen.insert(n);
                reading.put_aside(now, &mut known[n], conn(n), MayRead::From(later));
            }
        }
        assert_eq!(seen.len(), many);
        assert_eq!(reading.next_look(), Some(later), "then nobody is looked at before the first may be read");
    }
}
