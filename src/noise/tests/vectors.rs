//! Fixed transcripts: the published vectors of our two patterns, and our own handshakes as `tests/vectors` computes
//! them from the text of the protocol alone.

use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{BoxedCryptoResolver, CryptoResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};

use crate::identity::Identity;

use super::error::HandshakeError;
use super::fresh::{CT_BYTES, EK_BYTES, Fresh, KemKey, Secret};
use super::handshake::{self, Bound, read, write};
use super::resolver::AwsLc;
use super::sealed::{Opener, Sealer, split};
use super::suite::{Purpose, Suite, prologue};
use super::{Established, join};

/// A vector file: lines of `name value...`, values in hexadecimal, `#` comments.
struct Vector(&'static str);

impl Vector {
    fn all(&self, name: &str) -> impl Iterator<Item = Vec<&'static str>> {
        let name = name.to_owned();
        self.0.lines().filter_map(move |line| {
            let mut words = line.split(' ');
            (words.next() == Some(name.as_str())).then(|| words.collect())
        })
    }

    fn word(&self, name: &str) -> Option<&'static str> {
        self.all(name).next().map(|words| words[0])
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex(self.word(name).unwrap_or_else(|| panic!("the vector has no {name}")))
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        let bytes = self.bytes(name);
        bytes.try_into().unwrap_or_else(|_| panic!("{name} has another length"))
    }

    fn suite(&self) -> Suite {
        Suite::try_from(self.array::<1>("suite")[0]).expect("a suite")
    }
}

/// `-` is no bytes.
fn hex(text: &str) -> Vec<u8> {
    let text = text.trim_start_matches('-');
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).expect("a digit")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
}

/// Seals `plaintext` on one side, compares, and opens on the other.
fn exchange(sealer: &mut Sealer, opener: &mut Opener, plaintext: &[u8], sealed: &[u8]) {
    let mut found = Vec::new();
    sealer.seal_into(plaintext, &mut found).expect("fits");
    assert_eq!(found, sealed);
    let mut opened = vec![0; plaintext.len()];
    assert_eq!(opener.open(sealed, &mut opened), Ok(plaintext.len()));
    assert_eq!(opened, plaintext);
}

fn published_side(vector: &Vector, side: &str) -> HandshakeState {
    let protocol = vector.word("protocol").expect("a protocol");
    let psk = vector.array("psk");
    let (prologue, ephemeral) = (vector.bytes("prologue"), vector.bytes(&format!("{side}_ephemeral")));
    let secret = vector.word(&format!("{side}_static")).map(hex);
    let mut builder = Builder::with_resolver(protocol.parse().expect("known"), Box::new(AwsLc))
        .prologue(&prologue)
        .and_then(|builder| builder.psk(if protocol.contains("psk3") { 3 } else { 0 }, &psk))
        .expect("builds")
        .fixed_ephemeral_key_for_testing_only(&ephemeral);
    if let Some(secret) = &secret {
        builder = builder.local_private_key(secret).expect("a key");
    }
    let state = if side == "init" { builder.build_initiator() } else { builder.build_responder() };
    state.expect("builds")
}

fn published(vector: &Vector) {
    let (mut sender, mut receiver) = (published_side(vector, "init"), published_side(vector, "resp"));
    let messages: Vec<_> = vector.all("message").map(|words| (hex(words[0]), hex(words[1]))).collect();
    let mut messages = messages.iter();
    while !sender.is_handshake_finished() {
        let (payload, message) = messages.next().expect("a message");
        assert_eq!(&write(&mut sender, payload).expect("writes"), message);
        assert_eq!(&*read(&mut receiver, message).expect("reads"), payload);
        std::mem::swap(&mut sender, &mut receiver);
    }
    assert_eq!(sender.get_handshake_hash(), vector.bytes("handshake_hash"));
    assert_eq!(receiver.get_handshake_hash(), vector.bytes("handshake_hash"));
    let suite =
        if vector.word("protocol").expect("a protocol").contains("AESGCM") { Suite::AesGcm } else { Suite::ChaChaPoly };
    let mut sender = split(suite, sender).expect("finished");
    let mut receiver = split(suite, receiver).expect("finished");
    assert!(messages.len() >= 3, "both directions and a second record are covered");
    for (plaintext, sealed) in messages {
        exchange(&mut sender.0, &mut receiver.1, plaintext, sealed);
        std::mem::swap(&mut sender, &mut receiver);
    }
}

#[test]
fn published_vectors_of_our_patterns_pass() {
    for text in [
        include_str!("../../../tests/vectors/noise/xxpsk3-aesgcm.txt"),
        include_str!("../../../tests/vectors/noise/xxpsk3-chachapoly.txt"),
        include_str!("../../../tests/vectors/noise/nnpsk0-aesgcm.txt"),
        include_str!("../../../tests/vectors/noise/nnpsk0-chachapoly.txt"),
    ] {
        published(&Vector(text));
    }
}

/// Fresh values that are as old as the vector file.
struct Scripted {
    vector: Vector,
    side: &'static str,
}

impl Fresh for Scripted {
    fn resolver(&self) -> BoxedCryptoResolver {
        Box::new(Fixed(self.vector.array(&format!("{}_ephemeral", self.side))))
    }

    fn kem_key(&self) -> Result<(KemKey, [u8; EK_BYTES]), HandshakeError> {
        let key = self.vector.bytes("kem_decapsulation_key");
        Ok((KemKey::from_bytes(&key), self.vector.array("kem_encapsulation_key")))
    }

