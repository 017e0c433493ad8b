//! For tests and simulations: what goes in and out at one end of a connection that has no socket, however its bytes are cut.

use super::websocket::WebSocket;
use super::{Carrier, OWN_SLICES};
use std::io::IoSlice;

/// A carrier, or a layer of one that a test looks at by itself.
pub trait Layer {
    /// As `Carrier::has_own`.
    fn has_own(&self) -> bool;

    /// As [`Carrier::wrap`].
    fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize;

    /// As [`Carrier::handle_written`].
    fn handle_written(&mut self, count: usize) -> usize;

    /// As `Carrier::held`.
    fn held(&self) -> usize {
        0
    }

    /// As `Carrier::put_back`.
    fn put_back(&self, _room: &mut [u8]) -> usize {
        0
    }

    /// As [`Carrier::handle_wire`].
    fn handle_wire(&mut self, wire: &mut [u8]) -> usize;
}

impl Layer for Carrier {
    fn has_own(&self) -> bool {
        Carrier::has_own(self)
    }

    fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize {
        Carrier::wrap(self, link, wire)
    }

    fn handle_written(&mut self, count: usize) -> usize {
        Carrier::handle_written(self, count)
    }

    fn held(&self) -> usize {
        Carrier::held(self)
    }

    fn put_back(&self, room: &mut [u8]) -> usize {
        Carrier::put_back(self, room)
    }

    fn handle_wire(&mut self, wire: &mut [u8]) -> usize {
        Carrier::handle_wire(self, wire)
    }
}

impl Layer for WebSocket {
    fn has_own(&self) -> bool {
        WebSocket::has_own(self)
    }

    fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize {
        WebSocket::wrap(self, link, wire)
    }

    fn handle_written(&mut self, count: usize) -> usize {
        WebSocket::handle_written(self, count)
    }

    fn handle_wire(&mut self, wire: &mut [u8]) -> usize {
        WebSocket::handle_wire(self, wire)
    }
}

/// All that an end writes of this and has to say itself, where a socket takes at most so much at once. What counts as taken of the
/// link's is never more than what is gone.
///
/// # Panics
/// If it has something to write and writes nothing, or counts more than is gone.
pub fn write(end: &mut impl Layer, mut link: &[u8], most: usize) -> Vec<u8> {
    let (mut out, shown_bytes) = (Vec::new(), link.len());
    while end.has_own() || !link.is_empty() {
        let (first, second) = link.split_at(link.len() / 3);
        let shown = [IoSlice::new(first), IoSlice::new(second)];
        let mut wire = [IoSlice::new(&[]); 2 + OWN_SLICES];
        let used = end.wrap(&shown, &mut wire);
        let mut left = most;
        for slice in &wire[..used] {
            let here = &slice[..slice.len().min(left)];
            out.extend_from_slice(here);
            left -= here.len();
        }
        assert!(left < most, "it has something to write and writes nothing");
        link = &link[end.handle_written(most - left)..];
        assert!(shown_bytes - link.len() <= out.len(), "it counts more than is gone");
    }
    out
}

/// What an end reads of these bytes, which come in such pieces.
///
/// # Panics
/// If it puts back something else than it holds.
pub fn read(end: &mut impl Layer, bytes: &[u8], step: usize) -> Vec<u8> {
    let mut content = Vec::new();
    for piece in bytes.chunks(step) {
        let held = end.held();
        let mut room = vec![0; held + piece.len()];
        assert_eq!(end.put_back(&mut room), held);
        room[held..].copy_from_slice(piece);
        let count = end.handle_wire(&mut room);
        content.extend_from_slice(&room[..count]);
    }
    content
}
