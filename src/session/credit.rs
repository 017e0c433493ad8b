//! Credit of a session over all its streams, both ways: how many stream bytes each end may still send.
//!
//! ```text
//! 0 ……… consumed ≤ received ≤ limit          limit: the highest that was told, at most consumed + window
//! ```

use super::budget::{Budget, Share};
use super::violation::Violation;
use super::window::Window;
use crate::wire::limits::RECORD_PLAINTEXT_MAX;
use std::time::{Duration, Instant};

/// Credit of a fresh stream, bytes: known to both ends without a message.
pub const STREAM_WINDOW_START: u64 = 256 * 1024;
/// Largest window of a stream, bytes: 32 MiB carry 600 MiB/s at 50 ms.
pub const STREAM_WINDOW_MAX: u64 = 32 * 1024 * 1024;
/// Credit of a fresh session over all its streams, bytes.
pub const SESSION_WINDOW_START: u64 = 1024 * 1024;
/// Largest window of a session, bytes: a stream that was fast and then is not read leaves something to the others.
pub const SESSION_WINDOW_MAX: u64 = 44 * 1024 * 1024;
/// Credit with which any record can go out, bytes: a sender splits none.
const RECORD_BYTES: u64 = 64 * 1024;
const _: () = assert!(RECORD_PLAINTEXT_MAX <= 64 * 1024);

pub(super) struct Credit {
    /// Stream bytes sent, and how many the peer takes.
    sent: u64,
    peer_limit: u64,
    /// Stream bytes that came, and those of them that are where they belong.
    received: u64,
    consumed: u64,
    window: Window,
    /// What the peer was told.
    limit: u64,
    /// The peer should hear of the limit at once.
    tell: bool,
    share: Share,
}

impl Credit {
    /// That of a fresh session, which grows within `budget`.
    pub(super) fn new(now: Instant, budget: &Budget) -> Credit {
        Credit {
            sent: 0,
            peer_limit: SESSION_WINDOW_START,
            received: 0,
            consumed: 0,
            window: Window::new(now, SESSION_WINDOW_START, SESSION_WINDOW_MAX),
            limit: SESSION_WINDOW_START,
            tell: false,
            share: Share::of(budget),
        }
    }

    /// From now on it grows within another budget.
    pub(super) fn grow_within(&mut self, budget: &Budget) {
        self.share = self.share.moved_to(budget);
    }

    /// Whether so many more bytes may be sent.
    pub(super) fn allows(&self, bytes: u64) -> bool {
        self.sent + bytes <= self.peer_limit
    }

    /// So many are sent.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// The peer takes so many in all. Old news changes nothing.
    pub(super) fn handle_limit(&mut self, limit: u64) {
        self.peer_limit = self.peer_limit.max(limit);
    }

    /// Bytes that came and were not consumed.
    pub(super) fn held(&self) -> u64 {
        self.received.saturating_sub(self.consumed)
    }

    /// So many bytes came, or will never come but count.
    pub(super) fn receive(&mut self, bytes: u64) -> Result<(), Violation> {
        self.received += bytes;
        if self.received > self.limit { Err(Violation::SessionCredit) } else { Ok(()) }
    }

    /// The application has put `bytes` more where they belong.
    pub(super) fn consume(&mut self, now: Instant, round_trip: Option<Duration>, bytes: u64) {
        self.consumed += bytes;
        let share = &mut self.share;
        self.window.handle_consumed(now, round_trip, self.consumed, |step| share.take_step(step));
    }

    /// So many bytes nobody will consume: the peer may send others instead, and should know soon.
    pub(super) fn forgo(&mut self, bytes: u64) {
        self.consumed += bytes;
        self.window.skip(bytes);
        self.tell |= bytes > 0;
    }

    /// Streams that nobody reads must not take the session's credit from the others, as long as memory allows. Half of the
    /// window, because a quarter may be consumed and not yet told, and a record needs a part of the rest.
    pub(super) fn widen_for_unread(&mut self) {
        if self.held() > self.window.size() / 2 && self.window.size() < SESSION_WINDOW_MAX {
            self.tell |= self.widen();
        }
    }

    /// Whether a stream's window of this size, whatever becomes of the stream, leaves the others enough of the session's.
    /// Widens that first, if need be.
    pub(super) fn leave_beside(&mut self, stream_window: u64) -> bool {
        let needed = stream_window + STREAM_WINDOW_START;
        self.window.size() >= needed || self.widen() && self.window.size() >= needed
    }

    fn widen(&mut self) -> bool {
        let share = &mut self.share;
        self.window.widen(|step| share.take_step(step))
    }

