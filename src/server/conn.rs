//! A client's connection: its socket, and the carrier between that and the link; or several, where requests make up a link.

use super::requests::{Got, Requests};
use crate::carrier::{Carrier, End, Line, OWN_SLICES, Request, TlsServer, Visitor};
use crate::net::reactor::Ready;
use crate::net::socket::Socket;
use crate::net::{Read, Written};
use crate::relay::{ConnId, READ_BLOCKS, Reader, SLICES_MAX};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;

/// See the module. It goes with its link from worker to worker.
pub(super) struct Conn(Kind);

enum Kind {
    /// One socket.
    One(Box<One>),
    /// As many as requests come by.
    Many(Box<Requests>),
}

/// One socket, and the carrier on it.
struct One {
    socket: Socket,
    carrier: Carrier,
    /// Bytes of the link that the kernel took, and that nobody was told of yet.
    taken: usize,
}

impl Conn {
    /// One that was accepted from this visitor; who speaks TLS on it is shown that.
    pub(super) fn new(socket: Socket, visitor: Visitor, tls: TlsServer) -> Conn {
        Conn(Kind::One(Box::new(One { socket, carrier: Carrier::undecided(visitor).serving(tls), taken: 0 })))
    }

    /// One that has brought a request.
    pub(super) fn of_wire(wire: Line<ConnId, Socket>) -> Conn {
        Conn(Kind::One(Box::new(One { socket: wire.socket, carrier: wire.carrier, taken: 0 })))
    }

    /// The same as a connection of a link that requests make up. None if it is such a link.
    pub(super) fn into_wire(self, key: ConnId) -> Option<Line<ConnId, Socket>> {
        let Kind::One(one) = self.0 else { return None };
        let One { socket, carrier, .. } = *one;
        Some(Line { key, socket, carrier })
    }

    /// Such a link.
    pub(super) fn many(requests: Requests) -> Conn {
        Conn(Kind::Many(Box::new(requests)))
    }

    /// The same, if it is one.
    pub(super) fn requests_mut(&mut self) -> Option<&mut Requests> {
        if let Kind::Many(requests) = &mut self.0 { Some(requests) } else { None }
    }

    /// The request of a link that somebody has made on it, if that is what has come.
    pub(super) fn asked(&self) -> Option<Request> {
        if let Kind::One(one) = &self.0 { one.carrier.asked().copied() } else { None }
    }

    /// From which address it was made, if requests come by it.
    pub(super) fn came_from(&self) -> Option<IpAddr> {
        if let Kind::One(one) = &self.0 { one.carrier.came_from() } else { None }
    }

    /// There is no such link.
    pub(super) fn refuse(&mut self) {
        if let Kind::One(one) = &mut self.0 {
            one.carrier.refuse();
        }
    }

    /// Its sockets, by the names that they go by; its own is this.
    pub(super) fn sockets_mut(&mut self, id: ConnId) -> Vec<(ConnId, &mut Socket)> {
        match &mut self.0 {
            Kind::One(one) => vec![(id, &mut one.socket)],
            Kind::Many(requests) => requests.wires_mut().map(|wire| (wire.key, &mut wire.socket)).collect(),
        }
    }

    /// The system told something about a socket of it.
    pub(super) fn handle_ready(&mut self, socket: ConnId, ready: Ready) {
        match &mut self.0 {
            Kind::One(one) => {
                one.socket.handle_ready(ready);
                one.flush();
            }
            Kind::Many(requests) => requests.handle_ready(socket, ready),
        }
    }

    /// Whether it ends with this socket of it.
    pub(super) fn hangs_on(&self, socket: ConnId) -> bool {
        match &self.0 {
            Kind::One(_) => true,
            Kind::Many(requests) => requests.hangs_on(socket),
        }
    }

    /// Where a front has it from: once, when that is sure. None if no front has connected.
    pub(super) fn take_source(&mut self) -> Option<IpAddr> {
        if let Kind::One(one) = &mut self.0 { one.carrier.take_source() } else { None }
    }

    /// How its carrier has ended, if it has and the socket has not. The next read tells of that, too.
    pub(super) fn end(&self) -> Option<End> {
        match &self.0 {
            Kind::One(one) => one.carrier.end(),
            Kind::Many(requests) => requests.end(),
        }
    }

    /// Whether what is read from it has to be opened, and what is written sealed.
    pub(super) fn is_sealed(&self) -> bool {
        match &self.0 {
            Kind::One(one) => one.carrier.is_sealed(),
            Kind::Many(requests) => requests.is_sealed(),
        }
    }

    /// Whether its carrier has done the work of a handshake since this was asked.
    pub(super) fn take_answered(&mut self) -> bool {
        if let Kind::One(one) = &mut self.0 { one.carrier.take_answered() } else { false }
    }

    /// Whether a read may find something.
    pub(super) fn is_readable(&self) -> bool {
        match &self.0 {
            Kind::One(one) => one.socket.is_readable() || one.carrier.end().is_some(),
            Kind::Many(requests) => requests.is_readable(),
        }
    }

    /// Whether a write may find room, or tells what was taken before.
    pub(super) fn is_writable(&self) -> bool {
        match &self.0 {
            Kind::One(one) => one.taken > 0 || one.socket.is_writable(),
            Kind::Many(requests) => requests.is_writable(),
        }
    }

