//! The sealed channel: one half seals, the other opens, each with a counter that nobody sends.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use snow::StatelessTransportState;

/// What sealing adds to a message.
pub const TAG_BYTES: usize = 16;
/// Longest sealed message (Noise, section 3).
pub(crate) const MESSAGE_MAX: usize = 65_535;
/// Longest plaintext of one message.
pub(crate) const PLAINTEXT_MAX: usize = MESSAGE_MAX - TAG_BYTES;

/// The two halves of a channel that a finished handshake left behind.
///
/// Each half holds the keys of both directions, because snow does not hand them out singly; `write_message` uses one,
/// `read_message` the other, and neither changes anything, so halves on two threads never meet.
pub(super) fn split(transport: StatelessTransportState) -> (Sealer, Opener) {
    let transport = Arc::new(transport);
    let sealer = Sealer { transport: Some(Arc::clone(&transport)), records: 0 };
    (sealer, Opener { transport: Some(transport), records: 0 })
}

/// Seals messages in order. The counter is the number of messages sealed so far.
pub struct Sealer {
    /// `None` after an error: a channel that lost count is over.
    transport: Option<Arc<StatelessTransportState>>,
    records: u64,
}

impl Sealer {
    /// Seals `plaintext` into the front of `out` and gives the sealed length, `plaintext.len() + TAG_BYTES`.
    ///
    /// The plaintext is read once and the output written once: 65,519 bytes at a time, at the speed of the AEAD.
    ///
    /// # Errors
    /// [`SealError`]; every later call then fails as [`SealError::Closed`].
    pub fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize, SealError> {
        let transport = self.transport.take().ok_or(SealError::Closed)?;
        if plaintext.len() > PLAINTEXT_MAX {
            return Err(SealError::TooLong);
        }
        if out.len() < plaintext.len() + TAG_BYTES {
            return Err(SealError::OutputTooSmall);
        }
        // snow refuses the last counter, which is reserved for rekeying, so the addition cannot wrap.
        let sealed = transport.write_message(self.records, plaintext, out).map_err(|_| SealError::Exhausted)?;
        self.records += 1;
        self.transport = Some(transport);
        Ok(sealed)
    }

    /// Seals `plaintext` onto the end of `out` and gives the sealed length. `out` grows by exactly that, or not at all.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub(crate) fn seal_into(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<usize, SealError> {
        let start = out.len();
        // Checked before growing: a caller's mistake must not cost memory. `seal` names it.
        if plaintext.len() <= PLAINTEXT_MAX {
            out.resize(start + plaintext.len() + TAG_BYTES, 0);
        }
        let sealed = self.seal(plaintext, &mut out[start..]);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    /// Messages sealed so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }
}

/// Opens messages in the order in which they were sealed. The counter is the number of messages opened so far.
pub struct Opener {
    /// `None` after an error: nothing that follows a bad message is trusted.
    transport: Option<Arc<StatelessTransportState>>,
    records: u64,
}

impl Opener {
    /// Opens `sealed` into the front of `out` and gives the plaintext's length, `sealed.len() - TAG_BYTES`.
    ///
    /// # Errors
    /// [`OpenError`]; every later call then fails as [`OpenError::Closed`]. `out` holds no plaintext after an error.
    pub fn open(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<usize, OpenError> {
        let transport = self.transport.take().ok_or(OpenError::Closed)?;
        if sealed.len() > MESSAGE_MAX {
            return Err(OpenError::Unauthentic);
        }
        let plaintext_len = sealed.len().checked_sub(TAG_BYTES).ok_or(OpenError::Unauthentic)?;
        if out.len() < plaintext_len {
            return Err(OpenError::OutputTooSmall);
        }
        let opened = transport.read_message(self.records, sealed, out).map_err(|error| match error {
            snow::Error::State(_) => OpenError::Exhausted,
            _ => OpenError::Unauthentic,
        })?;
        self.records += 1;
        self.transport = Some(transport);
        Ok(opened)
    }

    /// Messages opened so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("records", &self.records).finish_non_exhaustive()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("records", &self.records).finish_non_exhaustive()
    }
}

/// Why a message was not sealed. All are the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// More than `PLAINTEXT_MAX` bytes.
    TooLong,
    /// The output has no room for the plaintext and the tag.
    OutputTooSmall,
    /// All 2⁶⁴ − 1 counters are used.
    Exhausted,
    /// An earlier call failed.
    Closed,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the message is too long to seal",
            Self::OutputTooSmall => "no room for the sealed message",
            Self::Exhausted => "the channel has used up its counters",
            Self::Closed => "the channel failed before",
        })
    }
}

impl Error for SealError {}

/// Why a message was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// Not what the peer sealed next: altered, dropped, repeated, out of order, or no sealed message at all.
    Unauthentic,
    /// The caller's output has no room for the plaintext.
    OutputTooSmall,
    /// All 2⁶⁴ − 1 counters are used.
    Exhausted,
    /// An earlier call failed.
    Closed,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unauthentic => "the message is not authentic",
            Self::OutputTooSmall => "no room for the opened message",
            Self::Exhausted => "the channel has used up its counters",
            Self::Closed => "the channel failed before",
        })
    }
}

