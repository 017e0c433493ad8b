//! 32 bytes as text: bech32m (BIP 350) with our prefixes, strict and canonical.
//!
//! One value has exactly one lower-case and one upper-case text. The crate `bech32` checks the checksum; this file
//! adds what it leaves open: a precise reason, an exact length, and padding bits that must be zero.

use bech32::Bech32m;
use bech32::primitives::decode::CheckedHrpstring;
use zeroize::Zeroizing;

/// Characters that carry the value: 256 bits, five to a character.
const DATA_CHARS: usize = 52;
/// Characters of a bech32m checksum.
const CHECKSUM_CHARS: usize = 6;
/// The bits of the last data character that carry nothing: 52 · 5 − 256 = 4.
const PADDING_MASK: u8 = 0b1111;
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Why a text is not an id or not a secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeError {
    /// It does not begin with this prefix and the separator `1`.
    WrongPrefix {
        /// The prefix without the `1`, in lower case.
        expected: &'static str,
    },
    /// It has this many characters, not the number that 32 bytes need.
    WrongLength {
        /// Characters needed.
        expected: usize,
        /// Characters found.
        found: usize,
    },
    /// Upper and lower case are mixed: it was not copied, it was typed.
    MixedCase,
    /// A character outside the alphabet of bech32.
    BadCharacter {
        /// Characters before it.
        at: usize,
    },
    /// A character is wrong, missing or swapped.
    BadChecksum,
    /// The unused bits at the end are not zero.
    NotCanonical,
}

impl CodeError {
    /// Characters before the culprit, for a column number.
    pub(crate) fn offset(&self) -> usize {
        match self {
            Self::BadCharacter { at } => *at,
            _ => 0,
        }
    }
}

/// Reads `prefix1…` into its 32 bytes. All lower or all upper case, nothing before or after.
pub(crate) fn decode(prefix: &'static str, text: &str) -> Result<Zeroizing<[u8; 32]>, CodeError> {
    // From here on every character is one byte, so byte positions are character positions.
    if let Some(at) = text.chars().position(|c| !c.is_ascii_graphic()) {
        return Err(CodeError::BadCharacter { at });
    }
    let lower = text.bytes().any(|b| b.is_ascii_lowercase());
    let upper = text.bytes().any(|b| b.is_ascii_uppercase());
    if lower && upper {
        return Err(CodeError::MixedCase);
    }
    let (head, tail) = text.split_at_checked(prefix.len() + 1).unwrap_or((text, ""));
    if !head.strip_suffix('1').is_some_and(|head| head.eq_ignore_ascii_case(prefix)) {
        return Err(CodeError::WrongPrefix { expected: prefix });
    }
    if tail.len() != DATA_CHARS + CHECKSUM_CHARS {
        let expected = head.len() + DATA_CHARS + CHECKSUM_CHARS;
        return Err(CodeError::WrongLength { expected, found: text.len() });
    }
    if let Some(at) = tail.bytes().position(|b| !ALPHABET.contains(&b.to_ascii_lowercase())) {
        return Err(CodeError::BadCharacter { at: head.len() + at });
    }
    let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| CodeError::BadChecksum)?;
    if checked.fe32_iter().last().is_some_and(|last| last.to_u8() & PADDING_MASK != 0) {
        return Err(CodeError::NotCanonical);
    }
    let mut bytes = Zeroizing::new([0_u8; 32]);
    for (slot, byte) in bytes.iter_mut().zip(checked.byte_iter()) {
        *slot = byte;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use bech32::Hrp;
    use proptest::prelude::*;

    use super::*;

    fn encode(bytes: &[u8]) -> String {
        bech32::encode_lower::<Bech32m>(Hrp::parse_unchecked("vp"), bytes).expect("short enough")
    }

    #[test]
    fn each_kind_of_damage_has_its_own_name() {
        let good = encode(&[7; 32]);
        let wrong = |text: &str| decode("vp", text).err();
        assert_eq!(wrong(&good), None);
        assert_eq!(wrong(&good.to_uppercase()), None);
        assert_eq!(wrong(""), Some(CodeError::WrongPrefix { expected: "vp" }));
        assert_eq!(wrong("vp"), Some(CodeError::WrongPrefix { expected: "vp" }));
        assert_eq!(wrong(&good.replace("vp1", "vq1")), Some(CodeError::WrongPrefix { expected: "vp" }));
        assert_eq!(wrong(&good.replace("vp1", "Vp1")), Some(CodeError::MixedCase));
        assert_eq!(wrong(&good[..60]), Some(CodeError::WrongLength { expected: 61, found: 60 }));
        assert_eq!(wrong(&format!("{good}q")), Some(CodeError::WrongLength { expected: 61, found: 62 }));
        assert_eq!(wrong(&format!("{good} ")), Some(CodeError::BadCharacter { at: 61 }));
        let mut foreign = good.clone();
        foreign.replace_range(10..11, "b");
        assert_eq!(wrong(&foreign), Some(CodeError::BadCharacter { at: 10 }));
        let mut flipped = good.clone();
        flipped.replace_range(10..11, if &good[10..11] == "q" { "p" } else { "q" });
        assert_eq!(wrong(&flipped), Some(CodeError::BadChecksum));
    }

    #[test]
    fn other_checksums_and_other_lengths_are_refused() {
        let bech32 = bech32::encode_lower::<bech32::Bech32>(Hrp::parse_unchecked("vp"), &[7; 32]);
        assert_eq!(decode("vp", &bech32.expect("short enough")).err(), Some(CodeError::BadChecksum));
        assert!(matches!(decode("vp", &encode(&[7; 31])).err(), Some(CodeError::WrongLength { .. })));
        assert!(matches!(decode("vp", &encode(&[7; 33])).err(), Some(CodeError::WrongLength { .. })));
    }

    #[test]
    fn padding_bits_must_be_zero() {
        use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
        let hrp = Hrp::parse_unchecked("vp");
        let mut fes: Vec<_> = [7_u8; 32].iter().copied().bytes_to_fes().collect();
        let last = fes.pop().expect("52 of them");
        fes.push(bech32::Fe32::try_from(last.to_u8() | 1).expect("five bits"));
        let text: String = fes.into_iter().with_checksum::<Bech32m>(&hrp).chars().collect();
        assert_eq!(decode("vp", &text).err(), Some(CodeError::NotCanonical));
    }

    proptest! {
        #[test]
        fn every_value_has_one_text(bytes in any::<[u8; 32]>()) {
            let text = encode(&bytes);
            prop_assert_eq!(*decode("vp", &text).expect("own text"), bytes);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = decode("vp", &text);
        }

        #[test]
        fn one_changed_character_is_noticed(bytes in any::<[u8; 32]>(), at in 3_usize..61, to in 0_usize..32) {
            let mut text = encode(&bytes).into_bytes();
            prop_assume!(text[at] != ALPHABET[to]);
            text[at] = ALPHABET[to];
            let text = String::from_utf8(text).expect("ascii");
            prop_assert!(decode("vp", &text).is_err());
        }
    }
}
