//! The links of one worker: when to look at which, and which have output.

use super::attached::Attachment;
use super::fair::line::Line;
use super::router::circuits::EndReport;
use super::timers::Timers;
use super::{ConnId, LinkId};
use foldhash::HashMap;
use std::time::Instant;

/// See the module. A link is found by its number, and by that of the connection that carries it.
#[derive(Default)]
pub(super) struct Links {
    slots: Vec<Option<Box<Attachment>>>,
    free: Vec<usize>,
    by_id: HashMap<LinkId, usize>,
    by_conn: HashMap<ConnId, usize>,
    timers: Timers,
    /// The connections of those with output.
    pub writable: Line<ConnId>,
}

impl Links {
    /// Takes a link in.
    pub(super) fn insert(&mut self, attachment: Box<Attachment>) {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        self.by_id.insert(attachment.id, slot);
        self.by_conn.insert(attachment.conn, slot);
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(attachment),
            None => self.slots.push(Some(attachment)),
        }
    }

    /// Gives a link away.
    pub(super) fn remove(&mut self, id: LinkId) -> Option<Box<Attachment>> {
        let slot = self.by_id.remove(&id)?;
        let mut attachment = self.slots.get_mut(slot)?.take()?;
        self.by_conn.remove(&attachment.conn);
        self.free.push(slot);
        attachment.listed = Default::default();
        Some(attachment)
    }

    /// A link. Whoever changes it has to [`Links::touch`] it.
    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Attachment> {
        self.slots.get_mut(*self.by_id.get(&id)?)?.as_deref_mut()
    }

    /// A link.
    pub(super) fn get(&self, id: LinkId) -> Option<&Attachment> {
        self.slots.get(*self.by_id.get(&id)?)?.as_deref()
    }

    /// The link that a connection carries, likewise.
    pub(super) fn on_mut(&mut self, conn: ConnId) -> Option<&mut Attachment> {
        self.slots.get_mut(*self.by_conn.get(&conn)?)?.as_deref_mut()
    }

    /// The link that a connection carries.
    pub(super) fn on(&self, conn: ConnId) -> Option<&Attachment> {
        self.slots.get(*self.by_conn.get(&conn)?)?.as_deref()
    }

    /// All links.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Attachment> {
        self.slots.iter().filter_map(Option::as_deref)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Changes a link, and follows that up: its timer, its heartbeat, the list of those with output. Its ends of
    /// circuits that have ended.
    pub(super) fn change(&mut self, now: Instant, id: LinkId, change: impl FnOnce(&mut Attachment)) -> Vec<EndReport> {
        // Not by a method: the timers and the line are changed, too.
        let slot = self.by_id.get(&id).and_then(|slot| self.slots.get_mut(*slot));
        let Some(attachment) = slot.and_then(Option::as_deref_mut) else { return Vec::new() };
        change(attachment);
        attachment.settle(now);
        let deadline = attachment.next_timeout();
        self.timers.arm(id, &mut attachment.listed.armed, deadline);
        if attachment.has_output() && !std::mem::replace(&mut attachment.listed.writable, true) {
            self.writable.enter(&attachment.account(), attachment.conn);
        }
        attachment.circuits.take_ended()
    }

    /// The connection of the next link that has output; none if this turn is over.
    pub(super) fn poll_output(&mut self) -> Option<ConnId> {
        let conn = self.writable.pop()?;
        if let Some(attachment) = self.on_mut(conn) {
            attachment.listed.writable = false;
        }
        Some(conn)
    }

    /// When to look at a link.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A link whose time to be looked at has come.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<LinkId> {
        while let Some((at, id)) = self.timers.pop(now) {
            if let Some(attachment) = self.get_mut(id) {
                attachment.listed.armed.spend(at);
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::link::{Answer, Answered, Dial};
    use crate::relay::greeting::Authenticated;
    use crate::relay::output::Output;
    use crate::relay::router::admission::Newcomer;
    use crate::wire::Control;

    /// A link whose number says nothing of its connection.
    fn link(now: Instant, id: u64, conn: u64) -> Box<Attachment> {
        let (relay, client) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let (dial, first) = Dial::new(&client, relay.id()).unwrap();
        let (mut reply, mut last) = (Vec::new(), Vec::new());
        let Ok(Answered::More(answer, _)) = Answer::begin().handle_bytes(&relay, &first, &mut reply) else { panic!() };
        assert!(dial.handle_bytes(&reply, &mut last).unwrap().is_ok());
        let Ok(Answered::Admitted(admitted)) = answer.handle_bytes(&relay, &last, &mut Vec::new()) else { panic!() };
        let authenticated = Authenticated { link: Box::new(admitted.link), peer: admitted.peer };
        let newcomer = Newcomer { conn: ConnId::new(conn), source: [127, 0, 0, 1].into(), front: None };
        let mut attachment = Attachment::new(now, newcomer, authenticated, Output::default());
        attachment.id = LinkId::new(id);
        Box::new(attachment)
    }

    #[test]
    fn a_link_is_found_by_its_number_and_by_its_connection_and_by_neither_once_it_is_gone() {
        let now = Instant::now();
        let mut links = Links::default();
        [(1, 30), (2, 10), (3, 20)].into_iter().for_each(|(id, conn)| links.insert(link(now, id, conn)));
        let on = |links: &Links, conn| links.on(ConnId::new(conn)).map(|link| link.id.get());
        assert_eq!([10, 20, 30, 1].map(|conn| on(&links, conn)), [Some(2), Some(3), Some(1), None]);
        links.change(now, LinkId::new(3), |link| link.outgoing.say(Control::Welcome { circuits: 1 }));
        links.writable.begin(crate::relay::Work::MAX);
        assert_eq!([(); 2].map(|()| links.poll_output()), [Some(ConnId::new(20)), None]);
        assert_eq!(links.remove(LinkId::new(2)).map(|link| link.conn), Some(ConnId::new(10)));
        assert!(links.remove(LinkId::new(2)).is_none() && on(&links, 10).is_none());
        links.insert(link(now, 9, 11));
        let mut all: Vec<u64> = links.iter().map(|link| link.id.get()).collect();
        all.sort_unstable();
        assert_eq!((all, links.len(), links.slots.len()), (vec![1, 3, 9], 3, 3), "its place is used again");
        assert_eq!(links.get(LinkId::new(9)).map(|link| link.conn), Some(ConnId::new(11)));
    }
}
