//! What an end can do beyond the first text of this version: numbers that both ends name in their handshake.
//!
//! ```text
//! n × number u16, rising, up to the end of the field
//! ```
//!
//! A feature is used only where both ends named it, so a newer end and an older one work together. Whoever adds one gives it
//! the next number, a constant here, a place in [`Features::ours`] and a line in PROTOCOL.md, and asks [`Features::has`] of
//! what is common to both ends ([`crate::link::Link::features`], [`crate::session::Session::features`]). The tests that hold
//! old and new ends together take it from there.

use super::limits::FEATURES_MAX;

/// The features of this version.
const OURS: &[u16] = &[];

/// A feature for tests alone, of the numbers that no release names: whoever has it knows a frame of sessions that is an error
/// to everybody else.
#[cfg(feature = "canaries")]
pub const TRIAL: u16 = 0xff00;

/// A set of features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features(Vec<u16>);

impl Features {
    /// None at all, as an end has that is older than any feature.
    pub const NONE: Features = Features(Vec::new());

    /// All that this version has.
    pub fn ours() -> Features {
        Features(OURS.to_vec())
    }

    /// Those of these numbers.
    #[cfg(any(test, feature = "canaries"))]
    pub fn of(numbers: &[u16]) -> Features {
        let mut numbers = numbers.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        Features(numbers)
    }

    /// The same and these numbers.
    #[cfg(any(test, feature = "canaries"))]
    #[must_use]
    pub fn with(&self, numbers: &[u16]) -> Features {
        Features::of(&[&self.0, numbers].concat())
    }

    /// The same without one.
    #[cfg(any(test, feature = "canaries"))]
    #[must_use]
    pub fn without(&self, number: u16) -> Features {
        Features(self.0.iter().copied().filter(|other| *other != number).collect())
    }

    /// Their numbers, rising.
    #[cfg(any(test, feature = "canaries"))]
    pub fn numbers(&self) -> &[u16] {
        &self.0
    }

    /// Whether this one is among them.
    pub fn has(&self, number: u16) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    /// Those that are in both: what two ends may use.
    #[must_use]
    pub fn common(&self, other: &Features) -> Features {
        Features(self.0.iter().copied().filter(|number| other.has(*number)).collect())
    }

    /// Their bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// What these bytes say; None if they say nothing, or not in their one way. Numbers that this version does not know are
    /// as good as others.
    pub fn decode(bytes: &[u8]) -> Option<Features> {
        let (numbers, rest) = bytes.as_chunks::<2>();
        let numbers: Vec<u16> = numbers.iter().map(|number| u16::from_le_bytes(*number)).collect();
        let is_whole = rest.is_empty() && numbers.len() <= FEATURES_MAX && !numbers.contains(&0);
        (is_whole && numbers.is_sorted_by(|a, b| a < b)).then_some(Features(numbers))
    }
}

/// Fuzz entry: whatever decodes has one encoding, and what is common to two ends does not depend on who asks.
#[cfg(feature = "fuzzing")]
pub fn fuzz_features(bytes: &[u8]) {
    let (one, other) = bytes.split_at(bytes.len() / 2);
    let read = [one, other, bytes].map(Features::decode);
    for (features, bytes) in read.iter().zip([one, other, bytes]) {
        assert!(features.as_ref().is_none_or(|features| features.encode() == bytes));
    }
    if let [Some(one), Some(other), _] = read {
        assert_eq!(one.common(&other), other.common(&one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_this_version_has_can_be_named_to_any_other() {
        assert_eq!(Features::decode(&Features::ours().encode()), Some(Features::ours()));
        let released = 1..0xff00;
        assert!(OURS.iter().all(|number| released.contains(number)), "numbers for tests are in no release");
    }

    #[test]
    fn numbers_rise_and_are_not_without_bound() {
        let many: Vec<u8> = (1..=64_u16).flat_map(u16::to_le_bytes).collect();
        assert_eq!(Features::decode(&many).map(|features| features.0.len()), Some(FEATURES_MAX));
        assert_eq!(Features::decode(&[&many[..], &[0xff, 0xff]].concat()), None, "one too many");
        assert_eq!(Features::decode(&[]), Some(Features::NONE));
        for bad in [&[1][..], &[1, 0, 2], &[2, 0, 1, 0], &[1, 0, 1, 0], &[0, 0]] {
            assert_eq!(Features::decode(bad), None, "{bad:?}");
        }
    }

    fn features() -> impl Strategy<Value = Features> {
        proptest::collection::btree_set(prop_oneof![1..6_u16, 1..=u16::MAX], 0..=FEATURES_MAX)
            .prop_map(|numbers| Features(numbers.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn any_features_read_back(features in features()) {
            prop_assert_eq!(Features::decode(&features.encode()), Some(features));
        }

        #[test]
        fn only_what_both_named_is_common(one in features(), other in features()) {
            let common = one.common(&other);
            prop_assert_eq!(&common, &other.common(&one));
            let is_right = |number: u16| common.has(number) == (one.has(number) && other.has(number));
            prop_assert!((0..=u16::MAX).all(is_right));
            let both = Features::decode(&common.encode());
            prop_assert_eq!(both, Some(common));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
            fuzz_features(&bytes);
        }
    }
}
