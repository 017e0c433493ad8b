//! The card: a peer id vouches for the Noise key that goes with it.

use std::error::Error;
use std::fmt;

use aws_lc_rs::signature::Ed25519KeyPair;

use super::id::PeerId;
use super::signature::{BadSignature, Label, SIGNATURE_BYTES, sign};

const VERSION: u8 = 1;
/// What the signature covers: version, id, two keys, serial, expiry.
const SIGNED_BYTES: usize = 1 + 32 + 32 + 32 + 4 + 8;
/// Length of an encoded card: the signed part and the signature.
pub const CARD_BYTES: usize = SIGNED_BYTES + SIGNATURE_BYTES;
/// The purpose of a card's signature.
pub(crate) const CARD_LABEL: Label = Label::new("vp/1 card");

/// A signed statement of a peer: these are my keys for agreement.
///
/// ```text
/// version u8 = 1 ‖ id 32 ‖ x25519 32 ‖ mlkem_hash 32 ‖ serial u32 ‖ not_after u64 ‖ signature 64      (little-endian)
/// ```
/// The Ed25519 signature is by `id`, under the label `vp/1 card`, over all that precedes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Card {
    /// Who speaks, and whose signature this is.
    pub id: PeerId,
    /// The static key of the Noise handshake.
    pub x25519: [u8; 32],
    /// SHA-256 of the static ML-KEM-768 key; 32 zero bytes while there is none.
    pub mlkem_hash: [u8; 32],
    /// Higher replaces lower.
    pub serial: u32,
    /// Last second of validity in Unix time; 0 for ever. The core has no clock: see `Card::is_expired`.
    pub not_after: u64,
    signature: [u8; SIGNATURE_BYTES],
}

impl Card {
    /// The first card of a key pair: serial 0, without expiry and without an ML-KEM key.
    pub(super) fn issue(signing: &Ed25519KeyPair, x25519: [u8; 32]) -> Self {
        let (id, mlkem_hash) = (PeerId::of(signing), [0; 32]);
        let signature = [0; SIGNATURE_BYTES];
        let mut card = Self { id, x25519, mlkem_hash, serial: 0, not_after: 0, signature };
        card.signature = sign(signing, CARD_LABEL, &card.signed_part());
        card
    }

    #[cfg(test)]
    pub(super) fn end_at(&mut self, signing: &Ed25519KeyPair, last_second: u64) {
        self.not_after = last_second;
        self.signature = sign(signing, CARD_LABEL, &self.signed_part());
    }

    /// The card as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; CARD_BYTES] {
        let mut bytes = [0; CARD_BYTES];
        let (signed, signature) = bytes.split_at_mut(SIGNED_BYTES);
        signed.copy_from_slice(&self.signed_part());
        signature.copy_from_slice(&self.signature);
        bytes
    }

    /// Reads exactly one card and checks its signature.
    ///
    /// Expiry is for the caller, who has a clock. So is whether this is the expected peer.
    ///
    /// # Errors
    /// [`CardError`]: wrong length, unknown version, or a signature that is not by the card's id.
    pub fn decode_verified(bytes: &[u8]) -> Result<Self, CardError> {
        let bytes: &[u8; CARD_BYTES] = bytes.try_into().map_err(|_| CardError::WrongLength { found: bytes.len() })?;
        let mut rest = bytes.as_slice();
        let [version] = take(&mut rest);
        if version != VERSION {
            return Err(CardError::UnknownVersion { found: version });
        }
        let card = Self {
            id: PeerId::from_bytes(take(&mut rest)),
            x25519: take(&mut rest),
            mlkem_hash: take(&mut rest),
            serial: u32::from_le_bytes(take(&mut rest)),
            not_after: u64::from_le_bytes(take(&mut rest)),
            signature: take(&mut rest),
        };
        card.id.verify(CARD_LABEL, &bytes[..SIGNED_BYTES], &card.signature).map_err(CardError::BadSignature)?;
        Ok(card)
    }

    /// Whether the card is past its last second at `now_unix` (seconds since 1970).
    #[must_use]
    pub(crate) fn is_expired(&self, now_unix: u64) -> bool {
        self.not_after != 0 && now_unix > self.not_after
    }

    fn signed_part(&self) -> [u8; SIGNED_BYTES] {
        let mut bytes = [0; SIGNED_BYTES];
        let mut rest = bytes.as_mut_slice();
        put(&mut rest, &[VERSION]);
        put(&mut rest, self.id.as_bytes());
        put(&mut rest, &self.x25519);
        put(&mut rest, &self.mlkem_hash);
        put(&mut rest, &self.serial.to_le_bytes());
        put(&mut rest, &self.not_after.to_le_bytes());
        bytes
    }
}

