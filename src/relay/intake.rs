//! What a link has said and the relay has not dealt with: input that was not read, input that was read and not looked at, a
//! message whose work is not done, and what other workers have yet to do.

use super::across::Payer;
use super::circuit::standstill::{Standstill, State};
use super::fair::work::Work;
use super::memory::block::Piece;
use super::router::calls::Recall;
use crate::wire::Control;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// See the module. It goes with its link from worker to worker, and what is in it is charged wherever it is.
#[derive(Debug)]
pub(super) struct Intake {
    /// Whether input waits that was not read: it may hold what the relay is waiting for.
    unread: bool,
    held: Held,
    /// Whether that is held for want of somebody who takes answers.
    deaf: bool,
    /// How long the link has stood still.
    pub standstill: Standstill,
    /// What its messages led to beyond what their kinds do, and what it has not paid for yet.
    unpaid: Work,
    /// Whoever pays for what it tells ends at other workers, from where it is; None before it has told any something.
    payer: Option<Arc<Payer>>,
}

/// What was read and is not done, in order: the client takes no answers, it was much work at once, or the link moved.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// A message whose work is not done.
    pub undone: Option<Undone>,
    /// What is behind it.
    pub pieces: VecDeque<Piece>,
}

/// A message whose work is not done.
#[derive(Debug)]
pub(super) enum Undone {
    /// The link moved for it, and nothing of it has been done. No larger than the start of a message that is kept otherwise,
    /// which there is none of then.
    Message(Box<Control>),
    /// It said LISTEN, and more calls than were offered at once waited for that.
    Calls(Box<Recall>),
}

impl Held {
    fn is_empty(&self) -> bool {
        self.undone.is_none() && self.pieces.is_empty()
    }
}

impl Intake {
    /// That of a link that has said nothing yet.
    pub(super) fn new(now: Instant) -> Intake {
        Intake {
            unread: false,
            held: Held::default(),
            deaf: false,
            standstill: Standstill::new(now),
            unpaid: Work::ZERO,
            payer: None,
        }
    }

    // What is held.

    /// Keeps input for later; `deaf` if it is for want of somebody who takes answers.
    pub(super) fn hold(&mut self, input: impl Iterator<Item = Piece>, deaf: bool) {
        self.held.pieces.extend(input.filter(|piece| !piece.is_empty()));
        self.deaf |= deaf;
    }

    /// A message is to be dealt with, before what is held.
    pub(super) fn leave_undone(&mut self, undone: Undone) {
        self.held.undone = Some(undone);
    }

    /// Whether a message is to be dealt with first.
    pub(super) fn is_undone(&self) -> bool {
        self.held.undone.is_some()
    }

    /// Whether anything is held.
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether anything is held that may be used while so many answers wait for the client.
    pub(super) fn may_use_held(&self, answers: usize) -> bool {
        self.has_held() && (!self.deaf || answers == 0)
    }

    /// Takes what is held.
    pub(super) fn take_held(&mut self) -> Held {
        self.deaf = false;
        std::mem::take(&mut self.held)
    }

    /// The memory that is kept for it, bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        self.held.pieces.iter().map(Piece::kept_bytes).sum()
    }

    // What it costs.

    /// A message led to so much work beyond what its kind does.
    pub(super) fn owe(&mut self, work: Work) {
        self.unpaid = self.unpaid + work;
    }

    /// What there is of that.
    pub(super) fn take_unpaid(&mut self) -> Work {
        std::mem::take(&mut self.unpaid)
    }

    // What other workers have yet to do.

    /// Whoever pays if it tells an end at another worker something; made if there is none.
    pub(super) fn payer(&mut self, payer: impl FnOnce() -> Arc<Payer>) -> &Arc<Payer> {
        self.payer.get_or_insert_with(payer)
    }

    /// It goes to another worker.
    pub(super) fn leave_worker(&mut self) {
        self.payer = None;
    }

    /// Whether so much of that is under way that the link is not to be listened to.
    pub(super) fn is_ahead(&self) -> bool {
        self.payer.as_ref().is_some_and(|payer| payer.is_ahead())
    }

    /// Whether so much of that is under way that what it is saying has to wait.
    pub(super) fn is_far_ahead(&self) -> bool {
        self.payer.as_ref().is_some_and(|payer| payer.is_far_ahead())
    }

    // What was not read.

    /// Something was read.
    pub(super) fn handle_read(&mut self, now: Instant) {
        self.unread = false;
        self.standstill.set(now, State::Moves);
    }

    /// There was nothing to read: whatever was not read before is no more than that.
    pub(super) fn handle_empty(&mut self) {
        self.unread = false;
    }

    /// Input waits and is not read.
    pub(super) fn handle_unread(&mut self, now: Instant, state: State) {
        self.unread = true;
        self.standstill.set(now, state);
    }

    /// Whether input waits that was not read, or not looked at.
    pub(super) fn has_unread(&self) -> bool {
        self.unread || self.has_held()
    }
}
