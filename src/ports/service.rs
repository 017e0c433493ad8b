//! What an OPEN asks for: `APP` or `APP/OFFSET`, with `?` in front to ask only whether it would work, and with `@` if
//! the target's address is the first thing in the stream.

use crate::names::AppName;
use std::fmt;

/// Longest application name that leaves room for a question mark and an offset in the 64 bytes of a service.
pub(crate) const APP_MAX: usize = 57;

/// One port of one export.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// The export.
    pub app: AppName,
    /// Which of its ports, counted from the first.
    pub offset: u16,
}

/// What is wanted of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A connection.
    Connection,
    /// A connection to the target that the first bytes of the stream name, as in RFC 1928, section 5.
    Proxied,
    /// To know whether a connection would come about; the stream ends with the answer.
    Probe,
}

impl Service {
    /// Reads what a peer sent. None: nothing that anybody serves.
    pub fn parse(bytes: &[u8]) -> Option<(Wish, Service)> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (wish, text) = match (text.strip_prefix('?'), text.strip_prefix('@')) {
            (Some(rest), _) => (Wish::Probe, rest),
            (None, Some(rest)) => (Wish::Proxied, rest),
            (None, None) => (Wish::Connection, text),
        };
        let (app, offset) = match text.split_once('/') {
            Some((app, digits)) => (app, offset(digits)?),
            None => (text, 0),
        };
        Some((wish, Service { app: app.parse().ok()?, offset }))
    }

    /// The text for an OPEN.
    pub fn text(&self, wish: Wish) -> String {
        match wish {
            Wish::Connection => self.to_string(),
            Wish::Proxied => format!("@{self}"),
            Wish::Probe => format!("?{self}"),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            0 => self.app.fmt(f),
            offset => write!(f, "{}/{offset}", self.app),
        }
    }
}

/// Digits as we write them: no sign, no zero in front, and never a bare zero.
fn offset(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

/// Whatever a peer sends is read as nothing, or as what would be written again the same.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_service(data: &[u8]) {
    if let Some((wish, service)) = Service::parse(data) {
        assert_eq!(service.text(wish).as_bytes(), data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn service(app: &str, offset: u16) -> Service {
        Service { app: app.parse().unwrap(), offset }
    }

    #[test]
    fn the_longest_service_fits_an_open() {
        let longest = service(&"a".repeat(APP_MAX), u16::MAX).text(Wish::Probe);
        assert_eq!(longest.len(), 64);
    }

    #[test]
    fn one_way_of_writing_each() {
        assert_eq!(Service::parse(b"pg"), Some((Wish::Connection, service("pg", 0))));
        assert_eq!(Service::parse(b"?rmi/4"), Some((Wish::Probe, service("rmi", 4))));
        assert_eq!(Service::parse(b"@web"), Some((Wish::Proxied, service("web", 0))));
        for bad in
            [&b"pg/0"[..], b"pg/04", b"pg/+4", b"pg/", b"pg/65536", b"??pg", b"", b"?", b"p g", b"\xff", b"a/1/2"]
        {
            assert_eq!(Service::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(app in "[a-z0-9._-]{1,57}", offset: u16, wish in 0..3usize) {
            let wish = [Wish::Connection, Wish::Proxied, Wish::Probe][wish];
            let service = service(&app, offset);
            prop_assert_eq!(Service::parse(service.text(wish).as_bytes()), Some((wish, service)));
        }

        #[test]
        fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..80), text in "[?@a-z/0-9]{0,12}") {
            fuzz_service(&data);
            fuzz_service(text.as_bytes());
        }
    }
}
