//! Commands that connections went through, and that are to end with them.

use crate::net::child::Child;
use std::time::{Duration, Instant};

/// Time to end in, for a command whose streams have ended and that was asked to.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Those whose end is not known yet.
#[derive(Default)]
pub(super) struct Leavers(Vec<(Child, Instant)>);

impl Leavers {
    /// This one is needed no more.
    pub(super) fn add(&mut self, now: Instant, child: Child) {
        child.terminate();
        self.0.push((child, now + PATIENCE));
        self.look(now);
    }

    /// Time has passed, or one has ended.
    pub(super) fn look(&mut self, now: Instant) {
        self.0.retain_mut(|(child, until)| {
            let is_over = !matches!(child.try_wait(), Ok(None));
            if !is_over && *until <= now {
                child.kill();
                *until = now + PATIENCE;
            }
            !is_over
        });
    }

    /// Whether all have ended.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When to look again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|(_, until)| *until).min()
    }
}

impl Drop for Leavers {
    /// Nobody will look again.
    fn drop(&mut self) {
        self.0.iter().for_each(|(child, _)| child.kill());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Read;
    use crate::net::child::{Ended, spawn_joined};
    use crate::net::testkit::{WHILE, until};
    use std::ffi::OsStr;

    /// A command that is there, and ignores what asks it to end.
    fn ignoring() -> Child {
        let ignores = OsStr::new("trap '' TERM; echo x; exec sleep 1000");
        let mut joined = spawn_joined(ignores).expect("a shell");
        let mut heard = [0; 8];
        until(|| (joined.socket.try_read(&mut heard).expect("a socket") != Read::Later).then_some(()));
        joined.child
    }

    #[test]
    fn a_command_that_will_not_end_is_killed_in_time() {
        let (mut leavers, now) = (Leavers::default(), Instant::now());
        leavers.add(now, ignoring());
        assert_eq!(leavers.next_timeout(), Some(now + PATIENCE), "it has ended by itself");
        leavers.look(now + PATIENCE - Duration::from_nanos(1));
        leavers.look(now + PATIENCE);
        let child = &mut leavers.0[0].0;
        assert_eq!(until(|| child.try_wait().expect("a child")), Ended::Killed(9));
        leavers.look(now + PATIENCE);
        assert_eq!(leavers.next_timeout(), None);
    }

    #[test]
    fn a_command_that_has_not_ended_when_nobody_looks_any_more_is_killed() {
        let child = ignoring();
        let ended = child.ended().try_clone_to_owned().expect("a descriptor");
        let mut leavers = Leavers::default();
        leavers.add(Instant::now(), child);
        drop(leavers);
        let mut ended = [rustix::event::PollFd::new(&ended, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec::try_from(WHILE).expect("a minute");
        assert_eq!(rustix::event::poll(&mut ended, Some(&patience)), Ok(1));
    }
}
