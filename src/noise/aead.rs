//! The two AEADs of a suite, from aws-lc-rs, with the nonces that Noise lays out for them (section 12).
//!
//! Speed matters here: a key schedule is computed once for as long as it is kept, and a record goes from the plaintext into
//! the output in one pass, without a copy before it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::suite::Suite;

/// A key of either cipher.
pub(super) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// What sealing adds to a message.
pub const TAG_BYTES: usize = 16;

/// A key with its schedule: what sealing and opening take, and some 600 bytes.
pub(super) struct Aead {
    suite: Suite,
    key: LessSafeKey,
}

impl Aead {
    pub(super) fn new(suite: Suite, key: &[u8; KEY_BYTES]) -> Aead {
        // Both algorithms take 32 bytes; a key of that length is refused only when memory has run out.
        let key = UnboundKey::new(algorithm(suite), key).expect("a 32-byte key");
        Aead { suite, key: LessSafeKey::new(key) }
    }

    /// Seals `plaintext` into the front of `out` and gives the sealed length, `plaintext.len() + TAG_BYTES`.
    ///
    /// # Panics
    /// If `out` is shorter than that, or `plaintext` beyond what the algorithm takes, gigabytes.
    pub(super) fn seal(&self, n: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let sealed_len = plaintext.len() + TAG_BYTES;
        let (body, tag) = out[..sealed_len].split_at_mut(plaintext.len());
        self.key
            .seal_out_of_place_scatter(nonce(self.suite, n), Aad::from(authtext), plaintext, body, &[], tag)
            // To go on without sealing is the one thing that must not happen.
            .expect("the lengths fit");
        sealed_len
    }

    /// Opens `sealed` into the front of `out` and gives the plaintext's length. `None`, and no plaintext in `out`, if it was
    /// not sealed so, or if `out` is too short.
    pub(super) fn open(&self, n: u64, authtext: &[u8], sealed: &[u8], out: &mut [u8]) -> Option<usize> {
        let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
        let out = out.get_mut(..body.len())?;
        let opened = self.key.open_separate_gather(nonce(self.suite, n), Aad::from(authtext), body, tag, out);
        if opened.is_err() {
            // The library says that the output may have been written; nobody may read that.
            out.fill(0);
            return None;
        }
        Some(body.len())
    }
}

fn algorithm(suite: Suite) -> &'static Algorithm {
    match suite {
        Suite::AesGcm => &AES_256_GCM,
        Suite::ChaChaPoly => &CHACHA20_POLY1305,
    }
}

/// Four zero bytes and the counter: big-endian for AES-GCM, little-endian for ChaCha20-Poly1305.
fn nonce(suite: Suite, n: u64) -> Nonce {
    let mut nonce = [0; NONCE_BYTES];
    nonce[NONCE_BYTES - 8..].copy_from_slice(&match suite {
        Suite::AesGcm => n.to_be_bytes(),
        Suite::ChaChaPoly => n.to_le_bytes(),
    });
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn both() -> [Aead; 2] {
        Suite::ALL.map(|suite| Aead::new(suite, &[7; KEY_BYTES]))
    }

    #[test]
    fn nonces_are_laid_out_as_noise_says() {
        let n = 0x0102_0304_0506_0708;
        assert_eq!(nonce(Suite::AesGcm, n).as_ref(), &[0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(nonce(Suite::ChaChaPoly, n).as_ref(), &[0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn a_failed_open_leaves_no_plaintext() {
        for aead in both() {
            let mut sealed = [0; 100 + TAG_BYTES];
            assert_eq!(aead.seal(1, b"ad", &[0xaa; 100], &mut sealed), sealed.len());
            sealed[50] ^= 1;
            let mut out = [0x55; 100];
            assert_eq!(aead.open(1, b"ad", &sealed, &mut out), None);
            assert_eq!(out, [0; 100]);
        }
    }

    #[test]
    fn opening_needs_the_same_key_counter_and_associated_data() {
        for suite in Suite::ALL {
            let aead = Aead::new(suite, &[7; KEY_BYTES]);
            let mut sealed = [0; 3 + TAG_BYTES];
            aead.seal(1, b"ad", b"abc", &mut sealed);
            let mut out = [0; 3];
            assert_eq!(aead.open(1, b"ad", &sealed, &mut out), Some(3));
            assert_eq!(&out, b"abc");
            assert_eq!(aead.open(2, b"ad", &sealed, &mut out), None);
            assert_eq!(aead.open(1, b"", &sealed, &mut out), None);
            assert_eq!(aead.open(1, b"ad", &sealed[..TAG_BYTES - 1], &mut out), None);
            assert_eq!(aead.open(1, b"ad", &sealed, &mut out[..2]), None);
            assert_eq!(Aead::new(suite, &[8; KEY_BYTES]).open(1, b"ad", &sealed, &mut out), None);
        }
    }

    proptest! {
        /// The library's other way to seal, in place after a copy, is the check on ours.
        #[test]
        fn sealing_out_of_place_equals_sealing_in_place(
            n in any::<u64>(),
            ad in proptest::collection::vec(any::<u8>(), 0..40),
            plaintext in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            for aead in both() {
                let mut sealed = vec![0; plaintext.len() + TAG_BYTES + 5];
                let len = aead.seal(n, &ad, &plaintext, &mut sealed);
                prop_assert_eq!(&sealed[len..], &[0; 5]);
                let mut other = plaintext.clone();
                aead.key.seal_in_place_append_tag(nonce(aead.suite, n), Aad::from(&ad), &mut other).expect("fits");
                prop_assert_eq!(&sealed[..len], &other[..]);
                let mut out = vec![0; plaintext.len()];
                prop_assert_eq!(aead.open(n, &ad, &other, &mut out), Some(plaintext.len()));
                prop_assert_eq!(&out, &plaintext);
            }
        }
    }
}
