//! One link at its worker: the sealed channel, its circuits, and what waits to go out on it.

use super::circuit::age::Wait;
use super::circuit::end::{Arrival, Half, Overrun};
use super::circuit::rate::Rate;
use super::circuit::standstill::{Standstill, State};
use super::circuit::window::Growth;
use super::items::{Item, Items};
use super::memory::block::Piece;
use super::memory::messages::Charge;
use super::output::Output;
use super::router::policy::Share;
use super::timers::Armed;
use super::{End, LinkId};
use crate::identity::PeerId;
use crate::link::{Frame, Heartbeat, Link, LinkError, Side};
use crate::wire::limits::{DATA_BODY_MAX, SEALED_HEADER_BYTES};
use crate::wire::{CloseCode, Control, Header, Kind};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Control items that may wait for a client that does not read. Beyond it nothing more is offered to the link and nothing
/// more is read from it.
pub const BACKLOG_MAX: usize = 256;
/// Bytes of one circuit before the next has its turn.
const QUANTUM_BYTES: usize = 64 * 1024;

/// A circuit as its link knows it.
#[derive(Debug)]
pub enum Slot {
    /// The client sent CONNECT and waits for the answer.
    Asking,
    /// The client was sent INCOMING and has to answer.
    Offered,
    /// The circuit is open.
    Open(Box<Half>),
}

/// A link that has been admitted.
pub struct Port {
    /// Its id.
    pub id: LinkId,
    /// Whose it is.
    pub peer: PeerId,
    /// The sealed channel.
    pub link: Link,
    /// When it is dead.
    pub heartbeat: Heartbeat,
    /// Its circuits by number.
    pub circuits: BTreeMap<u32, Slot>,
    /// The highest number of a CONNECT: later ones are higher, which is how "not used before" is held in four bytes.
    pub last_asked: u32,
    /// Circuits that ended here since the router was last told.
    pub ended: u32,
    /// Whether the port stands in its worker's list of ports with output.
    pub dirty: bool,
    /// Its timer.
    pub armed: Armed,
    /// How long what is in order waits for the kernel.
    pub wait: Wait,
    /// What its client may send.
    pub rate: Rate,
    /// Whether input waits that was not read: it may hold what the relay is waiting for.
    pub unread: bool,
    /// The output as far as [`Port::fill`] has put it in order.
    pub output: Output,
    /// The start of a frame whose rest has not arrived.
    tail: Vec<u8>,
    /// Circuits whose credit the rate holds back.
    paced: VecDeque<u32>,
    /// What waits to go out ahead of bodies.
    pub items: Items,
    pong: Option<u32>,
    round: VecDeque<u32>,
    /// Circuits that are congested, in the order in which they became so.
    congested: Vec<u32>,
    standstill: Standstill,
    ending: Option<Ending>,
}

#[derive(Clone, Copy, Debug)]
struct Ending {
    code: CloseCode,
    said: bool,
    by: Instant,
}

impl Port {
    /// A fresh link and whose it is; `owed` is what the handshake has not sent yet.
    pub fn new(now: Instant, id: LinkId, (link, peer): (Link, PeerId), owed: Output) -> Port {
        Port {
            id,
            peer,
            rate: Rate::default(),
            unread: false,
            link,
            heartbeat: Heartbeat::standard(now, Side::Relay),
            tail: Vec::new(),
            circuits: BTreeMap::new(),
            last_asked: 0,
            ended: 0,
            dirty: false,
            armed: Armed::default(),
            paced: VecDeque::new(),
            items: Items::default(),
            pong: None,
            round: VecDeque::new(),
            congested: Vec::new(),
            standstill: Standstill::new(now),
            output: owed,
            wait: Wait::default(),
            ending: None,
        }
    }

    /// Welcomes the client.
    pub fn admit(&mut self, share: Share) {
        self.rate = Rate::new(share.rate);
        self.say(Control::Welcome { circuits: share.circuits });
    }

    /// Counts bytes of a circuit that came in. None if it is not open.
    pub fn receive(&mut self, now: Instant, circuit: u32, bytes: usize) -> Option<(End, Result<Arrival, Overrun>)> {
        let half = self.half(circuit)?;
        let (peer, arrival) = (half.peer, half.receive(now, bytes));
        if arrival == Ok(Arrival::Congests) {
            self.congested.push(circuit);
        }
        self.rate.receive(now, bytes);
        Some((peer, arrival))
    }

