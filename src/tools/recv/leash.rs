//! How the loop ends a command that an engine waits for in a thread of its own: it lets go of one end of a pipe, and whoever
//! waits at the other end for a command, or for it to take more, tells the command's group to end and waits no longer.

use crate::net::child::{Child, Ended};
use crate::net::signals::TERM;
use crate::run::farewell::held_until;
use crate::run::tool::{Doing, RunError};
use crate::tools::transfers::Error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

/// How a command ends that is told to.
pub(super) const TERMINATED: Ended = Ended::Killed(TERM);

/// The loop's end. Dropping it ends the command.
#[derive(Debug)]
pub(super) struct Leash(#[expect(dead_code, reason = "it is held, and never written to")] PipeWriter);

/// The engine's end.
#[derive(Clone, Debug)]
pub(super) struct Leashed(Arc<PipeReader>);

/// What a wait ended by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// What was waited for.
    Ready,
    /// The command is to end.
    LetGo,
}

/// What the loop holds of an engine. Dropping it lets go of all.
#[derive(Debug, Default)]
pub(super) struct Leashes {
    /// The command that the engine runs.
    command: Option<Leash>,
    /// What it waits for: its output, or another session with the same item. Not once the session has failed.
    feeding: Option<Leash>,
}

impl Leashes {
    /// Holds an engine. Of its ends the first holds the command, the second what it waits for.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn hold(&mut self) -> Result<(Leashed, Leashed), Error> {
        let failed = |error| Error::Run(RunError::Io(Doing::MakePipe, error));
        let (command, runs) = pair().map_err(failed)?;
        let (feeding, waits) = pair().map_err(failed)?;
        *self = Leashes { command: Some(command), feeding: Some(feeding) };
        Ok((runs, waits))
    }

    /// Has the engine wait for nothing but its command.
    pub(super) fn stop_feeding(&mut self) {
        self.feeding = None;
    }

    /// Has the command end, too.
    pub(super) fn end_command(&mut self) {
        self.command = None;
    }
}

/// Both ends.
///
/// # Errors
/// No descriptor is left.
pub(super) fn pair() -> io::Result<(Leash, Leashed)> {
    let (reader, writer) = io::pipe()?;
    Ok((Leash(writer), Leashed(Arc::new(reader))))
}

impl Leashed {
    /// Whether the command is to end, or not even to begin.
    pub(super) fn is_let_go(&self) -> bool {
        let mut fds = [PollFd::new(&*self.0, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    }

    /// Waits for a descriptor.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn wait_for(&self, fd: impl AsFd, flags: PollFlags) -> io::Result<Waited> {
        loop {
            let mut fds = [PollFd::new(&*self.0, PollFlags::empty()), PollFd::new(&fd, flags)];
            match poll(&mut fds, None) {
                Ok(_) if !fds[0].revents().is_empty() => return Ok(Waited::LetGo),
                Ok(_) if !fds[1].revents().is_empty() => return Ok(Waited::Ready),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for the end of a command that is a process group of its own, or ends it.
    pub(super) fn wait(&self, child: &mut Child) -> Ended {
        if let Ok(Some(ended)) = child.try_wait() {
            return self.held(ended);
        }
        match self.wait_for(child.ended(), PollFlags::IN) {
            Ok(Waited::LetGo) => {
                // One that takes no notice is not waited for: somebody waits for us.
                child.terminate();
                TERMINATED
            }
            Ok(Waited::Ready) => self.held(child.try_wait().ok().flatten().unwrap_or(Ended::Unknown)),
            Err(_) => Ended::Unknown,
        }
    }

    /// The end of a command. That of one that somebody told to end is known only after the time in which we may be told as well.
    fn held(&self, ended: Ended) -> Ended {
        let Some(until) = held_until(Instant::now(), ended.number()) else { return ended };
        loop {
            let mut fds = [PollFd::new(&*self.0, PollFlags::empty())];
            let left = until.saturating_duration_since(Instant::now());
            // What ended the wait shows in the session: one that we left hears nothing of this status.
            if poll(&mut fds, Some(&Timespec::try_from(left).unwrap_or_default())) != Err(Errno::INTR) {
                return ended;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::child;
    use std::ffi::OsStr;

    fn shell(command: &str) -> Child {
        Child::group(&mut child::shell(OsStr::new(command))).expect("a shell")
    }

    #[test]
    fn a_command_that_ends_by_itself_has_its_own_status_however_often_it_is_asked() {
        let (_leash, leashed) = pair().expect("a pipe");
        let mut child = shell("exit 7");
        assert_eq!([leashed.wait(&mut child), leashed.wait(&mut child)], [Ended::Exited(7); 2]);
    }

    #[test]
    fn one_that_is_let_go_of_ends_by_a_signal_while_it_is_waited_for() {
        let (leash, leashed) = pair().expect("a pipe");
        let mut child = shell("sleep 1000");
        let waiting = std::thread::spawn(move || (leashed.wait(&mut child), child));
        drop(leash);
        let (told, mut child) = waiting.join().expect("an end");
        assert_eq!(told, TERMINATED);
        let mut ended = [PollFd::from_borrowed_fd(child.ended(), PollFlags::IN)];
        poll(&mut ended, None).expect("a descriptor");
        assert_eq!(child.try_wait().expect("a child"), Some(TERMINATED));
    }
}
