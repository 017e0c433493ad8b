//! Where an engine puts the bytes of a file that goes to no directory: standard output, or the input of a command. Both
//! block, which an engine may.

use super::command::CommandLine;
use super::leash::{Leashed, TERMINATED, Waited};
use crate::net::Written;
use crate::net::child::{Child, shell};
use crate::net::stdio::Sink;
use crate::tools::transfers::engine::CommandEnded;
use rustix::event::PollFlags;
use std::io::{self, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What becomes known of standard output while an engine writes to it.
#[derive(Debug, Default)]
pub(super) struct OutputNews {
    put_out: AtomicBool,
    gone: AtomicBool,
}

impl OutputNews {
    /// Whether it has got anything.
    pub(super) fn has_put_out(&self) -> bool {
        self.put_out.load(Ordering::Relaxed)
    }

    /// Whether its reader has gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

/// Standard output, waited for only as long as it is held.
pub(super) struct Output {
    sink: Sink,
    news: Arc<OutputNews>,
    leashed: Leashed,
}

impl Output {
    /// Standard output, and what becomes known of it.
    ///
    /// # Errors
    /// It is closed, or no descriptor is left.
    pub(super) fn stdout(leashed: Leashed) -> io::Result<(Output, Arc<OutputNews>)> {
        let news = Arc::new(OutputNews::default());
        Ok((Output { sink: Sink::stdout()?, news: Arc::clone(&news), leashed }, news))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.leashed.is_let_go() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        // Ahead of the first byte: whoever looks in between must not find that nothing has gone out.
        self.news.put_out.store(true, Ordering::Relaxed);
        loop {
            match self.sink.try_write(bytes)? {
                Written::Bytes(count) => return Ok(count),
                Written::Later => match self.leashed.wait_for(&self.sink, PollFlags::OUT)? {
                    Waited::Ready => self.sink.handle_ready(false),
                    Waited::LetGo => return Err(io::ErrorKind::ConnectionAborted.into()),
                },
                Written::Gone => {
                    self.news.gone.store(true, Ordering::Relaxed);
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
        }
    }

    /// All is there.
    fn flush(&mut self) -> io::Result<()> {
        // Nothing at all is something, too, if it is all there is.
        self.news.put_out.store(true, Ordering::Relaxed);
        self.sink.settle()
    }
}

/// The input of a command. Whoever drops it before [`Write::flush`] has said that all is there breaks it off, and the
/// command is ended before it can take that for the end of the data.
pub(super) struct Feed {
    stdin: Option<ChildStdin>,
    child: Fed,
    leashed: Leashed,
    whole: bool,
}

/// A command that is being fed, for whoever waits for its end.
#[derive(Clone)]
pub(super) struct Fed(Arc<Mutex<Child>>, Leashed);

impl Fed {
    /// Waits for the command's end, or ends it when it is let go of; its status, as shells count.
    pub(super) fn wait(&self) -> i32 {
        self.1.wait(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)).number()
    }
}

impl Feed {
    /// Starts the command for a file of this name. The first of `leashed` holds the command, the second what it is fed.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(line: &CommandLine, name: &[u8], leashed: (Leashed, Leashed)) -> io::Result<(Feed, Fed)> {
        let mut shell = shell(&line.command);
        let mut child = Child::group(shell.stdin(Stdio::piped()).envs(line.environment(name)))?;
        let stdin = child.take_stdin();
        if let Some(stdin) = &stdin {
            // Our end is ours alone. A command that takes no more must not keep its own end from being noticed.
            rustix::io::ioctl_fionbio(stdin, true)?;
        }
        let fed = Fed(Arc::new(Mutex::new(child)), leashed.0);
        Ok((Feed { stdin, child: fed.clone(), leashed: leashed.1, whole: false }, fed))
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.whole = false;
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        if self.leashed.wait_for(&*stdin, PollFlags::OUT)? == Waited::LetGo {
            return Err(io::Error::other(CommandEnded(TERMINATED.number())));
        }
        match stdin.write(bytes) {
            // Room for less than a page is no room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::Interrupted.into()),
            // It takes no more: its status says whether that was a failure of its own.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(io::Error::other(CommandEnded(self.child.wait())))
            }
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.whole = true;
        Ok(())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        let mut child = self.child.0.lock().unwrap_or_else(PoisonError::into_inner);
        child.terminate();
        self.stdin = None;
        // One that takes no notice is waited for, until the tool itself is to end: what follows may need what it holds.
        self.child.1.wait(&mut child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testkit::until;
    use crate::tools::recv::leash::{self, Leash};

    fn start(line: &CommandLine) -> (Feed, Fed, [Leash; 2]) {
        let (command, feeding) = (leash::pair().expect("a pipe"), leash::pair().expect("a pipe"));
        let (feed, fed) = Feed::start(line, b"x", (command.1, feeding.1)).expect("a shell");
        (feed, fed, [command.0, feeding.0])
    }

    fn line(command: &str) -> CommandLine {
        CommandLine { command: command.into(), peer: "east".into(), app: "orders".parse().expect("a name") }
    }

    #[test]
    fn a_command_gets_all_of_it_and_its_status_is_known() {
        let (mut feed, fed, _leash) = start(&line("test \"$(cat)\" = abc && exit 5"));
        feed.write_all(b"abc").expect("a reader");
        feed.flush().expect("all there");
        drop(feed);
        assert_eq!(fed.wait(), 5);
    }

    #[test]
    fn a_command_that_fails_before_it_has_everything_says_so_by_its_status() {
        for (command, told) in [("exit 7", Some(7)), ("exit 0", Some(0)), ("exec <&-; sleep 0.01", Some(0))] {
            let (mut feed, _, _leash) = start(&line(command));
            let error = until(|| feed.write(&[0; 4096]).err());
            let status = error.get_ref().and_then(|inner| inner.downcast_ref::<CommandEnded>());
            assert_eq!(status.map(|ended| ended.0), told, "{command}");
        }
    }

    #[test]
    fn a_pipeline_that_is_broken_off_never_sees_an_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let mark = directory.path().join("mark");
        let command = format!("cat | (cat; touch '{}')", mark.display());
        let (mut feed, fed, _leash) = start(&line(&command));
        feed.write_all(b"abc").expect("a reader");
        drop(feed);
        assert_eq!((fed.wait(), mark.exists()), (143, false));
    }
}