/// Takes the next `N` bytes of a card. The lengths add up to `CARD_BYTES`, which was checked.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk::<N>().expect("the fields add up to CARD_BYTES");
    *rest = tail;
    *head
}

fn put(rest: &mut &mut [u8], field: &[u8]) {
    let (head, tail) = std::mem::take(rest).split_at_mut(field.len());
    head.copy_from_slice(field);
    *rest = tail;
}

/// Why bytes are not a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardError {
    /// Not [`CARD_BYTES`] bytes.
    WrongLength {
        /// Bytes found.
        found: usize,
    },
    /// A version this release does not know.
    UnknownVersion {
        /// Version found.
        found: u8,
    },
    /// Not signed by the id it names.
    BadSignature(BadSignature),
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongLength { found } => write!(f, "a card has {CARD_BYTES} bytes, not {found}"),
            Self::UnknownVersion { found } => write!(f, "unknown card version {found}"),
            Self::BadSignature(_) => f.write_str("the card is not signed by the peer it names"),
        }
    }
}

impl Error for CardError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::BadSignature(source) => Some(source),
            Self::WrongLength { .. } | Self::UnknownVersion { .. } => None,
        }
    }
}

/// Fuzz entry: what decodes encodes to the same bytes.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_card(data: &[u8]) {
    if let Ok(card) = Card::decode_verified(data) {
        assert_eq!(card.encode(), data);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::Identity;

    #[test]
    fn a_card_survives_the_trip() {
        let card = Identity::from_seed(&[3; 32]).card();
        assert_eq!(Card::decode_verified(&card.encode()), Ok(card));
        assert_eq!(CARD_BYTES, 173);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = Identity::from_seed(&[3; 32]).card().encode();
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(Card::decode_verified(&bent).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_other_length_is_refused() {
        let mut bytes = Identity::from_seed(&[3; 32]).card().encode().to_vec();
        for found in 0..CARD_BYTES {
            assert_eq!(Card::decode_verified(&bytes[..found]), Err(CardError::WrongLength { found }));
        }
        bytes.push(0);
        assert_eq!(Card::decode_verified(&bytes), Err(CardError::WrongLength { found: 174 }));
    }

    #[test]
    fn another_version_is_named_before_the_signature_is_looked_at() {
        let mut bytes = Identity::from_seed(&[3; 32]).card().encode();
        bytes[0] = 2;
        assert_eq!(Card::decode_verified(&bytes), Err(CardError::UnknownVersion { found: 2 }));
    }

    #[test]
    fn a_changed_field_breaks_the_signature() {
        let mut card = Identity::from_seed(&[3; 32]).card();
        card.not_after = 1;
        let bad = Err(CardError::BadSignature(BadSignature));
        assert_eq!(Card::decode_verified(&card.encode()), bad);
        let mut card = Identity::from_seed(&[3; 32]).card();
        card.id = Identity::from_seed(&[4; 32]).id();
        assert_eq!(Card::decode_verified(&card.encode()), bad);
    }

    #[test]
    fn expiry_is_the_last_valid_second() {
        let mut card = Identity::from_seed(&[3; 32]).card();
        assert!(!card.is_expired(u64::MAX));
        card.not_after = 10;
        assert!(!card.is_expired(10));
        assert!(card.is_expired(11));
    }

    proptest! {
        #[test]
        fn fuzz_entry_holds(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_card(&data);
        }
    }
}
