//! Connected sockets, TCP or Unix, and what is known of their readiness.
//!
//! Events say what may be done, once; what the next call meets says when it may no more. So whoever serves a socket reads
//! while it is readable and writes while it is writable, and hears of it again when that has changed.

use super::endpoint::Endpoint;
use super::options::Purpose;
use super::reactor::Ready;
use super::{Read, Written};
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use socket2::SockRef;
use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A connected socket, or one that is about to be.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    known: Known,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    /// It has no reset: the other end sees an end, or an error if it was writing.
    Unix(UnixStream),
}

/// What the system said and what is not used up yet.
#[derive(Clone, Copy, Debug)]
struct Known {
    readable: bool,
    writable: bool,
    /// An end or an error waits behind what can be read: a short read does not mean that it was the last.
    ending: bool,
    /// The end is known to be one of order: it came before any error did.
    ended: bool,
    broken: bool,
}

impl Socket {
    fn new(stream: Stream) -> Socket {
        let known = Known { readable: true, writable: true, ending: true, ended: false, broken: false };
        Socket { stream, known }
    }

    /// A TCP connection that was accepted.
    pub(crate) fn of_tcp(stream: TcpStream) -> Socket {
        Socket::new(Stream::Tcp(stream))
    }

    /// A Unix connection that was accepted.
    pub(crate) fn of_unix(stream: UnixStream) -> Socket {
        Socket::new(Stream::Unix(stream))
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// It is known already that this leads nowhere.
    pub fn connect(to: &Endpoint, purpose: Purpose) -> io::Result<Socket> {
        Ok(match to {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                purpose.prepare(&stream)?;
                Socket::of_tcp(stream)
            }
            Endpoint::Unix(path) => Socket::of_unix(UnixStream::connect(path)?),
        })
    }

    /// Whether the connection has come about.
    ///
    /// # Errors
    /// It will not, and why.
    pub fn is_connected(&self) -> io::Result<bool> {
        let Stream::Tcp(stream) = &self.stream else { return Ok(true) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets events with `token` tell of it, also of what is there already: until then nothing is known to be readable.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.register(registry, token, interest)?,
            Stream::Unix(stream) => stream.register(registry, token, interest)?,
        }
        (self.known.readable, self.known.ending) = (false, false);
        Ok(())
    }

