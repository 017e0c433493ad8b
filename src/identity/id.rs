//! The peer id: the only thing people exchange.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use bech32::{Bech32m, Hrp};

use super::code::{self, CodeError};
use super::signature::{BadSignature, Label, SIGNATURE_BYTES};

const PREFIX: &str = "vp";
const HRP: Hrp = Hrp::parse_unchecked(PREFIX);
/// Characters of an id that `Debug` shows: enough to tell peers apart where a test fails.
const SHORT_CHARS: usize = 11;

/// A peer's long-term public name: its 32-byte Ed25519 public key.
///
/// As text it is `vp1` and 58 more characters, bech32m. Any 32 bytes are an id. Bytes that are no curve point never
/// verify a signature; a point of low order verifies anybody's, as if its owner had published the secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The id with these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the Ed25519 public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of a key pair.
    pub(super) fn of(signing: &Ed25519KeyPair) -> Self {
        // An Ed25519 public key has 32 bytes (RFC 8032, 5.1.5).
        Self(signing.public_key().as_ref().try_into().expect("32-byte public key"))
    }

    /// Checks that this peer signed `message` for the purpose that `label` names (RFC 8032).
    ///
    /// # Errors
    /// [`BadSignature`], which says nothing more on purpose.
    pub(crate) fn verify(
        &self,
        label: Label,
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, self.0).verify(&label.frame(message), signature).map_err(|_| BadSignature)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HRP, &self.0).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_string();
        write!(f, "PeerId({}…)", text.get(..SHORT_CHARS).unwrap_or(&text))
    }
}

impl FromStr for PeerId {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        code::decode(PREFIX, text).map(|bytes| Self(*bytes))
    }
}

/// Whether a word is meant as an id rather than as a petname: it begins with `vp1` in any case.
pub(crate) fn looks_like_id(word: &str) -> bool {
    word.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("vp1"))
}

/// Fuzz entry: an accepted text prints to itself in lower case.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_peer_id(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = text.parse::<PeerId>()
    {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_begins_with_vp1_and_has_61_characters() {
        let text = PeerId::from_bytes([0; 32]).to_string();
        assert!(text.starts_with("vp1"), "{text}");
        assert_eq!(text.len(), 61);
    }

    #[test]
    fn bytes_that_are_no_point_verify_nothing() {
        let id = PeerId::from_bytes([0xff; 32]);
        assert_eq!(id.verify(Label::new("test"), b"m", &[0; 64]), Err(BadSignature));
    }

    proptest! {
        #[test]
        fn text_round_trip(bytes in any::<[u8; 32]>()) {
            let id = PeerId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<PeerId>(), Ok(id));
            prop_assert_eq!(id.to_string().to_uppercase().parse::<PeerId>(), Ok(id));
        }

        #[test]
        fn fuzz_entry_holds(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            fuzz_peer_id(&data);
        }
    }
}
