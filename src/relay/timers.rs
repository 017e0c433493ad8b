//! Deadlines of many links: one entry a link, moved lazily.

use super::LinkId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// When to look at which link. An entry may be early: whoever looks finds the true deadline and arms again.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, LinkId)>>,
}

/// The entry of a link that counts; others in the heap are left-overs. Lives with the link.
#[derive(Debug, Default)]
pub(super) struct Armed(Option<Instant>);

impl Timers {
    /// Sees to it that `link` is looked at by `deadline`. A deadline that only moved back costs nothing.
    pub(super) fn arm(&mut self, link: LinkId, armed: &mut Armed, deadline: Instant) {
        if armed.0.is_none_or(|at| deadline < at) {
            armed.0 = Some(deadline);
            self.heap.push(Reverse((deadline, link)));
        }
    }

    /// The next entry.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A link whose entry is due. [`Armed::spend`] tells whether the entry counts.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, LinkId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

impl Armed {
    /// Uses up the entry at `at`; false if it is a left-over.
    pub(super) fn spend(&mut self, at: Instant) -> bool {
        let counts = self.0 == Some(at);
        if counts {
            self.0 = None;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_deadline_that_moves_back_costs_one_look_and_one_that_moves_forward_is_kept() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (mut timers, mut armed) = (Timers::default(), Armed::default());
        let link = LinkId::new(7);
        timers.arm(link, &mut armed, at(50));
        timers.arm(link, &mut armed, at(60));
        assert_eq!(timers.heap.len(), 1);
        timers.arm(link, &mut armed, at(9));
        assert_eq!(timers.pop(at(8)), None);
        assert_eq!(timers.pop(at(9)), Some((at(9), link)));
        assert!(armed.spend(at(9)));
        timers.arm(link, &mut armed, at(20));
        assert_eq!(timers.pop(at(30)), Some((at(20), link)));
        assert!(armed.spend(at(20)));
        assert_eq!(timers.pop(at(60)), Some((at(50), link)));
        assert!(!armed.spend(at(50)), "a left-over");
    }
}
