//! Which listeners a call has been with in vain. Links come and go as long as a call waits; only those that still listen count.

use super::sizes::boxed;

/// So many at most, as many as one peer has links where nobody says otherwise: while that many who were tried still listen, a
/// call is offered to no other.
pub const TRIED_MAX: usize = 256;

/// What those of a call take at worst.
pub(super) const TRIED_BYTES: usize = boxed(TRIED_MAX * size_of::<u64>());

/// See the module. A listener is known by [`Listener::since`](super::listeners::Listener::since), which is nobody else's.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried(Vec<u64>);

impl Tried {
    /// Whether this one was tried.
    pub(super) fn contains(&self, since: u64) -> bool {
        self.0.contains(&since)
    }

    /// One more was tried, of these that listen now.
    pub(super) fn note<I: Iterator<Item = u64>>(&mut self, since: u64, listening: impl FnOnce() -> I) {
        if self.0.len() == self.0.capacity() {
            // Now and then is enough: whoever is gone is not asked again in any case.
            let listening: Vec<u64> = listening().collect();
            self.0.retain(|tried| listening.contains(tried));
        }
        self.0.push(since);
    }

    /// How many are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether as many as may be of these that listen were tried.
    pub(super) fn is_full_of<I: Iterator<Item = u64>>(&self, listening: impl FnOnce() -> I) -> bool {
        self.0.len() >= TRIED_MAX && listening().filter(|since| self.contains(*since)).count() >= TRIED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_that_come_and_go_leave_nothing_behind() {
        let mut tried = Tried::default();
        for since in 0..100_000 {
            tried.note(since, || since..=since);
            assert!(tried.contains(since) && !tried.contains(since + 1));
        }
        assert!(tried.0.capacity() <= 8, "{}", tried.0.capacity());
    }

    #[test]
    fn so_many_that_stay_are_known_and_no_more() {
        let mut tried = Tried::default();
        let most = u64::try_from(TRIED_MAX).unwrap();
        for since in 0..most {
            assert!(!tried.is_full_of(|| 0..=most));
            tried.note(since, || 0..=most);
        }
        assert!((0..most).all(|since| tried.contains(since)) && tried.0.capacity() == TRIED_MAX);
        assert!(tried.is_full_of(|| 0..=most) && !tried.is_full_of(|| 1..=most));
        // One has gone: there is room for another.
        tried.note(most, || 1..=most);
        assert!(tried.contains(most) && !tried.contains(0) && tried.0.capacity() == TRIED_MAX);
    }
}
