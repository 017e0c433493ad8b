//! The one way by which foreign text reaches a terminal: what could move the cursor, hide or reorder is spelled out.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest result of [`printable`], characters: a file name of the longest kind (255 bytes) stays whole.
pub(crate) const PRINTABLE_MAX: usize = 256;

/// Stands at the end of a text that was cut.
const CUT: char = '…';

/// Text that may come from anybody: bytes which are hopefully UTF-8.
pub(crate) trait Foreign {
    /// The bytes as they came.
    fn bytes(&self) -> &[u8];
}

impl Foreign for str {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Foreign for String {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Foreign for [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Foreign for OsStr {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Foreign for PathBuf {
    fn bytes(&self) -> &[u8] {
        self.as_os_str().as_bytes()
    }
}

impl Foreign for Path {
    fn bytes(&self) -> &[u8] {
        self.as_os_str().as_bytes()
    }
}

/// Makes foreign text safe to show on one line of a terminal.
///
/// Control characters and bytes that are not UTF-8 become `\xNN`; characters that are invisible or change the
/// direction of text become `\u{NNNN}`; a backslash becomes `\\`, so that what is shown can be told from what was
/// sent. At most [`PRINTABLE_MAX`] characters come back; a longer text ends in `…`.
pub(crate) fn printable<T: Foreign + ?Sized>(text: &T) -> String {
    let mut shown = Shown { text: String::new(), room: PRINTABLE_MAX };
    for chunk in text.bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if !shown.character(character) {
                return shown.text;
            }
        }
        for byte in chunk.invalid() {
            if !shown.piece(&hex(*byte)) {
                return shown.text;
            }
        }
    }
    shown.text
}

/// The last guard before a terminal: makes sure that a message of ours is one harmless line.
///
/// Unlike [`printable`] it neither cuts nor doubles backslashes, so text that is harmless already is not changed.
pub(crate) fn one_line(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    for character in message.chars() {
        escaped(character, |piece| shown.push_str(piece));
    }
    shown
}

/// Whether a character may reach a terminal as it is.
pub(crate) fn is_plain(character: char) -> bool {
    !character.is_control() && !is_invisible(character)
}

struct Shown {
    text: String,
    /// Characters that may still be added. One of them is kept for [`CUT`].
    room: usize,
}

impl Shown {
    /// Adds one character, escaped where needed; `false` when there was no room.
    fn character(&mut self, character: char) -> bool {
        match character {
            '\\' => self.piece("\\\\"),
            other => escaped(other, |piece| self.piece(piece)),
        }
    }

    /// Adds a piece whole or not at all, so that no escape is ever cut in two.
    fn piece(&mut self, piece: &str) -> bool {
        let needed = piece.chars().count();
        if needed >= self.room {
            self.text.push(CUT);
            return false;
        }
        self.room -= needed;
        self.text.push_str(piece);
        true
    }
}

/// Hands over a character as it may be shown.
fn escaped<R>(character: char, mut show: impl FnMut(&str) -> R) -> R {
    let mut buffer = [0; 4];
    match character {
        c if is_plain(c) => show(c.encode_utf8(&mut buffer)),
        c if c.is_ascii() => show(&hex(c.encode_utf8(&mut buffer).as_bytes()[0])),
        c => show(&c.escape_unicode().to_string()),
    }
}

fn hex(byte: u8) -> String {
    let mut text = String::with_capacity(4);
    // Writing to a String cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
    text
}

/// Unicode's format characters (category Cf), line and paragraph separators, variation selectors and the fillers
/// that show as nothing. They hide text, reverse it (U+202E) or make two names look the same.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
        | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn honest_names_stay_as_they_are() {
        for name in ["report.pdf", "Grüße aus Köln.txt", "日本語", "a b'c\"d", "🦀"] {
            assert_eq!(printable(name), name);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        for (hostile, shown) in [
            ("\x1b[2J\x07", "\\x1b[2J\\x07"),
            ("a\nvp-recv: error: b", "a\\x0avp-recv: error: b"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\x7f", "\\x7f"),
            ("exe.\u{202e}fdp", "exe.\\u{202e}fdp"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("a\\x0a", "a\\\\x0a"),
        ] {
            assert_eq!(printable(hostile), shown);
        }
        assert_eq!(printable(&b"a\xff\xc3("[..]), "a\\xff\\xc3(");
    }

    #[test]
    fn long_text_is_cut_between_escapes() {
        let shown = printable(&vec![0xff; 1_000][..]);
        assert!(shown.ends_with("\\xff…") && shown.chars().count() <= PRINTABLE_MAX, "{shown}");
        let name = "n".repeat(255);
        assert_eq!(printable(&name), name);
    }

    fn is_safe(text: &str) -> bool {
        text.chars().count() <= PRINTABLE_MAX && text.chars().all(is_plain)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_reach_a_terminal_unescaped(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(is_safe(&printable(&bytes[..])));
        }

        #[test]
        fn no_characters_reach_a_terminal_unescaped(text in any::<String>()) {
            prop_assert!(is_safe(&printable(&text)));
        }

        #[test]
        fn what_is_shown_can_be_told_from_what_was_sent(a in "[\\\\xu0-9a\u{1b}{}]{0,8}", b in "[\\\\xu0-9a\u{1b}{}]{0,8}") {
            prop_assert_eq!(a == b, printable(&a) == printable(&b));
        }
    }
}
