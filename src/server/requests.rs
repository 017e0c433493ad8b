//! A client's link whose parts come by requests, on connections that come and go.

use super::carriers::Entered;
use crate::carrier::{End, Line, OWN_SLICES, RelayEnd};
use crate::net::reactor::Ready;
use crate::net::socket::Socket;
use crate::net::{Read, Written};
use crate::relay::{ConnId, Reader, SLICES_MAX};
use std::io::IoSlice;
use std::time::Instant;

/// Read at once where the head of a request is to come, bytes: what is behind it may have to be kept.
const HEAD_READ: usize = 4096;

/// What came of a read.
pub(super) enum Got {
    /// So many bytes were used, and were so many of the link's, which are in front.
    Bytes { wire: usize, link: usize },
    /// Nothing now.
    Later,
    /// The other side is done.
    End,
}

/// See the module.
pub(super) struct Requests {
    end: RelayEnd<ConnId, Socket>,
    entered: Entered,
    /// Bytes of the link that the kernel took, and that nobody was told of yet.
    taken: usize,
    /// Connections that have gone.
    gone: Vec<ConnId>,
    /// It has none, and ends by that then.
    absent_until: Option<Instant>,
}

impl Requests {
    /// A link that has begun.
    pub(super) fn new(end: RelayEnd<ConnId, Socket>, entered: Entered) -> Requests {
        let mut requests = Requests { end, entered, taken: 0, gone: Vec::new(), absent_until: None };
        requests.flush();
        requests
    }

    /// Its connections.
    pub(super) fn wires_mut(&mut self) -> impl Iterator<Item = &mut Line<ConnId, Socket>> {
        self.end.lines_mut()
    }

    /// Its client has said who it is.
    pub(super) fn welcome(&mut self) {
        self.end.welcome();
    }

    /// It is at this worker now.
    pub(super) fn move_to(&self, worker: usize) {
        self.entered.move_to(worker);
    }

    /// A connection brings a request for it. It comes back if there are too many.
    pub(super) fn join(&mut self, wire: Line<ConnId, Socket>) -> Option<Line<ConnId, Socket>> {
        let back = self.end.join(wire);
        if back.is_none() {
            self.absent_until = None;
        }
        self.flush();
        back
    }

    /// A connection that is none of its any more, and has something to be answered.
    pub(super) fn take_leaver(&mut self) -> Option<Line<ConnId, Socket>> {
        self.end.take_leaver()
    }

