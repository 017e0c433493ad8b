//! The connections of one worker: those whose clients have not said who they are, links, which of both have input, and what has
//! come for links from other workers.

use super::across::{Arrived, Message};
use super::attached::Attachment;
use super::events::{Event, Notice};
use super::fair::account::Account;
use super::fair::reading::{AT_ONCE, Known, Reading, Stand, Waits};
use super::fair::work::Work;
use super::greeting::{GREETING_MAX, Greetings};
use super::intake::Held;
use super::pace::MayRead;
use super::router::admission::Newcomer;
use super::router::requests::Side;
use super::router::why_circuit_closed::Cut;
use super::switch::Switch;
use super::why_link_ended::EndReason;
use super::{ConnId, LinkId};
use std::time::Instant;

/// See the module.
pub(super) struct Conns {
    /// Those whose clients have not said who they are.
    pub greetings: Greetings,
    /// Links, and what goes between them.
    pub switch: Switch,
    /// Those that have input.
    pub reading: Reading,
    /// What has come from other workers.
    pub arrived: Arrived,
}

/// What is to be done in a turn.
pub(super) enum Due {
    /// Read it once.
    Read(ConnId),
    /// Use what was read from it before.
    Use(ConnId, Held),
    /// Tell ends of circuits what has come for them, and is paid for by this link.
    Tell(LinkId),
}

impl Conns {
    /// Without any that have input.
    pub(super) fn new(greetings: Greetings, switch: Switch) -> Conns {
        Conns { greetings, switch, reading: Reading::default(), arrived: Arrived::default() }
    }

    // Whose turn it is.

    /// A connection may have something to read from now on.
    pub(super) fn handle_readable(&mut self, conn: ConnId) {
        if let Some((known, _)) = self.waiting(conn) {
            known.is_readable = true;
            self.line_up(conn);
        }
    }

    /// Its connection is broken or closed: after what can be read an error or an end follows.
    pub(super) fn handle_over(&mut self, now: Instant, conn: ConnId) {
        let Some((known, _)) = self.waiting(conn) else { return };
        known.is_over = true;
        if known.stand == Stand::Aside {
            self.drop_over(now, conn);
        }
    }

    /// A connection that is over, and that the rate of its peer lets nobody read, is gone: nobody is to be told of it as of one
    /// that lives until its peer has paid. Whatever else input waits for is over soon, and may be somebody's last words.
    fn drop_over(&mut self, now: Instant, conn: ConnId) -> bool {
        let is_over = self.waiting(conn).is_some_and(|(known, _)| known.is_over);
        let is_gone = is_over && self.is_over_rate(now, conn);
        if is_gone {
            self.drop_conn(now, conn, EndReason::Closed);
            self.switch.run_orders(now);
        }
        is_gone
    }

    /// There is nothing more to read until [`Forwarder::handle_readable`].
    pub(super) fn handle_empty(&mut self, conn: ConnId) {
        if let Some((known, _)) = self.waiting(conn) {
            known.is_readable = false;
        }
        if let Some(attachment) = self.switch.links.on_mut(conn) {
            attachment.intake.handle_empty();
        }
    }

    /// A turn begins: so much work, and others are to be heard.
    pub(super) fn begin_turn(&mut self, now: Instant) {
        for _ in 0..self.reading.begin(now) {
            let Some(conn) = self.reading.take_aside() else { break };
            let may_read = self.may_read(conn);
            let Some((known, _)) = self.waiting(conn) else { continue };
            if !known.leave_list() {
                continue;
            }
            known.stand = Stand::Out;
            match may_read {
                MayRead::Never => {}
                may_read if may_read.is_now(now) => self.line_up(conn),
                may_read => self.leave_aside(now, conn, may_read),
            }
        }
    }

    /// The next turn. None: nobody has input that may be used, or this worker's turn is over.
    pub(super) fn poll_turn(&mut self, now: Instant) -> Option<Due> {
        loop {
            while let Some((conn, account)) = self.switch.leaving.poll_fresh() {
                // Ahead of the others of its peer: nothing new of that before this is done.
                self.reading.line.enter_first(&account, Waits::Conn(conn));
            }
            let conn = match self.reading.line.pop()? {
                Waits::Conn(conn) => conn,
                Waits::Told(link) => return Some(Due::Tell(link)),
            };
            if let Some(work) = self.switch.leave_on(now, conn) {
                self.reading.line.spend(work);
                continue;
            }
            let Some((known, _)) = self.waiting(conn) else { continue };
            known.stand = Stand::Out;
            let is_readable = known.is_readable;
            let may_use_held = self.may_use_held(conn);
            // Once: another worker may change the account of a rate at any time, and what was not held back by one look must
            // not be by the next.
            match self.may_read(conn) {
                _ if !is_readable && !may_use_held => {}
                MayRead::Never => {}
                may_read if may_read.is_now(now) => return self.turn(conn, may_use_held),
                may_read => self.leave_aside(now, conn, may_read),
            }
        }
    }

