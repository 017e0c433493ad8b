//! What stands between a socket and a link: wire bytes into link bytes, and back.
//!
//! ```text
//! socket ─▶ one read ─▶ handle_wire: link bytes, where the wire bytes were ─▶ link
//! socket ◀─ one write ◀ wrap: slices of wire bytes ◀─ slices of link bytes ◀─ link
//!                  └──▶ handle_written: so many of the link's are with the kernel
//! ```
//! It has two layers: TLS or none, and inside of that a WebSocket or none. Or there are requests inside, each of which carries a part of a
//! link: then the link has several such connections, and `requests` has them all (a connection of it is one request after the other, see
//! `exchange`).
//! At a relay it also says where a connection comes from, by what a web server or a load balancer in front says, as far as that is
//! trusted (`front`).
//!
//! Whoever owns the socket drives it, and it knows none: a read of wire bytes becomes link bytes in its place, which are never more;
//! the bytes that a link shows become slices of one write. Those that were shown and not taken are shown again, at the front,
//! unchanged: a link's output is in its final order. So nothing of a link is kept here, but for a bounded copy where bytes change
//! on their way out, and that counts as taken only when its last wire byte is with the kernel, as circuit credit asks for.
//! A carrier waits for nothing by itself: a handshake below a link has the time of the link's. Plain TCP costs no pass and no copy.

mod detect;
mod end;
mod exchange;
mod front;
mod http;
mod inside;
pub mod proxy;
mod requests;
#[cfg(feature = "canaries")]
pub mod testkit;
mod tls;
mod websocket;

pub use end::{CloseStatus, End, TlsEnd};
pub(crate) use exchange::{CarrierId, Manner, Request, What};
pub use front::Visitor;
#[cfg(feature = "fuzzing")]
pub use front::fuzz_forwarded;
pub use http::Target;
#[cfg(feature = "fuzzing")]
pub use http::fuzz_http;
#[cfg(feature = "fuzzing")]
pub use tls::fuzz_tls;
pub(crate) use tls::written_certificates;
pub use tls::{Distrust, Doubt, TlsClient, TlsFault, TlsServer, Validity};

#[cfg(feature = "fuzzing")]
pub use requests::fuzz::{fuzz_asking, fuzz_requests};
pub(crate) use requests::{ClientEnd, Lack, Line, RelayEnd};

use detect::First;
use exchange::{Asking, Served};
use front::{Ahead, Passed};
use inside::Inside;
use std::io::IoSlice;
use std::net::IpAddr;
use tls::Tls;
use websocket::WebSocket;

/// Slices that are not the link's, in front of those that are: see [`Carrier::wrap`].
pub const OWN_SLICES: usize = inside::OWN_SLICES;
/// Bytes that a carrier may put in front of a read: see [`Carrier::put_back`].
pub(crate) const HELD_MAX: usize = tls::HELD_MAX;

/// How the bytes of one connection are carried: perhaps TLS, and what is inside.
#[derive(Debug)]
pub struct Carrier {
    /// What a front may say ahead of all else.
    ahead: Option<Box<Ahead>>,
    tls: Outer,
    inside: Inside,
}

/// What the bytes of a connection are before anything else.
#[derive(Debug)]
enum Outer {
    /// Those that are inside.
    None,
    /// Those of TLS if the first byte says so, and those that are inside if not.
    Undecided(TlsServer),
    Tls(Box<Tls>),
}

impl Carrier {
    /// Bytes as they are, of a client.
    pub fn plain() -> Carrier {
        Carrier { ahead: None, tls: Outer::None, inside: Inside::Plain(None) }
    }

    /// That of a client, by WebSocket.
    pub fn websocket(to: &Target<'_>) -> Carrier {
        Carrier { ahead: None, tls: Outer::None, inside: Inside::WebSocket(Box::new(WebSocket::dial(to))) }
    }

    /// That of a client, by requests.
    pub(crate) fn asking() -> Carrier {
        Carrier { ahead: None, tls: Outer::None, inside: Inside::Asking(Box::default()) }
    }

    /// That of a relay: the first byte of whoever has connected tells.
    pub fn undecided(visitor: Visitor) -> Carrier {
        Carrier { ahead: visitor.ahead(), tls: Outer::None, inside: Inside::Undecided(Box::new(visitor)) }
    }

