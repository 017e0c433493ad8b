//! Words for what is wrong with a name, an address or a rule that somebody typed, and with a line of a file of them.

use crate::carrier::TlsFault;
use crate::identity::CodeError;
use crate::names::keyfile::{KeyFileError, KeyFileErrorKind};
use crate::names::{
    AddressError, NAME_MAX, NameError, NetworkError, ParseError, ParseErrorKind, ProxyAddressError, RelayAddressError,
    RequestPathError,
};
use crate::ports::RuleError;
use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// How every file and variable says that a byte is not UTF-8.
pub(crate) const NOT_TEXT: &str = "a byte that is not UTF-8 text";

/// To stand behind what is no id, or no secret key.
impl Display for CodeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPrefix { expected } => write!(f, "does not begin with {expected}1"),
            Self::WrongLength { expected, found } => write!(f, "has {found} characters instead of {expected}"),
            Self::MixedCase => f.write_str("mixes upper and lower case"),
            Self::BadCharacter { at } => write!(f, "has a foreign character at position {}", at + 1),
            Self::BadChecksum => f.write_str("has a wrong checksum: a character was mistyped or lost"),
            Self::NotCanonical => f.write_str("has unused bits that are not zero"),
        }
    }
}

impl Error for CodeError {}

/// To stand behind what is no name of an application or a peer.
impl Display for NameError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong { found } => write!(f, "has {found} characters, more than {NAME_MAX}"),
            Self::BadCharacter { at } => {
                write!(f, "has a character other than A-Z a-z 0-9 . _ - at position {}", at + 1)
            }
        }
    }
}

impl Error for NameError {}

/// Why a text is no address of a peer.
impl Display for AddressError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadId(error) => write!(f, "the id {error}"),
            Self::BadName(error) => write!(f, "the name {error}"),
            Self::UnknownName => f.write_str("no peer of this name"),
            Self::Conflict { first_line, line } => {
                write!(f, "lines {first_line} and {line} say different things of this name")
            }
            Self::BadApp(error) => write!(f, "the application name {error}"),
        }
    }
}

impl Error for AddressError {}

/// To stand behind what is no address of a relay.
impl Display for RelayAddressError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownScheme => "has a scheme other than tcp tls ws wss http https",
            Self::MissingId => "has no ID@ before the host",
            Self::BadId(error) => return write!(f, "has an id that {error}"),
            Self::BadHost => "has no valid host",
            Self::BadPort => "has a port that is not 1 to 65535",
            Self::PathWithoutScheme => "has a path, for which ws:// has to stand before the id",
            Self::PathWithoutHttp => "has a path, which tcp and tls do not use",
            Self::BadPath => "has a path with characters that a path cannot have",
        })
    }
}

impl Error for RelayAddressError {}

/// To stand behind what is no proxy. What was written is not repeated: there may be a password in it.
impl Display for ProxyAddressError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownScheme => "has a scheme other than http socks5 socks5h",
            Self::BadHost => "has no valid host",
            Self::BadPort => "has a port that is not 1 to 65535",
            Self::BadUser => "has a user or a password that no proxy could be told",
            Self::Password => "has a password in its address, where others could read it",
            Self::TrailingText => "has something behind its port",
        })
    }
}

impl Error for ProxyAddressError {}

/// Why a text is no path of a request.
impl Display for RequestPathError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSlash => "a path begins with /",
            Self::HasQuery => "a path has no query: leave out what is from ? on",
            Self::BadPath => "it has characters that a path cannot have, or more than 1024",
        })
    }
}

impl Error for RequestPathError {}

/// Why a text is no network.
impl Display for NetworkError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress => f.write_str("it is no address, nor a network such as 10.0.0.0/8 or 2001:db8::/32"),
            Self::BadPrefix => f.write_str("what stands behind / is no number of bits that its address has"),
            Self::BitsBehindPrefix(network) => write!(f, "the address has more bits than its prefix: write {network}"),
        }
    }
}

impl Error for NetworkError {}

