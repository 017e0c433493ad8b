//! The relays file: one address a line, in order of preference, and perhaps a proxy.

use super::lines::{self as parse, ParseError, ParseErrorKind, lines, words};
use super::proxy::ProxyAddress;
use super::relay::{RelayAddress, RelayAddressError};

/// The word before the proxy through which the relays are reached. It is no relay address: it has no `@`.
const PROXY: &str = "proxy";

/// The relays file: one address a line, in order of preference, `#` comments. The same address again says nothing new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Relays {
    addresses: Vec<RelayAddress>,
    proxy: Option<ProxyAddress>,
}

impl Relays {
    /// Reads a whole file.
    ///
    /// # Errors
    /// The first mistake, with line and column.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ParseError> {
        parse::text(bytes).map_err(ParseError::not_text).and_then(Self::parse)
    }

    /// The same, of a file that is known to be text.
    ///
    /// # Errors
    /// The first mistake, with line and column.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let (mut addresses, mut proxy): (Vec<RelayAddress>, _) = (Vec::new(), None);
        for (line, content) in lines(text) {
            let mut words = words(content);
            let Some(word) = words.next() else { continue };
            let fail = |column, kind| ParseError { line, column, kind };
            if word.text == PROXY {
                let Some(named) = words.next() else { return Err(fail(word.column, ParseErrorKind::MissingProxy)) };
                let address = ProxyAddress::parse(named.text);
                let address = address.map_err(|error| fail(named.column, ParseErrorKind::BadProxy(error)))?;
                if proxy.replace(address).is_some() {
                    return Err(fail(word.column, ParseErrorKind::SecondProxy));
                }
                if let Some(extra) = words.next() {
                    return Err(fail(extra.column, ParseErrorKind::TrailingText));
                }
                continue;
            }
            let relay: RelayAddress = word.text.parse().map_err(|error: RelayAddressError| {
                fail(word.column + error.offset(word.text), ParseErrorKind::BadRelay(error))
            })?;
            if let Some(extra) = words.next() {
                return Err(fail(extra.column, ParseErrorKind::TrailingText));
            }
            if !addresses.contains(&relay) {
                addresses.push(relay);
            }
        }
        Ok(Self { addresses, proxy })
    }

    /// The addresses, in the order of the file.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, RelayAddress> {
        self.addresses.iter()
    }

    /// The addresses, in the order of the file, and the proxy.
    #[must_use]
    pub(crate) fn into_parts(self) -> (Vec<RelayAddress>, Option<ProxyAddress>) {
        (self.addresses, self.proxy)
    }
}

impl<'a> IntoIterator for &'a Relays {
    type Item = &'a RelayAddress;
    type IntoIter = std::slice::Iter<'a, RelayAddress>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Fuzz entry: accepted addresses print to texts with the same meaning.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_relays(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(relays) = Relays::parse(text) {
        let printed: String = relays.iter().map(|relay| format!("{relay}\n")).collect();
        assert_eq!(Relays::parse(&printed), Ok(Relays { proxy: None, ..relays }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerId;
    use crate::names::ProxyAddressError;

    fn id() -> PeerId {
        PeerId::from_bytes(*b"0123456789abcdef0123456789abcdef")
    }

    #[test]
    fn the_file_has_lines_comments_and_places() {
        let file = |text: &str| Relays::parse(&text.replace("ID", &id().to_string()));
        let relays = file("# relays\nID@a # first\n\n  tls://ID@b\n").expect("a good file");
        let hosts: Vec<_> = relays.iter().map(|relay| relay.host.as_str()).collect();
        assert_eq!(hosts, ["a", "b"]);
        let error = |text: &str| file(text).map_err(|error| (error.line, error.column, error.kind)).err();
        let kind = ParseErrorKind::BadRelay(RelayAddressError::MissingId);
        assert_eq!(error("\n  nonsense"), Some((2, 3, kind)));
        assert_eq!(error("ID@a ID@b"), Some((1, 65, ParseErrorKind::TrailingText)));
        assert_eq!(file("ID@a\nID@b\nID@A:4433").map(|relays| relays.into_parts().0.len()), Ok(2), "one of them twice");
        // A foreign character of an id is named where it is, as in the peers file.
        for (before, column) in [("", 8), ("tcp://", 14), ("  wss://", 16)] {
            let mut foreign = id().to_string();
            foreign.replace_range(7..8, "b");
            let text = format!("{before}{foreign}@a");
            assert!(matches!(error(&text), Some((1, at, _)) if at == column), "{text}: {:?}", error(&text));
        }
        let proxy = file("proxy http://u@P:3128 # ours\nID@a\n").expect("a good file").into_parts();
        assert_eq!(
            (proxy.0.len(), proxy.1.map(|proxy| (proxy.host, proxy.user))),
            (1, Some(("p".into(), Some("u".into()))))
        );
        assert_eq!(error("\n proxy"), Some((2, 2, ParseErrorKind::MissingProxy)));
        assert_eq!(error("proxy a\nproxy b"), Some((2, 1, ParseErrorKind::SecondProxy)));
        assert_eq!(error("proxy a ID@b"), Some((1, 9, ParseErrorKind::TrailingText)));
        let secret = ParseErrorKind::BadProxy(ProxyAddressError::Password);
        assert_eq!(error("proxy http://u:secret@p"), Some((1, 7, secret)));
        let latin = Relays::read(b"# ours\n\xe9").expect_err("no text");
        assert_eq!((latin.line, latin.column, latin.kind), (2, 1, ParseErrorKind::NotText));
    }
}
