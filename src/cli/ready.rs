//! How others learn that a tool is ready: a line on a descriptor, and systemd's notification socket.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::env::Env;
use super::passed::Announced;
use crate::net::passed::{FIRST, duplicate};

/// Where ready lines go when no descriptor is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// To standard output: the tool has no other use for it.
    Stdout,
    /// Nowhere: standard output is for data.
    Nowhere,
}

/// Tells whoever started the tool what has become ready.
#[derive(Debug)]
pub(crate) struct Ready {
    lines: Lines,
    supervisor: Supervisor,
}

#[derive(Debug)]
enum Lines {
    Descriptor(File),
    Stdout,
    Nowhere,
}

impl Ready {
    /// Opens what is needed, and takes the descriptor, whose number is free afterwards. To be called first thing in a process:
    /// later a number may mean another file.
    ///
    /// # Errors
    /// The descriptor is not open for writing, or is a socket that was passed.
    pub(crate) fn open(descriptor: Option<u16>, otherwise: Otherwise, env: &Env) -> io::Result<Self> {
        let lines = match (descriptor, otherwise) {
            (Some(number), _) if Announced::of(env).is_for_us(number) => return Err(io::ErrorKind::ResourceBusy.into()),
            (Some(number), _) => Lines::Descriptor(inherited(number)?),
            (None, Otherwise::Stdout) => Lines::Stdout,
            (None, Otherwise::Nowhere) => Lines::Nowhere,
        };
        Ok(Self { lines, supervisor: Supervisor::of(env) })
    }

    /// Writes one ready line, `listening tcp://…` or `attached APP`.
    ///
    /// # Errors
    /// It could not be written. Whoever waits for it would wait for ever, so this should end the tool.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        match &mut self.lines {
            Lines::Descriptor(file) => file.write_all(line.as_bytes()),
            Lines::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes())?;
                stdout.flush()
            }
            Lines::Nowhere => Ok(()),
        }
    }

    /// All is ready, though more lines may follow: tells the supervisor.
    pub(crate) fn tell(&self, status: &str) {
        self.supervisor.tell(&["READY=1", &format!("STATUS={status}")]);
    }

    /// Tells the supervisor that the tool has begun to stop.
    pub(crate) fn stopping(&self) {
        self.supervisor.stopping();
    }

    /// All is ready: tells the supervisor, closes the descriptor, and keeps the link to the supervisor for later.
    pub(crate) fn complete(self, status: &str) -> Supervisor {
        self.supervisor.tell(&["READY=1", &format!("STATUS={status}")]);
        self.supervisor
    }
}

/// systemd, or whatever else set `NOTIFY_SOCKET`. Nothing of it can fail or block the tool.
///
/// The crate `sd-notify` reads the environment of the process at each call, which a test cannot set without `unsafe`, and
/// sends in a way that may block.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Supervisor {
    /// The supervisor of this environment, which may be none.
    pub(crate) fn of(env: &Env) -> Self {
        Self { socket: env.get("NOTIFY_SOCKET").and_then(|name| open_socket(name).ok()) }
    }

    /// Tells that the tool has begun to stop.
    pub(crate) fn stopping(&self) {
        self.tell(&["STOPPING=1"]);
    }

    fn tell(&self, words: &[&str]) {
        if let Some((socket, address)) = &self.socket {
            // A line feed would begin another assignment; a lost notification must not stop a transfer.
            let words: Vec<_> = words.iter().map(|word| word.replace('\n', " ")).collect();
            let _ = socket.send_to_addr(words.join("\n").as_bytes(), address);
        }
    }
}

