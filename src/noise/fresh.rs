//! What is new in every handshake: ephemeral keys, the ML-KEM-768 exchange (FIPS 203), the first secret.
//!
//! A trait stands between the handshake and the source of these, so that the test vectors can fix them. There is one
//! implementation outside tests.

use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::rand;
use snow::resolvers::BoxedCryptoResolver;
use zeroize::Zeroizing;

use super::error::HandshakeError;
use super::resolver::AwsLc;

/// An ML-KEM-768 encapsulation key.
pub(super) const EK_BYTES: usize = 1184;
/// An ML-KEM-768 ciphertext.
pub(super) const CT_BYTES: usize = 1088;
/// The shared secret of ML-KEM-768, and the initiator's own secret in message 3.
pub(super) const SECRET_BYTES: usize = 32;

pub(super) type Secret = Zeroizing<[u8; SECRET_BYTES]>;

/// The source of a handshake's fresh values.
pub(super) trait Fresh {
    /// Primitives for snow, with the random numbers that make the ephemeral X25519 key.
    fn resolver(&self) -> BoxedCryptoResolver;

    /// A new ML-KEM-768 key pair: the secret half, and the public half as bytes.
    fn kem_key(&self) -> Result<(KemKey, [u8; EK_BYTES]), HandshakeError>;

    /// Encapsulates to a peer's key: the ciphertext and the shared secret.
    fn encapsulate(&self, ek: &[u8; EK_BYTES]) -> Result<([u8; CT_BYTES], Secret), HandshakeError>;

    /// The initiator's first secret.
    fn secret(&self) -> Result<Secret, HandshakeError>;
}

/// The secret half of an ephemeral ML-KEM-768 key pair.
pub(super) struct KemKey(DecapsulationKey);

impl KemKey {
    /// The shared secret that `ct` carries. A ciphertext that was made for another key gives another secret, not an
    /// error (implicit rejection): the Noise tags find out.
    pub(super) fn decapsulate(&self, ct: &[u8; CT_BYTES]) -> Result<Secret, HandshakeError> {
        let shared = self.0.decapsulate(Ciphertext::from(ct.as_slice()));
        secret(shared.map_err(|_| HandshakeError::Unauthentic)?.as_ref())
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(DecapsulationKey::new(&ML_KEM_768, bytes).expect("a key of a vector file"))
    }
}

fn secret(bytes: &[u8]) -> Result<Secret, HandshakeError> {
    let mut secret = Secret::default();
    let bytes: &[u8; SECRET_BYTES] = bytes.try_into().map_err(|_| HandshakeError::Entropy)?;
    secret.copy_from_slice(bytes);
    Ok(secret)
}

/// Fresh values from the system.
pub(super) struct System;

impl Fresh for System {
    fn resolver(&self) -> BoxedCryptoResolver {
        Box::new(AwsLc)
    }

    fn kem_key(&self) -> Result<(KemKey, [u8; EK_BYTES]), HandshakeError> {
        let key = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| HandshakeError::Entropy)?;
        let ek = key.encapsulation_key().and_then(|ek| ek.key_bytes());
        let ek = ek.map_err(|_| HandshakeError::Entropy)?;
        let ek = ek.as_ref().try_into().map_err(|_| HandshakeError::Entropy)?;
        Ok((KemKey(key), ek))
    }

    fn encapsulate(&self, ek: &[u8; EK_BYTES]) -> Result<([u8; CT_BYTES], Secret), HandshakeError> {
        // A key that is not in canonical form (FIPS 203, 7.2) is the peer's fault.
        let (ct, shared) = EncapsulationKey::new(&ML_KEM_768, ek)
            .ok()
            .and_then(|ek| ek.encapsulate().ok())
            .ok_or(HandshakeError::Unauthentic)?;
        let ct = ct.as_ref().try_into().map_err(|_| HandshakeError::Entropy)?;
        Ok((ct, secret(shared.as_ref())?))
    }

    fn secret(&self) -> Result<Secret, HandshakeError> {
        let mut secret = Secret::default();
        rand::fill(secret.as_mut_slice()).map_err(|_| HandshakeError::Entropy)?;
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_get_one_secret_and_each_exchange_another() {
        let (key, ek) = System.kem_key().expect("a key");
        let (ct, ours) = System.encapsulate(&ek).expect("a good key");
        assert_eq!(key.decapsulate(&ct).expect("a good ciphertext"), ours);
        let (other_ct, other) = System.encapsulate(&ek).expect("a good key");
        assert_ne!(other, ours);
        assert_ne!(key.decapsulate(&other_ct).expect("a good ciphertext"), ours);
    }

    #[test]
    fn a_ciphertext_for_another_key_gives_another_secret() {
        let ((key, _), (_, ek)) = (System.kem_key().expect("a key"), System.kem_key().expect("a key"));
        let (ct, theirs) = System.encapsulate(&ek).expect("a good key");
        assert_ne!(key.decapsulate(&ct).expect("implicit rejection"), theirs);
    }

    #[test]
    fn a_key_that_is_not_canonical_is_refused() {
        assert_eq!(System.encapsulate(&[0xff; EK_BYTES]).err(), Some(HandshakeError::Unauthentic));
    }
}
