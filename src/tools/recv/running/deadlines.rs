//! Until when each thing is waited for that a session's peer, or our own engine, has yet to do.

use crate::run::farewell::{Farewell, GREETING_TIME, is_silent};
use std::time::{Duration, Instant};

/// An engine that was told to break off is waited for no longer: what it has not renamed is a part file, to be resumed.
const ENGINE_TIME: Duration = Duration::from_secs(5);
/// A sender that has a path, and was told the end, has so long to take note of it. It has heard all that there is to say.
const NOTE_TIME: Duration = Duration::from_secs(10 * 60);

/// What the peer owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// Its first message.
    Greeting,
    /// To note what it was told.
    Note,
    /// Nothing that has a time of its own.
    Nothing,
}

/// See the module's text.
pub(super) struct Deadlines {
    greet_by: Instant,
    /// Until when it may take to note what it was told, while it has a path.
    note_by: Option<Instant>,
    /// Until when it is told of the end.
    forget_at: Option<Instant>,
    /// Until when an engine may take to come to its end.
    engine_by: Option<Instant>,
}

impl Deadlines {
    /// Of a session that has just come up.
    pub(super) fn new(now: Instant) -> Deadlines {
        Deadlines { greet_by: now + GREETING_TIME, note_by: None, forget_at: None, engine_by: None }
    }

    /// The peer has all its time again to begin.
    pub(super) fn greet_anew(&mut self, now: Instant) {
        self.greet_by = now + GREETING_TIME;
    }

    /// Whether the peer has a path, and should have begun.
    pub(super) fn check_greeting(&mut self, now: Instant, has_path: bool) -> bool {
        is_silent(&mut self.greet_by, now, has_path)
    }

    /// The peer was told the end, and has a path or not. Whether its time to note that is over.
    pub(super) fn check_note(&mut self, now: Instant, has_path: bool) -> bool {
        self.note_by = has_path.then(|| self.note_by.unwrap_or(now + NOTE_TIME));
        self.note_by.is_some_and(|at| at <= now)
    }

    /// The session has ended for us: the peer is told for so long.
    pub(super) fn part(&mut self, now: Instant, farewell: Farewell) {
        self.forget_at = Some(farewell.until(now));
    }

    /// The same, of one that nobody is told of.
    pub(super) fn part_at_once(&mut self, now: Instant) {
        self.forget_at = Some(now);
    }

    /// Whether the peer has had its time to be told. Only once.
    pub(super) fn take_parted(&mut self, now: Instant) -> bool {
        self.forget_at.take_if(|at| *at <= now).is_some()
    }

    /// The engine was told to break off.
    pub(super) fn break_off(&mut self, now: Instant) {
        self.engine_by = Some(now + ENGINE_TIME);
    }

    /// Whether an engine that was told to break off is waited for no longer.
    pub(super) fn is_engine_overdue(&self, now: Instant) -> bool {
        self.engine_by.is_some_and(|at| at <= now)
    }

    /// The next of them, where the peer owes this.
    pub(super) fn next(&self, owed: Owed) -> Option<Instant> {
        let owed = match owed {
            Owed::Greeting => Some(self.greet_by),
            Owed::Note => self.note_by,
            Owed::Nothing => None,
        };
        [owed, self.forget_at, self.engine_by].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_has_so_long_to_note_the_end_from_when_its_path_is_there() {
        let now = Instant::now();
        let mut deadlines = Deadlines::new(now);
        assert!(!deadlines.check_note(now, true) && !deadlines.check_note(now + NOTE_TIME / 2, true));
        assert_eq!(deadlines.next(Owed::Note), Some(now + NOTE_TIME));
        assert!(deadlines.check_note(now + NOTE_TIME, true));
        let later = now + NOTE_TIME;
        assert!(!deadlines.check_note(later, false), "that is for the session's own end to say");
        assert!(!deadlines.check_note(later, true), "the path is there again");
        assert_eq!(deadlines.next(Owed::Note), Some(later + NOTE_TIME));
    }
}
