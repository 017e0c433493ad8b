//! The primitives that snow's state machine runs on, all from aws-lc-rs.
//!
//! Speed matters in [`Aead`] alone: the key schedule is computed once in `set`, and a record goes from the plaintext
//! into the output in one pass, without a copy before it. snow's own secrets (chaining key, psk) live in its state and are
//! freed, not wiped; what this file holds is wiped.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::{digest, rand};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

use super::sealed::TAG_BYTES;

const KEY_BYTES: usize = 32;
const DH_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
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
        match choice {
            CipherChoice::AESGCM => Some(Box::new(Aead::aes_gcm())),
            CipherChoice::ChaChaPoly => Some(Box::new(Aead::chacha_poly())),
        }
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

/// A cipher function of Noise section 5.1; the two differ in the layout of the nonce (section 12).
struct Aead {
    name: &'static str,
    algorithm: &'static Algorithm,
    nonce: fn(u64) -> [u8; NONCE_BYTES],
    key: Option<LessSafeKey>,
}

impl Aead {
    /// AES-256-GCM: the nonce is 4 zero bytes and the counter, big-endian.
    fn aes_gcm() -> Self {
        let nonce = |n: u64| nonce(n.to_be_bytes());
        Self { name: "AESGCM", algorithm: &AES_256_GCM, nonce, key: None }
    }

    /// ChaCha20-Poly1305: the nonce is 4 zero bytes and the counter, little-endian.
    fn chacha_poly() -> Self {
        let nonce = |n: u64| nonce(n.to_le_bytes());
        Self { name: "ChaChaPoly", algorithm: &CHACHA20_POLY1305, nonce, key: None }
    }

    fn nonce(&self, n: u64) -> Nonce {
        Nonce::assume_unique_for_key((self.nonce)(n))
    }
}

fn nonce(counter: [u8; 8]) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[NONCE_BYTES - counter.len()..].copy_from_slice(&counter);
    nonce
}

impl Cipher for Aead {
    fn name(&self) -> &'static str {
        self.name
    }

    fn set(&mut self, key: &[u8; KEY_BYTES]) {
        // Both algorithms take 32 bytes; a key of that length is refused only when memory has run out.
        let key = UnboundKey::new(self.algorithm, key).expect("a 32-byte key");
        self.key = Some(LessSafeKey::new(key));
    }

    fn encrypt(&self, n: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let sealed_len = plaintext.len() + TAG_BYTES;
        let (body, tag) = out[..sealed_len].split_at_mut(plaintext.len());
        self.key
            .as_ref()
            .and_then(|key| {
                let aad = Aad::from(authtext);
                key.seal_out_of_place_scatter(self.nonce(n), aad, plaintext, body, &[], tag).ok()
            })
            // snow asks only after `set`, and messages are far below the algorithms' limits. To go on without
            // sealing is the one thing that must not happen, and the trait has no error to return.
            .expect("a key is set and the lengths fit");
        sealed_len
    }

    fn decrypt(&self, n: u64, authtext: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, snow::Error> {
        let key = self.key.as_ref().ok_or(snow::Error::Decrypt)?;
        let (body, tag) = ciphertext.split_last_chunk::<TAG_BYTES>().ok_or(snow::Error::Decrypt)?;
        let out = out.get_mut(..body.len()).ok_or(snow::Error::Decrypt)?;
        key.open_separate_gather(self.nonce(n), Aad::from(authtext), body, tag, out).map_err(|_| {
            // The library says that the output may have been written; nobody may read that.
            out.fill(0);
            snow::Error::Decrypt
        })?;
        Ok(body.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn both() -> [Aead; 2] {
        let mut ciphers = [Aead::aes_gcm(), Aead::chacha_poly()];
        for cipher in &mut ciphers {
            cipher.set(&[7; KEY_BYTES]);
        }
        ciphers
    }

    #[test]
    fn nonces_are_laid_out_as_noise_says() {
        let n = 0x0102_0304_0506_0708;
        assert_eq!((Aead::aes_gcm().nonce)(n), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((Aead::chacha_poly().nonce)(n), [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn a_failed_open_leaves_no_plaintext() {
        for cipher in both() {
            let mut sealed = [0; 100 + TAG_BYTES];
            assert_eq!(cipher.encrypt(1, b"ad", &[0xaa; 100], &mut sealed), sealed.len());
            sealed[50] ^= 1;
            let mut out = [0x55; 100];
            assert!(cipher.decrypt(1, b"ad", &sealed, &mut out).is_err());
            assert_eq!(out, [0; 100]);
        }
    }

    #[test]
    fn opening_needs_the_same_key_counter_and_associated_data() {
        for mut cipher in both() {
            let mut sealed = [0; 3 + TAG_BYTES];
            cipher.encrypt(1, b"ad", b"abc", &mut sealed);
            let mut out = [0; 3];
            assert_eq!(cipher.decrypt(1, b"ad", &sealed, &mut out).ok(), Some(3));
            assert_eq!(&out, b"abc");
            assert!(cipher.decrypt(2, b"ad", &sealed, &mut out).is_err());
            assert!(cipher.decrypt(1, b"", &sealed, &mut out).is_err());
            assert!(cipher.decrypt(1, b"ad", &sealed[..TAG_BYTES - 1], &mut out).is_err());
            assert!(cipher.decrypt(1, b"ad", &sealed, &mut out[..2]).is_err());
            cipher.rekey();
            assert!(cipher.decrypt(1, b"ad", &sealed, &mut out).is_err());
        }
    }

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

    proptest! {
        /// The library's other way to seal, in place after a copy, is the check on ours.
        #[test]
        fn sealing_out_of_place_equals_sealing_in_place(
            n in any::<u64>(),
            ad in proptest::collection::vec(any::<u8>(), 0..40),
            plaintext in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            for cipher in both() {
                let mut sealed = vec![0; plaintext.len() + TAG_BYTES + 5];
                let len = cipher.encrypt(n, &ad, &plaintext, &mut sealed);
                prop_assert_eq!(&sealed[len..], &[0; 5]);
                let mut other = plaintext.clone();
                let key = cipher.key.as_ref().expect("set");
                key.seal_in_place_append_tag(cipher.nonce(n), Aad::from(&ad), &mut other).expect("fits");
                prop_assert_eq!(&sealed[..len], &other[..]);
                let mut out = vec![0; plaintext.len()];
                prop_assert_eq!(cipher.decrypt(n, &ad, &other, &mut out).ok(), Some(plaintext.len()));
                prop_assert_eq!(&out, &plaintext);
            }
        }
    }
}
