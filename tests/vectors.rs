//! The vector files of PROTOCOL.md: computed here from the text of the protocol alone, and compared with what is in the
//! tree. `BLESS=1` writes them. The library is held against the same files beside its code.

use std::fmt::Write as _;
use std::path::PathBuf;

use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, ML_KEM_768};
use vp::identity::{Card, Identity, PeerId};
use vp::link::{Answer, Answered};
use vp::names::keyfile;
use vp::noise::{JoinResponder, Purpose, Responder, Suite, Terms};

#[path = "vectors/content.rs"]
mod content;
#[path = "vectors/document.rs"]
mod document;
#[path = "vectors/reference.rs"]
mod reference;
#[path = "vectors/requests.rs"]
mod requests;
#[path = "vectors/session.rs"]
mod session;
#[path = "vectors/texts.rs"]
mod texts;
#[path = "vectors/transfer.rs"]
mod transfer;
#[path = "vectors/websocket.rs"]
mod websocket;
#[path = "vectors/wire.rs"]
mod wire;

use reference::{Key, Symmetric, hkdf, peer, sha256, x25519_public};

/// Where the encapsulation key is in an expanded decapsulation key (FIPS 203, algorithm 16).
const EK_IN_DK: std::ops::Range<usize> = 1152..1152 + 1184;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn field(text: &str, name: &str) -> Option<Vec<u8>> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(unhex))
}

/// Compares `text` with the file, or writes it if asked to.
fn settle(name: &str, text: &str) {
    let path = path(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).expect("the vector file is writable");
    }
    let found = std::fs::read_to_string(&path).expect("the vector file; BLESS=1 makes it");
    assert_eq!(found, text, "{name} differs; BLESS=1 rewrites it");
}

/// A vector file in the making.
#[derive(Default)]
struct Text(String);

impl Text {
    fn comment(&mut self, text: &str) {
        writeln!(self.0, "# {text}").expect("a string takes all");
    }

    fn word(&mut self, name: &str, word: &str) {
        writeln!(self.0, "{name} {word}").expect("a string takes all");
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.word(name, &hex(bytes));
    }

    /// Two records of each side, and all sealed bytes of each side.
    fn records(&mut self, noise: &Symmetric, plain: &[[Vec<u8>; 2]; 2]) -> [Vec<u8>; 2] {
        let (initiator, responder) = noise.split();
        let mut all = [Vec::new(), Vec::new()];
        for (side, (name, key)) in [("init_record", initiator), ("resp_record", responder)].into_iter().enumerate() {
            for (n, plaintext) in (0..).zip(&plain[side]) {
                let sealed = noise.record(&key, n, plaintext);
                self.word(name, &format!("{} {}", hex(plaintext), hex(&sealed)));
                all[side].extend(sealed);
            }
        }
        all
    }

    /// A line of a codec file: bytes that mean something.
    fn ok(&mut self, name: &str, bytes: &[u8]) {
        self.word("ok", &format!("{name} {}", hex(bytes)));
    }

    /// A line of a codec file: bytes that every implementation passes over, if it does not know them.
    fn skip(&mut self, name: &str, bytes: &[u8]) {
        self.word("skip", &format!("{name} {}", hex(bytes)));
    }

    /// A line of a codec file: bytes that every implementation refuses, for this kind of reason.
    fn bad(&mut self, name: &str, class: &str, bytes: &[u8]) {
        self.word("bad", &format!("{name} {class} {}", hex(bytes)));
    }
}

/// Inputs that need no imagination: 32 bytes counting up.
fn counting(from: u8) -> Key {
    std::array::from_fn(|at| from + u8::try_from(at).expect("below 32"))
}

/// The ML-KEM exchange, which cannot be computed from a seed here: kept from the file, or made anew.
struct Kem {
    dk: Vec<u8>,
    ek: Vec<u8>,
    ct: Vec<u8>,
    shared: Vec<u8>,
}

