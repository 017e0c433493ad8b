//! What became of a transfer, for whoever started it.

use super::decoder::Malformed;
use super::messages::ItemOutcome;
use super::status::{Counts, Status};
use crate::transfer::Fault;
use crate::transfer::fault::DanglingLink;

/// Failures kept by name; the rest is only counted.
pub(crate) const FAILURES_KEPT_MAX: usize = 1_000;

/// The stream is gone for good; what was not acknowledged may or may not have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortClosed;

/// On whose side something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// Ours.
    Here,
    /// The peer's.
    There,
}

/// One item that did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its path, as bytes of unknown origin: escape before showing.
    pub path: Vec<u8>,
    /// Why.
    pub fault: Fault,
    /// Whose fault it is.
    pub side: Side,
    /// It had come to a good end before.
    pub late: bool,
    /// The link that it is, if that is why.
    pub dangling: Option<DanglingLink>,
}

/// Items that were there already and keep another mode or time than the sender's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unlike {
    /// The path of the first, as bytes of unknown origin: escape before showing.
    pub first: Vec<u8>,
    /// How many there are.
    pub count: u32,
}

/// The sum of what happened so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Items by their end.
    pub counts: Counts,
    /// Items that were not even offered.
    pub skipped: u32,
    /// Failures by name, the first thousand.
    pub failures: Vec<Failure>,
    /// Failures beyond those.
    pub failures_unnamed: u32,
    /// Items that were there but for their mode or time, if there are any.
    pub unlike: Option<Unlike>,
    damaged: bool,
    late: bool,
    /// Of what failed something may come about when it is tried again.
    passing: bool,
}

impl Tally {
    pub(crate) fn settle(&mut self, path: &[u8], outcome: ItemOutcome, side: Side) -> Option<Failure> {
        outcome.count(&mut self.counts);
        if outcome == ItemOutcome::ExistsUnlike {
            self.unlike.get_or_insert_with(|| Unlike { first: path.to_vec(), count: 0 }).count += 1;
        }
        outcome.fault().map(|fault| self.note(path, fault, side))
    }

    pub(crate) fn skip(&mut self, path: &[u8], fault: Fault, dangling: Option<DanglingLink>) -> Failure {
        self.skipped = self.skipped.saturating_add(1);
        Failure { dangling, ..self.note(path, fault, Side::Here) }
    }

    /// Something went wrong with an item after it was settled.
    pub(crate) fn note_late(&mut self, path: &[u8], fault: Fault) -> Failure {
        self.late = true;
        let failure = self.note(path, fault, Side::Here);
        Failure { late: true, ..failure }
    }

    /// The sender could not offer so many, for reasons of its own.
    pub(crate) fn skipped_there(&mut self, skipped: u32) {
        self.skipped = skipped;
        self.passing |= skipped > 0;
    }

    /// Whether all that failed would fail again until somebody changes something.
    #[must_use]
    pub(crate) fn is_lasting(&self) -> bool {
        !self.passing
    }

    fn note(&mut self, path: &[u8], fault: Fault, side: Side) -> Failure {
        self.passing |= !fault.is_refusal();
        self.damaged |= fault == Fault::Integrity;
        let failure = Failure { path: path.to_vec(), fault, side, late: false, dangling: None };
        if self.failures.len() < FAILURES_KEPT_MAX {
            self.failures.push(failure.clone());
        } else {
            self.failures_unnamed = self.failures_unnamed.saturating_add(1);
        }
        failure
    }

    /// The whole in one word. With the status of the command, if it failed or did not take everything.
    #[must_use]
    pub(crate) fn status(&self, command_status: Option<i32>) -> Status {
        let Counts { committed, exists, refused, failed } = self.counts;
        let good = u64::from(committed) + u64::from(exists);
        let failed = u64::from(failed) + u64::from(self.skipped) + u64::from(self.late);
        match () {
            () if self.damaged => Status::Integrity,
            () if command_status.is_some() && good == 0 => Status::CommandFailed,
            () if failed + u64::from(refused) > 0 && good > 0 => Status::Partial,
            () if failed > 0 => Status::LocalIo,
            () if refused > 0 => Status::Refused,
            () if command_status.is_some() => Status::CommandFailed,
            () if committed == 0 => Status::NothingToDo,
            () => Status::Complete,
        }
    }
}

