//! Heads of HTTP/1.1 messages (RFC 9112): the one request that a WebSocket begins with, and its answer (RFC 6455, 4).
//!
//! Read strictly, since what stands before a relay may read more leniently, and the two would differ about where a message ends: a
//! head that is not exactly one is refused as a whole, and every other request is told that there is nothing here.

use super::front::{Said, Visitor};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt::Write as _;

/// Longest head, bytes: what a connection may make its relay hold before its client has said who it is.
pub(super) const HEAD_MAX: usize = 4096;
/// Most fields of a head: a browser sends about twenty, and what stands in front adds some.
const FIELDS_MAX: usize = 48;
/// Longest method: those that are known have seventeen letters at most (`UPDATEREDIRECTREF`, RFC 4437).
const METHOD_MAX: usize = 17;
/// What link bytes are called as a subprotocol.
pub(super) const SUBPROTOCOL: &str = "vp.1";
/// What a key is hashed with (RFC 6455, 1.3).
const ACCEPT_SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a key before it is text.
pub(super) const KEY_BYTES: usize = 16;

/// The head is none: lines ended otherwise than by CR LF, folded or empty at the start; a zero byte; too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A head on its way in.
#[derive(Debug, Default)]
pub(super) struct Head(Vec<u8>);

impl Head {
    /// Takes what belongs to the head from the front of `input`: how much, and whether that was the last of it.
    pub(super) fn handle_bytes(&mut self, input: &[u8]) -> Result<(usize, bool), Malformed> {
        for (at, byte) in input.iter().enumerate() {
            self.take(*byte)?;
            if self.0.ends_with(b"\r\n\r\n") {
                return Ok((at + 1, true));
            }
        }
        Ok((input.len(), false))
    }

    fn take(&mut self, byte: u8) -> Result<(), Malformed> {
        let is_good = match (self.0.last(), byte) {
            (_, 0) => false,
            (Some(b'\r'), b'\n') => self.0.len() > 1,
            (Some(b'\r'), _) | (_, b'\n') => false,
            (Some(b'\n') | None, b' ' | b'\t') => false,
            _ => true,
        };
        if !is_good || self.0.len() == HEAD_MAX {
            return Err(Malformed);
        }
        self.0.push(byte);
        Ok(())
    }

    /// Whether it may become a request, by what there is of it: capital letters, and then a blank.
    pub(super) fn may_ask(&self) -> bool {
        let method = self.0.split(|byte| *byte == b' ').next().unwrap_or_default();
        method.len() <= METHOD_MAX && method.iter().all(u8::is_ascii_uppercase)
    }

    /// Whether there is the whole of a method, where it may become a request.
    pub(super) fn has_method(&self) -> bool {
        self.0.contains(&b' ')
    }

    /// Whether it may become an answer, by what there is of it: who else is there may say nothing more, and wait.
    pub(super) fn may_answer(&self) -> bool {
        let start = b"HTTP/";
        let count = start.len().min(self.0.len());
        self.0[..count] == start[..count]
    }

    /// The whole of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is none.
    Malformed,
    /// It is one, and not ours.
    NotFound {
        /// Whether it asks for no more than a head.
        head_only: bool,
    },
}

impl Refusal {
    /// What is said to that: as little as a web server that has nothing here would say.
    pub(super) fn answer(self) -> Vec<u8> {
        let (status, head_only) = match self {
            Refusal::Malformed => ("400 Bad Request", false),
            Refusal::NotFound { head_only } => ("404 Not Found", head_only),
        };
        let body =
            format!("<html>\r\n<head><title>{status}</title></head>\r\n<body><h1>{status}</h1></body>\r\n</html>\r\n");
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if !head_only {
            answer.push_str(&body);
        }
        answer.into_bytes()
    }
}

/// The fields of a head.
pub(super) struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The value of one that must not stand twice.
    pub(super) fn only(&self, name: &str) -> Option<&'a [u8]> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// Whether a list, over as many fields as it takes, has this among its parts.
    pub(super) fn lists(&self, name: &str, part: &str) -> bool {
        self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).any(|found| is(found, part))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

