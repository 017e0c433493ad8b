//! The place of a session among others: it waits for one, or gives its own away.

use super::{Closing, Running, Work};
use crate::node::{Place, Reach};
use crate::run::farewell::Farewell;
use crate::run::tool::{Context, RunError};
use crate::run::turns::{GIVES_WAY_AFTER, Going, Standing, To, Waits, YieldReason};
use crate::tools::recv::Recv;
use crate::tools::transfers::Error;
use crate::wire::CloseCode;
use std::time::Instant;

/// Since when nothing comes of a peer that owes us the next word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stillness {
    since: Option<Instant>,
    /// Bytes of the peer's that were taken, and of ours that it took.
    moved: (u64, u64),
}

impl Stillness {
    /// So many bytes have moved by now, and the peer owes us something or not.
    fn note(&mut self, now: Instant, is_owed: bool, moved: (u64, u64)) {
        let is_still = is_owed && moved == self.moved;
        self.since = is_still.then(|| self.since.unwrap_or(now));
        self.moved = moved;
    }
}

/// What counts of a session when others wait for its place.
pub(super) struct Holding {
    called_at: Instant,
    /// Whether it has a path, or since when it has none.
    pub reach: Reach,
    still: Stillness,
    /// What the node was told of its place.
    told: Place,
    /// Another session of the same peer takes its place.
    pub superseded: bool,
}

impl Holding {
    /// Of one that has just come up.
    pub(super) fn new(now: Instant) -> Holding {
        Holding {
            called_at: now,
            reach: Reach::default(),
            still: Stillness::default(),
            told: Place::Own,
            superseded: false,
        }
    }
}

impl Running {
    /// Others come first. It waits for us, not we for it, unless it has gone: that is nobody's business.
    pub(super) fn wait_for_turn(&mut self, ctx: &mut Context<'_, Recv>) {
        self.deadlines.greet_anew(ctx.now);
        if self.holding.reach.gone_at(GIVES_WAY_AFTER).is_some_and(|at| at <= ctx.now) {
            self.holding.superseded = true;
            self.fail(ctx, Error::Run(RunError::Expired), CloseCode::Cancelled);
            self.deadlines.part_at_once(ctx.now);
        }
    }

    /// Looks whether it is still. What we are at work with ourselves, a command that runs or a disk that is slow, is not the
    /// peer's to answer for.
    pub(super) fn note_stillness(&mut self, ctx: &mut Context<'_, Recv>) {
        let Some(session) = ctx.node.session(self.key) else { return };
        let stream = session.stream(self.stream);
        let is_owed = match (&self.work, &self.end) {
            (_, Closing::Told(_)) => true,
            (Work::Stream(inflow), _) => stream.readable().is_empty() && inflow.waits_for_peer(),
            (Work::Files(engine), _) => engine.waits_for_peer(),
            (Work::Waiting | Work::Greeting(_) | Work::Refusing(..) | Work::Over, _) => true,
        };
        self.holding.still.note(ctx.now, is_owed, (stream.taken(), stream.consumed_by_peer()));
    }

    /// What counts when others wait.
    pub(crate) fn standing(&self, waits: Waits) -> Standing {
        Standing {
            peer: self.peer,
            called_at: self.holding.called_at,
            reach: self.holding.reach,
            still_since: self.holding.still.since,
            works: !self.is_waiting() && !matches!(self.end, Closing::Closed(_)),
            waits,
        }
    }

    /// Tells the node what it takes of the places, if that has changed.
    pub(crate) fn tell_place(&mut self, ctx: &mut Context<'_, Recv>, to: To) {
        let place = self.standing(Waits::Not).place(ctx.now, to);
        if std::mem::replace(&mut self.holding.told, place) != place {
            ctx.node.set_place(ctx.now, self.key, place);
        }
    }

    /// When others may have its place, unless something comes.
    pub(crate) fn yields_at(&self, to: To) -> Option<Instant> {
        self.standing(Waits::Not).yields_at(to).filter(|_| self.holding.told == Place::Own)
    }

    /// Others wait, and the process at the other end of this session is taken for gone, or says nothing. Where its peer has
    /// called anew, that call takes its place unless standard output has got something: that cannot be taken back, and must
    /// be neither doubled nor continued.
    pub(crate) fn give_way(&mut self, ctx: &mut Context<'_, Recv>, going: Going) {
        let is_followed = going.why == YieldReason::Followed;
        self.holding.superseded = is_followed && !self.has_put_out();
        match (std::mem::replace(&mut self.end, Closing::Open), going.why) {
            // What is told is done: another run would do it twice.
            (Closing::Told(result), _) => {
                self.holding.superseded = false;
                self.end = Closing::Closed(result);
                if let Some(session) = ctx.node.session(self.key) {
                    session.close(CloseCode::Done);
                }
            }
            (_, YieldReason::Followed) => self.fail(ctx, Error::BegunAnew, CloseCode::Cancelled),
            (_, YieldReason::Lost) => self.fail(ctx, Error::GaveWay, CloseCode::Cancelled),
            (_, YieldReason::Still) => self.fail(ctx, Error::WasStill, CloseCode::Limit),
        }
        // One that has a path is told: of files, what is missing may come again.
        let has_path = going.why == YieldReason::Still && self.holding.reach.has_path();
        if has_path {
            self.deadlines.part(ctx.now, Farewell::Hasty);
        } else {
            self.deadlines.part_at_once(ctx.now);
        }
    }

    fn has_put_out(&self) -> bool {
        match &self.work {
            Work::Stream(inflow) => inflow.has_put_out(),
            // An engine's end does not take back what it wrote.
            _ => self.output.as_ref().is_some_and(|news| news.has_put_out()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn still_is_who_owes_something_and_moves_nothing_from_the_moment_that_is_seen() {
        let (mut still, start) = (Stillness::default(), Instant::now());
        let second = |count| start + Duration::from_secs(count);
        let mut note = |at, is_owed, moved| {
            still.note(second(at), is_owed, moved);
            still.since
        };
        assert_eq!(note(1, true, (5, 0)), None, "something came");
        assert_eq!([note(2, true, (5, 0)), note(3, true, (5, 0))], [Some(second(2)); 2]);
        assert_eq!(note(4, true, (5, 1)), None, "it took something of ours");
        assert_eq!(note(5, true, (5, 1)), Some(second(5)));
        assert_eq!(note(90, false, (5, 1)), None, "we are at work");
        assert_eq!(note(91, true, (5, 1)), Some(second(91)));
    }
}
