//! A program run for a session, with pipes for its input and output and an event for its end.

use super::socket::Socket;
use super::stdio::{Sink, Source};
use super::{deregister, reaper, register};
use mio::{Interest, Registry, Token};
use rustix::process::{Signal, getpgrp, kill_process, kill_process_group};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

/// What a supervisor says to us and to nobody that we start: a command that answers in our name would be believed, and the
/// sockets are ours.
const OURS_ALONE: [&str; 7] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES"];

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    ended_by: Option<Ended>,
    ended: OwnedFd,
    reach: Reach,
}

/// A signal's number is added to this where the end of a command is one number, as shells do.
pub(crate) const SIGNAL_BASE: i32 = 128;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this status.
    Exited(u8),
    /// By this signal.
    Killed(i32),
    /// Nobody could learn how.
    Unknown,
}

impl Ended {
    fn of(status: ExitStatus) -> Ended {
        let exited = status.code().and_then(|code| u8::try_from(code).ok()).map(Ended::Exited);
        exited.or(status.signal().map(Ended::Killed)).unwrap_or(Ended::Unknown)
    }

    /// As one number, the way shells count; never 0 unless it succeeded.
    pub(crate) fn number(self) -> i32 {
        match self {
            Ended::Exited(status) => i32::from(status),
            Ended::Killed(signal) => SIGNAL_BASE + signal,
            Ended::Unknown => -1,
        }
    }
}

/// Whom a signal to a child reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The program alone.
    Process,
    /// The shell and everything it started, which is a process group of its own.
    Group,
}

/// A command for the shell, which will be a process group of its own, so that what the shell has started ends with it.
pub(crate) fn shell(command: &OsStr) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).process_group(0);
    shell
}

/// A child and its pipes.
#[derive(Debug)]
pub(crate) struct Spawned {
    /// The process.
    pub child: Child,
    /// Its standard output.
    pub source: Source,
    /// Its standard input.
    pub sink: Sink,
}

/// Runs `command` by the shell with `environment` added. Its standard error stays ours. Nobody at a terminal talks to it, as
/// its input and output are ours: that it is in the background there takes nothing from it, and what the terminal's keys say
/// to us we pass on.
pub(crate) fn spawn(command: &OsStr, environment: &[(&str, String)]) -> io::Result<Spawned> {
    let mut shell = shell(command);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    for (name, value) in environment {
        shell.env(name, value);
    }
    let mut child = Child::start(&mut shell, Reach::Group)?;
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let source = Source::of_pipe(child.process.stdout.take().ok_or_else(missing)?)?;
    let sink = Sink::of_pipe(child.process.stdin.take().ok_or_else(missing)?)?;
    Ok(Spawned { child, source, sink })
}

/// A child that only takes bytes.
#[derive(Debug)]
pub(crate) struct Fed {
    /// The process.
    pub child: Child,
    /// Its standard input.
    pub sink: Sink,
}

/// Runs `command` by the shell with `environment` added. Its standard output and error stay ours. When the bytes break off, a
/// whole pipeline must end before any part of it takes the end of its input for the end of the data.
pub(crate) fn spawn_fed(command: &OsStr, environment: &[(&str, OsString)]) -> io::Result<Fed> {
    let mut shell = shell(command);
    for (name, value) in environment {
        shell.env(name, value);
    }
    let mut child = Child::group(shell.stdin(Stdio::piped()))?;
    let stdin = child.take_stdin().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(Fed { child, sink: Sink::of_pipe(stdin)? })
}

/// A child that only gives bytes.
#[derive(Debug)]
pub(crate) struct Giving {
    /// The process.
    pub child: Child,
    /// Its standard output.
    pub source: Source,
}

/// Runs `command` by the shell with `environment` added. Its standard input and error stay ours. It is a process group of its
/// own, unless there is a terminal where we are in the foreground: there it may ask for a password, which the kernel allows to
/// nobody else, and the terminal's keys reach it as well as us.
pub(crate) fn spawn_giving(command: &OsStr, environment: &[(&str, String)]) -> io::Result<Giving> {
    let mut shell = shell(command);
    shell.stdout(Stdio::piped());
    for (name, value) in environment {
        shell.env(name, value);
    }
    let reach = reach(&mut shell);
    let mut child = Child::start(&mut shell, reach)?;
    let stdout = child.process.stdout.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(Giving { child, source: Source::of_pipe(stdout)? })
}

