//! A program run for a session, with pipes for its input and output and an event for its end.

use super::stdio::{Sink, Source};
use super::{deregister, register};
use mio::{Interest, Registry, Token};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

/// A running child.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    ended: OwnedFd,
    reach: Reach,
}

/// Whom a signal to a child reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The program alone.
    Process,
    /// The shell and everything it started, which is a process group of its own.
    Group,
}

/// A child and its pipes.
#[derive(Debug)]
pub struct Spawned {
    /// The process.
    pub child: Child,
    /// Its standard output.
    pub source: Source,
    /// Its standard input.
    pub sink: Sink,
}

/// Runs `command` by the shell with `environment` added. Its standard error stays ours. It is a process group of its own, so
/// that what the shell has started ends with it. Nobody at a terminal talks to it, as its input and output are ours: that it
/// is in the background there takes nothing from it, and what the terminal's keys say to us we pass on.
pub fn spawn(command: &OsString, environment: &[(&str, String)]) -> io::Result<Spawned> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    for (name, value) in environment {
        shell.env(name, value);
    }
    let mut process = shell.spawn()?;
    let missing = || io::Error::other("a pipe of the child is missing");
    let source = Source::of_pipe(process.stdout.take().ok_or_else(missing)?)?;
    let sink = Sink::of_pipe(process.stdin.take().ok_or_else(missing)?)?;
    let ended = pidfd_open(Pid::from_child(&process), PidfdFlags::NONBLOCK)?;
    Ok(Spawned { child: Child { process, ended, reach: Reach::Group }, source, sink })
}

/// A child that only takes bytes.
#[derive(Debug)]
pub struct Fed {
    /// The process.
    pub child: Child,
    /// Its standard input.
    pub sink: Sink,
}

/// Runs `command` by the shell with `environment` added. Its standard output and error stay ours. It is a process group of
/// its own: when the bytes break off, a whole pipeline must end before any part of it takes the end of its input for the
/// end of the data.
pub fn spawn_fed(command: &OsString, environment: &[(&str, OsString)]) -> io::Result<Fed> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::piped()).process_group(0);
    for (name, value) in environment {
        shell.env(name, value);
    }
    let mut process = shell.spawn()?;
    let stdin = process.stdin.take().ok_or_else(|| io::Error::other("a pipe of the child is missing"))?;
    let sink = Sink::of_pipe(stdin)?;
    let ended = pidfd_open(Pid::from_child(&process), PidfdFlags::NONBLOCK)?;
    Ok(Fed { child: Child { process, ended, reach: Reach::Group }, sink })
}

/// Runs a program with its arguments. Standard input, output and error stay ours, and so does the process group: a program
/// that asks at a terminal (`psql` for a password) is stopped by the kernel unless it is in the foreground group. The
/// terminal's keys reach all of that group anyway; a signal to us alone goes on to the program alone.
pub fn run(words: &[OsString]) -> io::Result<Child> {
    let (program, arguments) = words.split_first().ok_or_else(|| io::Error::other("no program was named"))?;
    // The sockets that it names are ours.
    let process = Command::new(program).args(arguments).env_remove("LISTEN_FDNAMES").spawn()?;
    let ended = pidfd_open(Pid::from_child(&process), PidfdFlags::NONBLOCK)?;
    Ok(Child { process, ended, reach: Reach::Process })
}

impl Child {
    /// Lets an event with `token` tell of its end.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        register(registry, &self.ended, token, Interest::READABLE)
    }

    /// Ends that.
    pub fn deregister(&self, registry: &Registry) {
        deregister(registry, &self.ended);
    }

    /// Its status, if it has ended.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let (pid, term) = (Pid::from_child(&self.process), rustix::process::Signal::TERM);
        // It fails only if the child has ended, which is what was wanted.
        let _ = match self.reach {
            Reach::Process => rustix::process::kill_process(pid, term),
            Reach::Group => rustix::process::kill_process_group(pid, term),
        };
    }
}
