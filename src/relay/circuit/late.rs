//! Bytes that may yet come for circuits that are over: their client could not know.

use crate::identity::PeerId;
use crate::relay::rate::LATE_BYTES_MAX;
use std::collections::VecDeque;

/// Of so many circuits it is known who has had the client send, if its peer has a rate. Of others only that something may come.
const CIRCUITS_MAX: usize = 128;
/// What they take at most.
pub(crate) const LATE_BYTES_KEPT_MAX: usize = CIRCUITS_MAX * size_of::<Ended>() + 32;

/// See the module. The default does not keep whose they were.
#[derive(Debug, Default)]
pub(crate) struct Late {
    keeps: bool,
    /// The newest last.
    circuits: VecDeque<Ended>,
    /// Bytes for all others.
    other_bytes: u32,
}

#[derive(Debug)]
struct Ended {
    circuit: u32,
    with: PeerId,
    bytes: u32,
}

/// Bytes that came for a circuit that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Who had them sent, if that is known.
    pub with: Option<PeerId>,
    /// So many of them were to come.
    pub bytes: usize,
}

impl Late {
    /// Whose the other end was matters from now on, or does not.
    pub(crate) fn keep(&mut self, keeps: bool) {
        self.keeps = keeps;
    }

    /// A circuit is over, and so many bytes may come yet.
    pub(crate) fn expect(&mut self, circuit: u32, with: Option<PeerId>, bytes: u32) {
        let Some(with) = with.filter(|_| self.keeps) else { return self.expect_any(bytes) };
        if bytes == 0 {
            return;
        }
        if self.circuits.len() >= CIRCUITS_MAX
            && let Some(first) = self.circuits.pop_front()
        {
            self.expect_any(first.bytes);
        }
        self.circuits.push_back(Ended { circuit, with, bytes });
    }

    /// So many bytes may come for some circuit.
    fn expect_any(&mut self, bytes: u32) {
        self.other_bytes = self.other_bytes.saturating_add(bytes).min(LATE_BYTES_MAX);
    }

    /// So many bytes came for a circuit that is none.
    pub(crate) fn take(&mut self, circuit: u32, bytes: usize) -> Taken {
        let known = self.circuits.iter().rposition(|ended| ended.circuit == circuit);
        let Some((at, ended)) = known.and_then(|at| Some((at, self.circuits.get_mut(at)?))) else {
            return Taken { with: None, bytes: take(&mut self.other_bytes, bytes) };
        };
        let (with, taken) = (ended.with, take(&mut ended.bytes, bytes));
        if ended.bytes == 0 {
            self.circuits.remove(at);
        }
        Taken { with: Some(with), bytes: taken }
    }

    /// Gives back the memory of what is over.
    pub(crate) fn shrink(&mut self) {
        if self.circuits.is_empty() {
            self.circuits = VecDeque::new();
        }
    }
}

fn take(left: &mut u32, bytes: usize) -> usize {
    let taken = u32::try_from(bytes).unwrap_or(u32::MAX).min(*left);
    *left -= taken;
    usize::try_from(taken).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn taken(late: &mut Late, circuit: u32, bytes: usize) -> (Option<PeerId>, usize) {
        let Taken { with, bytes } = late.take(circuit, bytes);
        (with, bytes)
    }

    #[test]
    fn what_comes_is_of_whoever_had_it_sent_and_no_more_than_was_to_come() {
        let mut late = Late::default();
        late.keep(true);
        late.expect(3, Some(peer(3)), 1000);
        late.expect(5, Some(peer(5)), 500);
        late.expect_any(10);
        assert_eq!(taken(&mut late, 5, 400), (Some(peer(5)), 400));
        assert_eq!(taken(&mut late, 3, 1000), (Some(peer(3)), 1000));
        assert_eq!(taken(&mut late, 5, 400), (Some(peer(5)), 100));
        assert_eq!([taken(&mut late, 5, 400), taken(&mut late, 7, 1)], [(None, 10), (None, 0)]);
        late.shrink();
        assert_eq!(late.circuits.capacity(), 0);
    }

    #[test]
    fn of_more_circuits_than_are_kept_it_is_known_that_something_may_come() {
        for keeps in [true, false] {
            let mut late = Late::default();
            late.keep(keeps);
            (1..=1000).for_each(|n| late.expect(n, Some(peer(1)), 1000));
            assert_eq!(taken(&mut late, 1000, 1000), (Some(peer(1)).filter(|_| keeps), 1000));
            assert_eq!(taken(&mut late, 1, 500), (None, 500));
            assert!(late.circuits.len() < CIRCUITS_MAX && (keeps || late.circuits.capacity() == 0));
        }
    }
}
