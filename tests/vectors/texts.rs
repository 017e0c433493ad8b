//! Ids and key files that are not to be accepted, each with the reason that a person is given.

use super::{Text, counting, settle};
use vp::identity::{CodeError, Identity, PeerId};
use vp::names::keyfile::{self, KeyFileErrorKind};

/// The id of `identity.txt`.
fn good_id() -> String {
    Identity::from_seed(&counting(0)).id().to_string()
}

fn swapped(text: &str, at: usize, with: &str) -> String {
    let mut text = text.to_owned();
    text.replace_range(at..at + with.len(), with);
    text
}

fn bad_ids() -> Vec<(&'static str, &'static str, String)> {
    let good = good_id();
    vec![
        ("another-prefix", "wrong-prefix", good.replacen("vp1", "vq1", 1)),
        ("a-secret", "wrong-prefix", "VP-SECRET-1QQQSYQCYQ5RQWZQ".to_owned()),
        ("one-short", "wrong-length", good[..60].to_owned()),
        ("one-long", "wrong-length", format!("{good}q")),
        ("one-capital", "mixed-case", swapped(&good, 3, "U")),
        ("a-letter-outside-the-alphabet", "bad-character", swapped(&good, 10, "b")),
        ("one-letter-changed", "bad-checksum", swapped(&good, 10, "q")),
        ("two-letters-swapped", "bad-checksum", swapped(&good, 3, "eu")),
        // The checksum of the older bech32 (BIP 173) over 32 times 07.
        ("bech32-not-bech32m", "bad-checksum", BECH32.to_owned()),
        // The last of the 52 characters carries four bits that must be zero; here the lowest is one.
        ("padding-not-zero", "not-canonical", PADDING.to_owned()),
    ]
}

const BECH32: &str = "vp1qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qursveu3zz";
const PADDING: &str = "vp1qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qur3yncg6j";

fn code_class(error: CodeError) -> &'static str {
    match error {
        CodeError::WrongPrefix { .. } => "wrong-prefix",
        CodeError::WrongLength { .. } => "wrong-length",
        CodeError::MixedCase => "mixed-case",
        CodeError::BadCharacter { .. } => "bad-character",
        CodeError::BadChecksum => "bad-checksum",
        CodeError::NotCanonical => "not-canonical",
    }
}

#[test]
fn ids_that_are_none() {
    let mut text = Text::default();
    text.comment("Peer ids: `ok NAME TEXT`, `bad NAME CLASS TEXT`.");
    for (name, id) in [("lower-case", good_id()), ("upper-case", good_id().to_uppercase())] {
        text.word("ok", &format!("{name} {id}"));
        assert_eq!(id.parse(), Ok(Identity::from_seed(&counting(0)).id()));
    }
    for (name, class, id) in bad_ids() {
        text.word("bad", &format!("{name} {class} {id}"));
        assert_eq!(id.parse::<PeerId>().map_err(code_class), Err(class), "{name}: {id}");
    }
    settle("ids.txt", &text.0);
}

fn file_class(kind: KeyFileErrorKind) -> &'static str {
    match kind {
        KeyFileErrorKind::NotText => "not-text",
        KeyFileErrorKind::NoKey => "no-key",
        KeyFileErrorKind::IdInsteadOfSecret => "id-instead-of-secret",
        KeyFileErrorKind::BadSecret(_) => "bad-secret",
        KeyFileErrorKind::SecondKey => "second-key",
        KeyFileErrorKind::TrailingText => "trailing-text",
    }
}

#[test]
fn key_files() {
    let identity = Identity::from_seed(&counting(0));
    let written = keyfile::encode(&identity);
    let secret = written.lines().nth(1).expect("two lines");
    let (id, lower) = (identity.id(), secret.to_lowercase());
    let good = [
        ("as-written", written.to_string()),
        ("secret-alone-without-newline", secret.to_owned()),
        ("lower-case", lower),
        ("spaces-comments-and-crlf", format!("# mine\r\n\r\n\t {secret}  # the seed\r\n")),
    ];
    let bad = [
        ("empty", "no-key", String::new()),
        ("comments-only", "no-key", format!("# {secret}\n")),
        ("the-id", "id-instead-of-secret", format!("{id}\n")),
        ("checksum", "bad-secret", format!("{}Q\n", &secret[..secret.len() - 1])),
        ("mixed-case", "bad-secret", format!("v{}\n", &secret[1..])),
        ("no-bech32", "bad-secret", "correct horse\n".to_owned()),
        ("two", "second-key", format!("{secret}\n{secret}\n")),
        ("something-behind", "trailing-text", format!("{secret} {secret}\n")),
    ];
    let mut text = Text::default();
    text.comment("Key files, as the bytes of the file: `ok NAME BYTES`, `bad NAME CLASS BYTES`.");
    for (name, file) in good {
        text.ok(name, file.as_bytes());
        assert_eq!(keyfile::parse(&file).map(|found| found.id()).ok(), Some(id), "{name}");
    }
    for (name, class, file) in bad {
        text.bad(name, class, file.as_bytes());
        let found = keyfile::parse(&file).map_err(|error| file_class(error.kind));
        assert_eq!(found.err(), Some(class), "{name}");
    }
    let latin = [b"# caf\xe9\n", secret.as_bytes()].concat();
    text.bad("latin-1", "not-text", &latin);
    assert_eq!(keyfile::read(&latin).map_err(|error| file_class(error.kind)).err(), Some("not-text"));
    settle("keyfile.txt", &text.0);
}
