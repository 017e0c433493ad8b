//! What was read from one connection, on its way through the machine: a frame at a time, each for its price.

use super::attached::Attachment;
use super::circuit::end::Arrival;
use super::circuit::table::{Input as Bytes, Misused, Received};
use super::conns::Conns;
use super::control::{Client, Flow};
use super::events::Notice;
use super::fair::reading::AT_ONCE;
use super::fair::work::Work;
use super::greeting::Greeted;
use super::intake::Undone;
use super::memory::block::Piece;
use super::memory::cursor::Cursor;
use super::router::requests::Side;
use super::router::why_circuit_closed::Cut;
use super::switch::ENDING_MAX;
use super::to_end::ToEnd;
use super::why_link_ended::EndReason;
use super::{ConnId, LinkId};
use crate::identity::Identity;
use crate::link::{Frame, LinkError};
use crate::wire::CloseCode;
use std::time::Instant;

/// The input of one connection, at a moment.
pub(super) struct Input<'a> {
    pub conns: &'a mut Conns,
    pub identity: &'a Identity,
    pub now: Instant,
    pub conn: ConnId,
}

/// What using some input came to.
#[derive(Default)]
struct Sum {
    work: Work,
    /// Bytes of circuits.
    forwarded_bytes: u64,
}

impl Input<'_> {
    /// Uses input, behind what is not done yet, until there is no more or the link is not to be listened to; what is left is
    /// held. How many bytes of circuits it used.
    pub(super) fn use_up<'b>(mut self, undone: Option<Undone>, mut input: impl Iterator<Item = Cursor<'b>>) -> u64 {
        let (now, conn) = (self.now, self.conn);
        let (mut sum, mut last) = (Sum::default(), None);
        let mut flow = match (undone, self.conns.link_on(conn)) {
            (Some(undone), Some(id)) => Client::new(&mut self.conns.switch, now, id).resume(undone),
            _ => Flow::Continue,
        };
        while let Flow::Continue = flow
            && let Some(mut cursor) = input.next()
        {
            flow = self.feed(&mut cursor, &mut sum);
            last = Some(cursor);
        }
        let switch = &mut self.conns.switch;
        if let Some(attachment) = switch.links.on_mut(conn) {
            let id = attachment.id;
            sum.work = sum.work + attachment.intake.take_unpaid();
            if let Flow::Hold | Flow::Move(..) = flow {
                attachment.hold(last.into_iter().chain(input).map(Cursor::into_piece));
            }
            attachment.rest();
            if let Flow::Move(to, message) = flow {
                attachment.intake.leave_undone(Undone::Message(Box::new(message)));
                switch.move_out(id, to);
            }
        }
        self.conns.reading.line.spend(sum.work);
        self.conns.switch.run_orders(now);
        self.conns.touch(now, conn);
        sum.forwarded_bytes
    }

    /// Uses what was read into a block.
    fn feed(&mut self, cursor: &mut Cursor<'_>, sum: &mut Sum) -> Flow {
        let now = self.now;
        while cursor.at < cursor.filled {
            let switch = &mut self.conns.switch;
            let Some(attachment) = switch.links.on_mut(self.conn) else {
                let Some(taken) = self.feed_greeting(cursor.rest(), sum) else { return Flow::Gone };
                cursor.at += taken;
                if self.conns.is_over_rate(now, self.conn) {
                    return Flow::Hold;
                }
                continue;
            };
            let id = attachment.id;
            if attachment.is_ending() {
                return Flow::Gone;
            }
            sum.work = sum.work + attachment.intake.take_unpaid();
            let waits = attachment.outgoing.has_many_answers() || attachment.intake.is_far_ahead();
            if waits || sum.work >= AT_ONCE {
                return Flow::Hold;
            }
            let start = cursor.at;
            let frame = match attachment.channel.read(cursor.rest()) {
                Ok((used, frame)) => {
                    cursor.at += used;
                    frame
                }
                Err(error) => return self.fail(id, error),
            };
            sum.work = sum.work + Work::of_frame(&frame);
            let Frame::Data { circuit, bytes, credit } = frame else {
                match Client::new(switch, now, id).handle_frame(frame) {
                    Flow::Continue => continue,
                    other => return other,
                }
            };
            match attachment.receive(now, Bytes { circuit, bytes: bytes.len(), credit }) {
                // It has ended: what is still on its way is dropped.
                None => switch.handle_unused(now, id),
                Some(Err(Misused)) => {
                    switch.end(now, id, CloseCode::Protocol);
                    return Flow::Gone;
                }
                Some(Ok(Received { arrival: Arrival::Overflows, .. })) => {
                    switch.cut_circuit(now, Side { link: id, circuit }, Cut::Overflowed);
                }
                Some(Ok(Received { far, .. })) => {
                    sum.forwarded_bytes += u64::try_from(bytes.len()).unwrap_or(0);
                    let piece = Piece::new(cursor.block, start + bytes.start..start + bytes.end);
                    switch.deliver(now, id, far, ToEnd::Data(piece));
                }
            }
        }
        Flow::Continue
    }

    /// Uses what a client says before it is known; how much of it. None: the connection is dropped.
    fn feed_greeting(&mut self, input: &[u8], sum: &mut Sum) -> Option<usize> {
        let (now, conn) = (self.now, self.conn);
        let greeting = self.conns.greetings.get_mut(conn)?;
        let owed = greeting.output.bytes();
        let Ok((taken, greeted)) = greeting.handle_bytes(self.identity, input) else {
            self.conns.drop_conn(now, conn, EndReason::Garbage);
            return None;
        };
        if greeting.output.bytes() > owed || matches!(greeted, Greeted::Done(_)) {
            sum.work = sum.work + Work::HANDSHAKE;
        }
        let Greeted::Done(authenticated) = greeted else { return Some(taken) };
        let (peer, known, received) = (authenticated.peer, greeting.known, greeting.received);
        let (owed, newcomer) = (std::mem::take(&mut greeting.output), greeting.newcomer);
        self.conns.greetings.remove(conn);
        let switch = &mut self.conns.switch;
        let worker = switch.place().worker;
        let admission = if switch.router.leave(conn) {
            switch.router.ask(|router, orders| {
                router.hold_at_once(now, peer, orders);
                router.attach(now, newcomer, worker, peer)
            })
        } else {
            // Evicted a moment ago: the client may dial again.
            Err(CloseCode::GoingAway)
        };
        let mut attachment = Box::new(Attachment::new(now, newcomer, authenticated, owed));
        attachment.listed.input = known;
        match admission {
            Ok(admitted) => attachment.admit(now, admitted, received),
            Err(code) => {
                attachment.end(code, now + ENDING_MAX);
                self.conns.notice(newcomer, Notice::TurnedAway(peer, code));
            }
        }
        self.conns.switch.links.insert(attachment);
        Some(taken)
    }

    /// The link is broken: ended with a word if the other side can be told, else closed.
    fn fail(&mut self, id: LinkId, error: LinkError) -> Flow {
        let switch = &mut self.conns.switch;
        match error {
            LinkError::Header(_) | LinkError::Control(_) => switch.end(self.now, id, CloseCode::Protocol),
            LinkError::Unauthentic | LinkError::Exhausted => switch.drop_link(self.now, id, EndReason::Garbage),
        }
        Flow::Gone
    }
}