    /// This of a relay, with TLS for whoever begins with that: then the first byte inside tells.
    pub(crate) fn serving(self, tls: TlsServer) -> Carrier {
        Carrier { tls: Outer::Undecided(tls), ..self }
    }

    /// This of a client, within TLS to `host`.
    ///
    /// # Errors
    /// TLS cannot have such a host.
    pub(crate) fn over_tls(self, client: &TlsClient, host: &str) -> Result<Carrier, TlsFault> {
        Ok(Carrier { tls: Outer::Tls(Box::new(Tls::dial(client, host)?)), ..self })
    }

    /// The requests of a relay, if somebody has made one.
    fn served(&self) -> Option<&Served> {
        if let Inside::Served(served) = &self.inside { Some(served) } else { None }
    }

    fn served_mut(&mut self) -> Option<&mut Served> {
        if let Inside::Served(served) = &mut self.inside { Some(served) } else { None }
    }

    /// The requests of a client, if it makes such.
    fn asks(&self) -> Option<&Asking> {
        if let Inside::Asking(asking) = &self.inside { Some(asking) } else { None }
    }

    fn asks_mut(&mut self) -> Option<&mut Asking> {
        if let Inside::Asking(asking) = &mut self.inside { Some(asking) } else { None }
    }

    /// A request of a link that came on it, and for which the link is to be found.
    pub(crate) fn asked(&self) -> Option<&Request> {
        self.served()?.asked()
    }

    /// The request that came has its turn, whatever it is.
    #[cfg(feature = "fuzzing")]
    pub fn grant(&mut self) {
        if let Some(served) = self.served_mut() {
            served.accept();
        }
    }

    /// Whether the head of a request is what comes next on it.
    pub(crate) fn expects_request(&self) -> bool {
        self.served().is_some_and(Served::is_between)
    }

    /// Content of such a one that came before it had its turn, bytes.
    pub(crate) fn content_held(&self) -> usize {
        self.served().map_or(0, Served::held)
    }

    /// From which address that was made, whoever asks by it.
    pub(crate) fn came_from(&self) -> Option<IpAddr> {
        Some(self.served()?.visitor().address())
    }

    /// There is none for it.
    pub(crate) fn refuse(&mut self) {
        if let Some(served) = self.served_mut() {
            served.refuse();
        }
    }

    /// Whether the bytes of the connection are the link's, without a difference.
    pub fn is_plain(&self) -> bool {
        matches!(self, Carrier { tls: Outer::None, inside: Inside::Plain(_), .. })
    }

    /// Whether its bytes are opened and sealed, which takes time.
    pub(crate) fn is_sealed(&self) -> bool {
        matches!(self.tls, Outer::Tls(_))
    }

    /// Where a front has the connection from: once, when that is sure, which is before the first byte of a link is used. None if no
    /// front has connected.
    pub(crate) fn take_source(&mut self) -> Option<IpAddr> {
        self.inside.take_source()
    }

    /// Wire bytes that came and could not be used without those that follow: they are put to the front of `room`, which has more
    /// than [`HELD_MAX`], and what is read next goes right behind them. How many.
    pub(crate) fn put_back(&self, room: &mut [u8]) -> usize {
        let held = match &self.tls {
            Outer::Tls(tls) => tls.held(),
            Outer::None | Outer::Undecided(_) => &[],
        };
        room[..held.len()].copy_from_slice(held);
        held.len()
    }

    /// Wire bytes that came and could not be used yet, as [`Carrier::put_back`] shows them.
    pub(crate) fn held(&self) -> usize {
        if let Outer::Tls(tls) = &self.tls { tls.held().len() } else { 0 }
    }

    /// Wire bytes came, behind those that were put back: those of the link among them are put at the front of `wire`, and counted.
    /// All are used, or kept to be put back.
    pub fn handle_wire(&mut self, wire: &mut [u8]) -> usize {
        let Some(begin) = self.handle_ahead(wire) else { return 0 };
        let count = self.handle_rest(&mut wire[begin..]);
        if begin > 0 {
            wire.copy_within(begin..begin + count, 0);
        }
        count
    }

