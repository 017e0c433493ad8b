//! The sealed channel: one half seals, the other opens, each with a counter that nobody sends.

use std::error::Error;
use std::fmt;

use snow::HandshakeState;
use zeroize::{Zeroize as _, Zeroizing};

use super::aead::{Aead, KEY_BYTES, TAG_BYTES};
use super::error::HandshakeError;
use super::suite::Suite;

/// Longest sealed message (Noise, section 3).
pub(crate) const MESSAGE_MAX: usize = 65_535;
/// Longest plaintext of one message.
pub(crate) const PLAINTEXT_MAX: usize = MESSAGE_MAX - TAG_BYTES;
/// The last counter belongs to Noise's REKEY (section 4.2): no message has it, and counting to it cannot wrap.
const RESERVED: u64 = u64::MAX;

/// The two halves of the channel that a finished handshake leaves behind: Noise's Split(), each half with one key.
///
/// # Errors
/// [`HandshakeError::Unauthentic`] if the handshake is not finished.
pub(super) fn split(suite: Suite, mut noise: HandshakeState) -> Result<(Sealer, Opener), HandshakeError> {
    if !noise.is_handshake_finished() {
        return Err(HandshakeError::Unauthentic);
    }
    let (mut forth, mut back) = noise.dangerously_get_raw_split();
    let (out, into) = if noise.is_initiator() { (&mut forth, &mut back) } else { (&mut back, &mut forth) };
    let halves = (
        Sealer(Half { key: Some(Key::take(suite, out)), records: 0 }),
        Opener(Half { key: Some(Key::take(suite, into)), records: 0 }),
    );
    Ok(halves)
}

/// The key of one direction. Its schedule, many times its size, is there from the first message until the half rests.
struct Key {
    suite: Suite,
    /// In a place of its own, so that whoever moves a half leaves no key behind.
    bytes: Box<Zeroizing<[u8; KEY_BYTES]>>,
    aead: Option<Aead>,
}

impl Key {
    /// Wipes `bytes`.
    fn take(suite: Suite, bytes: &mut [u8; KEY_BYTES]) -> Key {
        let mut own = Box::new(Zeroizing::new([0; KEY_BYTES]));
        own.copy_from_slice(bytes);
        bytes.zeroize();
        Key { suite, bytes: own, aead: None }
    }

    fn aead(&mut self) -> &Aead {
        self.aead.get_or_insert_with(|| Aead::new(self.suite, &self.bytes))
    }
}

/// One direction of a channel.
struct Half {
    /// `None` after an error: a channel that lost count is over, and nothing that follows a bad message is trusted.
    key: Option<Key>,
    /// The counter of the next message.
    records: u64,
}

impl Half {
    /// Does this to the next message, which counts if that succeeds; nothing more is done after a failure.
    fn next<E>(&mut self, closed: E, act: impl FnOnce(&mut Key, u64) -> Result<usize, E>) -> Result<usize, E> {
        let done = self.key.as_mut().ok_or(closed).and_then(|key| act(key, self.records));
        match done {
            // The last counter is refused, so this cannot wrap.
            Ok(_) => self.records += 1,
            Err(_) => self.key = None,
        }
        done
    }

    #[cfg(test)]
    fn is_resting(&self) -> bool {
        self.key.as_ref().is_none_or(|key| key.aead.is_none())
    }

    fn rest(&mut self) {
        if let Some(key) = &mut self.key {
            key.aead = None;
        }
    }
}

/// Seals messages in order. The counter is the number of messages sealed so far.
pub struct Sealer(Half);

impl Sealer {
    /// Seals `plaintext` into the front of `out` and gives the sealed length, `plaintext.len() + TAG_BYTES`.
    ///
    /// The plaintext is read once and the output written once: 65,519 bytes at a time, at the speed of the AEAD.
    ///
    /// # Errors
    /// [`SealError`]; every later call then fails as [`SealError::Closed`].
    pub fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize, SealError> {
        self.0.next(SealError::Closed, |key, n| {
            if plaintext.len() > PLAINTEXT_MAX {
                return Err(SealError::TooLong);
            }
            if out.len() < plaintext.len() + TAG_BYTES {
                return Err(SealError::OutputTooSmall);
            }
            if n == RESERVED {
                return Err(SealError::Exhausted);
            }
            Ok(key.aead().seal(n, &[], plaintext, out))
        })
    }

    /// Whether the key rests.
    #[cfg(test)]
    pub(crate) fn is_resting(&self) -> bool {
        self.0.is_resting()
    }

    /// Lets the key rest, which gives back some 600 bytes; the next message computes them again, in well under a microsecond.
    pub(crate) fn rest(&mut self) {
        self.0.rest();
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
        self.0.records
    }
}

/// Opens messages in the order in which they were sealed. The counter is the number of messages opened so far.
pub struct Opener(Half);

impl Opener {
    /// Opens `sealed` into the front of `out` and gives the plaintext's length, `sealed.len() - TAG_BYTES`.
    ///
    /// # Errors
    /// [`OpenError`]; every later call then fails as [`OpenError::Closed`]. `out` holds no plaintext after an error.
    pub fn open(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<usize, OpenError> {
        self.0.next(OpenError::Closed, |key, n| {
            if sealed.len() > MESSAGE_MAX {
                return Err(OpenError::Unauthentic);
            }
            let plaintext_len = sealed.len().checked_sub(TAG_BYTES).ok_or(OpenError::Unauthentic)?;
            if out.len() < plaintext_len {
                return Err(OpenError::OutputTooSmall);
            }
            if n == RESERVED {
                return Err(OpenError::Exhausted);
            }
            key.aead().open(n, &[], sealed, out).ok_or(OpenError::Unauthentic)
        })
    }

    /// Whether the key rests.
    #[cfg(test)]
    pub(crate) fn is_resting(&self) -> bool {
        self.0.is_resting()
    }

    /// As [`Sealer::rest`].
    pub(crate) fn rest(&mut self) {
        self.0.rest();
    }

    /// Messages opened so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.0.records
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("records", &self.0.records).finish_non_exhaustive()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("records", &self.0.records).finish_non_exhaustive()
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
    fn a_half_that_rested_goes_on_where_it_was_and_holds_no_schedule() {
        for suite in Suite::ALL {
            let ((mut sealer, mut opener), _) = channel(suite);
            for n in 0..4_u8 {
                let mut sealed = [0; 1 + TAG_BYTES];
                assert_eq!(sealer.seal(&[n], &mut sealed), Ok(1 + TAG_BYTES));
                let mut out = [0];
                assert_eq!(opener.open(&sealed, &mut out), Ok(1));
                assert_eq!(out, [n]);
                sealer.rest();
                opener.rest();
                assert!(sealer.is_resting() && opener.is_resting());
            }
            assert_eq!((sealer.records(), opener.records()), (4, 4));
        }
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
        sealer.0.records = u64::MAX - 1;
        opener.0.records = u64::MAX - 1;
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
