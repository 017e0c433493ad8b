//! Listening sockets that whoever started this process had bound for it: systemd's socket activation
//! (`sd_listen_fds(3)`), the same for every tool that listens.

use listenfd::ListenFd;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::SockRef;
use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;

/// The first descriptor behind the standard ones, from which sockets are passed.
pub(crate) const FIRST: u16 = 3;

/// One of them.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The socket.
    pub socket: PassedSocket,
    /// What its unit calls it (`FileDescriptorName=`); empty if it has no name.
    pub name: String,
}

/// What it is.
#[derive(Debug)]
pub(crate) enum PassedSocket {
    /// TCP.
    Tcp(TcpListener),
    /// Unix. Its file stays when we go: we did not make it.
    Unix(UnixListener),
}

/// Why sockets that were passed cannot be taken.
#[derive(Debug)]
pub(crate) enum PassedError {
    /// One was taken before.
    Taken,
    /// One does not listen.
    Deaf,
    /// The system does not say what one is, or that it is what we can use.
    System(io::Error),
}

impl From<io::Error> for PassedError {
    fn from(error: io::Error) -> PassedError {
        PassedError::System(error)
    }
}

/// Takes what was passed, in its order; nothing if nothing was meant for this process (`LISTEN_PID`).
///
/// To be called once, before threads start and before descriptors are opened: the numbers are those of the start, and
/// the variables are taken out of the environment.
///
/// # Errors
/// What was passed is not a listening stream socket.
pub(crate) fn take_passed() -> Result<Vec<Passed>, PassedError> {
    let names = std::env::var_os("LISTEN_FDNAMES").unwrap_or_default();
    let mut passed = ListenFd::from_env();
    let sockets = (0..passed.len()).map(|number| take(&mut passed, number));
    sockets.zip(names_of(&names)).map(|(socket, name)| Ok(Passed { socket: socket?, name })).collect()
}

fn take(passed: &mut ListenFd, number: usize) -> Result<PassedSocket, PassedError> {
    let none = || PassedError::Taken;
    if let Ok(listener) = passed.take_tcp_listener(number) {
        let listener = listener.ok_or_else(none)?;
        return listening(&listener).map(|()| PassedSocket::Tcp(listener));
    }
    let listener = passed.take_unix_listener(number)?.ok_or_else(none)?;
    listening(&listener).map(|()| PassedSocket::Unix(listener))
}

fn listening(socket: &impl AsFd) -> Result<(), PassedError> {
    if SockRef::from(socket).is_listener()? {
        return Ok(());
    }
    Err(PassedError::Deaf)
}

/// A second descriptor of the open file that has this number in this process.
///
/// # Errors
/// There is none, or a filter of system calls forbids that.
pub(crate) fn duplicate(number: u16) -> rustix::io::Result<OwnedFd> {
    let myself = pidfd_open(getpid(), PidfdFlags::empty())?;
    pidfd_getfd(myself, i32::from(number), PidfdGetfdFlags::empty())
}

/// Closes so many descriptors that were passed to this process. To be called before any is opened.
pub(crate) fn close_all(count: u16) {
    (FIRST..FIRST + count).for_each(close);
}

/// Closes those of them that are sockets which listen; of a socket that cannot be asked that is assumed.
pub(crate) fn close_listeners(count: u16) {
    for number in FIRST..FIRST + count {
        let is_socket = std::fs::metadata(format!("/proc/self/fd/{number}")).is_ok_and(|is| is.file_type().is_socket());
        if is_socket && duplicate(number).map_or(true, |socket| listening(&socket).is_ok()) {
            close(number);
        }
    }
}

fn close(number: u16) {
    // Where nothing is open, there is nothing to close.
    let _ = nix::unistd::close(i32::from(number));
}

/// The names in their order, and then no names for ever. systemd says `unknown` where a unit says nothing.
fn names_of(names: &OsStr) -> impl Iterator<Item = String> {
    let names = names.to_string_lossy().into_owned();
    let known: Vec<String> =
        names.split(':').map(|name| if name == "unknown" { "" } else { name }.to_owned()).collect();
    known.into_iter().chain(std::iter::repeat(String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_order_and_some_have_none() {
        let names = |text: &str| names_of(OsStr::new(text)).take(3).collect::<Vec<_>>();
        assert_eq!(names("pg:unknown:rmi"), ["pg", "", "rmi"]);
        assert_eq!(names("pg"), ["pg", "", ""]);
        assert_eq!(names(""), ["", "", ""]);
    }

    #[test]
    fn only_a_listening_socket_will_do() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(listening(&listener).is_ok());
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(matches!(listening(&client), Err(PassedError::Deaf)));
    }
}