    /// The peer should hear of the limit with whatever goes out next.
    pub(super) fn tell(&mut self) {
        self.tell = true;
    }

    /// Whether the limit is worth a record of its own, for a reason other than that credit is scarce.
    pub(super) fn is_due(&self) -> bool {
        self.tell
    }

    /// The peer would gain as much as it has left, or cannot send a whole record with that: most is held by streams that
    /// nobody reads, and a quarter of the window, which is what is told otherwise, may be more than the others can consume
    /// without hearing of it. What is left may shrink with no byte consumed any more, so it counts whenever there is output.
    pub(super) fn is_scarce(&self) -> bool {
        let gain = (self.consumed + self.window.size()).saturating_sub(self.limit);
        let left = self.limit.saturating_sub(self.received);
        gain > 0 && (gain >= left || left < RECORD_BYTES)
    }

    /// Whether the limit is worth some bytes in a record that goes out anyway.
    pub(super) fn is_worth_telling(&self) -> bool {
        self.tell || self.window.worth_telling(self.limit, self.consumed + self.window.size())
    }

    /// The limit to tell now. Counts as told.
    pub(super) fn report(&mut self) -> u64 {
        self.tell = false;
        self.limit = self.limit.max(self.consumed + self.window.size());
        self.limit
    }

    /// How wide the window may become as things stand.
    fn reach(&self) -> u64 {
        SESSION_WINDOW_MAX.min(self.window.size().saturating_add(self.share.step_max()))
    }

    /// How wide it may be after its next step.
    fn next_size(&self) -> u64 {
        let size = self.window.size();
        let next = SESSION_WINDOW_MAX.min(2 * size);
        if next <= self.reach() { next } else { size }
    }

    /// A stream that is read fast may stop being read, and then holds its window. So even alone it leaves what a second one
    /// begins with. Among others it gets an eighth of what is left of the session's, at first 5.5 MiB, which carry 110 MiB/s
    /// at 50 ms: a few that stop leave something to the rest. Where the budget is used up, what is left is less.
    pub(super) fn stream_window_max(&self, streams: usize) -> u64 {
        let most = STREAM_WINDOW_MAX.min(self.next_size() - STREAM_WINDOW_START);
        match streams {
            0 | 1 => most,
            _ => (self.reach().saturating_sub(self.held()) / 8).clamp(STREAM_WINDOW_START, most),
        }
    }
}

#[cfg(test)]
impl Credit {
    /// Size of the window, bytes.
    pub(super) fn window_size(&self) -> u64 {
        self.window.size()
    }

    /// Whether the peer was told more than it had at first, or will be.
    pub(super) fn tells_growth(&self) -> bool {
        self.tell && self.limit > SESSION_WINDOW_START
    }

    /// As if so much came in that was not consumed.
    pub(super) fn set_held(&mut self, bytes: u64) {
        self.received = self.consumed + bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credit(budget_bytes: usize) -> Credit {
        Credit::new(Instant::now(), &Budget::new(budget_bytes))
    }

    #[test]
    fn a_peer_that_sends_beyond_the_limit_is_found() {
        let mut credit = credit(1 << 30);
        assert_eq!(credit.receive(SESSION_WINDOW_START), Ok(()));
        assert_eq!(credit.receive(1), Err(Violation::SessionCredit));
    }

    #[test]
    fn what_is_sent_stays_within_the_peers_limit_which_never_falls() {
        let mut credit = credit(0);
        assert!(credit.allows(SESSION_WINDOW_START) && !credit.allows(SESSION_WINDOW_START + 1));
        credit.spend(SESSION_WINDOW_START);
        assert!(!credit.allows(1));
        credit.handle_limit(SESSION_WINDOW_START + 5);
        credit.handle_limit(1);
        assert!(credit.allows(5) && !credit.allows(6));
    }

    #[test]
    fn scarce_credit_is_told_and_then_is_scarce_no_more() {
        let mut credit = credit(0);
        credit.receive(SESSION_WINDOW_START - 10).unwrap();
        assert!(!credit.is_scarce(), "nothing to gain");
        credit.consume(Instant::now(), None, 10);
        assert!(credit.is_scarce() && !credit.is_worth_telling());
        assert_eq!(credit.report(), SESSION_WINDOW_START + 10);
        assert!(!credit.is_scarce());
    }

    #[test]
    fn bytes_that_nobody_will_consume_give_their_credit_back_at_once() {
        let mut credit = credit(0);
        credit.receive(1000).unwrap();
        credit.forgo(1000);
        assert_eq!((credit.held(), credit.is_due()), (0, true));
        assert_eq!((credit.report(), credit.is_due()), (SESSION_WINDOW_START + 1000, false));
    }
}
