//! A client's connection: its socket, and the carrier between that and the link.

use crate::carrier::{Carrier, End, OWN_SLICES, TlsServer, Visitor};
use crate::net::reactor::{Ready, Registry, Token};
use crate::net::socket::Socket;
use crate::net::{Read, Written};
use crate::relay::{READ_BLOCKS, Reader, SLICES_MAX};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;

/// See the module. It goes with its link from worker to worker.
pub(super) struct Conn {
    socket: Socket,
    carrier: Carrier,
}

/// What came of a read.
pub(super) enum Got {
    /// So many bytes were used, and were so many of the link's, which are in front.
    Bytes { wire: usize, link: usize },
    /// Nothing now.
    Later,
    /// The other side is done.
    End,
}

impl Conn {
    /// One that was accepted from this visitor; who speaks TLS on it is shown that.
    pub(super) fn new(socket: Socket, visitor: Visitor, tls: TlsServer) -> Conn {
        Conn { socket, carrier: Carrier::undecided(visitor).serving(tls) }
    }

    /// Lets events with `token` tell of it.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token)
    }

    /// Ends that.
    ///
    /// # Errors
    /// It was not registered.
    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }

    /// The system told something about it.
    pub(super) fn handle_ready(&mut self, ready: Ready) {
        self.socket.handle_ready(ready);
        self.flush();
    }

    /// Where a front has it from: once, when that is sure. None if no front has connected.
    pub(super) fn take_source(&mut self) -> Option<IpAddr> {
        self.carrier.take_source()
    }

    /// How its carrier has ended, if it has and the socket has not. The next read tells of that, too.
    pub(super) fn end(&self) -> Option<End> {
        self.carrier.end()
    }

    /// Whether what is read from it has to be opened, and what is written sealed.
    pub(super) fn is_sealed(&self) -> bool {
        self.carrier.is_sealed()
    }

    /// Whether its carrier has done the work of a handshake since this was asked.
    pub(super) fn take_answered(&mut self) -> bool {
        self.carrier.take_answered()
    }

    /// Whether a read may find something.
    pub(super) fn is_readable(&self) -> bool {
        self.socket.is_readable() || self.carrier.end().is_some()
    }

    /// Whether a write may find room.
    pub(super) fn is_writable(&self) -> bool {
        self.socket.is_writable()
    }

    /// Reads once into free blocks, at most so much.
    ///
    /// # Errors
    /// It is broken.
    pub(super) fn read(&mut self, reader: &mut Reader, most: usize) -> io::Result<Got> {
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

    /// Writes what fits of what the link shows; how much of that the kernel took.
    ///
    /// # Errors
    /// It is broken.
    pub(super) fn write(&mut self, link: &[IoSlice<'_>]) -> io::Result<Written> {
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
        Ok(Written::Bytes(taken))
    }

    /// Writes what the carrier has to say itself, as far as the kernel takes it.
    fn flush(&mut self) {
        while self.carrier.has_own() && self.socket.is_writable() {
            let mut wire = [IoSlice::new(&[]); OWN_SLICES];
            let used = self.carrier.wrap(&[], &mut wire);
            // Whatever is wrong with the socket shows when it is read.
            let Ok(Written::Bytes(count)) = self.socket.try_write_vectored(&wire[..used]) else { return };
            self.carrier.handle_written(count);
        }
    }

    /// Its socket, of which the relay wants no more than its end. The other side is told, as far as it takes that now.
    pub(super) fn into_socket(mut self) -> Socket {
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
