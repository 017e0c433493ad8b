//! The text of a key file: comments, and one line with the seed.
//!
//! ```text
//! # id: vp1…
//! VP-SECRET-1…
//! ```
//! The secret is upper-case bech32m so that it stands out where it does not belong. Reading and writing the file, and
//! whether others may read it, is for `store/keyfile.rs`.

use bech32::{Bech32m, Hrp};
use zeroize::Zeroizing;

use super::lines::{self as parse, lines, words};
use crate::identity::Identity;
use crate::identity::code::{self, CodeError};
use crate::identity::id::looks_like_id;

const PREFIX: &str = "vp-secret-";
const HRP: Hrp = Hrp::parse_unchecked(PREFIX);
/// Room for the whole text, so that the secret is never moved by a growing buffer: two lines of less than 80.
const TEXT_CAPACITY: usize = 256;

/// What is wrong with a key file, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFileError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: KeyFileErrorKind,
}

/// What is wrong at a place in a key file. Nothing here repeats what the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFileErrorKind {
    /// A byte that is not UTF-8.
    NotText,
    /// No line with a key.
    NoKey,
    /// An id, which is public, where the secret belongs.
    IdInsteadOfSecret,
    /// Not a secret key.
    BadSecret(CodeError),
    /// A second key.
    SecondKey,
    /// Text after the key on its line.
    TrailingText,
}

/// Lengths of what [`encode`] writes, and of its line with the key alone, with a line feed or without.
pub(crate) const TEXT_BYTES: [u64; 4] = [138, 137, 70, 69];

/// Whether the first line that is no comment begins as a key does. It may be damaged, or have another behind it.
#[must_use]
pub(crate) fn looks_like_key(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty() && line[0] != b'#').unwrap_or_default();
    let begins = |with: &[u8]| first.get(..with.len()).is_some_and(|front| front.eq_ignore_ascii_case(with));
    // Behind its separator.
    begins(PREFIX.as_bytes()) && first.get(PREFIX.len()) == Some(&b'1')
}

/// Reads a key file.
///
/// # Errors
/// The first mistake, with line and column.
pub fn read(bytes: &[u8]) -> Result<Identity, KeyFileError> {
    let not_text = |(line, column)| KeyFileError { line, column, kind: KeyFileErrorKind::NotText };
    parse::text(bytes).map_err(not_text).and_then(parse)
}

/// Reads the text of a key file.
///
/// # Errors
/// The first mistake, with line and column.
pub fn parse(text: &str) -> Result<Identity, KeyFileError> {
    let mut found: Option<Identity> = None;
    for (line, content) in lines(text) {
        let fail = |column, kind| KeyFileError { line, column, kind };
        let mut words = words(content);
        let Some(word) = words.next() else { continue };
        if found.is_some() {
            return Err(fail(word.column, KeyFileErrorKind::SecondKey));
        }
        if looks_like_id(word.text) {
            return Err(fail(word.column, KeyFileErrorKind::IdInsteadOfSecret));
        }
        let seed = code::decode(PREFIX, word.text)
            .map_err(|error| fail(word.column + error.offset(), KeyFileErrorKind::BadSecret(error)))?;
        if let Some(extra) = words.next() {
            return Err(fail(extra.column, KeyFileErrorKind::TrailingText));
        }
        found = Some(Identity::from_seed(&seed));
    }
    let line = text.lines().count().max(1);
    found.ok_or(KeyFileError { line, column: 1, kind: KeyFileErrorKind::NoKey })
}

/// The text of a key file for this identity: its id as a comment, and the secret.
#[must_use]
pub fn encode(identity: &Identity) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(TEXT_CAPACITY));
    text.push_str(&format!("# id: {}\n", identity.id()));
    // Writing to a String does not fail, and 32 bytes are far below the longest bech32m text.
    bech32::encode_upper_to_fmt::<Bech32m, _>(&mut *text, HRP, identity.seed().as_slice())
        .expect("32 bytes fit bech32m");
    text.push('\n');
    text
}