    fn turn(&mut self, conn: ConnId, may_use_held: bool) -> Option<Due> {
        let held = self.switch.links.on_mut(conn).filter(|_| may_use_held).map(Attachment::take_held);
        Some(held.map_or(Due::Read(conn), |held| Due::Use(conn, held)))
    }

    /// Nobody is read for a while: memory is used up. `next` is who would have been. The rest of the turn is for what came from
    /// other workers, and for links that are gone, as far as it is among those whose time it is to be looked at. How many that
    /// were.
    pub(super) fn leave_unread(&mut self, now: Instant, next: ConnId) -> usize {
        if let Some((known, account)) = waiting(&mut self.greetings, &mut self.switch, next) {
            self.reading.line_up_first(known, &account, next);
        }
        let some = self.reading.some_in_line();
        let (count, mut left) = (some.len(), None);
        for (at, one) in some.into_iter().enumerate() {
            match one {
                Waits::Conn(conn) if self.waiting(conn).is_some_and(|(known, _)| known.is_readable) => {
                    self.handle_unread(now, conn);
                }
                Waits::Conn(conn) if !self.reading.line.is_over() => {
                    if let Some(work) = self.switch.leave_on(now, conn) {
                        self.reading.line.pass(work);
                    }
                }
                Waits::Told(link) if !self.reading.line.is_over() => {
                    let work = self.tell(now, link);
                    self.reading.line.pass(work);
                }
                Waits::Conn(_) | Waits::Told(_) => left = left.or(Some(at)),
            }
        }
        // What there was no time for comes first the next time.
        self.reading.note_looked(left.unwrap_or(count));
        count
    }

    // What comes from other workers.

    /// An end of a circuit is to be told something, in the turn of whoever pays for that.
    pub(super) fn take_in(&mut self, now: Instant, message: Message) {
        if let Some((link, account)) = message.payer() {
            if self.arrived.put(link, account, message) {
                self.reading.line.enter(&account, Waits::Told(link));
            }
        } else if let Some(attachment) = self.switch.links.get(message.to.link) {
            let (link, account) = (attachment.id, attachment.account());
            if self.arrived.put(link, account, message) {
                // It goes before what it says next.
                self.reading.line.enter_first(&account, Waits::Told(link));
            }
        } else {
            // It is gone, or on its way here.
            self.switch.handle_message(now, message);
        }
    }

    /// Tells ends of circuits what this link pays for, as much as one may have done at once. How much work that was.
    pub(super) fn tell(&mut self, now: Instant, link: LinkId) -> Work {
        let (mut messages, mut work) = (self.arrived.take(link), Work::ZERO);
        while work < AT_ONCE
            && let Some(message) = messages.pop_front()
        {
            work = work + Work::of_told(&message.what);
            self.switch.handle_message(now, message);
            self.switch.run_orders(now);
        }
        self.arrived.put_back(link, messages);
        work
    }

    fn waiting(&mut self, conn: ConnId) -> Option<(&mut Known, Account)> {
        waiting(&mut self.greetings, &mut self.switch, conn)
    }

    /// A connection that has input gets in line, unless it stands somewhere.
    pub(super) fn line_up(&mut self, conn: ConnId) {
        let may_use_held = self.may_use_held(conn);
        let Some((known, account)) = waiting(&mut self.greetings, &mut self.switch, conn) else { return };
        if may_use_held {
            self.reading.line_up_first(known, &account, conn);
        } else if known.is_readable && known.stand == Stand::Out {
            self.reading.line_up(known, &account, conn);
        }
    }

    /// Whether input of it is held that may be used as soon as the rate of its peer allows it.
    fn may_use_held(&self, conn: ConnId) -> bool {
        self.switch.links.on(conn).is_some_and(Attachment::may_use_held)
    }

