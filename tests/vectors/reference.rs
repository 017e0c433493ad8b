//! The handshakes once more, written from the text of the protocol and the Noise specification, with nothing of the
//! library under test: what it computes is what the vector files say.
//!
//! It knows both sides' secrets and writes both sides' messages in one go. It is slow, allocates freely and checks
//! nothing; it exists to disagree.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};

pub type Key = [u8; 32];

pub fn sha256(parts: &[&[u8]]) -> Key {
    digest::digest(&digest::SHA256, &parts.concat()).as_ref().try_into().expect("32 bytes")
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Key {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, &parts.concat()).as_ref().try_into().expect("32 bytes")
}

/// RFC 5869, one block.
pub fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8]) -> Key {
    hmac_sha256(&hmac_sha256(salt, &[ikm]), &[info, &[1]])
}

pub fn x25519_public(secret: &Key) -> Key {
    let secret = PrivateKey::from_private_key(&X25519, secret).expect("32 bytes");
    secret.compute_public_key().expect("a point").as_ref().try_into().expect("32 bytes")
}

fn dh(secret: &Key, public: &Key) -> Key {
    let secret = PrivateKey::from_private_key(&X25519, secret).expect("32 bytes");
    agree(&secret, UnparsedPublicKey::new(&X25519, public), (), |shared| Ok(shared.to_vec()))
        .expect("a point")
        .try_into()
        .expect("32 bytes")
}

/// A peer, from its seed.
pub struct Peer {
    pub id: Key,
    pub x25519: Key,
    pub card: Vec<u8>,
}

pub fn peer(seed: &Key) -> Peer {
    let signing = hkdf(b"vp/1 identity", seed, b"ed25519");
    let signing = Ed25519KeyPair::from_seed_unchecked(&signing).expect("32 bytes");
    let id: Key = signing.public_key().as_ref().try_into().expect("32 bytes");
    let x25519 = hkdf(b"vp/1 identity", seed, b"x25519");
    let mut card = vec![1];
    card.extend(id);
    card.extend(x25519_public(&x25519));
    card.extend([0; 32]);
    card.extend([0; 4]);
    card.extend([0; 8]);
    let signed = [b"\x09vp/1 card", card.as_slice()].concat();
    card.extend(signing.sign(&signed).as_ref());
    Peer { id, x25519, card }
}

fn aead(suite: u8, key: &Key, n: u64, ad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    let algorithm = if suite == 1 {
        nonce[4..].copy_from_slice(&n.to_be_bytes());
        &AES_256_GCM
    } else {
        nonce[4..].copy_from_slice(&n.to_le_bytes());
        &CHACHA20_POLY1305
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("32 bytes"));
    let mut sealed = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(ad), &mut sealed).expect("seals");
    sealed
}

/// Noise, section 5.2, with SHA-256.
pub struct Symmetric {
    suite: u8,
    ck: Key,
    pub h: Key,
    key: Key,
    n: u64,
}

impl Symmetric {
    pub fn new(suite: u8, name: &str, prologue: &[u8]) -> Self {
        let h = match name.len() {
            len if len <= 32 => {
                let mut h = [0; 32];
                h[..len].copy_from_slice(name.as_bytes());
                h
            }
            _ => sha256(&[name.as_bytes()]),
        };
        let mut symmetric = Self { suite, ck: h, h, key: [0; 32], n: 0 };
        symmetric.mix_hash(prologue);
        symmetric
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.h = sha256(&[&self.h, data]);
    }

    /// The three outputs of Noise's HKDF.
    fn hkdf(&self, ikm: &[u8]) -> (Key, Key, Key) {
        let temp = hmac_sha256(&self.ck, &[ikm]);
        let one = hmac_sha256(&temp, &[&[1]]);
        let two = hmac_sha256(&temp, &[&one, &[2]]);
        let three = hmac_sha256(&temp, &[&two, &[3]]);
        (one, two, three)
    }

    pub fn mix_key(&mut self, ikm: &[u8]) {
        (self.ck, self.key, _) = self.hkdf(ikm);
        self.n = 0;
    }

    pub fn mix_dh(&mut self, secret: &Key, public: &Key) {
        self.mix_key(&dh(secret, public));
    }

    pub fn mix_psk(&mut self, psk: &Key) {
        let (ck, hash, key) = self.hkdf(psk);
        self.mix_hash(&hash);
        (self.ck, self.key, self.n) = (ck, key, 0);
    }

    /// An `e` token in a pattern with a psk.
    pub fn ephemeral(&mut self, public: &Key) -> Vec<u8> {
        self.mix_hash(public);
        self.mix_key(public);
        public.to_vec()
    }

    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let sealed = aead(self.suite, &self.key, self.n, &self.h, plaintext);
        self.n += 1;
        self.mix_hash(&sealed);
        sealed
    }

    /// The keys of the initiator's and of the responder's records.
    pub fn split(&self) -> (Key, Key) {
        let (initiator, responder, _) = self.hkdf(b"");
        (initiator, responder)
    }

    /// Record `n` under one of these keys.
    pub fn record(&self, key: &Key, n: u64, plaintext: &[u8]) -> Vec<u8> {
        aead(self.suite, key, n, b"", plaintext)
    }
}