    /// Whether the next write tells what was taken before.
    pub(super) fn has_taken(&self) -> bool {
        match &self.0 {
            Kind::One(one) => one.taken > 0,
            Kind::Many(requests) => requests.has_taken(),
        }
    }

    /// Whether requests make it up.
    pub(super) fn has_many(&self) -> bool {
        matches!(self.0, Kind::Many(_))
    }

    /// Whether some of those have gone that nobody was told of.
    pub(super) fn has_gone(&self) -> bool {
        if let Kind::Many(requests) = &self.0 { requests.has_gone() } else { false }
    }

    /// Reads once into free blocks, at most so much.
    ///
    /// # Errors
    /// It is broken.
    pub(super) fn read(&mut self, reader: &mut Reader, most: usize) -> io::Result<Got> {
        match &mut self.0 {
            Kind::One(one) => one.read(reader, most),
            Kind::Many(requests) => Ok(requests.read(reader, most)),
        }
    }

    /// Writes what fits of what the link shows; how much of that the kernel took.
    ///
    /// # Errors
    /// It is broken.
    pub(super) fn write(&mut self, link: &[IoSlice<'_>]) -> io::Result<Written> {
        match &mut self.0 {
            Kind::One(one) => one.write(link),
            Kind::Many(requests) => Ok(requests.write(link)),
        }
    }

    /// Its sockets, of which the relay wants no more than their ends. The other side is told, as far as it takes that now.
    pub(super) fn into_sockets(self, id: ConnId) -> Vec<(ConnId, Socket)> {
        match self.0 {
            Kind::One(one) => vec![(id, one.into_socket())],
            Kind::Many(requests) => requests.into_sockets(),
        }
    }
}

impl One {
    fn read(&mut self, reader: &mut Reader, most: usize) -> io::Result<Got> {
        if self.carrier.is_plain() {
            return Ok(match read_into(reader, &mut self.socket, most)? {
                Read::Bytes(count) => Got::Bytes { wire: count, link: count },
                Read::Later => Got::Later,
                Read::End => Got::End,
            });
        }
        if self.carrier.end().is_some() {
            return Ok(Got::End);
        }
        // One block, in the front of which the link's bytes stay: those of several would have to be moved together.
        let Some(block) = reader.rooms().next() else { return Ok(Got::Later) };
        let held = self.carrier.put_back(block);
        let room = block.len().min(held.saturating_add(most));
        let came = match self.socket.try_read(&mut block[held..room])? {
            Read::Bytes(count) => held + count,
            Read::Later => return Ok(Got::Later),
            Read::End => return Ok(Got::End),
        };
        let link = self.carrier.handle_wire(&mut block[..came]);
        self.flush();
        // What has to wait for more is paid for when it is used.
        Ok(Got::Bytes { wire: came.saturating_sub(self.carrier.held()), link })
    }

    fn write(&mut self, link: &[IoSlice<'_>]) -> io::Result<Written> {
        if self.taken > 0 {
            return Ok(Written::Bytes(std::mem::take(&mut self.taken)));
        }
        if self.carrier.is_plain() {
            return self.socket.try_write_vectored(link);
        }
        let mut wire = [IoSlice::new(&[]); SLICES_MAX + OWN_SLICES];
        let used = self.carrier.wrap(link, &mut wire);
        if used == 0 {
            // The carrier has ended. Whoever has closed it listens no more, and is heard to the end of what it had said.
            return Ok(match self.carrier.end() {
                Some(End::Closed) => Written::Bytes(link.iter().map(|slice| slice.len()).sum()),
                _ => Written::Gone,
            });
        }
        let written = self.socket.try_write_vectored(&wire[..used])?;
        let Written::Bytes(count) = written else { return Ok(written) };
        let taken = self.carrier.handle_written(count);
        self.flush();
        Ok(Written::Bytes(taken + std::mem::take(&mut self.taken)))
    }

    /// Writes what the carrier has to say itself, as far as the kernel takes it.
    fn flush(&mut self) {
        while self.carrier.has_own() && self.socket.is_writable() {
            let mut wire = [IoSlice::new(&[]); OWN_SLICES];
            let used = self.carrier.wrap(&[], &mut wire);
            // Whatever is wrong with the socket shows when it is read.
            let Ok(Written::Bytes(count)) = self.socket.try_write_vectored(&wire[..used]) else { return };
            self.taken += self.carrier.handle_written(count);
        }
    }

    fn into_socket(mut self) -> Socket {
        self.carrier.close();
        self.flush();
        self.socket
    }
}

/// Reads once into free blocks, at most so much.
fn read_into(reader: &mut Reader, socket: &mut Socket, most: usize) -> io::Result<Read> {
    let mut slices = [(); READ_BLOCKS].map(|()| IoSliceMut::new(&mut []));
    let (mut used, mut room) = (0, 0);
    for (slice, block) in slices.iter_mut().zip(reader.rooms()) {
        let here = block.len().min(most - room);
        (used, room) = (used + 1, room + here);
        *slice = IoSliceMut::new(&mut block[..here]);
        if room == most {
            break;
        }
    }
    socket.try_read_vectored(&mut slices[..used], room)
}