/// A child whose standard input and output are one socket.
#[derive(Debug)]
pub(crate) struct Joined {
    /// The process.
    pub child: Child,
    /// The other end of that socket.
    pub socket: Socket,
}

/// Runs `command` by the shell, joined to us by a socket. Its standard error stays ours. In the foreground of a terminal it is of
/// our process group, as in [`spawn_giving`]: it may ask for a password there.
pub(crate) fn spawn_joined(command: &OsStr) -> io::Result<Joined> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut shell = shell(command);
    shell.stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?))).stdout(Stdio::from(OwnedFd::from(theirs)));
    let reach = reach(&mut shell);
    let child = Child::start(&mut shell, reach)?;
    Ok(Joined { child, socket: Socket::of_unix(mio::net::UnixStream::from_std(ours)) })
}

/// Whom a signal to a command reaches that may have to ask at our terminal, and the process group that goes with it.
fn reach(shell: &mut Command) -> Reach {
    if !super::signals::is_in_foreground() {
        return Reach::Group;
    }
    shell.process_group(getpgrp().as_raw_pid());
    Reach::Process
}

/// Runs a program with its arguments. Standard input, output and error stay ours, and so does the process group: a program
/// that asks at a terminal (`psql` for a password) is stopped by the kernel unless it is in the foreground group. The
/// terminal's keys reach all of that group anyway; a signal to us alone goes on to the program alone.
pub(crate) fn run(words: &[OsString]) -> io::Result<Child> {
    let (program, arguments) = words.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Child::start(Command::new(program).args(arguments), Reach::Process)
}

impl Child {
    /// Starts what was prepared by [`shell`].
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn group(command: &mut Command) -> io::Result<Child> {
        Child::start(command, Reach::Group)
    }

    fn start(command: &mut Command, reach: Reach) -> io::Result<Child> {
        for name in OURS_ALONE {
            command.env_remove(name);
        }
        let (process, ended) = reaper::spawn(command)?;
        Ok(Child { process, ended_by: None, ended, reach })
    }

    /// Our end of its standard input, if that is a pipe and nobody has it yet.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.process.stdin.take()
    }

    /// What becomes readable when it has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Lets an event with `token` tell of its end.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        register(registry, &self.ended, token, Interest::READABLE)
    }

    /// Ends that.
    pub(crate) fn deregister(&self, registry: &Registry) {
        deregister(registry, &self.ended);
    }

    /// How it ended, if it has.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<Ended>> {
        if self.ended_by.is_none() {
            self.ended_by = reaper::try_wait(&mut self.process)?.map(Ended::of);
        }
        Ok(self.ended_by)
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Ends it.
    pub(crate) fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// Passes a signal on to it.
    pub(crate) fn pass_on(&self, signal: i32) {
        if let Some(signal) = Signal::from_named_raw(signal) {
            self.send(signal);
        }
    }

    fn send(&self, signal: Signal) {
        let send = match self.reach {
            Reach::Process => kill_process,
            Reach::Group => kill_process_group,
        };
        reaper::signal(&self.process, signal, send);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended_by.is_none() {
            reaper::forget(&mut self.process);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_as_often_as_it_is_asked_for_and_a_child_that_has_ended_is_sent_nothing() {
        let mut child = Child::group(&mut shell(OsStr::new("exit 7"))).expect("a shell");
        let mut ended = [rustix::event::PollFd::new(&child.ended, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut ended, None), Ok(1));
        for _ in 0..2 {
            assert_eq!(child.try_wait().expect("a child"), Some(Ended::Exited(7)));
        }
        // Its number may be another's by now.
        child.terminate();
    }

    #[test]
    fn an_end_is_one_number_as_shells_count() {
        for raw in 0..=255 {
            assert_eq!(Ended::of(ExitStatus::from_raw(raw << 8)).number(), raw);
        }
        for signal in 1..=64 {
            let ended = Ended::of(ExitStatus::from_raw(signal));
            assert_eq!((ended, ended.number()), (Ended::Killed(signal), 128 + signal));
        }
        assert_eq!(Ended::Unknown.number(), -1);
    }
}