/// Whether a value is this, whatever the case of its letters and the blanks around it.
fn is(value: &[u8], what: &str) -> bool {
    value.trim_ascii().eq_ignore_ascii_case(what.as_bytes())
}

/// The request of this visitor for a WebSocket that carries a link: what is to be answered by [`accept`].
pub(super) fn read_request(head: &[u8], visitor: &mut Visitor) -> Result<String, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let is_whole = request.parse(head).is_ok_and(|parsed| parsed == httparse::Status::Complete(head.len()));
    let (Some(method), Some(target), Some(minor), true) = (request.method, request.path, request.version, is_whole)
    else {
        return Err(Refusal::Malformed);
    };
    let fields = Fields(request.headers);
    // Whoever is refused counts where he is, too.
    let [forwarded, x_forwarded_for] = ["Forwarded", "X-Forwarded-For"].map(|name| fields.all(name).collect());
    visitor.handle_said(&Said { forwarded, x_forwarded_for });
    let has_host = fields.only("Host").is_some_and(|host| !host.trim_ascii().is_empty());
    let is_number = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let has_length = fields.has("Content-Length");
    let is_good = target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_graphic())
        && (has_host || (minor == 0 && !fields.has("Host")))
        // No body is read, so nothing may be in doubt about where one would end.
        && !fields.has("Transfer-Encoding")
        && (!has_length || fields.only("Content-Length").is_some_and(is_number));
    if !is_good {
        return Err(Refusal::Malformed);
    }
    let is_ours = method == "GET"
        && minor == 1
        && visitor.may_ask_for(target)
        && !has_length
        && fields.only("Upgrade").is_some_and(|value| is(value, "websocket"))
        && fields.lists("Connection", "upgrade")
        && fields.only("Sec-WebSocket-Version").is_some_and(|value| is(value, "13"))
        && fields.lists("Sec-WebSocket-Protocol", SUBPROTOCOL)
        // Whatever page a browser shows may have it ask, from where only that browser can: ours are no browsers.
        && !fields.has("Origin");
    let key = fields.only("Sec-WebSocket-Key").filter(|_| is_ours);
    let key = key.filter(|key| BASE64.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES));
    let key =
        key.and_then(|key| std::str::from_utf8(key).ok()).ok_or(Refusal::NotFound { head_only: method == "HEAD" })?;
    Ok(key.to_owned())
}

/// What proves that a request with this key was understood.
pub(super) fn accept(key: &str) -> String {
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{ACCEPT_SALT}").as_bytes()))
}

/// The answer to a request with this key.
pub(super) fn answer(key: &str) -> Vec<u8> {
    let accept = accept(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into_bytes()
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// A name or an address, without brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The path from its `/` on; empty if there is none.
    pub path: &'a str,
    /// The port that a Host field leaves out: 80, and with TLS 443 (RFC 9110, 4.2).
    pub usual_port: u16,
}

impl Target<'_> {
    /// What its Host field says.
    pub(super) fn host_field(&self) -> String {
        let mut host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_owned() };
        if self.port != self.usual_port {
            // To a string it does not fail.
            let _ = write!(host, ":{}", self.port);
        }
        host
    }
}

/// A key as text.
pub(super) fn key(bytes: [u8; KEY_BYTES]) -> String {
    BASE64.encode(bytes)
}

/// The request for a WebSocket that carries a link.
pub(super) fn request(to: &Target<'_>, key: &str) -> Vec<u8> {
    let host = to.host_field();
    let path = if to.path.is_empty() { "/" } else { to.path };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into_bytes()
}

/// Why an answer opens no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// It is no answer, or one to something else.
    Malformed,
    /// It says no, with this status.
    Status(u16),
}

/// The status of an answer whose head need not be whole, nor good, behind that.
pub(super) fn status(head: &[u8]) -> Option<u16> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', first @ b'1'..=b'9', rest @ ..] = head else {
        return None;
    };
    let [second @ b'0'..=b'9', third @ b'0'..=b'9', rest @ ..] = rest else { return None };
    let has_ended = matches!(rest, [] | [b' ' | b'\r', ..]);
    let digits = [first, second, third].into_iter();
    has_ended.then(|| digits.fold(0, |sum, digit| 10 * sum + u16::from(digit - b'0')))
}

