//! One socket of a worker.

use crate::relay::{READ_BLOCKS, Reader};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::io::{self, IoSlice, IoSliceMut, Read};

/// A connection's socket and what is known of its readiness.
pub struct Socket {
    stream: TcpStream,
    /// Whether it stands in the list of sockets to read.
    pub queued: bool,
    /// The other side has shut down its writing: a short read is not the end of the input.
    pub hung_up: bool,
    /// The kernel took all that was offered last time.
    pub writable: bool,
}

/// What one read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many bytes, and there may be more.
    More(usize),
    /// So many bytes, and no more for now: an event will tell.
    Last(usize),
    /// Nothing for now.
    Nothing,
    /// The end, orderly or not.
    End,
}

impl Socket {
    /// Takes over a connected socket.
    pub fn new(registry: &Registry, mut stream: TcpStream, token: Token) -> io::Result<Socket> {
        Self::register(registry, &mut stream, token)?;
        // Whatever came before is reported as an event.
        Ok(Socket { stream, queued: false, hung_up: false, writable: true })
    }

    fn register(registry: &Registry, stream: &mut TcpStream, token: Token) -> io::Result<()> {
        registry.register(stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Gives the socket away.
    pub fn release(mut self, registry: &Registry) -> io::Result<TcpStream> {
        registry.deregister(&mut self.stream)?;
        Ok(self.stream)
    }

    /// Says that nothing more will be written.
    pub fn finish(&self) {
        // It fails if the connection is gone, which is as good.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Reads into free blocks.
    pub fn read(&mut self, reader: &mut Reader) -> Found {
        let mut slices = [(); READ_BLOCKS].map(|()| IoSliceMut::new(&mut []));
        let (mut used, mut room) = (0, 0);
        for (slice, block) in slices.iter_mut().zip(reader.rooms()) {
            (used, room) = (used + 1, room + block.len());
            *slice = IoSliceMut::new(block);
        }
        match self.stream.read_vectored(&mut slices[..used]) {
            Ok(0) => Found::End,
            // A short read has emptied the socket (epoll(7)); what comes later is a new event.
            Ok(count) if count < room && !self.hung_up => Found::Last(count),
            Ok(count) => Found::More(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Found::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Found::More(0),
            Err(_) => Found::End,
        }
    }

    /// Throws input away, in at most `reads` reads; true if the other side has closed.
    pub fn discard(&mut self, reads: usize) -> bool {
        let mut scrap = [0; 4096];
        for _ in 0..reads {
            match self.stream.read(&mut scrap) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
            }
        }
        false
    }

    /// Writes slices; how many bytes the kernel took, or None if the connection is gone.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        loop {
            let mut nothing = SendAncillaryBuffer::default();
            // A peer that is gone must be an error here, not a signal that ends the process.
            return match sendmsg(&self.stream, slices, &mut nothing, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    let offered: usize = slices.iter().map(|slice| slice.len()).sum();
                    // A short write has filled the socket; room is a new event.
                    self.writable = count == offered;
                    Some(count)
                }
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => {
                    self.writable = false;
                    Some(0)
                }
                Err(_) => None,
            };
        }
    }
}
