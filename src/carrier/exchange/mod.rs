//! One connection of a link that is carried by plain requests of HTTP, for whoever lets nothing else through.
//!
//! ```text
//! client ─▶ GET  …?vp1=ID.d.0 ─▶ relay     one long answer, whose content is what the relay says
//! client ─▶ POST …?vp1=ID.u.0 ─▶ relay     what the client says, up to 256 KiB, and a short answer
//! ```
//! A link has several such connections at a time, which come and go, and `super::requests` keeps their order. Here is one of them: a
//! request after the other, each with its answer, as bytes of either end. Where one carries bytes of the link, they go through as they
//! come, in the place of the wire bytes, and go out as the link shows them: nothing of a link is kept, but for what came behind a head
//! before it is known whose turn it is.

mod asking;
mod chunks;
mod served;

pub(in crate::carrier) use asking::Asking;
pub(in crate::carrier) use served::{OWN_SLICES, Served};

use super::front::{Said, Visitor};
use super::http::{self, Ask};
use std::fmt::Write as _;

/// Bytes of a carrier's id.
const ID_BYTES: usize = 16;
/// What the word begins with that a request has at the end of its target.
const WORD: &str = "vp1=";
/// Content of a POST, bytes, at most: proxies that take a request whole before they pass it on have room for that.
pub(in crate::carrier) const UP_MAX: usize = 256 * 1024;
/// What an answer that goes on begins with, bytes that mean nothing: so much some hold back before they look into an answer. Whoever
/// holds back more has to be asked in another way.
pub(in crate::carrier) const PADDING_BYTES: usize = 1024;

/// Which link a request is for: whoever has asked for it has drawn this at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CarrierId([u8; ID_BYTES]);

impl CarrierId {
    /// Of these bytes.
    pub(crate) fn new(bytes: [u8; ID_BYTES]) -> CarrierId {
        CarrierId(bytes)
    }

    /// As it stands in a request.
    pub(in crate::carrier) fn text(self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            // To a string it does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn read(text: &str) -> Option<CarrierId> {
        let digits: Vec<u8> = text.bytes().map(digit).collect::<Option<_>>()?;
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        Some(CarrierId(bytes.try_into().ok()?))
    }
}

/// As it stands in a request: there is one way to write it.
fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

/// A request that is part of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Of which.
    pub carrier: CarrierId,
    /// What it is.
    pub what: What,
    /// What becomes of its connection.
    pub manner: Manner,
}

/// What becomes of the connection of a request (RFC 9112, 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Another request may follow.
    Stays,
    /// It ends with the answer.
    Closes,
    /// The same of HTTP/1.0, which knows no chunks: an answer that does not say how long it is ends with the connection.
    Old,
}

impl Manner {
    fn of(ask: &Ask<'_>) -> Manner {
        match ask.minor {
            0 => Manner::Old,
            _ if ask.fields.lists("Connection", "close") => Manner::Closes,
            _ => Manner::Stays,
        }
    }
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It asks for what the relay says, by an answer that goes on as long as there is something to say. They are numbered from 0.
    Down(u64),
    /// The same, by an answer that is whole as soon as there is something. It has a number with those.
    Poll(u64),
    /// It brings so much of what the client says. They are numbered from 0.
    Up(u64, usize),
}

impl What {
    fn letter_and_number(self) -> (char, u64) {
        match self {
            What::Down(number) => ('d', number),
            What::Poll(number) => ('p', number),
            What::Up(number, _) => ('u', number),
        }
    }
}

impl Request {
    /// Where it goes, below this path, which may have a query: each request has a target of its own, so that nobody takes the answer
    /// to one for that to another.
    pub(in crate::carrier) fn target(&self, path: &str) -> String {
        let (letter, number) = self.what.letter_and_number();
        let path = if path.is_empty() { "/" } else { path };
        let sign = if path.contains('?') { '&' } else { '?' };
        format!("{path}{sign}{WORD}{}.{letter}.{number}", self.carrier.text())
    }

    /// The request of this visitor in a head that is well-formed; None if it is for something else.
    pub(in crate::carrier) fn read(head: &[u8], visitor: &mut Visitor) -> Option<Request> {
        http::with_request(head, |ask| {
            let request = read(ask).filter(|_| visitor.may_ask_for(ask.target))?;
            let [forwarded, x_forwarded_for] =
                ["Forwarded", "X-Forwarded-For"].map(|name| ask.fields.all(name).collect());
            visitor.handle_said(&Said { forwarded, x_forwarded_for });
            Some(request)
        })
        .ok()
        .flatten()
    }
}

fn read(ask: &Ask<'_>) -> Option<Request> {
    let (before, word) = ask.target.rsplit_once(WORD)?;
    // Only browsers name where a page is from, for whatever page they show: ours are none.
    if !before.ends_with(['?', '&']) || ask.fields.has("Origin") || ask.fields.has("Upgrade") {
        return None;
    }
    let mut parts = word.split('.');
    let (carrier, kind, number) = (parts.next()?, parts.next()?, parts.next()?);
    let number = number.parse::<u64>().ok().filter(|read| parts.next().is_none() && read.to_string() == number)?;
    let length =
        ask.fields.only("Content-Length").and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    let has_length = ask.fields.has("Content-Length");
    let what = match (ask.method, kind, length) {
        ("GET", "d", None) if !has_length => What::Down(number),
        ("GET", "p", None) if !has_length => What::Poll(number),
        ("POST", "u", Some(length)) if length <= UP_MAX => What::Up(number, length),
        _ => return None,
    };
    Some(Request { carrier: CarrierId::read(carrier)?, what, manner: Manner::of(ask) })
}

/// Words of its own that go out first.
#[derive(Debug, Default)]
struct Front {
    bytes: Vec<u8>,
    gone: usize,
}

impl Front {
    fn say(&mut self, words: &[u8]) {
        self.bytes.extend_from_slice(words);
    }

    fn left(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    /// So much is gone; how much of that was its own.
    fn handle_written(&mut self, count: usize) -> usize {
        let own = count.min(self.left().len());
        self.gone += own;
        if self.left().is_empty() {
            // An idle connection keeps no memory for output.
            *self = Front::default();
        }
        own
    }
}