impl Error for OpenError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::noise::{JoinInitiator, JoinResponder, Suite};

    /// Both directions of a fresh channel: `(a to b, b to a)`.
    fn channel(suite: Suite) -> ((Sealer, Opener), (Sealer, Opener)) {
        let psk = [1; 32];
        let (initiator, first) = JoinInitiator::start(suite, &psk, b"", b"").expect("starts");
        let (_, responder) = JoinResponder::accept(suite, &psk, b"", &first).expect("accepts");
        let (second, back_sealer, opener) = responder.reply(b"").expect("replies");
        let (_, sealer, back_opener) = initiator.finish(&second).expect("finishes");
        ((sealer, opener), (back_sealer, back_opener))
    }

    #[test]
    fn halves_move_to_other_threads() {
        fn is_send<T: Send>(_: &T) {}
        let ((sealer, opener), _) = channel(Suite::AesGcm);
        is_send(&sealer);
        is_send(&opener);
    }

    #[test]
    fn messages_arrive_in_order_both_ways() {
        for suite in Suite::ALL {
            let (forth, back) = channel(suite);
            for (mut sealer, mut opener) in [forth, back] {
                for n in 0..100_usize {
                    let plaintext = vec![u8::try_from(n).expect("small"); n * 50];
                    let mut sealed = vec![1, 2, 3];
                    assert_eq!(sealer.seal_into(&plaintext, &mut sealed), Ok(n * 50 + TAG_BYTES));
                    assert_eq!(sealed[..3], [1, 2, 3]);
                    let mut out = vec![0; n * 50];
                    assert_eq!(opener.open(&sealed[3..], &mut out), Ok(n * 50));
                    assert_eq!(out, plaintext);
                }
                assert_eq!((sealer.records(), opener.records()), (100, 100));
            }
        }
    }

    #[test]
    fn the_longest_message_passes_and_one_more_byte_does_not() {
        let ((mut sealer, mut opener), _) = channel(Suite::AesGcm);
        let mut sealed = Vec::new();
        assert_eq!(sealer.seal_into(&[5; PLAINTEXT_MAX], &mut sealed), Ok(MESSAGE_MAX));
        let mut out = vec![0; PLAINTEXT_MAX];
        assert_eq!(opener.open(&sealed, &mut out), Ok(PLAINTEXT_MAX));
        assert_eq!(sealer.seal_into(&[5; PLAINTEXT_MAX + 1], &mut sealed), Err(SealError::TooLong));
        assert_eq!(sealed.len(), MESSAGE_MAX);
        assert_eq!(opener.open(&[0; MESSAGE_MAX + 1], &mut out), Err(OpenError::Unauthentic));
    }

    #[test]
    fn after_an_error_the_half_is_dead() {
        let ((mut sealer, mut opener), _) = channel(Suite::ChaChaPoly);
        let mut sealed = [0; 3 + TAG_BYTES];
        assert_eq!(sealer.seal(b"abc", &mut sealed), Ok(19));
        let mut bent = sealed;
        bent[0] ^= 1;
        let mut out = [0x55; 3];
        assert_eq!(opener.open(&bent, &mut out), Err(OpenError::Unauthentic));
        assert_eq!(out, [0; 3]);
        assert_eq!(opener.open(&sealed, &mut out), Err(OpenError::Closed));
        assert_eq!(opener.records(), 0);
        assert_eq!(sealer.seal(b"abc", &mut [0; 18]), Err(SealError::OutputTooSmall));
        assert_eq!(sealer.seal(b"abc", &mut sealed), Err(SealError::Closed));
        assert_eq!(sealer.records(), 1);
    }

    #[test]
    fn repeated_dropped_swapped_reflected_and_cut_messages_fail() {
        let seal = |sealer: &mut Sealer| {
            let mut sealed = Vec::new();
            sealer.seal_into(b"message", &mut sealed).expect("fits");
            sealed
        };
        let fails = |opener: &mut Opener, sealed: &[u8]| {
            assert_eq!(opener.open(sealed, &mut [0; 64]), Err(OpenError::Unauthentic));
        };
        for suite in Suite::ALL {
            let ((mut sealer, mut opener), _) = channel(suite);
            let first = seal(&mut sealer);
            assert_eq!(opener.open(&first, &mut [0; 64]), Ok(7));
            fails(&mut opener, &first);

            let ((mut sealer, mut opener), _) = channel(suite);
            let _dropped = seal(&mut sealer);
            fails(&mut opener, &seal(&mut sealer));

            let ((mut sealer, _), (_, mut own_opener)) = channel(suite);
            fails(&mut own_opener, &seal(&mut sealer));

            for len in 0..first.len() {
                let ((mut sealer, mut opener), _) = channel(suite);
                fails(&mut opener, &seal(&mut sealer)[..len]);
            }
        }
    }

    #[test]
    fn counters_end_before_they_repeat() {
        let ((mut sealer, mut opener), _) = channel(Suite::AesGcm);
        sealer.records = u64::MAX - 1;
        opener.records = u64::MAX - 1;
        let mut sealed = [0; TAG_BYTES];
        assert_eq!(sealer.seal(b"", &mut sealed), Ok(TAG_BYTES));
        assert_eq!(opener.open(&sealed, &mut []), Ok(0));
        assert_eq!(sealer.seal(b"", &mut sealed), Err(SealError::Exhausted));
        assert_eq!(opener.open(&sealed, &mut []), Err(OpenError::Exhausted));
        assert_eq!(sealer.records(), u64::MAX);
    }

    proptest! {
        #[test]
        fn no_input_opens_by_chance(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let ((_, mut opener), _) = channel(Suite::AesGcm);
            prop_assert_eq!(opener.open(&data, &mut [0; 300]), Err(OpenError::Unauthentic));
        }
    }
}
