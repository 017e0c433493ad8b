//! The primitives that snow's state machine runs on, all from aws-lc-rs.
//!
//! snow's own secrets (chaining key, psk) live in its state and are freed, not wiped; what this file holds is wiped.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::{digest, rand};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

use super::aead::{Aead, KEY_BYTES};
use super::suite::Suite;

const DH_BYTES: usize = 32;
const HASH_BYTES: usize = 32;
const SHA256_BLOCK_BYTES: usize = 64;

/// Hands out aws-lc-rs primitives for `25519`, `AESGCM`, `ChaChaPoly` and `SHA256`, and nothing else.
pub(super) struct AwsLc;

impl CryptoResolver for AwsLc {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SystemRandom))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(Curve25519::default())),
            _ => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        match choice {
            HashChoice::SHA256 => Some(Box::new(Sha256::new())),
            _ => None,
        }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        let suite = match choice {
            CipherChoice::AESGCM => Suite::AesGcm,
            CipherChoice::ChaChaPoly => Suite::ChaChaPoly,
        };
        Some(Box::new(OfHandshake { suite, aead: None }))
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        rand::fill(dest).map_err(|_| snow::Error::Rng)
    }
}

/// X25519 (RFC 7748). A result of 32 zero bytes, which a peer forces with a low-order point, is an error.
#[derive(Default)]
struct Curve25519 {
    secret: Zeroizing<[u8; DH_BYTES]>,
    public: [u8; DH_BYTES],
    key: Option<PrivateKey>,
}

impl Dh for Curve25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        DH_BYTES
    }

    fn priv_len(&self) -> usize {
        DH_BYTES
    }

    /// A secret of another length leaves no key behind, and `dh` fails.
    fn set(&mut self, privkey: &[u8]) {
        self.key = None;
        let Ok(secret) = <&[u8; DH_BYTES]>::try_from(privkey) else {
            return;
        };
        let Ok(key) = PrivateKey::from_private_key(&X25519, secret) else {
            return;
        };
        let Ok(public) = key.compute_public_key() else {
            return;
        };
        let Ok(public) = public.as_ref().try_into() else {
            return;
        };
        self.secret.copy_from_slice(secret);
        self.public = public;
        self.key = Some(key);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut secret = Zeroizing::new([0_u8; DH_BYTES]);
        rng.try_fill_bytes(secret.as_mut_slice())?;
        self.set(secret.as_slice());
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_slice()
    }

    /// snow hands over its longest key buffer; the key is at its front.
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let key = self.key.as_ref().ok_or(snow::Error::Dh)?;
        let peer = pubkey.get(..DH_BYTES).ok_or(snow::Error::Dh)?;
        let out = out.get_mut(..DH_BYTES).ok_or(snow::Error::Dh)?;
        agree(key, UnparsedPublicKey::new(&X25519, peer), snow::Error::Dh, |shared| {
            // One pass over all bytes, whatever they are.
            if shared.len() != DH_BYTES || shared.iter().fold(0, |all, byte| all | byte) == 0 {
                return Err(snow::Error::Dh);
            }
            out.copy_from_slice(shared);
            Ok(())
        })
    }
}

struct Sha256(digest::Context);

impl Sha256 {
    fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        SHA256_BLOCK_BYTES
    }

    fn hash_len(&self) -> usize {
        HASH_BYTES
    }

    fn reset(&mut self) {
        *self = Self::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let context = std::mem::replace(self, Self::new()).0;
        out[..HASH_BYTES].copy_from_slice(context.finish().as_ref());
    }
}

/// A cipher function of Noise section 5.1, for as long as a handshake takes.
struct OfHandshake {
    suite: Suite,
    aead: Option<Aead>,
}

impl Cipher for OfHandshake {
    fn name(&self) -> &'static str {
        match self.suite {
            Suite::AesGcm => "AESGCM",
            Suite::ChaChaPoly => "ChaChaPoly",
        }
    }

    fn set(&mut self, key: &[u8; KEY_BYTES]) {
        self.aead = Some(Aead::new(self.suite, key));
    }

    fn encrypt(&self, n: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        // snow asks only after `set`, with room in `out`; the trait has no error to return.
        self.aead.as_ref().expect("a key is set").seal(n, authtext, plaintext, out)
    }

    fn decrypt(&self, n: u64, authtext: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, snow::Error> {
        self.aead.as_ref().and_then(|aead| aead.open(n, authtext, ciphertext, out)).ok_or(snow::Error::Decrypt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_order_points_are_refused() {
        let mut dh = Curve25519::default();
        dh.set(&[9; DH_BYTES]);
        let mut one = [0; 56];
        one[0] = 1;
        let order_8 = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, //
            0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ];
        let mut out = [0; 56];
        for point in [&[0; 56][..], &one, &order_8] {
            assert!(dh.dh(point, &mut out).is_err());
            assert_eq!(out, [0; 56]);
        }
        let mut base = [0; 56];
        base[0] = 9;
        assert!(dh.dh(&base, &mut out).is_ok());
        assert_eq!(&out[..DH_BYTES], dh.pubkey());
    }

    #[test]
    fn a_secret_of_another_length_is_no_secret() {
        let mut dh = Curve25519::default();
        dh.set(&[9; 31]);
        assert!(dh.dh(&[9; 32], &mut [0; 32]).is_err());
    }

    #[test]
    fn other_primitives_are_not_offered() {
        assert!(AwsLc.resolve_dh(&DHChoice::Curve448).is_none());
        assert!(AwsLc.resolve_hash(&HashChoice::Blake2s).is_none());
    }
}
