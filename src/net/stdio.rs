//! Standard input and output, and the pipes of children, in a loop that must not block.
//!
//! | what it is | how it is read and written |
//! |---|---|
//! | pipe, terminal | reopened through /proc: an open file description of our own, which may be non-blocking |
//! | the same, not permitted to reopen | asked with poll(2) before each read; written in pieces of `PIPE_BUF` |
//! | socket | with MSG_DONTWAIT on each call |
//! | file, device | directly: always ready, and epoll would refuse it |

use super::{Read, Written, deregister, register};
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// What poll(2) promises a writer of a pipe (POSIX `PIPE_BUF`, 4,096 on Linux).
const PIPE_BUF: usize = 4096;
/// Asked for pipes, so that a busy pipeline switches between processes less often; the kernel may say no.
const PIPE_BYTES: usize = 1024 * 1024;

/// The magic numbers of file systems that may find no room after they have taken bytes (statfs(2)).
const NFS: u64 = 0x6969;
const SMB: u64 = 0x517b;
const SMB2: u64 = 0xfe53_4d42;
const CIFS: u64 = 0xff53_4d42;
const FUSE: u64 = 0x6573_5546;
const CEPH: u64 = 0x00c3_6400;
const AFS: u64 = 0x5346_414f;
const V9FS: u64 = 0x0102_1997;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Always,
    NonBlocking,
    Socket,
    Guarded,
}

/// One end of a byte stream that this process did not make.
#[derive(Debug)]
struct Descriptor {
    fd: OwnedFd,
    way: Way,
    terminal: bool,
    registered: bool,
    ready: bool,
}

impl Descriptor {
    fn of_stdio(fd: BorrowedFd<'_>, number: u8, access: OFlags) -> io::Result<Descriptor> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
        let terminal = rustix::termios::isatty(fd);
        let (fd, way) = match kind {
            FileType::Socket => (fd.try_clone_to_owned()?, Way::Socket),
            FileType::Fifo => Self::reopened(fd, number, access)?,
            FileType::CharacterDevice if terminal => Self::reopened(fd, number, access)?,
            _ => (fd.try_clone_to_owned()?, Way::Always),
        };
        if kind == FileType::Fifo {
            let _ = rustix::pipe::fcntl_setpipe_size(&fd, PIPE_BYTES);
        }
        Ok(Descriptor { fd, way, terminal, registered: false, ready: true })
    }

    fn reopened(fd: BorrowedFd<'_>, number: u8, access: OFlags) -> io::Result<(OwnedFd, Way)> {
        let path = format!("/proc/self/fd/{number}");
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(own) => Ok((own, Way::NonBlocking)),
            Err(_) => Ok((fd.try_clone_to_owned()?, Way::Guarded)),
        }
    }

    fn of_child(fd: OwnedFd) -> io::Result<Descriptor> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let _ = rustix::pipe::fcntl_setpipe_size(&fd, PIPE_BYTES);
        Ok(Descriptor { fd, way: Way::NonBlocking, terminal: false, registered: false, ready: true })
    }

    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        if self.way != Way::Always {
            register(registry, &self.fd, token, interest)?;
            self.registered = true;
        }
        Ok(())
    }

    fn deregister(&mut self, registry: &Registry) {
        if std::mem::take(&mut self.registered) {
            deregister(registry, &self.fd);
        }
    }

    fn polls(&self, flags: PollFlags) -> io::Result<bool> {
        polls(self.fd.as_fd(), flags)
    }
}

/// Whether a descriptor is ready for that now.
fn polls(fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<bool> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&now))? > 0)
}

/// Whether what stands at `to` takes a line of so many bytes now, as a pipe does that has room for any of this length (pipe(7)).
pub(crate) fn takes_line(to: impl AsFd, bytes: usize) -> bool {
    bytes <= PIPE_BUF && polls(to.as_fd(), PollFlags::OUT).unwrap_or(false)
}

/// Where bytes come from.
#[derive(Debug)]
pub(crate) struct Source {
    end: Descriptor,
}

/// Whether standard output is a terminal.
pub(crate) fn is_output_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stdout())
}