fn kem(name: &str) -> Kem {
    let old = std::fs::read_to_string(path(name)).unwrap_or_default();
    let kept = |name| field(&old, name);
    let (dk, ct) = match (kept("kem_decapsulation_key"), kept("kem_ciphertext")) {
        (Some(dk), Some(ct)) => (dk, ct),
        _ => {
            let key = DecapsulationKey::generate(&ML_KEM_768).expect("a key");
            let (ct, _) = key.encapsulation_key().and_then(|ek| ek.encapsulate()).expect("encapsulates");
            (key.key_bytes().expect("bytes").as_ref().to_vec(), ct.as_ref().to_vec())
        }
    };
    let key = DecapsulationKey::new(&ML_KEM_768, &dk).expect("a key");
    let shared = key.decapsulate(Ciphertext::from(ct.as_slice())).expect("decapsulates");
    Kem { ek: dk[EK_IN_DK].to_vec(), shared: shared.as_ref().to_vec(), dk, ct }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("short");
    [&len.to_le_bytes(), bytes].concat()
}

fn prologue(suite: u8, purpose: u8, responder: &Key, context: &[u8]) -> Vec<u8> {
    [b"vp/1", [suite, purpose].as_slice(), responder, &sized(context)].concat()
}

fn cipher(suite: u8) -> &'static str {
    if suite == 1 { "AESGCM" } else { "ChaChaPoly" }
}

/// Records without a meaning of their own, for each side: some bytes, and none.
fn plain_records() -> [[Vec<u8>; 2]; 2] {
    [(); 2].map(|()| [b"first".to_vec(), Vec::new()])
}

/// The fixed inputs of a handshake.
struct Inputs {
    suite: u8,
    purpose: u8,
    context: &'static [u8],
    caps: [&'static [u8]; 2],
    payload: &'static [u8],
    records: [[Vec<u8>; 2]; 2],
    kem: Kem,
    seeds: [Key; 2],
    ephemerals: [Key; 2],
    secret: Key,
}

const CONTEXT: &[u8] = b"context";

impl Inputs {
    fn new(name: &str, suite: u8, purpose: u8) -> Self {
        let seeds = [counting(0x00), counting(0x20)];
        let ephemerals = [counting(0x40), counting(0x60)];
        Self {
            suite,
            purpose,
            context: CONTEXT,
            // Features 1 and 32,767 of one, 1 and 2 of the other, which is a pipe if it is called.
            caps: [b"\x01\x00\xff\x7f", if purpose == b'S' { b"\x01\x01\x00\x02\x00" } else { b"\x01\x00\x02\x00" }],
            payload: b"parameters",
            records: plain_records(),
            kem: kem(name),
            seeds,
            ephemerals,
            secret: counting(0x80),
        }
    }

    fn noise_name(&self) -> String {
        format!("Noise_XXpsk3_25519_{}_SHA256", cipher(self.suite))
    }

