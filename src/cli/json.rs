//! One flat JSON object per line: what `--json` prints. Writing only, so no parser is needed.

use std::fmt::Write;

use super::escape::is_plain;

/// A value of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text of any origin.
    Text(&'a str),
    /// Several texts.
    Texts(&'a [String]),
    /// A count, bytes or milliseconds, as the name of the field says.
    Number(u64),
    /// Yes or no; `None` is JSON's null.
    Flag(Option<bool>),
}

/// Builds `{"event":"…",…}` in the order given.
#[derive(Debug)]
pub struct Object {
    text: String,
}

impl Object {
    /// An object whose first field is the name of the event.
    pub fn event(name: &str) -> Self {
        let mut object = Self { text: String::from("{\"event\":") };
        string(&mut object.text, name);
        object
    }

    /// Adds one field.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value<'_>) -> Self {
        self.text.push(',');
        string(&mut self.text, name);
        self.text.push(':');
        match value {
            Value::Text(text) => string(&mut self.text, text),
            Value::Texts(texts) => strings(&mut self.text, texts),
            // Writing to a String cannot fail.
            Value::Number(number) => drop(write!(self.text, "{number}")),
            Value::Flag(Some(flag)) => self.text.push_str(if flag { "true" } else { "false" }),
            Value::Flag(None) => self.text.push_str("null"),
        }
        self
    }

    /// The finished object, without a line feed.
    pub fn end(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

fn strings(out: &mut String, texts: &[String]) {
    out.push('[');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        string(out, text);
    }
    out.push(']');
}

/// Writes a JSON string (RFC 8259, 7). Whatever a terminal would obey is escaped too: a log may end up on one.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if is_plain(c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_keep_their_order_and_kind() {
        let hints = ["a".to_owned(), "b\"".to_owned()];
        let line = Object::event("error")
            .field("message", Value::Text("c:\\ \u{1b}\u{e0001}"))
            .field("hints", Value::Texts(&hints))
            .field("code", Value::Number(u64::MAX))
            .field("retryable", Value::Flag(None))
            .field("last", Value::Flag(Some(true)))
            .end();
        assert_eq!(
            line,
            "{\"event\":\"error\",\"message\":\"c:\\\\ \\u001b\\udb40\\udc01\",\"hints\":[\"a\",\"b\\\"\"],\
             \"code\":18446744073709551615,\"retryable\":null,\"last\":true}"
        );
    }

    proptest! {
        #[test]
        fn any_text_survives_a_json_parser(text in any::<String>()) {
            let line = Object::event("e").field("text", Value::Text(&text)).end();
            let parsed: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
            prop_assert_eq!(parsed["text"].as_str(), Some(text.as_str()));
            prop_assert!(line.chars().all(is_plain));
        }
    }
}