/// Fuzz entry: an accepted file, written anew, is the same identity.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_key_file(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(identity) = parse(text)
    {
        assert_eq!(parse(&encode(&identity)).map(|again| again.id()).ok(), Some(identity.id()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret() -> String {
        let text = encode(&Identity::from_seed(&[9; 32]));
        text.lines().nth(1).expect("two lines").to_owned()
    }

    fn error(text: &str) -> (usize, usize, KeyFileErrorKind) {
        let error = parse(text).err().expect("a mistake");
        (error.line, error.column, error.kind)
    }

    #[test]
    fn a_key_is_known_by_its_first_line() {
        let text = encode(&Identity::from_seed(&[7; 32]));
        let line = text.lines().nth(1).expect("the key");
        assert_eq!([text.len(), text.len() - 1, line.len() + 1, line.len()].map(|length| length as u64), TEXT_BYTES);
        let keys = [text.to_string(), line.to_owned(), format!("\n# mine\n  {}\nrest", line.to_lowercase())];
        assert!(keys.iter().all(|text| looks_like_key(text.as_bytes())));
        for none in ["", "# VP-SECRET-1QQ", "VP-SECRET-", "VP-SECRET-2", "text\nVP-SECRET-1QQ", "vp1qq"] {
            assert!(!looks_like_key(none.as_bytes()), "{none}");
        }
    }

    #[test]
    fn text_round_trip() {
        let identity = Identity::from_seed(&[9; 32]);
        let text = encode(&identity);
        assert!(text.starts_with(&format!("# id: {}\nVP-SECRET-1", identity.id())));
        assert!(text.ends_with('\n') && text.lines().count() == 2);
        assert_eq!(text.capacity(), TEXT_CAPACITY, "the buffer never grew");
        assert_eq!(parse(&text).map(|again| again.id()).ok(), Some(identity.id()));
    }

    #[test]
    fn people_may_indent_comment_and_lower_the_case() {
        let id = Identity::from_seed(&[9; 32]).id();
        let text = format!("# mine\n\n  {} # the key\r\n", secret().to_lowercase());
        assert_eq!(parse(&text).map(|identity| identity.id()).ok(), Some(id));
    }

    #[test]
    fn every_mistake_has_its_place() {
        use KeyFileErrorKind as Kind;
        let secret = secret();
        let id = Identity::from_seed(&[9; 32]).id();
        assert_eq!(error(""), (1, 1, Kind::NoKey));
        let latin = read(b"# caf\xe9\n").err().map(|error| (error.line, error.column, error.kind));
        assert_eq!(latin, Some((1, 6, Kind::NotText)));
        assert_eq!(error("# only\n# words\n"), (2, 1, Kind::NoKey));
        assert_eq!(error(&format!("\n {id}")), (2, 2, Kind::IdInsteadOfSecret));
        assert_eq!(error(&format!("{secret} x")), (1, secret.len() + 2, Kind::TrailingText));
        assert_eq!(error(&format!("{secret}\n{secret}")), (2, 1, Kind::SecondKey));
        assert_eq!(error(&format!("{secret}\nx")), (2, 1, Kind::SecondKey));
        let wrong = CodeError::WrongPrefix { expected: PREFIX };
        assert_eq!(error("-----BEGIN"), (1, 1, Kind::BadSecret(wrong)));
        let foreign = secret.replacen("VP-SECRET-1", "VP-SECRET-1B", 1);
        let foreign = &foreign[..secret.len()];
        assert_eq!(error(foreign), (1, 12, Kind::BadSecret(CodeError::BadCharacter { at: 11 })));
        let cut = &secret[..secret.len() - 1];
        assert!(matches!(error(cut).2, Kind::BadSecret(CodeError::WrongLength { expected: 69, found: 68 })));
    }

    #[test]
    fn errors_do_not_repeat_the_secret() {
        let bad = secret().replace("VP-SECRET-1", "VP-SECRET-1Q");
        let error = parse(&bad).err().expect("a mistake");
        assert!(!format!("{error:?}").contains(&bad[15..40]));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(VP-SECRET-1)?.*") {
            fuzz_key_file(text.as_bytes());
        }
    }
}