/// The file that a descriptor number stands for in this process, which from now on is ours alone: a command that had it
/// too could say that we are ready, or keep whoever reads it from its end.
///
/// The number alone cannot be taken over without `unsafe`, so the kernel is asked for a second descriptor of the same
/// open file, and the first is closed. Where a system call filter forbids that, the file is opened once more, which works
/// for pipes and files but not for sockets. Standard input, output and error stay open: commands have them in any case.
fn inherited(number: u16) -> io::Result<File> {
    let file = match duplicate(number) {
        Ok(descriptor) => File::from(descriptor),
        Err(rustix::io::Errno::BADF) => return Err(rustix::io::Errno::BADF.into()),
        Err(_) => OpenOptions::new().append(true).open(format!("/proc/self/fd/{number}"))?,
    };
    if number >= FIRST {
        nix::unistd::close(i32::from(number))?;
    }
    Ok(file)
}

/// An unnamed socket and the address to send to. A leading `@` is the abstract namespace (`sd_notify(3)`).
fn open_socket(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Seek};
    use std::os::fd::IntoRawFd;

    /// Of a descriptor that nobody else has.
    fn number(file: impl IntoRawFd) -> u16 {
        u16::try_from(file.into_raw_fd()).expect("few files are open")
    }

    #[test]
    fn a_line_reaches_a_pipe_and_then_its_end() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut ready = Ready::open(Some(number(writer)), Otherwise::Stdout, &Env::default()).expect("an open pipe");
        ready.line("attached orders").expect("a reader");
        drop(ready.complete("waiting"));
        let mut text = String::new();
        BufReader::new(reader).read_to_string(&mut text).expect("readable");
        assert_eq!(text, "attached orders\n");
    }

    #[test]
    fn a_line_reaches_a_socket() {
        let (here, there) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut ready = Ready::open(Some(number(there)), Otherwise::Nowhere, &Env::default()).expect("an open socket");
        ready.line("attached orders").expect("a reader");
        let mut line = String::new();
        BufReader::new(here).read_line(&mut line).expect("readable");
        assert_eq!(line, "attached orders\n");
    }

    #[test]
    fn a_line_goes_where_the_file_stands() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"before\n").expect("writable");
        let given = number(file.try_clone().expect("a descriptor"));
        let mut ready = Ready::open(Some(given), Otherwise::Nowhere, &Env::default()).expect("an open file");
        ready.line("attached orders").expect("writable");
        file.rewind().expect("seekable");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "before\nattached orders\n");
    }

    #[test]
    fn a_closed_descriptor_is_an_error() {
        let error =
            Ready::open(Some(u16::MAX), Otherwise::Nowhere, &Env::default()).expect_err("nothing is open there");
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
    }

    #[test]
    fn a_socket_that_was_passed_is_not_taken_for_lines() {
        let pid = std::process::id().to_string();
        let env = Env::from_iter([("LISTEN_PID", pid.as_str()), ("LISTEN_FDS", "2")]);
        assert!(Ready::open(Some(4), Otherwise::Nowhere, &env).is_err());
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn supervised_by(name: &OsStr) -> Supervisor {
        let env = Env::from_iter([("NOTIFY_SOCKET", name)]);
        Ready::open(None, Otherwise::Nowhere, &env).expect("nothing to open").complete("serving\n2 peers")
    }

    #[test]
    fn a_supervisor_hears_ready_and_stopping() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let supervisor = supervised_by(path.as_os_str());
        assert_eq!(received(&socket), "READY=1\nSTATUS=serving 2 peers");
        supervisor.stopping();
        assert_eq!(received(&socket), "STOPPING=1");
    }

    #[test]
    fn a_supervisor_may_have_an_abstract_name() {
        let name = format!("vp-ready-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        drop(supervised_by(OsStr::new(&format!("@{name}"))));
        assert!(received(&socket).starts_with("READY=1\n"));
    }

    #[test]
    fn no_supervisor_is_no_trouble() {
        let gone = supervised_by(OsStr::new("/nonexistent/notify"));
        gone.stopping();
        let none = Supervisor::of(&Env::default());
        none.stopping();
        assert!(none.socket.is_none());
    }
}
