//! What stands between a socket and a link: wire bytes into link bytes, and back.
//!
//! ```text
//! socket ─▶ one read ─▶ handle_wire: link bytes, where the wire bytes were ─▶ link
//! socket ◀─ one write ◀ wrap: slices of wire bytes ◀─ slices of link bytes ◀─ link
//!                  └──▶ handle_written: so many of the link's are with the kernel
//! ```
//! Whoever owns the socket drives it, and it knows none: a read of wire bytes becomes link bytes in its place, which are never more;
//! the bytes that a link shows become slices of one write. Those that were shown and not taken are shown again, at the front,
//! unchanged: a link's output is in its final order. So nothing of a link is kept here, but for a bounded copy where bytes change
//! on their way out, and that counts as taken only when its last wire byte is with the kernel, as circuit credit asks for.
//! A carrier waits for nothing by itself: a handshake below a link has the time of the link's. Plain TCP costs no pass and no copy.

mod detect;
mod http;
pub mod proxy;
mod websocket;

pub use http::Target;
#[cfg(feature = "fuzzing")]
pub use http::fuzz_http;
pub use websocket::{CloseStatus, End};

use detect::First;
use std::io::IoSlice;
use websocket::WebSocket;

/// Slices that are not the link's, in front of those that are: see [`Carrier::wrap`].
pub const OWN_SLICES: usize = websocket::OWN_SLICES;

/// How the bytes of one connection are carried.
#[derive(Debug)]
pub enum Carrier {
    /// As the first byte of whoever has connected will tell.
    Undecided,
    /// As they are.
    Plain,
    /// In messages of a WebSocket.
    WebSocket(Box<WebSocket>),
}

impl Carrier {
    /// That of a client, by WebSocket.
    pub fn websocket(to: &Target<'_>) -> Carrier {
        Carrier::WebSocket(Box::new(WebSocket::dial(to)))
    }

    /// Wire bytes came: those of the link among them are put at the front of `wire`, and counted. All are used.
    pub fn handle_wire(&mut self, wire: &mut [u8]) -> usize {
        if let (Carrier::Undecided, Some(first)) = (&*self, wire.first()) {
            *self = match First::of(*first) {
                First::Http => Carrier::WebSocket(Box::new(WebSocket::answer())),
                First::Link => Carrier::Plain,
            };
        }
        match self {
            Carrier::Undecided | Carrier::Plain => wire.len(),
            Carrier::WebSocket(websocket) => websocket.handle_wire(wire),
        }
    }

    /// What is to be written next, where the link shows these slices: as many of `wire` as it yields. With [`OWN_SLICES`] more of
    /// those than of the link's, nothing that is shown is left out for want of them. Without any of the link, what the carrier has
    /// to say itself.
    pub fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize {
        match self {
            Carrier::Undecided | Carrier::Plain => {
                let used = link.len().min(wire.len());
                wire[..used].copy_from_slice(&link[..used]);
                used
            }
            Carrier::WebSocket(websocket) => websocket.wrap(link, wire),
        }
    }

    /// The kernel took so many wire bytes of what [`Carrier::wrap`] showed; how many of the link's were among them. They are to be
    /// shown no more, and the rest first.
    pub fn handle_written(&mut self, count: usize) -> usize {
        match self {
            Carrier::Undecided | Carrier::Plain => count,
            Carrier::WebSocket(websocket) => websocket.handle_written(count),
        }
    }

    /// Whether it has something to write that is none of the link's.
    pub fn has_own(&self) -> bool {
        matches!(self, Carrier::WebSocket(websocket) if websocket.has_own())
    }

    /// Whether bytes of a link may go out on it.
    pub fn is_open(&self) -> bool {
        match self {
            Carrier::Undecided | Carrier::Plain => true,
            Carrier::WebSocket(websocket) => websocket.is_open(),
        }
    }

    /// How it has ended, if it has otherwise than by the end of its socket: nothing more comes or goes, but what it has to say.
    pub fn end(&self) -> Option<End> {
        match self {
            Carrier::Undecided | Carrier::Plain => None,
            Carrier::WebSocket(websocket) => websocket.end(),
        }
    }

    /// The link is no more. Of what a client's has shown no more goes out than has begun to as a frame, and none of it is counted.
    pub(crate) fn let_go(&mut self) {
        if let Carrier::WebSocket(websocket) = self {
            websocket.let_go();
        }
    }

    /// The link has said all: the other side is to know that nothing follows.
    pub fn close(&mut self) {
        if let Carrier::WebSocket(websocket) = self {
            websocket.close();
        }
    }
}

/// Fuzz entry: any bytes at either end of an open WebSocket, in one piece and in others. The first two bytes say which end, and how
/// the pieces are cut.
#[cfg(feature = "fuzzing")]
pub fn fuzz_websocket(data: &[u8]) {
    websocket::fuzz(data);
}

#[cfg(test)]
#[path = "tests/carrier.rs"]
mod tests;
