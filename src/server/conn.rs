//! A client's connection: its socket, and the carrier between that and the link.

use crate::carrier::Carrier;
use crate::net::reactor::{Ready, Registry, Token};
use crate::net::socket::Socket;
use crate::net::{Read, Written};
use crate::relay::{READ_BLOCKS, Reader};
use std::io::{self, IoSlice, IoSliceMut};

/// See the module. It goes with its link from worker to worker.
pub(super) struct Conn {
    socket: Socket,
    carrier: Carrier,
}

impl Conn {
    /// One that was accepted.
    pub(super) fn new(socket: Socket) -> Conn {
        Conn { socket, carrier: Carrier::Plain }
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
    }

    /// Whether a read may find something.
    pub(super) fn is_readable(&self) -> bool {
        self.socket.is_readable()
    }

    /// Whether a write may find room.
    pub(super) fn is_writable(&self) -> bool {
        self.socket.is_writable()
    }

    /// Reads once into free blocks, at most so much: bytes of the link.
    ///
    /// # Errors
    /// It is broken.
    pub(super) fn read(&mut self, reader: &mut Reader, most: usize) -> io::Result<Read> {
        match self.carrier {
            Carrier::Plain => read_into(reader, &mut self.socket, most),
        }
    }

    /// Writes what fits of what the link shows; how much of that the kernel took.
    ///
    /// # Errors
    /// It is broken.
    pub(super) fn write(&mut self, link: &[IoSlice<'_>]) -> io::Result<Written> {
        match self.carrier {
            Carrier::Plain => self.socket.try_write_vectored(link),
        }
    }

    /// Its socket, of which the relay wants no more than its end.
    pub(super) fn into_socket(self) -> Socket {
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
