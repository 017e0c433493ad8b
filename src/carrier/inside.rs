//! What is inside of a connection, or of the TLS on it: a link as it is, or in messages of a WebSocket, or requests that carry parts of
//! one.

use super::detect::First;
use super::end::End;
use super::exchange::{self, Asking, Served};
use super::front::Visitor;
use super::websocket::{self, WebSocket};
use std::io::IoSlice;
use std::net::IpAddr;

/// Slices that are not the link's, in front of those that are.
pub(super) const OWN_SLICES: usize = exchange::OWN_SLICES;

const _: () = assert!(OWN_SLICES >= websocket::OWN_SLICES);

/// See the module.
#[derive(Debug)]
pub(super) enum Inside {
    /// As the first byte of whoever has connected will tell.
    Undecided(Box<Visitor>),
    /// Bytes as they are: at a relay of whom, until that is asked.
    Plain(Option<Box<Visitor>>),
    /// Messages.
    WebSocket(Box<WebSocket>),
    /// Requests, of a relay.
    Served(Box<Served>),
    /// Requests, of a client.
    Asking(Box<Asking>),
    /// Nothing that anybody serves.
    Garbage,
}

impl Inside {
    /// Bytes came: those of the link among them are put at the front, and counted.
    pub(super) fn handle_wire(&mut self, wire: &mut [u8]) -> usize {
        if let (Inside::Undecided(visitor), Some(first)) = (&mut *self, wire.first()) {
            let visitor = std::mem::take(visitor);
            *self = match First::of(*first) {
                First::Http => Inside::WebSocket(Box::new(WebSocket::answer(visitor))),
                // TLS in TLS is nothing that anybody serves.
                First::Link | First::Tls => Inside::Plain(Some(visitor)),
            };
        }
        match self {
            Inside::Undecided(_) | Inside::Plain(_) => wire.len(),
            Inside::Garbage => 0,
            Inside::Served(served) => served.handle_wire(wire),
            Inside::Asking(asking) => asking.handle_wire(wire),
            Inside::WebSocket(websocket) => {
                let count = websocket.handle_wire(wire);
                if let Some(served) = websocket.take_served() {
                    *self = Inside::Served(served);
                }
                count
            }
        }
    }

    /// What is to be written next, where the link shows these slices.
    pub(super) fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize {
        match self {
            Inside::Garbage => 0,
            Inside::Undecided(_) | Inside::Plain(_) => {
                let used = link.len().min(wire.len());
                wire[..used].copy_from_slice(&link[..used]);
                used
            }
            Inside::WebSocket(websocket) => websocket.wrap(link, wire),
            Inside::Served(served) => served.wrap(link, wire),
            Inside::Asking(asking) => asking.wrap(link, wire),
        }
    }

    /// So many bytes of that are gone; how many of the link's were among them.
    pub(super) fn handle_written(&mut self, count: usize) -> usize {
        match self {
            Inside::Undecided(_) | Inside::Plain(_) => count,
            Inside::Garbage => 0,
            Inside::WebSocket(websocket) => websocket.handle_written(count),
            Inside::Served(served) => served.handle_written(count),
            Inside::Asking(asking) => asking.handle_written(count),
        }
    }

    /// Where a front has it from: once, when that is sure. None if no front has connected.
    pub(super) fn take_source(&mut self) -> Option<IpAddr> {
        match self {
            Inside::Undecided(visitor) => visitor.take_sure_source(),
            Inside::Plain(visitor) => visitor.take()?.take_source(),
            Inside::WebSocket(websocket) => websocket.take_source(),
            Inside::Served(served) => served.take_source(),
            Inside::Asking(_) | Inside::Garbage => None,
        }
    }

    /// Whether it has something to write that is none of the link's.
    pub(super) fn has_own(&self) -> bool {
        match self {
            Inside::Undecided(_) | Inside::Plain(_) | Inside::Garbage => false,
            Inside::WebSocket(websocket) => websocket.has_own(),
            Inside::Served(served) => served.has_own(),
            Inside::Asking(asking) => asking.has_own(),
        }
    }

    /// Whether bytes of a link may go out.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Inside::Undecided(_) | Inside::Plain(_) | Inside::Served(_) | Inside::Asking(_) => true,
            Inside::Garbage => false,
            Inside::WebSocket(websocket) => websocket.is_open(),
        }
    }

    /// How it has ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        match self {
            Inside::Undecided(_) | Inside::Plain(_) => None,
            Inside::Garbage => Some(End::NotFound),
            Inside::WebSocket(websocket) => websocket.end(),
            Inside::Served(served) => served.end(),
            Inside::Asking(asking) => asking.end(),
        }
    }

    /// The link is no more.
    pub(super) fn let_go(&mut self) {
        if let Inside::WebSocket(websocket) = self {
            websocket.let_go();
        }
    }

    /// The link has said all.
    pub(super) fn close(&mut self) {
        match self {
            Inside::WebSocket(websocket) => websocket.close(),
            Inside::Served(served) => served.close(),
            Inside::Undecided(_) | Inside::Plain(_) | Inside::Asking(_) | Inside::Garbage => {}
        }
    }
}