/// A request for whatever it is.
pub(super) struct Ask<'a> {
    pub method: &'a str,
    pub target: &'a str,
    /// The version behind `HTTP/1.`.
    pub minor: u8,
    pub fields: Fields<'a>,
}

/// Reads a request for whatever it is; what `read` makes of it.
pub(super) fn with_request<T>(head: &[u8], read: impl FnOnce(&Ask<'_>) -> T) -> Result<T, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let is_whole = request.parse(head).is_ok_and(|parsed| parsed == httparse::Status::Complete(head.len()));
    let (Some(method), Some(target), Some(minor), true) = (request.method, request.path, request.version, is_whole)
    else {
        return Err(Malformed);
    };
    Ok(read(&Ask { method, target, minor, fields: Fields(request.headers) }))
}

/// An answer to whatever was asked.
pub(super) struct Answer<'a> {
    /// The version behind `HTTP/1.`.
    pub minor: u8,
    pub status: u16,
    /// What stands behind that, for people.
    pub reason: &'a str,
    pub fields: Fields<'a>,
}

/// Reads an answer to whatever was asked; what `read` makes of it.
pub(super) fn with_answer<T>(head: &[u8], read: impl FnOnce(&Answer<'_>) -> T) -> Result<T, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    let is_whole = answer.parse(head).is_ok_and(|parsed| parsed == httparse::Status::Complete(head.len()));
    let (Some(status), Some(minor), true) = (answer.code, answer.version, is_whole) else { return Err(Malformed) };
    Ok(read(&Answer { minor, status, reason: answer.reason.unwrap_or_default(), fields: Fields(answer.headers) }))
}

/// Reads the answer to a request with this key.
pub(super) fn read_answer(head: &[u8], key: &str) -> Result<(), Unanswered> {
    let read = |answer: &Answer<'_>| {
        if answer.status != 101 {
            return Err(Unanswered::Status(answer.status));
        }
        let fields = &answer.fields;
        let is_ours = fields.only("Upgrade").is_some_and(|value| is(value, "websocket"))
            && fields.lists("Connection", "upgrade")
            && fields.only("Sec-WebSocket-Accept").is_some_and(|value| value.trim_ascii() == accept(key).as_bytes())
            && fields.only("Sec-WebSocket-Protocol").is_some_and(|value| is(value, SUBPROTOCOL))
            // None was asked for.
            && !fields.has("Sec-WebSocket-Extensions");
        if is_ours { Ok(()) } else { Err(Unanswered::Malformed) }
    };
    with_answer(head, read).unwrap_or(Err(Unanswered::Malformed))
}

/// Fuzz entry: any bytes as a request and as an answer, in one piece and byte by byte.
#[cfg(feature = "fuzzing")]
pub fn fuzz_http(data: &[u8]) {
    let mut whole = Head::default();
    let taken = whole.handle_bytes(data);
    let mut head = Head::default();
    let slowly = data.iter().enumerate().find_map(|(at, byte)| match head.handle_bytes(&[*byte]) {
        Ok((_, false)) => None,
        Ok((_, true)) => Some(Ok((at + 1, true))),
        Err(malformed) => Some(Err(malformed)),
    });
    assert_eq!(slowly.unwrap_or(Ok((data.len(), false))), taken);
    assert!(head.bytes().len() <= HEAD_MAX);
    if let Ok((used, true)) = taken {
        assert_eq!(whole.bytes(), &data[..used]);
        let _ = read_answer(whole.bytes(), "dGhlIHNhbXBsZSBub25jZQ==");
        let visitor = &mut Visitor::default();
        match read_request(whole.bytes(), visitor) {
            Ok(key) => assert_eq!(read_answer(&answer(&key), &key), Ok(())),
            Err(refusal) => assert!(read_request(&refusal.answer(), visitor).is_err()),
        }
    }
}

#[cfg(test)]
#[path = "tests/http.rs"]
mod tests;
