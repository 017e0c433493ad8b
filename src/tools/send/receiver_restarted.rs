//! The receiver's process, where files are sent: what is missing goes to another that takes its place.

use crate::identity::PeerId;
use crate::names::AppName;
use crate::node::{Anew, Key, Node};
use std::time::{Duration, Instant};

/// A receiver that lives would have come back by then. Calling too early costs a live one its session, and so what is under
/// way of a file is compared once more.
const CALL_ANEW_AFTER: Duration = Duration::from_secs(4);

/// See the module's text.
pub(super) struct Receiver {
    /// The call beside a session that has no path, or in place of one that has ended.
    anew: Anew<Key>,
    relay_since: Option<Instant>,
    /// How long one that left may stay away, and until when one that has left may.
    patience: Duration,
    back_by: Option<Instant>,
}

impl Receiver {
    /// One that has not left, and may stay away for so long when it does.
    pub(super) fn new(patience: Duration) -> Receiver {
        Receiver { anew: Anew::after(CALL_ANEW_AFTER), relay_since: None, patience, back_by: None }
    }

    /// There is a relay since then, or none.
    pub(super) fn handle_relay(&mut self, since: Option<Instant>) {
        self.relay_since = since;
    }

    /// The session has lost its path.
    pub(super) fn handle_lost(&mut self, now: Instant) {
        self.anew.handle_lost(now);
    }

    /// The session has a path again, or nothing is to be sent any more.
    pub(super) fn settle(&mut self, now: Instant, node: &mut Node) {
        self.back_by = None;
        if let Some(call) = self.anew.settle() {
            node.abandon(now, call);
        }
    }

    /// A session is up. Whether it takes the place of the one there was.
    pub(super) fn handle_up(&mut self, key: Key) -> bool {
        let is_anew = self.anew.call() == Some(key);
        if is_anew {
            self.anew.settle();
            self.back_by = None;
        }
        is_anew
    }

    /// A call has failed. Whether it was made here.
    pub(super) fn handle_failed(&mut self, now: Instant, key: Key) -> bool {
        self.anew.handle_failed(now, key)
    }

    /// Its process has ended, or has others to serve: whoever takes its place is called at once.
    pub(super) fn handle_left(&mut self, now: Instant, node: &mut Node, to: &(PeerId, AppName)) {
        // For one that never turned to us the time to meet it counts as well, which the node keeps.
        self.back_by = Some(now + self.patience);
        let under_way = self.anew.settle();
        let call = under_way.unwrap_or_else(|| node.call(now, to.0, to.1.clone()));
        self.anew.handle_called(call);
    }

    /// Calls anew, if it is time to.
    pub(super) fn call_if_due(&mut self, now: Instant, node: &mut Node, to: &(PeerId, AppName)) {
        if self.anew.call_at(self.relay_since).is_some_and(|at| at <= now) {
            let call = node.call(now, to.0, to.1.clone());
            self.anew.handle_called(call);
        }
    }

    /// Whether one that left has stayed away for too long.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.back_by.is_some_and(|at| at <= now)
    }

    /// When there is something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.anew.call_at(self.relay_since).into_iter().chain(self.back_by).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::node::Kind;
    use crate::node::testkit::node;

    const WHILE: Duration = Duration::from_secs(600);

    #[test]
    fn one_that_leaves_while_it_is_called_anew_is_not_called_twice() {
        let now = Instant::now();
        let (mut node, mut receiver) = (node(now, Kind::Transfer), Receiver::new(WHILE));
        let to = (Identity::from_seed(&[3; 32]).id(), "drop".parse().unwrap());
        receiver.handle_relay(Some(now));
        receiver.handle_lost(now);
        receiver.call_if_due(now, &mut node, &to);
        assert_eq!((receiver.anew.call(), receiver.next_timeout()), (None, Some(now + CALL_ANEW_AFTER)));
        let later = now + CALL_ANEW_AFTER;
        receiver.call_if_due(later, &mut node, &to);
        let call = receiver.anew.call().unwrap();
        receiver.handle_left(later, &mut node, &to);
        assert_eq!(receiver.anew.call(), Some(call));
        assert!(!receiver.is_overdue(later) && receiver.is_overdue(later + WHILE));
        assert!(receiver.handle_up(call) && !receiver.handle_up(call));
        assert!(!receiver.is_overdue(later + WHILE), "it is there");
    }

    #[test]
    fn a_call_that_is_needed_no_more_is_given_up() {
        let now = Instant::now();
        let (mut node, mut receiver) = (node(now, Kind::Transfer), Receiver::new(WHILE));
        let to = (Identity::from_seed(&[3; 32]).id(), "drop".parse().unwrap());
        receiver.handle_left(now, &mut node, &to);
        let call = receiver.anew.call().unwrap();
        assert!(node.knows(call));
        receiver.settle(now, &mut node);
        assert_eq!((node.knows(call), receiver.anew.call(), receiver.next_timeout()), (false, None, None));
    }
}