    /// Takes one frame off the front of `input`, or keeps the start of one; returns how much it used.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Frame), LinkError> {
        if self.tail.is_empty() {
            let (used, frame) = self.link.advance(input)?;
            if used > 0 {
                return Ok((used, frame));
            }
            self.tail.extend_from_slice(input);
            return Ok((input.len(), Frame::Nothing));
        }
        let missing = self.link.wanted().saturating_sub(self.tail.len());
        let here = missing.min(input.len());
        self.tail.extend_from_slice(&input[..here]);
        if here < missing {
            return Ok((here, Frame::Nothing));
        }
        // A whole header or control message; bodies never wait here.
        let tail = std::mem::take(&mut self.tail);
        let (_, frame) = self.link.advance(&tail)?;
        Ok((here, frame))
    }

    /// Queues a control message.
    pub fn say(&mut self, message: Control) {
        self.items.push(Item::Control(message, None));
    }

    /// Queues a message with bytes of another client.
    pub fn pass_on(&mut self, message: Control, charge: Charge) {
        self.items.push(Item::Control(message, Some(charge)));
    }

    /// What those take that have not gone out, bytes.
    pub fn message_bytes(&self) -> usize {
        self.output.charged_bytes() + self.items.charged_bytes()
    }

    /// Answers a heartbeat; only the newest is answered.
    pub fn answer(&mut self, token: u32) {
        self.pong = Some(token);
    }

    /// Ends the link: with BYE after what is queued now, and by `by` in any case.
    pub fn end(&mut self, code: CloseCode, by: Instant) {
        self.ending.get_or_insert(Ending { code, said: false, by });
    }

    /// Whether the link is ending. Nothing is read from it any more.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    fn has_said_bye(&self) -> bool {
        self.ending.is_some_and(|ending| ending.said)
    }

    /// Whether BYE has been said and everything is with the kernel.
    pub fn has_ended(&self) -> bool {
        self.has_said_bye() && self.output.is_empty()
    }

    /// Whether more control items wait than a client that reads would leave.
    pub fn is_backlogged(&self) -> bool {
        self.items.len() >= BACKLOG_MAX
    }

    /// Whether nothing may be read from it now: it is backlogged, or a circuit is full.
    pub fn is_shut(&self) -> bool {
        self.is_backlogged() || self.full().is_some()
    }

    /// The circuit for the sake of which the link is not read: of several the one that was congested first.
    fn full(&self) -> Option<u32> {
        let is_full = |circuit: &&u32| matches!(self.circuits.get(circuit), Some(Slot::Open(half)) if half.is_full());
        self.congested.iter().find(is_full).copied()
    }

    /// Input waits and is not read. A circuit that the others of this link have waited for long enough.
    pub fn handle_held(&mut self, now: Instant) -> Option<u32> {
        let full = self.full();
        let state = match full {
            None => State::Moves,
            Some(_) if self.circuits.len() == 1 => State::StandsAlone,
            Some(_) => State::Stands,
        };
        self.standstill.set(now, state);
        full.filter(|_| self.standstill.is_used_up())
    }

    /// Input was read.
    pub fn handle_read(&mut self, now: Instant) {
        self.standstill.set(now, State::Moves);
    }

    /// When to look at it: it may be dead, or its rate may allow more.
    pub fn deadline(&self) -> Instant {
        let grant = if self.paced.is_empty() { None } else { self.rate.allows_from() };
        let end = self.ending.map(|ending| ending.by);
        [grant, end].into_iter().flatten().fold(self.heartbeat.deadline(), Instant::min)
    }

    /// Whether it is dead, or has not ended in time.
    pub fn is_dead(&self, now: Instant) -> bool {
        self.heartbeat.is_dead(now) || self.ending.is_some_and(|ending| now >= ending.by)
    }

    /// Tells the heartbeat what it has to know of the circuits, and grants what was held back.
    pub fn settle(&mut self, now: Instant) {
        if !self.congested.is_empty() {
            self.ease(now);
        }
        if self.standstill.stands() && self.full().is_none() {
            // Whether or not there is anything to read.
            self.standstill.set(now, State::Moves);
        }
        if !self.paced.is_empty() && self.rate.allows(now) {
            self.paced.drain(..).for_each(|circuit| self.items.push(Item::Credit(circuit)));
        }
        let busy = !self.circuits.is_empty();
        self.heartbeat.set_busy(now, busy);
        if !busy && self.items.is_empty() && self.round.is_empty() {
            // A parked link keeps no memory for queues.
            self.items = Items::default();
            self.round = VecDeque::new();
        }
    }

    /// The half of an open circuit.
    pub fn half(&mut self, circuit: u32) -> Option<&mut Half> {
        match self.circuits.get_mut(&circuit) {
            Some(Slot::Open(half)) => Some(half),
            _ => None,
        }
    }

    /// The memory that it keeps, bytes: for what is in order, messages, and what waits in circuits.
    pub fn kept_bytes(&self) -> usize {
        let waiting = self.circuits.values().map(|slot| match slot {
            Slot::Open(half) => half.outward.kept_bytes(),
            Slot::Asking | Slot::Offered => 0,
        });
        self.output.kept_bytes() + self.items.charged_bytes() + waiting.sum::<usize>()
    }

    /// Opens a circuit that was asked for or offered.
    pub fn open(&mut self, now: Instant, circuit: u32, peer: End) {
        self.circuits.insert(circuit, Slot::Open(Box::new(Half::new(now, peer))));
    }

    /// Forgets a circuit, with all that is queued for it; its other end if it was open.
    pub fn forget(&mut self, circuit: u32) -> Option<End> {
        match self.circuits.remove(&circuit) {
            Some(Slot::Open(half)) => {
                self.ended += 1;
                Some(half.peer)
            }
            _ => None,
        }
    }

    /// A call that was offered is void. The client learns that if it has learnt of the call.
    pub fn withdraw(&mut self, circuit: u32, code: CloseCode) {
        if !matches!(self.circuits.get(&circuit), Some(Slot::Offered)) {
            return;
        }
        self.circuits.remove(&circuit);
        if !self.items.take_back(circuit) {
            self.items.push(Item::Reset { circuit, code });
        }
    }

    /// Forgets a circuit and tells the client.
    pub fn reset(&mut self, circuit: u32, code: CloseCode) {
        if self.circuits.contains_key(&circuit) {
            self.forget(circuit);
            self.items.push(Item::Reset { circuit, code });
        }
    }

    /// The other end of a circuit is gone. After an orderly end, or the end of its link, what it had sent before still goes
    /// out, as far as there is credit: it may hold the last words of a session. Otherwise it is discarded.
    pub fn lose(&mut self, circuit: u32, code: CloseCode) {
        let orderly = matches!(code, CloseCode::Done | CloseCode::PeerGone);
        let waits = orderly && self.half(circuit).is_some_and(|half| half.outward.reset_behind(code));
        if !waits {
            self.reset(circuit, code);
        }
    }

    /// Bytes for the client. Dropped if the circuit is gone.
    pub fn push(&mut self, now: Instant, circuit: u32, piece: Piece) {
        let idle_bytes = self.output.idle_bytes();
        if let Some(half) = self.half(circuit) {
            half.outward.push(now, piece, idle_bytes);
            self.enter_round(circuit);
        }
    }

    /// The other side sends no more on a circuit.
    pub fn finish(&mut self, circuit: u32) {
        if let Some(half) = self.half(circuit) {
            half.outward.finish();
            self.enter_round(circuit);
        }
    }

    /// Credit from the client.
    pub fn raise_credit(&mut self, circuit: u32, credit: u32) {
        if let Some(half) = self.half(circuit) {
            half.outward.raise_credit(credit);
            self.enter_round(circuit);
        }
    }

    /// The kernel took bytes of a circuit that came from this client.
    pub fn free(&mut self, now: Instant, circuit: u32, bytes: u32, growth: Growth) {
        let growth = match growth {
            // A large window would only let the peer get far ahead of its rate.
            _ if self.rate.is_bounded() => Growth::Held,
            Growth::Allowed if !self.standstill.may_be_risked(now, self.circuits.len() == 1) => Growth::Covered,
            growth => growth,
        };
        if self.half(circuit).is_some_and(|half| half.inward.free(now, bytes, growth)) {
            self.queue_credit(now, circuit);
        }
    }

    fn queue_credit(&mut self, now: Instant, circuit: u32) {
        let Some(half) = self.half(circuit) else { return };
        if !std::mem::replace(&mut half.credit_queued, true) {
            if self.rate.allows(now) {
                self.items.push(Item::Credit(circuit));
            } else {
                self.paced.push_back(circuit);
            }
        }
    }

    /// Forgets which circuits were congested and are no more, and grants them what they have room for.
    fn ease(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(&circuit) = self.congested.get(at) {
            if self.half(circuit).is_some_and(Half::stays_congested) {
                at += 1;
                continue;
            }
            self.congested.remove(at);
            if self.half(circuit).is_some_and(|half| half.inward.is_due()) {
                self.queue_credit(now, circuit);
            }
        }
    }

    /// FIN from the client: the circuit's other end, which has to know.
    pub fn take_fin(&mut self, circuit: u32) -> Option<End> {
        let half = self.half(circuit)?;
        half.inward.finish();
        let (peer, done) = (half.peer, half.is_done());
        if done {
            self.forget(circuit);
        }
        Some(peer)
    }

    fn enter_round(&mut self, circuit: u32) {
        let Some(half) = self.half(circuit) else { return };
        if half.outward.is_ready() && !std::mem::replace(&mut half.in_round, true) {
            self.round.push_back(circuit);
        }
    }

    /// The kernel took `count` bytes of that, 0 if it would have blocked; `freed` is told of the bodies among them.
    pub fn handle_written(&mut self, now: Instant, count: usize, freed: impl FnMut(u32, usize)) {
        self.output.advance(count, freed);
        self.wait.set(now, count, self.output.bytes());
        let pending = self.has_output();
        self.heartbeat.handle_written(now, count > 0, pending);
    }

    /// Whether anything waits to go out.
    pub fn has_output(&self) -> bool {
        let queued = !self.items.is_empty() || self.pong.is_some() || !self.round.is_empty() || self.is_ending();
        !self.output.is_empty() || (queued && !self.has_said_bye())
    }

    /// Puts in order what may go out, up to what one write takes: control first, then the circuits in turn, BYE last.
    pub fn fill(&mut self, now: Instant) -> Result<(), LinkError> {
        while self.output.has_room() && !self.has_said_bye() {
            if let Some(token) = self.pong.take() {
                self.header(Header::bare(Kind::Pong, 0, token))?;
            } else if let Some(item) = self.items.pop() {
                self.seal_item(now, item)?;
            } else if let Some(circuit) = self.round.pop_front() {
                self.seal_data(now, circuit)?;
            } else {
                self.seal_bye(now)?;
                break;
            }
        }
        self.wait.set(now, 0, self.output.bytes());
        Ok(())
    }

    fn header(&mut self, header: Header) -> Result<(), LinkError> {
        let mut sealed = [0; SEALED_HEADER_BYTES];
        self.link.seal_header(header, &mut sealed)?;
        self.output.header(sealed);
        Ok(())
    }

    fn seal_item(&mut self, now: Instant, item: Item) -> Result<(), LinkError> {
        match item {
            Item::Control(message, charge) => {
                let mut sealed = Vec::new();
                self.link.control(&message, &mut sealed)?;
                self.output.sealed(sealed, charge);
                Ok(())
            }
            Item::Credit(circuit) => {
                let Some(half) = self.half(circuit) else { return Ok(()) };
                half.credit_queued = false;
                let credit = half.inward.announce(now);
                self.header(Header::bare(Kind::Credit, circuit, credit))
            }
            Item::Reset { circuit, code } => self.header(Header::bare(Kind::Reset, circuit, u32::from(code.to_wire()))),
        }
    }

    /// One DATA frame of a circuit, of all its pieces that fit; then its FIN, or its place at the end of the round.
    fn seal_data(&mut self, now: Instant, circuit: u32) -> Result<(), LinkError> {
        let most = if self.round.is_empty() { DATA_BODY_MAX } else { QUANTUM_BYTES };
        let paced = self.rate.is_bounded();
        let Some(half) = self.half(circuit) else { return Ok(()) };
        half.in_round = false;
        let bytes = half.outward.sendable().min(most);
        if bytes > 0 {
            let credit = if paced { half.inward.announced() } else { half.inward.announce(now) };
            // At most DATA_BODY_MAX.
            let length = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.header(Header { kind: Kind::Data, circuit, length, credit })?;
            let Some(Slot::Open(half)) = self.circuits.get_mut(&circuit) else { return Ok(()) };
            half.outward.take(now, bytes, |piece| self.output.body(circuit, piece));
        }
        let Some(half) = self.half(circuit) else { return Ok(()) };
        if let Some(code) = half.outward.next_reset() {
            self.forget(circuit);
            return self.header(Header::bare(Kind::Reset, circuit, u32::from(code.to_wire())));
        }
        if half.outward.take_fin() {
            let done = half.is_done();
            self.header(Header::bare(Kind::Fin, circuit, 0))?;
            if done {
                self.forget(circuit);
            }
        }
        self.enter_round(circuit);
        Ok(())
    }

    fn seal_bye(&mut self, now: Instant) -> Result<(), LinkError> {
        let Some(ending) = self.ending.as_mut() else { return Ok(()) };
        ending.said = true;
        let message = Control::Bye { code: ending.code.to_wire() };
        self.seal_item(now, Item::Control(message, None))
    }
}