    /// Ends that.
    ///
    /// # Errors
    /// It was not registered.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.deregister(registry),
            Stream::Unix(stream) => stream.deregister(registry),
        }
    }

    /// The system told something about it.
    pub fn handle_ready(&mut self, ready: Ready) {
        let known = &mut self.known;
        known.readable |= ready.is_for_reader();
        known.writable |= ready.is_for_writer();
        known.ending |= ready.read_closed || ready.error;
        known.broken |= ready.error;
        known.ended |= ready.read_closed && !known.broken;
    }

    /// Whatever was heard of it, and whoever heard it: it may have more to say, and take more.
    pub(crate) fn rouse(&mut self) {
        (self.known.readable, self.known.ending, self.known.writable) = (true, true, true);
    }

    /// Whether a read may find something.
    pub fn is_readable(&self) -> bool {
        self.known.readable
    }

    /// Whether a write may find room.
    pub fn is_writable(&self) -> bool {
        self.known.writable
    }

    /// Whether an end of order waits behind what can be read.
    pub(crate) fn is_ended(&self) -> bool {
        self.known.ended
    }

    /// Whether an error came.
    pub(crate) fn is_broken(&self) -> bool {
        self.known.broken
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// The connection is broken: nothing more comes or goes.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<Read> {
        let room = into.len();
        self.read_by(room, |stream| match stream {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        })
    }

    /// The same, into several buffers that have `room` for so many bytes together.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn try_read_vectored(&mut self, into: &mut [IoSliceMut<'_>], room: usize) -> io::Result<Read> {
        self.read_by(room, |stream| match stream {
            Stream::Tcp(stream) => stream.read_vectored(into),
            Stream::Unix(stream) => stream.read_vectored(into),
        })
    }

    fn read_by(&mut self, room: usize, mut read: impl FnMut(&mut Stream) -> io::Result<usize>) -> io::Result<Read> {
        loop {
            return match read(&mut self.stream) {
                Ok(0) => Ok(Read::End),
                Ok(count) => {
                    // Less than asked for was all there was (epoll(7)): what comes next brings an event.
                    self.known.readable = count == room || self.known.ending;
                    Ok(Read::Bytes(count))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (self.known.readable, self.known.ending) = (false, false);
                    Ok(Read::Later)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Throws away what comes, in at most so many reads. True if nothing more will come.
    pub(crate) fn discard(&mut self, reads: usize) -> bool {
        let mut scrap = [0; 4096];
        for _ in 0..reads {
            match self.try_read(&mut scrap) {
                Ok(Read::Bytes(_)) => {}
                Ok(Read::Later) => return false,
                Ok(Read::End) | Err(_) => return true,
            }
        }
        false
    }

    /// Writes what fits.
    ///
    /// # Errors
    /// The connection is broken: nothing more comes or goes.
    pub fn try_write(&mut self, from: &[u8]) -> io::Result<Written> {
        self.write_by(from.len(), |socket| rustix::net::send(socket, from, SendFlags::NOSIGNAL))
    }

    /// The same, of several pieces.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn try_write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<Written> {
        let offered = from.iter().map(|slice| slice.len()).sum();
        self.write_by(offered, |socket| {
            rustix::net::sendmsg(socket, from, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
        })
    }

    /// A peer that is gone must be an error here, not a signal that ends the process: `write` asks the system for that.
    fn write_by(
        &mut self,
        offered: usize,
        write: impl Fn(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> io::Result<Written> {
        loop {
            return match write(self.stream.as_fd()) {
                Ok(count) => {
                    // A short write has filled the socket; room is a new event.
                    self.known.writable = count == offered;
                    Ok(Written::Bytes(count))
                }
                Err(Errno::AGAIN) => {
                    self.known.writable = false;
                    Ok(Written::Later)
                }
                Err(Errno::INTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Nothing follows what was written.
    pub fn finish(&self) {
        // It fails only if the connection is broken already, which the next read or write tells.
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Closes with a reset, so that the other end takes nothing for an end that is none.
    pub fn abort(self) {
        if let Stream::Tcp(stream) = &self.stream {
            // Without it the close is an orderly end, which is wrong but all that is left.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// The two ends of a TCP connection: ours, theirs.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match &self.stream {
            Stream::Tcp(stream) => Some((stream.local_addr().ok()?, stream.peer_addr().ok()?)),
            Stream::Unix(_) => None,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen::{FourPorts, Listener, bind};
    use crate::net::reactor::{FIRST_TOKEN, Reactor};
    use crate::net::socket_file::Access;
    use crate::net::testkit::{WHILE, until};
    use std::io::{ErrorKind, Write as _};

    /// Both ends of a connection, the accepted one as we have it.
    fn pair() -> (std::net::TcpStream, Socket) {
        let listener =
            Listener::bind(&Endpoint::Tcp("127.0.0.1:0".parse().unwrap()), &FourPorts::default(), Access::default())
                .unwrap();
        let Endpoint::Tcp(address) = listener.place().unwrap() else { panic!("TCP was asked for") };
        let theirs = std::net::TcpStream::connect(address).unwrap();
        let accepted = until(|| listener.try_accept(Purpose::Link).unwrap());
        (theirs, accepted.socket)
    }

    #[test]
    fn an_abort_is_a_reset_and_a_drop_is_an_end() {
        let (mut theirs, ours) = pair();
        ours.abort();
        assert_eq!(theirs.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let (mut theirs, ours) = pair();
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_finished_socket_still_reads() {
        let (mut theirs, mut ours) = pair();
        ours.finish();
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
        theirs.write_all(b"x").unwrap();
        let mut byte = [0];
        until(|| (ours.try_read(&mut byte).unwrap() != Read::Later).then_some(()));
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn nobody_there_is_an_error_at_once_or_soon() {
        let free = bind("127.0.0.1:0".parse().unwrap(), &FourPorts::default()).unwrap().listener;
        let place = Endpoint::Tcp(free.local_addr().unwrap());
        drop(free);
        let refused = Socket::connect(&place, Purpose::Link)
            .and_then(|socket| until(|| socket.is_connected().map(|is| is.then_some(())).transpose()));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn readiness_is_used_up_by_what_the_system_says_and_comes_back_with_events() {
        let (mut theirs, mut ours) = pair();
        let mut reactor = Reactor::new(8).unwrap();
        ours.register(reactor.registry(), Token(FIRST_TOKEN)).unwrap();
        assert!(!ours.is_readable() && ours.is_writable());
        let mut heard = |ours: &mut Socket, is_it: fn(&Socket) -> bool| {
            until(|| {
                if is_it(ours) {
                    return Some(());
                }
                reactor.wait(Some(WHILE)).unwrap();
                while let Some(ready) = reactor.poll_ready() {
                    ours.handle_ready(ready);
                }
                is_it(ours).then_some(())
            });
        };
        theirs.write_all(b"four").unwrap();
        heard(&mut ours, Socket::is_readable);
        let mut room = [0; 8];
        assert_eq!(ours.try_read(&mut room[..2]).unwrap(), Read::Bytes(2));
        assert!(ours.is_readable(), "it had no room for more");
        assert_eq!(ours.try_read_vectored(&mut [IoSliceMut::new(&mut room)], 8).unwrap(), Read::Bytes(2));
        assert!(!ours.is_readable(), "a short read took all");
        let much = vec![0; 1 << 20];
        let mut written = 0;
        while ours.is_writable() {
            if let Written::Bytes(count) = ours.try_write_vectored(&[IoSlice::new(&much)]).unwrap() {
                written += count;
            }
        }
        theirs.read_exact(&mut vec![0; written]).unwrap();
        heard(&mut ours, Socket::is_writable);
        theirs.write_all(b"last").unwrap();
        drop(theirs);
        heard(&mut ours, Socket::is_ended);
        assert_eq!(ours.try_read(&mut room).unwrap(), Read::Bytes(4));
        assert!(ours.is_readable(), "the end waits behind it, and brings no event of its own");
        assert_eq!(ours.try_read(&mut room).unwrap(), Read::End);
    }
}
