//! How a value becomes one line of JSON that any terminal may show.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::escape::is_plain;

/// One line, without its line feed. Whatever a terminal would obey is escaped: a log may end up on one.
pub(super) fn line(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail, and our events have no keys but text.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, Plain));
    String::from_utf8(bytes).unwrap_or_default()
}

/// As serde_json writes it, but for characters that are not plain.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(character) = rest.chars().find(|character| !is_plain(*character)) {
            let at = rest.find(character).unwrap_or(0);
            CompactFormatter.write_string_fragment(writer, &rest[..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(line(&"c:\\ \u{1b}\u{e0001}ü\"\n"), r#""c:\\ \u001b\udb40\udc01ü\"\n""#);
    }

    proptest! {
        #[test]
        fn any_text_survives_a_json_parser(text in any::<String>()) {
            let written = line(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&written).expect("valid JSON"), text);
            prop_assert!(written.chars().all(is_plain));
        }
    }
}
