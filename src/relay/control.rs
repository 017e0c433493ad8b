//! What control messages and the router's orders do to the links of a worker; and how links end.

use super::LinkId;
use super::attached::{Port, Slot};
use super::circuit::rate::Rate;
use super::conn::Conn;
use super::memory::messages::Charge;
use super::router::{Ask, Order, What};
use super::worker::{ENDING_MAX, Event, Flow, Forwarder, Notice, Parcel, Why};
use crate::link::Frame;
use crate::wire::{CloseCode, Control, Name};
use std::time::{Duration, Instant};

impl Forwarder {
    /// A frame other than DATA.
    pub(super) fn frame(&mut self, now: Instant, id: LinkId, frame: Frame) -> Flow {
        match frame {
            Frame::Control(message) => return self.control(now, id, message),
            Frame::Reset { circuit, code } => self.client_reset(now, id, circuit, CloseCode::from_wire(code)),
            Frame::Fin { circuit } => {
                let peer = self.port(id).and_then(|port| port.take_fin(circuit));
                if let Some(peer) = peer {
                    self.deliver(now, peer, Parcel::Fin(peer));
                }
            }
            Frame::Credit { circuit, credit } => {
                if let Some(port) = self.port(id) {
                    port.raise_credit(circuit, credit);
                }
            }
            Frame::Ping(token) => {
                if let Some(port) = self.port(id) {
                    port.answer(token);
                }
            }
            // A relay does not ask. Data has been dealt with.
            Frame::Pong(_) | Frame::Nothing | Frame::Data { .. } => {}
        }
        Flow::Continue
    }

    fn client_reset(&mut self, now: Instant, id: LinkId, circuit: u32, code: CloseCode) {
        let Some(port) = self.port(id) else { return };
        match port.circuits.get(&circuit) {
            None => {}
            Some(Slot::Open(_)) => {
                port.items.take_back(circuit);
                if let Some(peer) = port.forget(circuit) {
                    self.deliver(now, peer, Parcel::Reset(peer, code));
                }
            }
            Some(Slot::Asking) => {
                port.circuits.remove(&circuit);
                // False: it has been accepted, and the order to open it finds no slot.
                self.ask(|router, orders| router.cancel(id, circuit, code, orders));
            }
            Some(Slot::Offered) => {
                port.circuits.remove(&circuit);
                port.items.take_back(circuit);
                self.ask(|router, orders| router.reject(now, (id, circuit), code, orders));
            }
        }
    }

    fn control(&mut self, now: Instant, id: LinkId, message: Control) -> Flow {
        let may_move = self.workers > 1 && matches!(message, Control::Connect { .. } | Control::Listen { .. });
        if may_move && let Some(to) = self.router().place(id, &message) {
            return Flow::Move(to, message);
        }
        self.act(now, id, message)
    }

    /// Does what a control message asks for.
    pub(super) fn act(&mut self, now: Instant, id: LinkId, message: Control) -> Flow {
        let done = match message {
            Control::Listen { name } => self.listen(now, id, name),
            Control::Unlisten { name } => {
                self.router().unlisten(id, &name);
                Ok(())
            }
            Control::Connect { circuit, to, name, wait_ms, early } => {
                let wait = Duration::from_millis(u64::from(wait_ms));
                self.connect(now, id, Ask { circuit, to, name, wait, early })
            }
            Control::Accept { circuit, early } => self.accept(now, id, (circuit, early)),
            Control::Reject { circuit, code } => self.reject(now, (id, circuit), CloseCode::from_wire(code)),
            // What only a relay says.
            _ => Err(CloseCode::Protocol),
        };
        self.run_orders(now);
        match done {
            Ok(()) => Flow::Continue,
            Err(code) => {
                self.end(now, id, code);
                Flow::Gone
            }
        }
    }

    fn listen(&mut self, now: Instant, id: LinkId, name: Name) -> Result<(), CloseCode> {
        self.ask(|router, orders| router.listen(now, id, name.clone(), orders))?;
        // Ahead of the orders, which may carry what has waited for the name.
        if let Some(port) = self.port(id) {
            port.say(Control::Listening { name });
        }
        Ok(())
    }

