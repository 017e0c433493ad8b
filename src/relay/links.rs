//! The links of one worker: when to look at which, and which have output.

use super::LinkId;
use super::attached::Attachment;
use super::fair::line::Line;
use super::router::circuits::EndReport;
use super::timers::Timers;
use foldhash::HashMap;
use std::time::Instant;

/// See the module.
#[derive(Default)]
pub(super) struct Links {
    by_id: HashMap<LinkId, Box<Attachment>>,
    timers: Timers,
    /// Those with output.
    pub writable: Line,
}

impl Links {
    /// Takes a link in.
    pub(super) fn insert(&mut self, attachment: Box<Attachment>) {
        self.by_id.insert(attachment.id, attachment);
    }

    /// Gives a link away.
    pub(super) fn remove(&mut self, id: LinkId) -> Option<Box<Attachment>> {
        let mut attachment = self.by_id.remove(&id)?;
        attachment.listed = Default::default();
        Some(attachment)
    }

    /// A link. Whoever changes it has to [`Links::touch`] it.
    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Attachment> {
        self.by_id.get_mut(&id).map(Box::as_mut)
    }

    /// A link.
    pub(super) fn get(&self, id: LinkId) -> Option<&Attachment> {
        self.by_id.get(&id).map(Box::as_ref)
    }

    /// All links.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Attachment> {
        self.by_id.values().map(Box::as_ref)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Changes a link, and follows that up: its timer, its heartbeat, the list of those with output. Its ends of
    /// circuits that have ended.
    pub(super) fn change(&mut self, now: Instant, id: LinkId, change: impl FnOnce(&mut Attachment)) -> Vec<EndReport> {
        let Some(attachment) = self.by_id.get_mut(&id) else { return Vec::new() };
        change(attachment);
        attachment.settle(now);
        let deadline = attachment.next_timeout();
        self.timers.arm(id, &mut attachment.listed.armed, deadline);
        if attachment.has_output() && !std::mem::replace(&mut attachment.listed.writable, true) {
            self.writable.enter(&attachment.account(), id.conn());
        }
        attachment.circuits.take_ended()
    }

    /// The next link that has output; none if this turn is over.
    pub(super) fn poll_output(&mut self) -> Option<LinkId> {
        let id = self.writable.pop()?.link();
        if let Some(attachment) = self.by_id.get_mut(&id) {
            attachment.listed.writable = false;
        }
        Some(id)
    }

    /// When to look at a link.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A link whose time to be looked at has come.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<LinkId> {
        while let Some((at, id)) = self.timers.pop(now) {
            if let Some(attachment) = self.by_id.get_mut(&id) {
                attachment.listed.armed.spend(at);
                return Some(id);
            }
        }
        None
    }
}
