//! Words for what is wrong with a name, an address or a rule that somebody typed, and with a line of a file of them.

use crate::identity::CodeError;
use crate::names::keyfile::{KeyFileError, KeyFileErrorKind};
use crate::names::{AddressError, NAME_MAX, NameError, ParseError, ParseErrorKind, RelayAddressError};
use crate::ports::RuleError;

/// How every file and variable says that a byte is not UTF-8.
pub(crate) const NOT_TEXT: &str = "a byte that is not UTF-8 text";

/// To stand behind what is no id, or no secret key.
fn code_text(error: CodeError) -> String {
    match error {
        CodeError::WrongPrefix { expected } => format!("does not begin with {expected}1"),
        CodeError::WrongLength { expected, found } => format!("has {found} characters instead of {expected}"),
        CodeError::MixedCase => "mixes upper and lower case".to_owned(),
        CodeError::BadCharacter { at } => format!("has a foreign character at position {}", at + 1),
        CodeError::BadChecksum => "has a wrong checksum: a character was mistyped or lost".to_owned(),
        CodeError::NotCanonical => "has unused bits that are not zero".to_owned(),
    }
}

/// To stand behind what is no name of an application or a peer.
pub(crate) fn name_text(error: NameError) -> String {
    match error {
        NameError::Empty => "is empty".to_owned(),
        NameError::TooLong { found } => format!("has {found} characters, more than {NAME_MAX}"),
        NameError::BadCharacter { at } => {
            format!("has a character other than A-Z a-z 0-9 . _ - at position {}", at + 1)
        }
    }
}

/// Why a text is no address of a peer.
pub(crate) fn address_text(error: AddressError) -> String {
    match error {
        AddressError::BadId(error) => format!("the id {}", code_text(error)),
        AddressError::BadName(error) => format!("the name {}", name_text(error)),
        AddressError::UnknownName => "no peer of this name".to_owned(),
        AddressError::Conflict { first_line, line } => {
            format!("lines {first_line} and {line} say different things of this name")
        }
        AddressError::BadApp(error) => format!("the application name {}", name_text(error)),
    }
}

/// To stand behind what is no address of a relay.
pub(crate) fn relay_address_text(error: RelayAddressError) -> String {
    match error {
        RelayAddressError::UnknownScheme => "has a scheme other than tcp tls ws wss http https".to_owned(),
        RelayAddressError::MissingId => "has no ID@ before the host".to_owned(),
        RelayAddressError::BadId(error) => format!("has an id that {}", code_text(error)),
        RelayAddressError::BadHost => "has no valid host".to_owned(),
        RelayAddressError::BadPort => "has a port that is not 1 to 65535".to_owned(),
        RelayAddressError::PathWithoutScheme => "has a path, for which ws:// has to stand before the id".to_owned(),
        RelayAddressError::PathWithoutHttp => "has a path, which tcp and tls do not use".to_owned(),
        RelayAddressError::BadPath => "has a path with characters that a path cannot have".to_owned(),
    }
}

/// What is wrong with a file of peers or relays, and where.
pub(crate) fn parse_text(error: ParseError) -> String {
    format!("line {}, column {}: {}", error.line, error.column, kind_text(error.kind))
}

fn kind_text(kind: ParseErrorKind) -> String {
    let text = match kind {
        ParseErrorKind::NotText => NOT_TEXT,
        ParseErrorKind::BadName(error) => return format!("the name {}", name_text(error)),
        ParseErrorKind::NameLooksLikeId => "a petname may not begin with vp1",
        ParseErrorKind::MissingId => "no id after the name",
        ParseErrorKind::BadId(error) => return format!("the id {}", code_text(error)),
        ParseErrorKind::BadOption => "expected key=value",
        ParseErrorKind::DuplicateOption => "the option was given before on this line",
        ParseErrorKind::UnknownOption => "unknown option; circuits=N, links=N and rate=SIZE are known",
        ParseErrorKind::BadValue => {
            "the value does not fit: circuits= and links= take digits, rate= a size above 0, as in 10M"
        }
        ParseErrorKind::TrailingText => "unexpected text",
        ParseErrorKind::BadRelay(error) => return format!("the relay address {}", relay_address_text(error)),
    };
    text.to_owned()
}

/// What is wrong with a key file, and where.
pub(crate) fn key_file_text(error: KeyFileError) -> String {
    let what = match error.kind {
        KeyFileErrorKind::NotText => NOT_TEXT.to_owned(),
        KeyFileErrorKind::NoKey => "no key in this file".to_owned(),
        KeyFileErrorKind::IdInsteadOfSecret => "an id, which is public, instead of a secret key".to_owned(),
        KeyFileErrorKind::BadSecret(error) => format!("the secret key {}", code_text(error)),
        KeyFileErrorKind::SecondKey => "a second key; a key file has one".to_owned(),
        KeyFileErrorKind::TrailingText => "unexpected text after the key".to_owned(),
    };
    format!("line {}, column {}: {what}", error.line, error.column)
}

/// Why a text is no rule for targets.
pub(crate) fn rule_text(error: RuleError) -> &'static str {
    match error {
        RuleError::NoPort => "a target is HOST:PORT, and the port is missing",
        RuleError::BadPort => "the port of a target is a number, a range or *",
        RuleError::BadHost => "the host of a target is a name, *.NAME, an address, a network or * (IPv6 in brackets)",
        RuleError::BadPrefix => "the prefix does not fit its network",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::names::keyfile::{encode, read};

    #[test]
    fn a_line_that_is_no_text_is_told_of_with_its_place() {
        let latin = read(b"# caf\xe9\n").err().map(key_file_text);
        assert_eq!(latin.as_deref(), Some("line 1, column 6: a byte that is not UTF-8 text"));
    }

    #[test]
    fn what_is_said_of_a_damaged_key_does_not_repeat_the_secret() {
        let text = encode(&Identity::from_seed(&[9; 32]));
        let secret = text.lines().last().expect("a key");
        let bad = secret.replace("VP-SECRET-1", "VP-SECRET-1Q");
        let error = read(bad.as_bytes()).err().expect("a mistake");
        assert!(!format!("{} {error:?}", key_file_text(error)).contains(&bad[15..40]));
    }
}