    /// The same of those behind what a front says.
    fn handle_rest(&mut self, wire: &mut [u8]) -> usize {
        if let (Outer::Undecided(server), Some(first)) = (&self.tls, wire.first()) {
            self.tls = match First::of(*first) {
                First::Tls => Tls::answer(server).map_or(Outer::None, |tls| Outer::Tls(Box::new(tls))),
                First::Http | First::Link => Outer::None,
            };
        }
        let count = match &mut self.tls {
            Outer::Tls(tls) => tls.handle_wire(wire),
            Outer::None | Outer::Undecided(_) => wire.len(),
        };
        self.inside.handle_wire(&mut wire[..count])
    }

    /// What a front says ahead of all else; how many of the bytes that was. None: there is nothing else yet.
    fn handle_ahead(&mut self, wire: &[u8]) -> Option<usize> {
        let (Some(ahead), Inside::Undecided(visitor)) = (&mut self.ahead, &mut self.inside) else { return Some(0) };
        let passed = ahead.handle_wire(visitor, wire);
        if !matches!(passed, Passed::None) {
            self.ahead = None;
        }
        match passed {
            Passed::None => None,
            Passed::Through(used, before) => {
                // They begin a request, and so are none of a link's.
                if !before.is_empty() {
                    self.tls = Outer::None;
                }
                self.inside.handle_wire(&mut before.to_vec());
                Some(used)
            }
            Passed::Garbage => {
                self.inside = Inside::Garbage;
                None
            }
        }
    }

    /// What is to be written next, where the link shows these slices: as many of `wire` as it yields. With [`OWN_SLICES`] more of
    /// those than of the link's, nothing that is shown is left out for want of them. Without any of the link, what the carrier has
    /// to say itself.
    pub fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize {
        match &mut self.tls {
            Outer::Tls(tls) => tls.wrap(&mut self.inside, link, wire),
            Outer::None | Outer::Undecided(_) => self.inside.wrap(link, wire),
        }
    }

    /// The kernel took so many wire bytes of what [`Carrier::wrap`] showed; how many of the link's were among them. They are to be
    /// shown no more, and the rest first.
    pub fn handle_written(&mut self, count: usize) -> usize {
        match &mut self.tls {
            Outer::Tls(tls) => tls.handle_written(count),
            Outer::None | Outer::Undecided(_) => self.inside.handle_written(count),
        }
    }

    /// Whether it has something to write that is none of the link's.
    pub(crate) fn has_own(&self) -> bool {
        match &self.tls {
            Outer::Tls(tls) => tls.has_own(&self.inside),
            Outer::None | Outer::Undecided(_) => self.inside.has_own(),
        }
    }

    /// Whether bytes of a link may go out on it.
    pub fn is_open(&self) -> bool {
        let is_open = if let Outer::Tls(tls) = &self.tls { tls.is_open() } else { true };
        is_open && self.inside.is_open()
    }

    /// How it has ended, if it has otherwise than by the end of its socket: nothing more comes or goes, but what it has to say.
    pub fn end(&self) -> Option<End> {
        let outer = if let Outer::Tls(tls) = &self.tls { tls.end() } else { None };
        self.inside.end().or(outer)
    }

    /// Whether it has answered the hello of a TLS since this was asked, which costs about as much as a step of a link's handshake.
    pub(crate) fn take_answered(&mut self) -> bool {
        if let Outer::Tls(tls) = &mut self.tls { tls.take_answered() } else { false }
    }

    /// What is wrong with the certificate that was shown, if that is how it has ended.
    pub(crate) fn distrust(&self) -> Option<Distrust> {
        if let Outer::Tls(tls) = &self.tls { tls.distrust() } else { None }
    }

    /// The link is no more. Of what a client's has shown no more goes out than has begun to as a frame, or was sealed, and none of it
    /// is counted.
    pub(crate) fn let_go(&mut self) {
        self.inside.let_go();
        if let Outer::Tls(tls) = &mut self.tls {
            tls.let_go();
        }
    }

    /// The link has said all: the other side is to know that nothing follows.
    pub fn close(&mut self) {
        self.inside.close();
        if let Outer::Tls(tls) = &mut self.tls {
            tls.close();
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