/// What is wrong with a file of peers or relays, and where.
impl Display for ParseError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        f.write_str(match self.kind {
            ParseErrorKind::NotText => NOT_TEXT,
            ParseErrorKind::BadName(error) => return write!(f, "the name {error}"),
            ParseErrorKind::NameLooksLikeId => "a petname may not begin with vp1",
            ParseErrorKind::MissingId => "no id after the name",
            ParseErrorKind::BadId(error) => return write!(f, "the id {error}"),
            ParseErrorKind::BadOption => "expected key=value",
            ParseErrorKind::DuplicateOption => "the option was given before on this line",
            ParseErrorKind::UnknownOption => "unknown option; circuits=N, links=N and rate=SIZE are known",
            ParseErrorKind::BadValue => {
                "the value does not fit: circuits= and links= take digits, rate= a size above 0, as in 10M"
            }
            ParseErrorKind::TrailingText => "unexpected text",
            ParseErrorKind::MissingProxy => "no proxy behind the word",
            ParseErrorKind::SecondProxy => "a second proxy; the relays have one",
            ParseErrorKind::BadProxy(error) => return write!(f, "the proxy {error}"),
            ParseErrorKind::BadRelay(error) => return write!(f, "the relay address {error}"),
        })
    }
}

impl Error for ParseError {}

/// What is wrong with a key file, and where.
impl Display for KeyFileError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        f.write_str(match self.kind {
            KeyFileErrorKind::NotText => NOT_TEXT,
            KeyFileErrorKind::NoKey => "no key in this file",
            KeyFileErrorKind::IdInsteadOfSecret => "an id, which is public, instead of a secret key",
            KeyFileErrorKind::BadSecret(error) => return write!(f, "the secret key {error}"),
            KeyFileErrorKind::SecondKey => "a second key; a key file has one",
            KeyFileErrorKind::TrailingText => "unexpected text after the key",
        })
    }
}

impl Error for KeyFileError {}

/// Why a text is no rule for targets.
impl Display for RuleError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPort => "a target is HOST:PORT, and the port is missing",
            Self::BadPort => "the port of a target is a number, a range or *",
            Self::BadHost => "the host of a target is a name, *.NAME, an address, a network or * (IPv6 in brackets)",
            Self::BadPrefix => "the prefix does not fit its network",
        })
    }
}

impl Error for RuleError {}

/// Why certificates, or a private key, cannot be used.
pub(crate) fn tls_text(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::NoCertificate => "no certificate in it (PEM, BEGIN CERTIFICATE)",
        TlsFault::BadCertificate => "a certificate in it is damaged, or of a kind that is not known",
        TlsFault::NoKey => "no private key in it (PEM, BEGIN PRIVATE KEY)",
        TlsFault::BadKey => "the private key in it is damaged, or of a kind that is not known",
        TlsFault::EncryptedKey => {
            "the private key in it is locked with a password; a relay, which asks for none, needs one that is not: openssl pkey -in FILE"
        }
        TlsFault::OtherKey => "the private key in it belongs to another certificate",
        TlsFault::NotFirst => {
            "the relay's own certificate is not the first in it, ahead of those that it needs to be believed"
        }
        TlsFault::LongChain => "the certificates in it are more than any client takes (60 KiB)",
        TlsFault::BadHost => "no certificate can be for this host",
        TlsFault::Library => "TLS cannot be had",
    }
}

#[cfg(test)]
mod tests {
    use crate::identity::Identity;
    use crate::names::keyfile::{encode, read};

    #[test]
    fn a_line_that_is_no_text_is_told_of_with_its_place() {
        let latin = read(b"# caf\xe9\n").err().map(|error| error.to_string());
        assert_eq!(latin.as_deref(), Some("line 1, column 6: a byte that is not UTF-8 text"));
    }

    #[test]
    fn what_is_said_of_a_damaged_key_does_not_repeat_the_secret() {
        let text = encode(&Identity::from_seed(&[9; 32]));
        let secret = text.lines().last().expect("a key");
        let bad = secret.replace("VP-SECRET-1", "VP-SECRET-1Q");
        let error = read(bad.as_bytes()).err().expect("a mistake");
        assert!(!format!("{error} {error:?}").contains(&bad[15..40]));
    }
}