impl Source {
    /// Standard input.
    pub(crate) fn stdin() -> io::Result<Source> {
        Ok(Source { end: Descriptor::of_stdio(io::stdin().as_fd(), 0, OFlags::RDONLY)? })
    }

    /// The reading end of a pipe that only this process has, such as a child's standard output.
    pub(crate) fn of_pipe(fd: impl Into<OwnedFd>) -> io::Result<Source> {
        Ok(Source { end: Descriptor::of_child(fd.into())? })
    }

    /// Lets events with `token` tell of it.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.end.register(registry, token, Interest::READABLE)
    }

    /// Ends that.
    pub(crate) fn deregister(&mut self, registry: &Registry) {
        self.end.deregister(registry);
    }

    /// An event came.
    pub(crate) fn handle_ready(&mut self) {
        self.end.ready = true;
    }

    /// Reads what is there.
    pub(crate) fn try_read(&mut self, room: &mut [u8]) -> io::Result<Read> {
        if !self.end.ready || room.is_empty() {
            return Ok(Read::Later);
        }
        if self.end.way == Way::Guarded && !self.end.polls(PollFlags::IN | PollFlags::HUP)? {
            self.end.ready = false;
            return Ok(Read::Later);
        }
        let result = match self.end.way {
            Way::Socket => rustix::net::recv(&self.end.fd, &mut *room, RecvFlags::DONTWAIT).map(|(count, _)| count),
            _ => rustix::io::read(&self.end.fd, &mut *room),
        };
        match result {
            Ok(0) => Ok(Read::End),
            Ok(count) => Ok(Read::Bytes(count)),
            Err(Errno::AGAIN) => {
                self.end.ready = false;
                Ok(Read::Later)
            }
            Err(Errno::INTR) => Ok(Read::Later),
            // A terminal whose other side hung up says EIO.
            Err(Errno::IO) if rustix::termios::isatty(&self.end.fd) => Ok(Read::End),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether standard output has been closed by us. There is one in a process, so there is one of this.
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Where bytes go.
#[derive(Debug)]
pub(crate) struct Sink {
    end: Descriptor,
    stdout: bool,
    gone: bool,
}

impl Sink {
    /// Standard output.
    ///
    /// # Errors
    ///
    /// It was closed before: what stands in its place would swallow everything.
    pub(crate) fn stdout() -> io::Result<Sink> {
        if STDOUT_CLOSED.load(Ordering::Relaxed) {
            return Err(Errno::BADF.into());
        }
        let end = Descriptor::of_stdio(io::stdout().as_fd(), 1, OFlags::WRONLY)?;
        Ok(Sink { end, stdout: true, gone: false })
    }

    /// The writing end of a pipe that only this process has, such as a child's standard input.
    pub(crate) fn of_pipe(fd: impl Into<OwnedFd>) -> io::Result<Sink> {
        Ok(Sink { end: Descriptor::of_child(fd.into())?, stdout: false, gone: false })
    }

    /// Lets events with `token` tell of it.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.end.register(registry, token, Interest::WRITABLE)
    }

    /// Ends that.
    pub(crate) fn deregister(&mut self, registry: &Registry) {
        self.end.deregister(registry);
    }

    /// An event came; `closed` if it says that the reader has gone.
    pub(crate) fn handle_ready(&mut self, closed: bool) {
        self.end.ready = true;
        self.gone |= closed;
    }

    /// Whether people look at it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.end.terminal
    }

    /// Whether the reader has gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Writes what fits.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<Written> {
        if self.gone {
            return Ok(Written::Gone);
        }
        if !self.end.ready || bytes.is_empty() {
            return Ok(Written::Later);
        }
        let result = match self.end.way {
            Way::Socket => rustix::net::send(&self.end.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Way::Guarded if !self.end.polls(PollFlags::OUT)? => Err(Errno::AGAIN),
            Way::Guarded => rustix::io::write(&self.end.fd, &bytes[..bytes.len().min(PIPE_BUF)]),
            Way::Always | Way::NonBlocking => rustix::io::write(&self.end.fd, bytes),
        };
        match result {
            Ok(count) => Ok(Written::Bytes(count)),
            Err(Errno::AGAIN) => {
                self.end.ready = false;
                Ok(Written::Later)
            }
            Err(Errno::INTR) => Ok(Written::Later),
            Err(Errno::PIPE | Errno::CONNRESET) => {
                self.gone = true;
                Ok(Written::Gone)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Brings out an error of what was written before. File systems of a network, and those that a process serves, may take
    /// bytes and find only later that there is no room; a pipe, a terminal or a local file has taken what it has taken.
    ///
    /// This takes as long as they need, so a loop does it in a thread, with a descriptor of [`Sink::unsettled`].
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.unsettled()?.map_or(Ok(()), |fd| Ok(rustix::fs::fsync(fd)?))
    }

    /// A descriptor to sync, if [`Sink::settle`] would.
    pub(crate) fn unsettled(&self) -> io::Result<Option<OwnedFd>> {
        let late = [NFS, SMB, SMB2, CIFS, FUSE, CEPH, AFS, V9FS];
        let is_file = FileType::from_raw_mode(rustix::fs::fstat(&self.end.fd)?.st_mode) == FileType::RegularFile;
        let kind = rustix::fs::fstatfs(&self.end.fd).ok().and_then(|system| u64::try_from(system.f_type).ok());
        if is_file && kind.is_some_and(|kind| late.contains(&kind)) {
            return Ok(Some(self.end.fd.try_clone()?));
        }
        Ok(None)
    }

    /// Lets the reader see the end.
    pub(crate) fn close(mut self, registry: &Registry) -> io::Result<()> {
        self.end.deregister(registry);
        if self.end.way == Way::Socket {
            let _ = rustix::net::shutdown(&self.end.fd, rustix::net::Shutdown::Write);
        }
        if self.stdout {
            // Descriptor 1 must go as well, or the reader of a pipe would see no end; /dev/null takes its place.
            let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::stdio::dup2_stdout(null)?;
            STDOUT_CLOSED.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    fn pipe() -> (OwnedFd, OwnedFd) {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
    }

    #[test]
    fn an_empty_pipe_says_later_and_a_closed_one_says_end() {
        let (read, write) = pipe();
        let mut source = Source::of_pipe(read).unwrap();
        let mut room = [0; 8];
        assert_eq!(source.try_read(&mut room).unwrap(), Read::Later);
        std::fs::File::from(write).write_all(b"abc").unwrap();
        assert_eq!(source.try_read(&mut room).unwrap(), Read::Later, "no event came");
        source.handle_ready();
        assert_eq!(source.try_read(&mut room).unwrap(), Read::Bytes(3));
        assert_eq!(source.try_read(&mut room).unwrap(), Read::End);
    }

    #[test]
    fn a_full_pipe_says_later_and_one_without_reader_says_gone() {
        let (read, write) = pipe();
        let mut sink = Sink::of_pipe(write).unwrap();
        let block = vec![7; 1 << 20];
        let mut took = 0;
        while let Written::Bytes(count) = sink.try_write(&block).unwrap() {
            took += count;
        }
        assert!(took > 0);
        let mut file = std::fs::File::from(read);
        let mut room = vec![0; took];
        file.read_exact(&mut room).unwrap();
        sink.handle_ready(false);
        assert!(matches!(sink.try_write(&block).unwrap(), Written::Bytes(_)));
        drop(file);
        sink.handle_ready(false);
        assert_eq!(sink.try_write(&block).unwrap(), Written::Gone);
    }

    #[test]
    fn a_guarded_pipe_never_blocks_either() {
        let (read, write) = pipe();
        let end = |fd| Descriptor { fd, way: Way::Guarded, terminal: false, registered: false, ready: true };
        let mut source = Source { end: end(read) };
        let mut sink = Sink { end: end(write), stdout: false, gone: false };
        let mut room = vec![0; 1 << 20];
        assert_eq!(source.try_read(&mut room).unwrap(), Read::Later);
        let mut took = 0;
        while let Written::Bytes(count) = sink.try_write(&room).unwrap() {
            took += count;
        }
        source.handle_ready();
        let mut got = 0;
        while let Read::Bytes(count) = source.try_read(&mut room).unwrap() {
            got += count;
        }
        assert_eq!(got, took);
        assert!(took >= 4 * PIPE_BUF);
    }
}
