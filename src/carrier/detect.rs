//! What somebody who has connected speaks, by the first byte that comes. All of it goes by the bounds of somebody unknown.

/// What a first byte begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// The hello of a link, or what its handshake will refuse.
    Link,
    /// A record of TLS, of which the first is one of its handshake (RFC 8446, 5.1).
    Tls,
    /// A request of HTTP, of which each known method is of capital letters (RFC 9110, 9.1), or nothing.
    Http,
}

impl First {
    /// By the byte itself: a hello begins with a small letter, a record of TLS with the number 22.
    pub(super) fn of(byte: u8) -> First {
        match byte {
            0x16 => First::Tls,
            _ if byte.is_ascii_uppercase() => First::Http,
            _ => First::Link,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_a_request_from_a_link_and_from_tls() {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"] {
            assert_eq!(First::of(method.as_bytes()[0]), First::Http, "{method}");
        }
        assert_eq!(First::of(0x16), First::Tls);
        for other in [b'v', 0x17, 0x15, 0, b' ', b'\r', b'g', 0xff] {
            assert_eq!(First::of(other), First::Link, "{other}");
        }
    }
}