    fn connect(&mut self, now: Instant, id: LinkId, ask: Ask) -> Result<(), CloseCode> {
        let Some(port) = self.port(id) else { return Ok(()) };
        if !ask.circuit.is_multiple_of(2) || ask.circuit <= port.last_asked {
            return Err(CloseCode::Protocol);
        }
        port.last_asked = ask.circuit;
        port.circuits.insert(ask.circuit, Slot::Asking);
        self.ask(|router, orders| router.connect(now, id, ask, orders));
        Ok(())
    }

    fn accept(&mut self, now: Instant, id: LinkId, (circuit, early): (u32, Vec<u8>)) -> Result<(), CloseCode> {
        let Some(port) = self.port(id) else { return Ok(()) };
        match port.circuits.get(&circuit) {
            // Withdrawn while the answer was on its way.
            None => return Ok(()),
            Some(Slot::Offered) => {}
            Some(_) => return Err(CloseCode::Protocol),
        }
        let peer = self.ask(|router, orders| router.accept(id, circuit, early, orders));
        let Some(port) = self.port(id) else { return Ok(()) };
        match peer {
            Some(peer) => port.open(now, circuit, peer),
            None => port.reset(circuit, CloseCode::Cancelled),
        }
        Ok(())
    }

    fn reject(&mut self, now: Instant, end: (LinkId, u32), code: CloseCode) -> Result<(), CloseCode> {
        let (id, circuit) = end;
        let Some(port) = self.port(id) else { return Ok(()) };
        match port.circuits.get(&circuit) {
            None => return Ok(()),
            Some(Slot::Offered) => port.circuits.remove(&circuit),
            Some(_) => return Err(CloseCode::Protocol),
        };
        port.items.take_back(circuit);
        self.ask(|router, orders| router.reject(now, (id, circuit), code, orders));
        Ok(())
    }

    /// Carries out what the router ordered, and what follows from that.
    pub(super) fn run_orders(&mut self, now: Instant) {
        while let Some(order) = self.orders.pop_front() {
            if order.worker != self.worker {
                self.parcels.push_back((order.worker, Parcel::Order(order)));
            } else if self.conns.contains_key(&order.link) {
                let link = order.link;
                self.apply(now, order);
                self.touch(now, link);
            } else {
                self.misplaced(now, order);
            }
        }
    }

    fn apply(&mut self, now: Instant, order: Order) {
        let id = order.link;
        let Some(Conn::Open(port)) = self.conns.get_mut(&id) else {
            if order.what == What::Evict {
                self.drop_conn(now, id, Why::Evicted);
            }
            return;
        };
        match order.what {
            What::Evict => {}
            What::Offer { .. } if port.is_ending() => {}
            What::Offer { circuit, from, name, early } => {
                let charge = Charge::within(self.pool.budget(), port.peer, early.len());
                if let Some(charge) = charge.filter(|_| !port.is_backlogged()) {
                    port.circuits.insert(circuit, Slot::Offered);
                    port.pass_on(Control::Incoming { circuit, from, name, early }, charge);
                    return;
                }
                self.ask(|router, orders| router.reject(now, (id, circuit), CloseCode::Limit, orders));
                self.handle_refused(now);
            }
            What::Withdraw { circuit, code } => port.withdraw(circuit, code),
            What::Opened { circuit, peer, early } => {
                if matches!(port.circuits.get(&circuit), Some(Slot::Asking)) {
                    port.open(now, circuit, peer);
                    let charge = Charge::new(self.pool.budget(), port.peer, early.len());
                    port.pass_on(Control::Opened { circuit, early }, charge);
                } else {
                    // The caller gave up while the callee accepted.
                    self.router().closed(id, 1);
                    self.deliver(now, peer, Parcel::Reset(peer, CloseCode::Cancelled));
                }
            }
            What::Waiting { circuit } => {
                if matches!(port.circuits.get(&circuit), Some(Slot::Asking)) {
                    status(port, circuit, CloseCode::Waiting);
                }
            }
            What::Refuse { circuit, code } => {
                if matches!(port.circuits.get(&circuit), Some(Slot::Asking)) {
                    port.circuits.remove(&circuit);
                    status(port, circuit, code);
                }
            }
            What::Pace { rate } => pace(port, rate),
            What::End { code } => self.end(now, id, code),
        }
    }

    /// An order for a link that is not here: on its way here, gone on, or gone.
    fn misplaced(&mut self, now: Instant, order: Order) {
        let whereabouts = self.router().worker_of(order.link);
        match whereabouts {
            Some(worker) if worker == self.worker => self.early.entry(order.link).or_default().push(order),
            Some(worker) => self.parcels.push_back((worker, Parcel::Order(Order { worker, ..order }))),
            None => {
                if let What::Opened { peer, .. } = order.what {
                    self.deliver(now, peer, Parcel::Reset(peer, CloseCode::PeerGone));
                }
            }
        }
    }

