//! How a session ends: each end says CLOSE, an end fails, or no lane comes back in time.

use super::violation::Violation;
use std::time::{Duration, Instant};

/// How long an end that has closed, and heard the peer close, keeps looking for a lane to settle the last records.
pub const LINGER: Duration = Duration::from_secs(10);

/// The session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// The peer broke the protocol: what it did.
    PeerMisbehaved(Violation),
    /// No lane came back within the time the user allows.
    Expired,
}

/// Our CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// Nobody asked for it.
    None,
    /// It waits for everything written.
    Wanted(u16),
    /// It was handed to the lanes. Nothing follows.
    Queued,
}

pub(super) struct Ending {
    resume_timeout: Duration,
    ours: Close,
    /// The peer's CLOSE, by its code.
    theirs: Option<u16>,
    /// Both ends closed, and nobody is left to settle the last records with.
    is_abandoned: bool,
    failed: Option<SessionError>,
}

impl Ending {
    pub(super) fn new(resume_timeout: Duration) -> Ending {
        Ending { resume_timeout, ours: Close::None, theirs: None, is_abandoned: false, failed: None }
    }

    /// The application wants to close. Yields whether it is the first time.
    pub(super) fn close(&mut self, code: u16) -> bool {
        let is_first = self.ours == Close::None;
        if is_first {
            self.ours = Close::Wanted(code);
        }
        is_first
    }

    /// The code of the CLOSE that waits for everything written.
    pub(super) fn wanted(&self) -> Option<u16> {
        if let Close::Wanted(code) = self.ours { Some(code) } else { None }
    }

    /// It waits no longer.
    pub(super) fn note_queued(&mut self) {
        self.ours = Close::Queued;
    }

    pub(super) fn is_queued(&self) -> bool {
        self.ours == Close::Queued
    }

    /// This side has closed, though the peer may not know yet.
    pub(super) fn is_closing(&self) -> bool {
        self.ours != Close::None
    }

    /// How far the end has come, as a number that never falls.
    #[cfg(debug_assertions)]
    pub(super) fn stage(&self) -> u64 {
        let reached =
            [self.is_closing(), self.is_queued(), self.theirs.is_some(), self.is_abandoned, self.failed.is_some()];
        reached.map(u64::from).iter().sum()
    }

    /// The peer closes. Yields whether it is the first time.
    pub(super) fn handle_close(&mut self, code: u16) -> bool {
        self.theirs.replace(code).is_none()
    }

    /// The code with which the peer closed.
    pub(super) fn peer_code(&self) -> Option<u16> {
        self.theirs
    }

    /// The peer's process has let go of the session. After its CLOSE that is no accident: nobody is left to tell of ours.
    pub(super) fn handle_forgotten(&mut self) {
        self.is_abandoned |= self.theirs.is_some();
    }

    /// Both ends closed, and nobody is left to settle the last records with.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }

    /// The session fails, unless it has before. Yields what ended it.
    pub(super) fn fail(&mut self, error: SessionError) -> SessionError {
        *self.failed.get_or_insert(error)
    }

    pub(super) fn failure(&self) -> Option<SessionError> {
        self.failed
    }

    /// Both ends want to end and no lane is left to say so: the other is most likely gone.
    fn abandoned_at(&self, no_lane_since: Option<Instant>) -> Option<Instant> {
        let both = self.theirs.is_some() && self.is_closing() && !self.is_abandoned;
        no_lane_since.filter(|_| both).map(|since| since + LINGER)
    }

    fn expires_at(&self, no_lane_since: Option<Instant>) -> Option<Instant> {
        no_lane_since.map(|since| since + self.resume_timeout)
    }

    /// When the session gives up waiting for a lane.
    pub(super) fn next_timeout(&self, no_lane_since: Option<Instant>) -> Option<Instant> {
        [self.abandoned_at(no_lane_since), self.expires_at(no_lane_since)].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, no_lane_since: Option<Instant>) {
        self.is_abandoned |= self.abandoned_at(no_lane_since).is_some_and(|at| at <= now);
        if self.expires_at(no_lane_since).is_some_and(|at| at <= now) {
            self.fail(SessionError::Expired);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(600);

    #[test]
    fn without_a_lane_a_session_waits_for_its_timeout_or_briefly_when_both_ends_closed() {
        let since = Instant::now();
        let mut ending = Ending::new(PATIENCE);
        assert_eq!((ending.next_timeout(None), ending.next_timeout(Some(since))), (None, Some(since + PATIENCE)));
        assert!(ending.close(0) && !ending.close(1));
        assert_eq!(ending.next_timeout(Some(since)), Some(since + PATIENCE), "the peer may not know");
        assert!(ending.handle_close(0) && !ending.handle_close(1));
        assert_eq!(ending.next_timeout(Some(since)), Some(since + LINGER));
        ending.handle_timeout(since + LINGER, None);
        assert!(!ending.is_abandoned(), "a lane came back");
        ending.handle_timeout(since + LINGER, Some(since));
        assert_eq!((ending.is_abandoned(), ending.failure()), (true, None));
        ending.handle_timeout(since + PATIENCE, Some(since));
        assert_eq!(ending.failure(), Some(SessionError::Expired));
    }

    #[test]
    fn a_peer_that_forgets_the_session_ends_it_only_after_its_close() {
        let mut ending = Ending::new(PATIENCE);
        ending.handle_forgotten();
        assert!(!ending.is_abandoned());
        ending.handle_close(0);
        ending.handle_forgotten();
        assert!(ending.is_abandoned());
    }

    #[test]
    fn the_first_failure_stays() {
        let mut ending = Ending::new(PATIENCE);
        ending.fail(SessionError::PeerMisbehaved(Violation::Skipped));
        assert_eq!(ending.fail(SessionError::Expired), SessionError::PeerMisbehaved(Violation::Skipped));
    }
}