/// What a sender has achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SendOutcome {
    /// In one word.
    pub status: Status,
    /// In numbers and names.
    pub tally: Tally,
    /// Content bytes that were sent, before compression, holes not counted.
    pub sent_bytes: u64,
    /// Of the receiver's command, if it failed; 0 if it only did not take everything.
    pub command_status: Option<i32>,
}

/// What a receiver has achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceiveOutcome {
    /// In one word.
    pub status: Status,
    /// In numbers and names.
    pub tally: Tally,
    /// Content bytes that came, after decompression, holes not counted.
    pub received_bytes: u64,
    /// Of the command that was run, if it failed; 0 if it only did not take everything.
    pub command_status: Option<i32>,
}

/// A message that makes sense, but not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Something else than HELLO first, or a second HELLO.
    Hello,
    /// An index out of order, unknown, or settled.
    Index,
    /// A message that this state does not allow.
    Order,
    /// A file offset that was not offered.
    Offset,
    /// More, or less, content than was announced.
    Length,
    /// A block that is no zstd frame of the declared length.
    Block,
    /// More entries than any transfer may have, or more unanswered than allowed.
    Entries,
    /// DONE that contradicts the items before it.
    Counts,
}

/// Why a transfer ended before its end. Items that were committed before stay committed.
#[derive(Debug)]
pub(crate) enum TransferError {
    /// The session ended.
    Closed(PortClosed),
    /// The peer finished its stream in the middle.
    Truncated,
    /// The peer sent something that is no message.
    Malformed(Malformed),
    /// The peer sent a message that breaks the rules.
    Violation(Violation),
    /// The receiver refused the whole transfer: the peer, or here this side.
    Refused(Fault),
    /// The receiver's directory cannot be used.
    Inbox(std::io::Error),
}

impl From<PortClosed> for TransferError {
    fn from(error: PortClosed) -> Self {
        Self::Closed(error)
    }
}

impl From<Malformed> for TransferError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<Violation> for TransferError {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(outcomes: &[ItemOutcome], skipped: u32) -> Status {
        let mut tally = Tally { skipped, ..Tally::default() };
        for outcome in outcomes {
            tally.settle(b"x", *outcome, Side::There);
        }
        tally.status(None)
    }

    #[test]
    fn the_worst_news_decides() {
        use ItemOutcome::{Committed, Exists, Failed, Refused};
        assert_eq!(status(&[], 0), Status::NothingToDo);
        assert_eq!(status(&[Exists, Exists], 0), Status::NothingToDo);
        assert_eq!(status(&[Exists, Committed], 0), Status::Complete);
        assert_eq!(status(&[Committed], 1), Status::Partial);
        assert_eq!(status(&[Committed, Refused(Fault::Exists)], 0), Status::Partial);
        assert_eq!(status(&[Refused(Fault::Exists)], 0), Status::Refused);
        assert_eq!(status(&[Refused(Fault::Name), Failed(Fault::Io)], 0), Status::LocalIo);
        assert_eq!(status(&[], 1), Status::LocalIo);
        assert_eq!(status(&[Committed, Failed(Fault::Integrity)], 0), Status::Integrity);
        assert_eq!(Tally::default().status(Some(3)), Status::CommandFailed);
    }

    #[test]
    fn names_of_failures_are_bounded() {
        let mut tally = Tally::default();
        for _ in 0..FAILURES_KEPT_MAX + 5 {
            tally.settle(b"x", ItemOutcome::Failed(Fault::Io), Side::Here);
        }
        assert_eq!((tally.failures.len(), tally.failures_unnamed), (FAILURES_KEPT_MAX, 5));
        assert_eq!(tally.counts.failed, 1_005);
    }
}