    fn print(&self, text: &mut Text) {
        text.comment(&format!("{} with ML-KEM-768. Values are hexadecimal, ids are text.", self.noise_name()));
        text.comment("Inputs. The fresh values of a real handshake are random.");
        text.bytes("suite", &[self.suite]);
        text.bytes("purpose", &[self.purpose]);
        text.bytes("context", self.context);
        text.bytes("init_seed", &self.seeds[0]);
        text.bytes("resp_seed", &self.seeds[1]);
        text.bytes("init_ephemeral", &self.ephemerals[0]);
        text.bytes("resp_ephemeral", &self.ephemerals[1]);
        text.bytes("kem_decapsulation_key", &self.kem.dk);
        text.bytes("kem_encapsulation_key", &self.kem.ek);
        text.bytes("kem_ciphertext", &self.kem.ct);
        text.bytes("kem_shared_secret", &self.kem.shared);
        text.bytes("secret", &self.secret);
        text.bytes("init_caps", self.caps[0]);
        text.bytes("resp_caps", self.caps[1]);
        text.bytes("payload", self.payload);
    }
}

/// What a handshake sends: its messages, and the sealed records of each side in one piece.
struct Transcript {
    messages: [Vec<u8>; 3],
    sealed: [Vec<u8>; 2],
}

/// Writes the file.
fn handshake(name: &str, inputs: &Inputs, also: impl Fn(&Transcript, &mut Text)) -> Transcript {
    let (suite, purpose) = (inputs.suite, inputs.purpose);
    let (kem, [e_i, e_r]) = (&inputs.kem, &inputs.ephemerals);
    let (i, r) = (peer(&inputs.seeds[0]), peer(&inputs.seeds[1]));
    let prologue = prologue(suite, purpose, &r.id, inputs.context);
    let mut noise = Symmetric::new(suite, &inputs.noise_name(), &prologue);

    let e_i_public = x25519_public(e_i);
    let mut message_1 = noise.ephemeral(&e_i_public);
    let mut hello = [kem.ek.as_slice(), &sized(inputs.caps[0])].concat();
    hello.resize(1615 - 32 - 16, 0);
    message_1.extend(noise.seal(&hello));

    let e_r_public = x25519_public(e_r);
    let mut message_2 = noise.ephemeral(&e_r_public);
    noise.mix_dh(e_r, &e_i_public);
    message_2.extend(noise.seal(&x25519_public(&r.x25519)));
    noise.mix_dh(&r.x25519, &e_i_public);
    message_2.extend(noise.seal(&[kem.ct.as_slice(), &r.card, &sized(inputs.caps[1])].concat()));
    let info = [noise.h, sha256(&[&kem.ek]), sha256(&[&kem.ct])].concat();
    let psk = hkdf(b"vp/1 mlkem768 psk", &kem.shared, &info);

    let mut message_3 = noise.seal(&x25519_public(&i.x25519));
    noise.mix_dh(&i.x25519, &e_r_public);
    noise.mix_psk(&psk);
    message_3.extend(noise.seal(&[inputs.secret.as_slice(), &i.card, &sized(inputs.payload)].concat()));
    let ikm = [&inputs.secret, kem.shared.as_slice()].concat();
    let export = hkdf(b"vp/1 export", &ikm, &noise.h);

    let mut text = Text::default();
    inputs.print(&mut text);
    text.comment("What follows from them.");
    text.word("resp_id", &PeerId::from_bytes(r.id).to_string());
    text.bytes("init_card", &i.card);
    text.bytes("resp_card", &r.card);
    text.bytes("prologue", &prologue);
    text.bytes("message_1", &message_1);
    text.bytes("message_2", &message_2);
    text.bytes("psk", &psk);
    text.bytes("message_3", &message_3);
    text.bytes("handshake_hash", &noise.h);
    text.bytes("export", &export);
    text.comment("The first two records of each side: plaintext (`-` is none) and sealed.");
    let sealed = text.records(&noise, &inputs.records);
    let transcript = Transcript { messages: [message_1, message_2, message_3], sealed };
    also(&transcript, &mut text);
    settle(name, &text.0);
    transcript
}

/// The library, with random values of its own, answers the message 1 of a vector.
fn answered(suite: Suite, purpose: Purpose, message_1: &[u8]) {
    let responder = Identity::from_seed(&counting(0x20));
    let answer = Responder::accept(&Terms { suite, purpose, context: CONTEXT, caps: b"" }, &responder, message_1);
    assert!(answer.is_ok(), "a good message 1");
}

#[test]
fn handshakes() {
    for (name, suite, purpose) in [
        ("handshake-link-aesgcm.txt", Suite::AesGcm, Purpose::Link),
        ("handshake-session-chachapoly.txt", Suite::ChaChaPoly, Purpose::Session),
    ] {
        let inputs = Inputs::new(name, suite.number(), purpose.byte());
        let transcript = handshake(name, &inputs, |_, _| {});
        answered(suite, purpose, &transcript.messages[0]);
    }
}

/// A link from its first byte to the first frame of each side, as a carrier sees it.
#[test]
fn a_link_from_its_first_byte() {
    let name = "link-worked.txt";
    let header = |length: u8| [&[2, 0, 0, 0, 0, 0, 0, 0, length][..], &[0; 7]].concat();
    let (listen, welcome) = (b"\x01\x00\x04drop".to_vec(), b"\x00\xfb\x00\x10".to_vec());
    let records = [[header(16 + 7), listen], [header(16 + 4), welcome]];
    let inputs = Inputs { context: b"", caps: [b"", b""], payload: b"", records, ..Inputs::new(name, 1, b'L') };
    let prefixed = |message: &[u8]| [&u16::try_from(message.len()).expect("short").to_be_bytes(), message].concat();
    let transcript = handshake(name, &inputs, |made, text| {
        text.comment("The same as bytes on the carrier, in the order in which each side sends them.");
        text.bytes("client_flight_1", &[b"vp\x01\x01", prefixed(&made.messages[0]).as_slice()].concat());
        text.bytes("relay_flight_1", &prefixed(&made.messages[1]));
        text.bytes("client_flight_2", &[prefixed(&made.messages[2]), made.sealed[0].clone()].concat());
        text.bytes("relay_flight_2", &made.sealed[1]);
    });
    let hello = [b"vp\x01\x01", prefixed(&transcript.messages[0]).as_slice()].concat();
    let mut out = Vec::new();
    let relay = Identity::from_seed(&counting(0x20));
    match Answer::begin().handle_bytes(&relay, &hello, &mut out) {
        Ok(Answered::More(Answer::ExpectFinal(..), used)) => assert_eq!(used, hello.len()),
        _ => panic!("a relay takes the first flight"),
    }
    assert_eq!(out.len(), 2 + transcript.messages[1].len());
}

fn join(name: &str, suite: u8) {
    let (psk, e_i, e_r) = (counting(0xa0), counting(0x40), counting(0x60));
    let (context, payload_1, payload_2) = (b"lane tag".as_slice(), b"one".as_slice(), b"two".as_slice());
    let prologue = prologue(suite, b'J', &[0; 32], context);
    let noise_name = format!("Noise_NNpsk0_25519_{}_SHA256", cipher(suite));
    let mut noise = Symmetric::new(suite, &noise_name, &prologue);

    noise.mix_psk(&psk);
    let e_i_public = x25519_public(&e_i);
    let mut message_1 = noise.ephemeral(&e_i_public);
    message_1.extend(noise.seal(payload_1));
    let mut message_2 = noise.ephemeral(&x25519_public(&e_r));
    noise.mix_dh(&e_r, &e_i_public);
    message_2.extend(noise.seal(payload_2));

    let mut text = Text::default();
    text.comment(&format!("{noise_name}: a further lane. Values are hexadecimal."));
    text.comment("Inputs. The fresh values of a real handshake are random.");
    text.bytes("suite", &[suite]);
    text.bytes("context", context);
    text.bytes("psk", &psk);
    text.bytes("init_ephemeral", &e_i);
    text.bytes("resp_ephemeral", &e_r);
    text.bytes("payload_1", payload_1);
    text.bytes("payload_2", payload_2);
    text.comment("What follows from them.");
    text.bytes("prologue", &prologue);
    text.bytes("message_1", &message_1);
    text.bytes("message_2", &message_2);
    text.bytes("handshake_hash", &noise.h);
    text.comment("The first two records of each side: plaintext (`-` is none) and sealed.");
    text.records(&noise, &plain_records());
    settle(name, &text.0);

    let suite = Suite::try_from(suite).expect("a suite");
    let (payload, _) = JoinResponder::accept(suite, &psk, context, &message_1).expect("a good message 1");
    assert_eq!(payload, payload_1);
}

#[test]
fn joins() {
    join("handshake-join-aesgcm.txt", 1);
    join("handshake-join-chachapoly.txt", 2);
}

#[test]
fn identities() {
    let seed = counting(0x00);
    let (ours, identity) = (peer(&seed), Identity::from_seed(&seed));
    assert_eq!(identity.id().as_bytes(), &ours.id);
    assert_eq!(identity.card().encode().as_slice(), ours.card);
    assert_eq!(Card::decode_verified(&ours.card), Ok(identity.card()));
    let file = keyfile::encode(&identity);
    let secret = file.lines().nth(1).expect("two lines");
    let again = keyfile::parse(&file).ok().map(|identity| identity.id());
    assert_eq!(again, Some(identity.id()));

    let mut text = Text::default();
    text.comment("A seed, and what follows from it.");
    text.bytes("seed", &seed);
    text.word("key_file_line", secret);
    text.bytes("ed25519_public", &ours.id);
    text.word("id", &identity.id().to_string());
    text.bytes("x25519_public", &x25519_public(&ours.x25519));
    text.bytes("card", &ours.card);
    settle("identity.txt", &text.0);
}
