//! Calls to a client that came to nothing without its knowing: until it hears of that it may accept them, and what it then sends
//! at once is not its own doing.

use crate::identity::PeerId;
use crate::wire::limits::CIRCUIT_WINDOW_START;
use std::collections::VecDeque;

/// So many are kept: as many as its peer may have unanswered at once. Into most of them nothing comes.
const CALLS_MAX: usize = 128;
/// What they take at most.
pub(crate) const VAIN_BYTES_MAX: usize = CALLS_MAX * size_of::<Call>() + 32;

#[derive(Debug)]
struct Call {
    circuit: u32,
    from: PeerId,
    /// What may come yet, bytes: what a circuit may bring without a grant.
    left: u32,
}

/// What came for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentInVain {
    /// Who had called.
    pub from: PeerId,
    /// How much it was, bytes.
    pub bytes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Vain {
    calls: VecDeque<Call>,
    sent: Option<SentInVain>,
}

impl Vain {
    /// The client was brought this call, and it has come to nothing.
    pub(crate) fn add(&mut self, circuit: u32, from: PeerId) {
        // Not in steps, each of which could take twice as much.
        self.calls.reserve_exact(CALLS_MAX - self.calls.len());
        if self.calls.len() == CALLS_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(Call { circuit, from, left: CIRCUIT_WINDOW_START });
    }

    /// So many bytes came for a circuit that is none. Those of them that came for such a call.
    pub(crate) fn receive(&mut self, circuit: u32, bytes: usize) -> Option<SentInVain> {
        let at = self.calls.iter().position(|call| call.circuit == circuit)?;
        let call = self.calls.get_mut(at)?;
        let taken = u32::try_from(bytes).unwrap_or(u32::MAX).min(call.left);
        call.left -= taken;
        let sent = SentInVain { from: call.from, bytes: usize::try_from(taken).unwrap_or(bytes) };
        if call.left == 0 {
            self.calls.remove(at);
        }
        self.sent = Some(sent);
        self.sent
    }

    /// Takes what came last, for whoever reckons with that.
    pub(crate) fn take_sent(&mut self) -> Option<SentInVain> {
        self.sent.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = CIRCUIT_WINDOW_START as usize;

    #[test]
    fn a_call_brings_what_needs_no_grant_and_no_more_and_the_oldest_are_forgotten() {
        let (mut vain, from) = (Vain::default(), PeerId::from_bytes([1; 32]));
        let sent = |bytes| Some(SentInVain { from, bytes });
        vain.add(1, from);
        assert_eq!((vain.receive(3, 5), vain.take_sent()), (None, None));
        assert_eq!((vain.receive(1, 5), vain.take_sent(), vain.take_sent()), (sent(5), sent(5), None));
        assert_eq!([(); 2].map(|()| vain.receive(1, WINDOW)), [sent(WINDOW - 5), None]);
        let all = u32::try_from(CALLS_MAX).unwrap() + 10;
        (0..all).for_each(|circuit| vain.add(circuit, from));
        assert_eq!((0..all).filter(|circuit| vain.receive(*circuit, 1).is_some()).count(), CALLS_MAX);
    }
}
