//! Whether anything was done with a session since its node saw to it, so that it may have more to send or to wait for. To look,
//! to ask for room to write and to poll in vain does neither.
//!
//! Whatever does something says so here. A debug build keeps what there was to send and to tell, and fails if that has grown
//! and nobody has said so.

use super::Session;

/// See the module's text.
#[derive(Default)]
pub(super) struct Changed {
    is_noted: bool,
    #[cfg(debug_assertions)]
    seen: Due,
}

/// What there is to send and to tell: each number is larger the more there is, or the further something has gone.
#[cfg(debug_assertions)]
#[derive(Clone, Copy, Debug, Default)]
struct Due([u64; 8]);

impl Changed {
    /// Something was done.
    pub(super) fn note(&mut self) {
        self.is_noted = true;
    }

    /// Something was done, if this is so.
    pub(super) fn note_if(&mut self, is_so: bool) {
        self.is_noted |= is_so;
    }

    /// Whether anything was done with this session.
    pub(super) fn of(session: &Session) -> bool {
        #[cfg(debug_assertions)]
        if !session.changed.is_noted {
            let (now, seen) = (Due::of(session), session.changed.seen);
            assert!(now.0.iter().zip(seen.0).all(|(now, seen)| *now <= seen), "unnoticed: {seen:?} became {now:?}");
        }
        session.changed.is_noted
    }

    /// The node of this session has seen to it.
    pub(super) fn clear(session: &mut Session) {
        session.changed.is_noted = false;
        #[cfg(debug_assertions)]
        {
            session.changed.seen = Due::of(session);
        }
    }
}

#[cfg(debug_assertions)]
impl Due {
    fn of(session: &Session) -> Due {
        let Session { streams, credit, ledger, lanes, schedule, ending, events, .. } = session;
        Due([
            events.len() as u64,
            schedule.waiting() as u64,
            streams.waiting() as u64,
            u64::from(streams.is_news_due()),
            u64::from(credit.is_due()),
            lanes.waiting() as u64,
            ledger.waiting() as u64,
            ending.stage(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Role;
    use crate::session::fuzz::{channel, config};
    use std::time::Instant;

    #[test]
    #[should_panic = "unnoticed"]
    fn what_is_due_and_was_not_noted_is_found() {
        let mut session = Session::new(Instant::now(), config(Role::Initiator, channel().0));
        session.clear_changed();
        assert!(!session.has_changed());
        session.schedule.push_open(1, "x");
        let _ = session.has_changed();
    }
}
