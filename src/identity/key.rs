//! The long-term secret of a peer, and what is derived from it.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::rand;
use aws_lc_rs::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

use super::card::Card;
use super::id::PeerId;
use super::kdf::hkdf_sha256;
use super::signature::{Label, SIGNATURE_BYTES, sign};

const SALT: &[u8] = b"vp/1 identity";
const ED25519_INFO: &[u8] = b"ed25519";
const X25519_INFO: &[u8] = b"x25519";
/// Reserved for the static ML-KEM-768 key of sealed mailboxes. Nothing may derive anything else under this label.
#[expect(dead_code, reason = "reserved so that no other key ever takes the label")]
const MLKEM768_INFO: &[u8] = b"mlkem768";

/// A peer's long-term secret: one 32-byte seed and the keys derived from it.
///
/// `HKDF-SHA256(salt = "vp/1 identity", ikm = seed, info)` gives the Ed25519 seed (`info = "ed25519"`) and the X25519
/// secret that Noise uses (`info = "x25519"`). `info = "mlkem768"` is reserved for a static ML-KEM-768 key: the
/// library in use cannot make one from a seed, so until sealed mailboxes need it the card carries 32 zero bytes where
/// the hash of that key belongs.
///
/// There is no `Debug`, `Display` or `Clone`, so that a secret cannot be printed or multiplied by accident. Seed and
/// X25519 secret are wiped on drop; the Ed25519 key lives in the cryptographic library, which wipes its own.
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    signing: Ed25519KeyPair,
    noise_secret: Zeroizing<[u8; 32]>,
    card: Card,
}

impl Identity {
    /// A new identity from the system's random numbers. The library ends the process if the system has none to give.
    #[must_use]
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0_u8; 32]);
        // AWS-LC's RAND_bytes returns success or aborts; it has no failure to report.
        rand::fill(seed.as_mut_slice()).expect("random numbers");
        Self::from_seed(&seed)
    }

    /// The identity that this seed stands for; always the same one.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing_seed = hkdf_sha256(SALT, seed, &[ED25519_INFO]);
        let noise_secret = hkdf_sha256(SALT, seed, &[X25519_INFO]);
        // Any 32 bytes are an Ed25519 seed and an X25519 secret: these calls fail on another length only.
        let signing = Ed25519KeyPair::from_seed_unchecked(signing_seed.as_slice()).expect("32-byte seed");
        let x25519 = PrivateKey::from_private_key(&X25519, noise_secret.as_slice())
            .ok()
            .and_then(|secret| secret.compute_public_key().ok())
            .and_then(|public| <[u8; 32]>::try_from(public.as_ref()).ok())
            .expect("32-byte secret");
        let card = Card::issue(&signing, x25519);
        Self { seed: Zeroizing::new(*seed), signing, noise_secret, card }
    }

    /// The same party with a card that ends, which so far nobody issues.
    #[cfg(test)]
    pub fn until(mut self, last_second: u64) -> Self {
        self.card.end_at(&self.signing, last_second);
        self
    }

    /// The public name of this identity.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.card.id
    }

    /// The card that handshakes carry: the id vouches for the X25519 key. Serial 0, without expiry.
    #[must_use]
    pub fn card(&self) -> Card {
        self.card
    }

    /// Signs `message` for the purpose that `label` names. A signature for one label never verifies under another.
    #[must_use]
    pub fn sign(&self, label: Label, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        sign(&self.signing, label, message)
    }

    /// The X25519 secret, for the Noise handshake only.
    pub(crate) fn noise_secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.noise_secret
    }

    /// The seed, for the key file only.
    pub(crate) fn seed(&self) -> &Zeroizing<[u8; 32]> {
        &self.seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::BadSignature;

    const ONE: Label = Label::new("one");
    const TWO: Label = Label::new("two");

    #[test]
    fn a_seed_always_gives_the_same_identity() {
        let (a, b) = (Identity::from_seed(&[7; 32]), Identity::from_seed(&[7; 32]));
        assert_eq!(a.id(), b.id());
        assert_eq!(a.card(), b.card());
        assert_ne!(a.id(), Identity::from_seed(&[8; 32]).id());
        assert_ne!(Identity::generate().id(), Identity::generate().id());
    }

    #[test]
    fn signing_and_agreement_keys_are_unrelated() {
        let identity = Identity::from_seed(&[7; 32]);
        assert_ne!(identity.seed(), identity.noise_secret());
        assert_ne!(identity.id().as_bytes(), &identity.card().x25519);
    }

    #[test]
    fn a_signature_holds_for_its_label_message_and_signer_only() {
        let identity = Identity::from_seed(&[1; 32]);
        let id = identity.id();
        let signature = identity.sign(ONE, b"message");
        assert_eq!(id.verify(ONE, b"message", &signature), Ok(()));
        assert_eq!(id.verify(TWO, b"message", &signature), Err(BadSignature));
        assert_eq!(id.verify(ONE, b"messagf", &signature), Err(BadSignature));
        let other = Identity::from_seed(&[2; 32]).id();
        assert_eq!(other.verify(ONE, b"message", &signature), Err(BadSignature));
        for bit in 0..signature.len() * 8 {
            let mut bent = signature;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(id.verify(ONE, b"message", &bent), Err(BadSignature), "bit {bit}");
        }
    }

    #[test]
    fn the_end_of_a_label_cannot_move_into_the_message() {
        let identity = Identity::from_seed(&[1; 32]);
        let signature = identity.sign(Label::new("ab"), b"c");
        assert_eq!(identity.id().verify(Label::new("a"), b"bc", &signature), Err(BadSignature));
    }
}
