//! What the line-based files share: lines, comments, words with columns, and one error type.

use super::app::NameError;
use super::proxy::ProxyAddressError;
use super::relay::RelayAddressError;
use crate::identity::code::CodeError;

/// What is wrong with a line of the peers or relays file, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

/// What is wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// A byte that is not UTF-8.
    NotText,
    /// The first word is no name.
    BadName(NameError),
    /// A petname may not begin with `vp1`: it would be taken for an id.
    NameLooksLikeId,
    /// A name without an id after it.
    MissingId,
    /// The second word is no id.
    BadId(CodeError),
    /// A word after the id that is not `key=value` with both sides present.
    BadOption,
    /// The same key twice on one line.
    DuplicateOption,
    /// A key that the reader of this file does not know.
    UnknownOption,
    /// The value is not of the kind that its key wants.
    BadValue,
    /// A word where the line should end.
    TrailingText,
    /// Not a relay address.
    BadRelay(RelayAddressError),
    /// The word `proxy` alone.
    MissingProxy,
    /// Not a proxy.
    BadProxy(ProxyAddressError),
    /// A second proxy.
    SecondProxy,
}

impl ParseError {
    pub(crate) fn not_text((line, column): (usize, usize)) -> Self {
        Self { line, column, kind: ParseErrorKind::NotText }
    }
}

/// What some editors put before the text of a file; it says nothing.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A file as text, without a byte order mark, or line and column of its first byte that is not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, (usize, usize)> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    })
}

/// A word of a line and the column of its first character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub column: usize,
    pub text: &'a str,
}

/// The lines that say something, with their numbers; comments (`#` to the end of the line) are cut off.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.split('#').next().unwrap_or_default()))
        .filter(|(_, line)| words(line).next().is_some())
}

/// The words of a line, separated by spaces and tabs.
pub(crate) fn words(line: &str) -> impl Iterator<Item = Word<'_>> {
    let mut column = 1;
    line.split([' ', '\t']).filter_map(move |text| {
        let word = Word { column, text };
        column += text.chars().count() + 1;
        (!text.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let found: Vec<_> = words("  é \tb  ").map(|word| (word.column, word.text)).collect();
        assert_eq!(found, [(3, "é"), (6, "b")]);
    }

    #[test]
    fn the_first_byte_that_is_no_text_has_a_place() {
        assert_eq!(text("é\n".as_bytes()), Ok("é\n"));
        for (bytes, place) in [
            (&b"\xff"[..], (1, 1)),
            (b"a\r\n\xc3\xa9 \xe9t\xe9", (2, 3)),
            (b"# caf\xe9\n", (1, 6)),
            (b"a\n\xc3", (2, 1)),
        ] {
            assert_eq!(text(bytes), Err(place), "{bytes:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text_and_takes_no_column() {
        assert_eq!(text("\u{feff}# é\n".as_bytes()), Ok("# é\n"));
        assert_eq!(text(b"\xef\xbb\xbfa\xff"), Err((1, 2)));
        assert_eq!(text("\u{feff}\u{feff}".as_bytes()), Ok("\u{feff}"), "the second is text");
        assert_eq!(text(b"\xef\xbb"), Err((1, 1)));
    }

    #[test]
    fn comments_and_blank_lines_keep_the_numbers() {
        let text = "# head\n\n a # tail\r\n\t\nb#\n";
        let found: Vec<_> = lines(text).map(|(number, line)| (number, line.trim())).collect();
        assert_eq!(found, [(3, "a"), (5, "b")]);
    }
}
