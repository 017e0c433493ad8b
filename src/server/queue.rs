//! Connections that have input, in the order in which they are read.

use crate::relay::ConnId;
use std::collections::VecDeque;

/// See the module. A turn is [`Queue::begin`], then [`Queue::next`] and perhaps [`Queue::put_back`] for each.
#[derive(Debug, Default)]
pub(super) struct Queue {
    conns: VecDeque<ConnId>,
    /// Connections that this turn has not come to.
    left: usize,
    /// Those of this turn that stand at the end of the queue, as far as they had their share.
    served: usize,
    starved: bool,
}

impl Queue {
    /// A connection has input.
    pub(super) fn push(&mut self, conn: ConnId) {
        self.conns.push_back(conn);
    }

    /// A turn begins. Connections that the last one had no memory for are first: otherwise those ahead of them could take whatever
    /// there is, again and again.
    pub(super) fn begin(&mut self) {
        if std::mem::take(&mut self.starved) {
            self.conns.rotate_left(self.served.min(self.conns.len()));
        }
        (self.left, self.served) = (self.conns.len(), 0);
    }

    /// The next connection of this turn.
    pub(super) fn next(&mut self) -> Option<ConnId> {
        self.left = self.left.checked_sub(1)?;
        self.conns.pop_front()
    }

    /// A connection is to be read again. `has_memory`: false once this turn has found none.
    pub(super) fn put_back(&mut self, conn: ConnId, has_memory: bool) {
        self.conns.push_back(conn);
        self.starved |= !has_memory;
        self.served += usize::from(!self.starved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conns_that_found_no_memory_are_first_in_the_next_turn() {
        let mut queue = Queue::default();
        let mut reads = [0; 10];
        (0..10).for_each(|n| queue.push(ConnId::new(n)));
        for _ in 0..10 {
            queue.begin();
            let (mut memory, mut seen) = (3, 0);
            while let Some(conn) = queue.next() {
                seen += 1;
                reads[usize::try_from(conn.get()).unwrap()] += usize::from(memory > 0);
                queue.put_back(conn, memory > 0);
                memory -= usize::from(memory > 0);
            }
            assert_eq!(seen, 10);
        }
        assert_eq!(reads, [3; 10]);
    }

    #[test]
    fn conns_that_are_empty_leave_and_come_back_behind_the_others() {
        let mut queue = Queue::default();
        (1..=3).for_each(|n| queue.push(ConnId::new(n)));
        queue.begin();
        let first = queue.next().unwrap();
        let second = queue.next().unwrap();
        queue.put_back(second, true);
        let third = queue.next().unwrap();
        queue.put_back(third, true);
        assert_eq!(queue.next(), None);
        queue.push(first);
        queue.begin();
        assert_eq!([(); 4].map(|()| queue.next()), [Some(second), Some(third), Some(first), None]);
    }
}