    /// A connection that has input is not read for now.
    fn leave_aside(&mut self, now: Instant, conn: ConnId, may_read: MayRead) {
        if self.drop_over(now, conn) {
            return;
        }
        if let Some((known, _)) = waiting(&mut self.greetings, &mut self.switch, conn) {
            self.reading.put_aside(now, known, conn, may_read);
            self.handle_unread(now, conn);
        }
    }

    // One of them.

    /// The link that it carries, if its client has said who it is.
    pub(super) fn link_on(&self, conn: ConnId) -> Option<LinkId> {
        self.switch.links.on(conn).map(|attachment| attachment.id)
    }

    /// Whether a connection may be read now.
    pub(super) fn may_read(&self, conn: ConnId) -> MayRead {
        match self.switch.links.on(conn) {
            Some(attachment) => attachment.may_read(),
            None if self.greetings.contains(conn) => MayRead::Now,
            None => MayRead::Never,
        }
    }

    /// How much may be read from it at once, bytes. Of somebody unknown no more than a handshake takes: the rest may have to wait
    /// until a debt of its is paid.
    pub(super) fn read_most(&self, conn: ConnId) -> usize {
        self.switch.links.on(conn).map_or(GREETING_MAX, Attachment::read_most)
    }

    /// So many bytes were read from a connection.
    pub(super) fn handle_read(&mut self, now: Instant, conn: ConnId, bytes: usize) {
        if let Some(attachment) = self.switch.links.on_mut(conn) {
            attachment.handle_read(now, bytes);
        } else if let Some(greeting) = self.greetings.get_mut(conn) {
            greeting.received += bytes;
        }
    }

    /// The same of bytes that are none of the link's.
    pub(super) fn handle_overhead(&mut self, now: Instant, conn: ConnId, bytes: usize) {
        if let Some(attachment) = self.switch.links.on_mut(conn) {
            attachment.handle_overhead(now, bytes);
        } else if let Some(greeting) = self.greetings.get_mut(conn) {
            greeting.received += bytes;
        }
    }

    /// Whether the peer of a link is so far over its rate that nothing of what the link brings may be used.
    pub(super) fn is_over_rate(&self, now: Instant, conn: ConnId) -> bool {
        self.switch.links.on(conn).is_some_and(|attachment| attachment.is_over_rate(now))
    }

    /// Input waits and was not read, for want of memory or because of [`MayRead::Later`]: the other side is not silent. Tell it
    /// again and again while that is so: a circuit for which it lasts too long is ended.
    pub(super) fn handle_unread(&mut self, now: Instant, conn: ConnId) {
        let Some(attachment) = self.switch.links.on_mut(conn) else { return };
        let link = attachment.id;
        if let Some(circuit) = attachment.handle_unread(now) {
            self.switch.cut_circuit(now, Side { link, circuit }, Cut::BlockedItsLink);
            self.switch.run_orders(now);
        }
    }

    pub(super) fn notice(&mut self, newcomer: Newcomer, notice: Notice) {
        self.switch.put_event(Event::Notice(newcomer, notice));
    }

    /// After any change to a connection.
    pub(super) fn touch(&mut self, now: Instant, conn: ConnId) {
        match self.link_on(conn) {
            Some(id) => self.switch.touch(now, id),
            None => self.greetings.touch(conn),
        }
    }

    /// Forgets a connection and has its socket closed.
    pub(super) fn drop_conn(&mut self, now: Instant, conn: ConnId, why: EndReason) {
        if let Some(greeting) = self.greetings.remove(conn) {
            self.switch.router.leave(conn);
            if !greeting.is_settled {
                self.notice(greeting.newcomer, Notice::Accepted);
            }
            self.notice(greeting.newcomer, Notice::Stranger(why));
            self.switch.put_event(Event::Close(conn));
        } else if let Some(id) = self.link_on(conn) {
            self.switch.drop_link(now, id, why);
        }
    }
}

/// What is known of a connection's input, and on whose account it is read.
fn waiting<'a>(greetings: &'a mut Greetings, switch: &'a mut Switch, conn: ConnId) -> Option<(&'a mut Known, Account)> {
    if let Some(attachment) = switch.links.on_mut(conn) {
        let account = attachment.account();
        return Some((&mut attachment.listed.input, account));
    }
    let greeting = greetings.get_mut(conn)?;
    let account = greeting.account();
    Some((&mut greeting.known, account))
}