    /// Ends a link with BYE. Its circuits end at their other ends at once.
    pub(super) fn end(&mut self, now: Instant, id: LinkId, code: CloseCode) {
        let Some(port) = self.port(id).filter(|port| !port.is_ending()) else { return };
        let peer = port.peer;
        self.detach(now, id);
        if let Some(port) = self.port(id) {
            port.end(code, now + ENDING_MAX);
        }
        self.notice(id, Notice::Detached(peer, Why::Ended(code)));
        self.touch(now, id);
    }

    /// Ends a circuit here and at its other end, and what it holds with it.
    pub(super) fn cut_circuit(&mut self, now: Instant, (id, circuit): (LinkId, u32), code: CloseCode) {
        let Some(port) = self.port(id) else { return };
        let peer = port.half(circuit).map(|half| half.peer);
        port.reset(circuit, code);
        self.touch(now, id);
        if let Some(peer) = peer {
            self.deliver(now, peer, Parcel::Reset(peer, code));
        }
    }

    /// Takes a link's circuits and everything the router knows of it away.
    fn detach(&mut self, now: Instant, id: LinkId) {
        let Some(port) = self.port(id) else { return };
        // A link that still has circuits while it ends goes away with the whole relay: BYE tells the others.
        let told = port.is_ending();
        let circuits = std::mem::take(&mut port.circuits);
        for slot in circuits.into_values().filter(|_| !told) {
            if let Slot::Open(half) = slot {
                self.deliver(now, half.peer, Parcel::Reset(half.peer, CloseCode::PeerGone));
            }
        }
        self.ask(|router, orders| router.detach(now, id, orders));
    }

    /// Forgets a connection.
    pub(super) fn take_out(&mut self, now: Instant, id: LinkId) -> Option<Conn> {
        self.detach(now, id);
        self.early.remove(&id);
        let conn = self.conns.remove(&id)?;
        if matches!(conn, Conn::Greeting(_)) {
            self.router().forget_greeting(id);
        }
        Some(conn)
    }

    /// Forgets a connection and has its socket closed.
    pub(super) fn drop_conn(&mut self, now: Instant, id: LinkId, why: Why) {
        let Some(conn) = self.take_out(now, id) else { return };
        match conn {
            Conn::Greeting(_) => self.notice(id, Notice::Stranger(why)),
            // Its end has been told already.
            Conn::Open(port) if port.is_ending() => {}
            Conn::Open(port) => self.notice(id, Notice::Detached(port.peer, why)),
        }
        self.event(Event::Close(id));
    }

    /// Sends a link to another worker, with the message that it moves for and the input behind that.
    pub(super) fn move_out(&mut self, id: LinkId, to: usize, replay: Control, rest: Vec<u8>) {
        let Some(Conn::Open(mut port)) = self.conns.remove(&id) else { return };
        port.dirty = false;
        port.armed = Default::default();
        self.event(Event::Move(to, super::Transit { port, replay, rest }));
    }

    /// Tells the router of circuits that have ended.
    pub(super) fn report_ended(&mut self, id: LinkId) {
        let ended = self.port(id).map_or(0, |port| std::mem::take(&mut port.ended));
        if ended > 0 {
            self.router().closed(id, ended);
        }
    }

    fn port(&mut self, id: LinkId) -> Option<&mut Port> {
        match self.conns.get_mut(&id) {
            Some(Conn::Open(port)) => Some(port),
            _ => None,
        }
    }
}

/// Holds a link to another rate. What its circuits may send because it was granted before is not paid for: at a low rate it
/// would hold back all credit until long after the lanes are taken for dead. There is no more of it than there was.
fn pace(port: &mut Port, rate: Option<u64>) {
    let mut granted = 0;
    for slot in port.circuits.values_mut().filter(|_| rate.is_some()) {
        if let Slot::Open(half) = slot {
            granted += u64::from(half.inward.restart());
        }
    }
    port.rate = Rate::new(rate).after(granted);
}

fn status(port: &mut Port, circuit: u32, code: CloseCode) {
    port.say(Control::Status { circuit, code: code.to_wire() });
}