    fn encapsulate(&self, ek: &[u8; EK_BYTES]) -> Result<([u8; CT_BYTES], Secret), HandshakeError> {
        assert_eq!(ek, &self.vector.array("kem_encapsulation_key"));
        let shared = Secret::new(self.vector.array("kem_shared_secret"));
        Ok((self.vector.array("kem_ciphertext"), shared))
    }

    fn secret(&self) -> Result<Secret, HandshakeError> {
        Ok(Secret::new(self.vector.array("secret")))
    }
}

/// Our primitives with a known ephemeral key.
struct Fixed([u8; 32]);

impl CryptoResolver for Fixed {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Self(self.0)))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        AwsLc.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        AwsLc.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        AwsLc.resolve_cipher(choice)
    }
}

impl Random for Fixed {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        dest.copy_from_slice(&self.0);
        Ok(())
    }
}

fn own_handshake(text: &'static str) {
    let vector = Vector(text);
    let (init, resp) =
        (Scripted { vector: Vector(text), side: "init" }, Scripted { vector: Vector(text), side: "resp" });
    let suite = vector.suite();
    let purpose = if vector.bytes("purpose") == b"L" { Purpose::Link } else { Purpose::Session };
    let ours = Identity::from_seed(&vector.array("init_seed"));
    let theirs = Identity::from_seed(&vector.array("resp_seed"));
    assert_eq!(ours.card().encode().as_slice(), vector.bytes("init_card"));
    assert_eq!(theirs.card().encode().as_slice(), vector.bytes("resp_card"));
    assert_eq!(Some(theirs.id().to_string().as_str()), vector.word("resp_id"));
    let prologue = prologue(suite, purpose, &theirs.id(), &vector.bytes("context")).expect("short");
    assert_eq!(prologue, vector.bytes("prologue"));

    let caps = vector.bytes("init_caps");
    let bound = Bound { suite, prologue: &prologue, caps: &caps };
    let (initiator, first) = handshake::start_with(&init, bound, &ours, theirs.id()).expect("starts");
    assert_eq!(first, vector.bytes("message_1"));
    let caps = vector.bytes("resp_caps");
    let bound = Bound { suite, prologue: &prologue, caps: &caps };
    let (responder, second) = handshake::accept_with(&resp, bound, &theirs, &first).expect("accepts");
    assert_eq!(second, vector.bytes("message_2"));
    let (third, mut ours) = initiator.finish(&second, &vector.bytes("payload")).expect("finishes");
    assert_eq!(third, vector.bytes("message_3"));
    let mut theirs = responder.finish(&third).expect("finishes");
    assert_eq!(theirs.payload, vector.bytes("payload"));
    for side in [&ours, &theirs] {
        assert_eq!(side.handshake_hash.as_slice(), vector.bytes("handshake_hash"));
        assert_eq!(side.export.as_slice(), vector.bytes("export"));
    }
    records(&vector, &mut ours, &mut theirs);
}

fn records(vector: &Vector, ours: &mut Established, theirs: &mut Established) {
    for words in vector.all("init_record") {
        exchange(&mut ours.sealer, &mut theirs.opener, &hex(words[0]), &hex(words[1]));
    }
    for words in vector.all("resp_record") {
        exchange(&mut theirs.sealer, &mut ours.opener, &hex(words[0]), &hex(words[1]));
    }
    assert_eq!((ours.sealer.records(), theirs.sealer.records()), (2, 2));
}

#[test]
fn our_handshake_is_the_one_that_the_protocol_describes() {
    own_handshake(include_str!("../../../tests/vectors/handshake-link-aesgcm.txt"));
    own_handshake(include_str!("../../../tests/vectors/handshake-session-chachapoly.txt"));
    own_handshake(include_str!("../../../tests/vectors/link-worked.txt"));
}

fn own_join(text: &'static str) {
    let vector = Vector(text);
    let (init, resp) =
        (Scripted { vector: Vector(text), side: "init" }, Scripted { vector: Vector(text), side: "resp" });
    let (suite, psk, context) = (vector.suite(), vector.array("psk"), vector.bytes("context"));
    let session = join::Session { suite, psk: &psk, context: &context };
    let (one, two) = (vector.bytes("payload_1"), vector.bytes("payload_2"));
    let (initiator, first) = join::start_with(&init, &session, &one).expect("starts");
    assert_eq!(first, vector.bytes("message_1"));
    let (payload, ready) = join::accept_with(&resp, &session, &first).expect("accepts");
    assert_eq!(payload, one);
    let (second, mut back_sealer, mut opener) = ready.reply(&two).expect("replies");
    assert_eq!(second, vector.bytes("message_2"));
    let (payload, mut sealer, mut back_opener) = initiator.finish(&second).expect("finishes");
    assert_eq!(payload, two);
    for words in vector.all("init_record") {
        exchange(&mut sealer, &mut opener, &hex(words[0]), &hex(words[1]));
    }
    for words in vector.all("resp_record") {
        exchange(&mut back_sealer, &mut back_opener, &hex(words[0]), &hex(words[1]));
    }
    assert_eq!((sealer.records(), back_sealer.records()), (2, 2));
}

#[test]
fn our_join_is_the_one_that_the_protocol_describes() {
    own_join(include_str!("../../../tests/vectors/handshake-join-aesgcm.txt"));
    own_join(include_str!("../../../tests/vectors/handshake-join-chachapoly.txt"));
}
