//! What follows from what has changed: calls, questions and ends that were not possible, or not wanted, before.

use super::entry::Action;
use super::{Key, Node};
use crate::wire::CloseCode;
use std::time::Instant;

/// A node in which something may have changed.
pub(super) struct Settling<'n> {
    pub node: &'n mut Node,
    pub now: Instant,
}

impl Settling<'_> {
    /// Brings everything that follows. Looks at the sessions that were touched, and at no others.
    pub(super) fn settle(&mut self) {
        while let Some(key) = self.node.sessions.next_touched() {
            self.settle_session(key);
        }
        self.settle_callers();
        if self.node.unheard.take(self.now) {
            self.node.names().listen_for_apps();
        }
        while self.node.uplink.is_attached()
            && let Some(key) = self.node.presence.next(self.node.uplink.circuits.asking())
        {
            self.node.calls(self.now).ask(key);
        }
        while self.node.uplink.is_attached()
            && let Some(claim) = self.node.siblings.next(self.now, self.node.uplink.circuits.claiming())
        {
            self.node.calls(self.now).claim(claim);
        }
        self.node.uplink.set_busy(self.now, !self.node.sessions.is_empty());
    }

    /// The same for one session.
    pub(super) fn settle_session(&mut self, key: Key) {
        loop {
            match self.node.sessions.next_action(self.now, key, self.node.uplink.state()) {
                Action::DropLane(lane) => {
                    if let Some(id) = self.node.uplink.circuits.carrying(key, lane) {
                        self.node.uplink.send_reset(id, CloseCode::PeerGone);
                        self.node.calls(self.now).handle_ended(id, CloseCode::PeerGone);
                    }
                }
                Action::Call => self.node.calls(self.now).call(key),
                Action::Join => self.node.calls(self.now).join(key),
                Action::End => self.node.end(self.now, key),
                Action::Rest { wake, .. } => {
                    if wake {
                        self.node.uplink.circuits.wake(key);
                    }
                    return;
                }
            }
        }
    }

    /// Whoever got as far as a session has the place that became free.
    fn settle_callers(&mut self) {
        while let Some(key) = self.node.sessions.take_waiting(self.node.serving.callers_max()) {
            self.node.announce(self.now, key);
        }
        if self.node.serving.update(self.node.sessions.callers().total()) {
            self.node.names().update();
        }
    }
}
