//! The command of `--exec`: what it is told, how it is fed or run, and what its end is called.

use super::leash::{Leashed, TERMINATED};
use crate::names::AppName;
use crate::net::child::{Child, Fed, shell, spawn_fed};
use crate::transfer::path::TreePath;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;

/// What shells say of a command that cannot be run.
const CANNOT_RUN: i32 = 126;

/// A command and the session it is for.
#[derive(Clone, Debug)]
pub(super) struct CommandLine {
    /// What `/bin/sh` is given.
    pub command: OsString,
    /// The peer, by petname if it has one.
    pub peer: String,
    /// The application it called.
    pub app: AppName,
}

impl CommandLine {
    /// What it finds in its environment.
    pub(super) fn environment(&self, name: &[u8]) -> Vec<(&'static str, OsString)> {
        // A name that would not do for a file does not do for a variable of a shell either.
        let name = TreePath::top(name).map_or(&b""[..], |_| name);
        vec![
            ("VP_PEER", self.peer.clone().into()),
            ("VP_APP", self.app.to_string().into()),
            ("VP_NAME", OsStr::from_bytes(name).to_owned()),
        ]
    }

    /// Starts it, to be fed with the bytes of a stream or file of this name, which may be empty.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn feed(&self, name: &[u8]) -> io::Result<Fed> {
        spawn_fed(&self.command, &self.environment(name))
    }

    /// Runs it for an item that is in the receiver's directory, and waits for its end, or ends it when it is let go of. Its
    /// input is empty, its output ours.
    pub(super) fn run(&self, directory: &Path, name: &[u8], leashed: &Leashed) -> i32 {
        if leashed.is_let_go() {
            return TERMINATED.number();
        }
        let path = directory.join(OsStr::from_bytes(name));
        let mut shell = shell(&self.command);
        shell.stdin(Stdio::null()).envs(self.environment(name)).env("VP_PATH", path);
        Child::group(&mut shell).map_or(CANNOT_RUN, |mut child| leashed.wait(&mut child).number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &CommandLine, directory: &Path) -> i32 {
        let (_leash, leashed) = crate::tools::recv::leash::pair().expect("a pipe");
        line.run(directory, b"a", &leashed)
    }

    fn line(command: &str) -> CommandLine {
        CommandLine { command: command.into(), peer: "east".into(), app: "orders".parse().expect("a name") }
    }

    #[test]
    fn it_finds_who_sent_what_and_where_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let told = line("test \"$VP_PEER:$VP_APP:$VP_NAME\" = east:orders:a && test \"$VP_PATH\" = \"$PWD/a\"");
        let command = format!("cd '{}' && {}", directory.path().display(), told.command.to_string_lossy());
        assert_eq!(run(&line(&command), directory.path()), 0);
    }

    #[test]
    fn failures_have_the_numbers_of_shells() {
        assert_eq!(run(&line("exit 7"), Path::new("/")), 7);
        assert_eq!(run(&line("kill -TERM $$"), Path::new("/")), 143);
    }

    #[test]
    fn a_hostile_name_does_not_reach_the_environment() {
        for name in [&b"a\x1b[2J"[..], b"../x", b"a\0b"] {
            assert_eq!(line("test -z \"$VP_NAME\"").environment(name)[2].1, OsString::new());
        }
    }
}