    /// Whether connections have gone, or are none of its any more, that nobody was told of.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty() || self.end.has_leaver()
    }

    /// Connections that have gone.
    pub(super) fn take_gone(&mut self) -> Vec<ConnId> {
        self.gone.extend(self.end.take_dropped());
        std::mem::take(&mut self.gone)
    }

    /// Whether it has no connection.
    pub(super) fn has_none(&self) -> bool {
        self.end.has_no_line()
    }

    /// It is found to have no connection, and has until then to have one. None if that was known.
    pub(super) fn miss(&mut self, until: Instant) -> Option<Instant> {
        let is_new = self.has_none() && self.absent_until.is_none();
        self.absent_until = if is_new { Some(until) } else { self.absent_until };
        self.absent_until.filter(|_| is_new)
    }

    /// When it ends, as it has no connection.
    pub(super) fn absent_until(&self) -> Option<Instant> {
        self.absent_until.filter(|_| self.has_none())
    }

    /// The system told something of one of its connections.
    pub(super) fn handle_ready(&mut self, wire: ConnId, ready: Ready) {
        if let Some(line) = self.end.line_mut(wire) {
            line.socket.handle_ready(ready);
        }
        self.flush();
    }

    /// Whether it ends with this connection.
    pub(super) fn hangs_on(&self, wire: ConnId) -> bool {
        self.end.answering() == Some(wire)
    }

    /// How it has ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end.end()
    }

    /// Whether what is read has to be opened, and what is written sealed.
    pub(super) fn is_sealed(&self) -> bool {
        self.end.lines().any(|line| line.carrier.is_sealed())
    }

    /// Whether a read may find something.
    pub(super) fn is_readable(&self) -> bool {
        self.end.end().is_some() || self.end.held().is_some() || self.readable().is_some()
    }

    fn readable(&self) -> Option<ConnId> {
        let is_readable = |line: &&Line<ConnId, Socket>| line.socket.is_readable() && self.end.may_read(line.key);
        self.end.lines().find(is_readable).map(|line| line.key)
    }

    /// Whether a write may find room, or something to tell.
    pub(super) fn is_writable(&self) -> bool {
        let answering = self.end.answering();
        self.taken > 0 || self.end.lines().any(|line| Some(line.key) == answering && line.socket.is_writable())
    }

    /// Whether bytes were taken that nobody was told of.
    pub(super) fn has_taken(&self) -> bool {
        self.taken > 0
    }

    /// Reads once, at most so much.
    pub(super) fn read(&mut self, reader: &mut Reader, most: usize) -> Got {
        if self.end.end().is_some() {
            return Got::End;
        }
        let Some(block) = reader.rooms().next() else { return Got::Later };
        if let Some(key) = self.end.held() {
            let room = block.len().min(most);
            let link = self.end.take_held(key, &mut block[..room]);
            self.flush();
            return Got::Bytes { wire: link, link };
        }
        while let Some(key) = self.readable() {
            let Some(line) = self.end.line_mut(key) else { break };
            let held = line.carrier.put_back(block);
            let most = if line.carrier.expects_request() { most.min(HEAD_READ) } else { most };
            let room = block.len().min(held.saturating_add(most));
            match line.socket.try_read(&mut block[held..room]) {
                Ok(Read::Bytes(count)) => {
                    let came = held + count;
                    let link = self.end.handle_wire(key, &mut block[..came]);
                    // What has to wait, for more or for its turn, is paid for when it is used.
                    let kept = |line: &mut Line<_, _>| line.carrier.held() + line.carrier.content_held();
                    let kept = self.end.line_mut(key).map_or(0, kept);
                    self.flush();
                    return Got::Bytes { wire: came.saturating_sub(kept), link };
                }
                Ok(Read::Later) => {}
                Ok(Read::End) | Err(_) => {
                    self.drop_wire(key);
                    if self.end.end().is_some() {
                        return Got::End;
                    }
                }
            }
        }
        Got::Later
    }

    fn drop_wire(&mut self, key: ConnId) {
        self.end.handle_end(key);
        self.gone.push(key);
    }

    /// Writes what fits of what the link shows; how much of that the kernel took.
    pub(super) fn write(&mut self, link: &[IoSlice<'_>]) -> Written {
        if self.taken > 0 {
            return Written::Bytes(std::mem::take(&mut self.taken));
        }
        let Some(key) = self.end.answering() else { return Written::Later };
        let mut wire = [IoSlice::new(&[]); SLICES_MAX + OWN_SLICES];
        let Some((carrier, socket)) = self.end.line_mut(key).map(|line| (&mut line.carrier, &mut line.socket)) else {
            return Written::Later;
        };
        let carrier_end = carrier.end();
        let used = carrier.wrap(link, &mut wire);
        let written = match carrier_end {
            _ if used > 0 => socket.try_write_vectored(&wire[..used]),
            // Its key is used up: nothing more goes out by it.
            Some(End::Tls(_)) => Ok(Written::Gone),
            _ => Ok(Written::Later),
        };
        match written {
            Ok(Written::Bytes(count)) => {
                let taken = self.end.handle_written(key, count);
                self.flush();
                Written::Bytes(taken + std::mem::take(&mut self.taken))
            }
            Ok(Written::Later) => Written::Later,
            Ok(Written::Gone) | Err(_) => {
                self.drop_wire(key);
                self.flush();
                if self.end.end().is_some() { Written::Gone } else { Written::Later }
            }
        }
    }

    /// Writes what its connections have to say of their own, as far as the kernel takes it.
    fn flush(&mut self) {
        loop {
            let due = |line: &&mut Line<ConnId, Socket>| line.carrier.has_own() && line.socket.is_writable();
            let Some(line) = self.end.lines_mut().find(due) else { return };
            let key = line.key;
            let mut wire = [IoSlice::new(&[]); OWN_SLICES];
            let used = line.carrier.wrap(&[], &mut wire);
            match line.socket.try_write_vectored(&wire[..used]) {
                Ok(Written::Bytes(count)) if count > 0 => self.taken += self.end.handle_written(key, count),
                Ok(Written::Bytes(_) | Written::Later) => {}
                Ok(Written::Gone) | Err(_) => self.drop_wire(key),
            }
        }
    }

    /// Its sockets, of which the relay wants no more than their ends. The other side is told, as far as it takes that now.
    pub(super) fn into_sockets(mut self) -> Vec<(ConnId, Socket)> {
        self.end.close();
        self.flush();
        self.end.into_lines().map(|line| (line.key, line.socket)).collect()
    }
}
