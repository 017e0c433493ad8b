//! What a client says, other than DATA, and what that does.

use super::LinkId;
use super::attached::Attachment;
use super::circuit::table::Circuit;
use super::fair::work::Work;
use super::intake::Undone;
use super::replies::reply_bytes;
use super::router::Ask;
use super::router::calls::Brought;
use super::router::requests::Side;
use super::router::why_circuit_closed::CloseReason;
use super::switch::Switch;
use super::to_end::ToEnd;
use crate::link::Frame;
use crate::wire::limits::SEALED_HEADER_BYTES;
use crate::wire::{CloseCode, Control, Name};
use std::time::{Duration, Instant};

/// What became of a link while its input was used.
pub(super) enum Flow {
    /// It goes on.
    Continue,
    /// It is not read any more.
    Gone,
    /// It is not listened to before others have had their turn, it has taken some answers, or other workers have done some of
    /// what it said.
    Hold,
    /// It is to go to another worker, which then does what this message asks for.
    Move(usize, Control),
}

/// One client of a worker, at a moment.
pub(super) struct Client<'a> {
    switch: &'a mut Switch,
    now: Instant,
    id: LinkId,
}

impl Client<'_> {
    /// The client of this link.
    pub(super) fn new(switch: &mut Switch, now: Instant, id: LinkId) -> Client<'_> {
        Client { switch, now, id }
    }

    /// It sent a frame other than DATA.
    pub(super) fn handle_frame(&mut self, frame: Frame) -> Flow {
        self.note_reply(&frame);
        match frame {
            Frame::Control(message) => return self.handle_control(message),
            Frame::Reset { circuit, code } => self.reset(circuit, CloseCode::from_wire(code)),
            Frame::Fin { circuit } => {
                let far = self.attachment().and_then(|attachment| attachment.circuits.handle_fin(circuit));
                if let Some(far) = far {
                    self.switch.deliver(self.now, self.id, far, ToEnd::Fin);
                }
            }
            Frame::Credit { circuit, credit } => {
                if let Some(attachment) = self.attachment() {
                    attachment.raise_credit(circuit, credit);
                }
            }
            Frame::Ping(token) => {
                if let Some(attachment) = self.attachment() {
                    attachment.outgoing.answer(token);
                }
            }
            // A relay does not ask. Data has been dealt with.
            Frame::Pong(_) | Frame::Nothing | Frame::Data { .. } => {}
        }
        Flow::Continue
    }

    /// What it says without a body of a circuit that somebody else asked for, if that is what this is.
    fn note_reply(&mut self, frame: &Frame) {
        if let Frame::Reset { circuit, .. } | Frame::Fin { circuit } | Frame::Credit { circuit, .. } = frame
            && !circuit.is_multiple_of(2)
            && let Some(attachment) = self.attachment()
        {
            attachment.note_reply(SEALED_HEADER_BYTES);
        }
    }

    fn attachment(&mut self) -> Option<&mut Attachment> {
        self.switch.links.get_mut(self.id)
    }

    fn reset(&mut self, circuit: u32, code: CloseCode) {
        let (now, side) = (self.now, Side { link: self.id, circuit });
        let Some(attachment) = self.attachment() else { return };
        match attachment.circuits.get(circuit) {
            None => {}
            Some(Circuit::Open(_)) => {
                attachment.outgoing.take_back(circuit);
                if let Some(far) = attachment.circuits.forget(circuit, Some(CloseReason::Reset(code))) {
                    self.switch.deliver(now, side.link, far, ToEnd::Reset(code));
                }
            }
            Some(Circuit::Asked(_)) => {
                attachment.circuits.forget(circuit, None);
                // False: it has been accepted, and the order to open it finds nothing.
                self.switch.router.ask(|router, orders| router.cancel(now, side, code, orders));
            }
            Some(Circuit::Offered(_)) => {
                attachment.circuits.forget(circuit, None);
                attachment.outgoing.take_back(circuit);
                self.switch.router.ask(|router, orders| router.reject(now, side, code, orders));
            }
        }
    }

    fn handle_control(&mut self, message: Control) -> Flow {
        let (id, is_alone) = (self.id, self.switch.place().workers == 1);
        if let Control::Listen { name } = &message
            && !is_alone
            && let Some(to) = self.switch.router.ask(|router, _| router.relocate(id, name))
        {
            return Flow::Move(to, message);
        }
        self.act(message)
    }

    /// Does what a control message asks for.
    pub(super) fn act(&mut self, message: Control) -> Flow {
        let id = self.id;
        let done = match message {
            Control::Listen { name } => self.listen(name),
            Control::Unlisten { name } => {
                self.switch.router.ask(|router, _| router.unlisten(id, &name));
                Ok(())
            }
            Control::Connect { circuit, to, name, wait_ms, early } => {
                let wait = Duration::from_millis(u64::from(wait_ms));
                self.connect(Ask { circuit, to, name, wait, early })
            }
            Control::Accept { circuit, early } => self.accept(circuit, early),
            Control::Reject { circuit, code } => self.reject(circuit, CloseCode::from_wire(code)),
            // What only a relay says.
            _ => Err(CloseCode::Protocol),
        };
        self.follow_up(done)
    }

    /// Goes on with a message whose work is not done.
    pub(super) fn resume(&mut self, undone: Undone) -> Flow {
        match undone {
            // It has been placed: whatever changed meanwhile, it stays here for this message.
            Undone::Message(message) => self.act(*message),
            Undone::Calls(recall) => {
                let (now, id) = (self.now, self.id);
                let brought = self.switch.router.ask(|router, orders| router.listen_on(now, id, *recall, orders));
                self.take_on(brought);
                self.follow_up(Ok(()))
            }
        }
    }

    fn follow_up(&mut self, done: Result<(), CloseCode>) -> Flow {
        self.switch.run_orders(self.now);
        if let Err(code) = done {
            self.switch.end(self.now, self.id, code);
            return Flow::Gone;
        }
        let is_undone = self.attachment().is_some_and(|attachment| attachment.intake.is_undone());
        if is_undone { Flow::Hold } else { Flow::Continue }
    }

    fn listen(&mut self, name: Name) -> Result<(), CloseCode> {
        let (now, id) = (self.now, self.id);
        let brought = self.switch.router.ask(|router, orders| router.listen(now, id, name.clone(), orders))?;
        // Ahead of the orders, which may carry what has waited for the name.
        if let Some(attachment) = self.attachment() {
            attachment.outgoing.say(Control::Listening { name });
        }
        self.take_on(brought);
        Ok(())
    }

    /// What a LISTEN has brought is the link's to pay for. The rest is its next work.
    fn take_on(&mut self, Brought { calls, rest }: Brought) {
        if let Some(attachment) = self.attachment() {
            attachment.intake.owe(Work::of_calls(calls));
            rest.into_iter().for_each(|rest| attachment.intake.leave_undone(Undone::Calls(Box::new(rest))));
        }
    }

    fn connect(&mut self, ask: Ask) -> Result<(), CloseCode> {
        let (now, id) = (self.now, self.id);
        let Some(attachment) = self.attachment() else { return Ok(()) };
        if !attachment.circuits.ask(ask.circuit, ask.to) {
            return Err(CloseCode::Protocol);
        }
        self.switch.router.ask(|router, orders| router.connect(now, id, ask, orders));
        Ok(())
    }

    fn accept(&mut self, circuit: u32, early: Vec<u8>) -> Result<(), CloseCode> {
        let (now, side) = (self.now, Side { link: self.id, circuit });
        let Some(attachment) = self.attachment() else { return Ok(()) };
        let paid_bytes = attachment.note_reply(reply_bytes(early.len())).min(early.len());
        match attachment.circuits.get(circuit) {
            // Withdrawn while the answer was on its way.
            None => return Ok(()),
            Some(Circuit::Offered(_)) => {}
            Some(_) => return Err(CloseCode::Protocol),
        }
        let far = self.switch.router.ask(|router, orders| router.accept(now, side, early, orders));
        let Some(attachment) = self.attachment() else { return Ok(()) };
        match far {
            Some(far) => attachment.open_taken(now, circuit, far, paid_bytes),
            None => attachment.withdraw(circuit, CloseCode::Cancelled),
        }
        Ok(())
    }

    fn reject(&mut self, circuit: u32, code: CloseCode) -> Result<(), CloseCode> {
        let (now, side) = (self.now, Side { link: self.id, circuit });
        let Some(attachment) = self.attachment() else { return Ok(()) };
        attachment.note_reply(reply_bytes(0));
        match attachment.circuits.get(circuit) {
            None => return Ok(()),
            Some(Circuit::Offered(_)) => attachment.circuits.forget(circuit, None),
            Some(_) => return Err(CloseCode::Protocol),
        };
        attachment.outgoing.take_back(circuit);
        self.switch.router.ask(|router, orders| router.reject(now, side, code, orders));
        Ok(())
    }
}
