//! What goes out on a link: messages and credit that wait, and the bytes that are in order for the kernel.

use super::circuit::age::Wait;
use super::items::{Item, Items, Message};
use super::memory::charge::Charge;
use super::output::Output;
use crate::wire::{CloseCode, Control};
use std::time::Instant;

/// Control items that may wait for a client that does not read. Beyond it nothing more is read from it. What others call it for
/// goes on to wait there, as far as it may have calls that it has not answered: they hear that it is slow, not that it is busy.
const BACKLOG_MAX: usize = 256;
/// Answers of the relay that may wait for a client. With more of them, what it has said is not looked at: it would be
/// answered, too. Beyond them come those to calls that it has made before, one for each of its circuits.
const ANSWERS_MAX: usize = 64;

/// See the module.
pub(super) struct Outgoing {
    /// The bytes that are in order.
    pub output: Output,
    /// How long those wait for the kernel.
    wait: Wait,
    /// What goes out ahead of bodies.
    items: Items,
    /// A heartbeat to answer.
    pong: Option<u32>,
}

impl Outgoing {
    /// `owed` is what the handshake has not sent yet.
    pub(super) fn new(owed: Output) -> Outgoing {
        Outgoing { output: owed, wait: Wait::default(), items: Items::default(), pong: None }
    }

    /// Queues a control message.
    pub(super) fn say(&mut self, message: Control) {
        self.items.push(Item::Control(Box::new(Message { control: message, charge: None })));
    }

    /// Queues what became of a call.
    pub(super) fn tell(&mut self, circuit: u32, code: CloseCode) {
        self.items.push(Item::Status { circuit, code });
    }

    /// Queues a message with bytes of another client.
    pub(super) fn pass_on(&mut self, message: Control, charge: Charge) {
        self.items.push(Item::Control(Box::new(Message { control: message, charge: Some(charge) })));
    }

    /// Queues the credit of a circuit.
    pub(super) fn grant(&mut self, circuit: u32) {
        self.items.push(Item::Credit(circuit));
    }

    /// Queues the end of a circuit.
    pub(super) fn reset(&mut self, circuit: u32, code: CloseCode) {
        self.items.push(Item::Reset { circuit, code });
    }

    /// Takes back the message about a call, or that it was answered; false if that has gone out.
    pub(super) fn take_back(&mut self, circuit: u32) -> bool {
        self.items.take_back(circuit)
    }

    /// Answers a heartbeat; only the newest is answered.
    pub(super) fn answer(&mut self, token: u32) {
        self.pong = Some(token);
    }

    /// Takes the heartbeat that is to be answered.
    pub(super) fn take_pong(&mut self) -> Option<u32> {
        self.pong.take()
    }

    /// Takes the next item.
    pub(super) fn take_item(&mut self) -> Option<Item> {
        self.items.pop()
    }

    /// Whether something other than bodies waits to be put in order.
    pub(super) fn has_items(&self) -> bool {
        !self.items.is_empty() || self.pong.is_some()
    }

    /// Whether so many answers wait that the client should hear some before it is listened to.
    pub(super) fn has_many_answers(&self) -> bool {
        self.items.answers() >= ANSWERS_MAX
    }

    /// How many answers wait.
    pub(super) fn answers(&self) -> usize {
        self.items.answers()
    }

    /// Whether more control items wait than a client that reads would leave.
    pub(super) fn is_backlogged(&self) -> bool {
        self.items.len() >= BACKLOG_MAX
    }

    /// Gives back the memory of an empty queue.
    pub(super) fn shrink(&mut self) {
        if self.items.is_empty() {
            self.items = Items::default();
        }
    }

    /// The kernel took `count` bytes, 0 if it would have blocked; `freed` is told of the bodies among them.
    pub(super) fn handle_written(&mut self, now: Instant, count: usize, freed: impl FnMut(u32, usize)) {
        self.output.advance(count, freed);
        self.wait.set(now, count, self.output.bytes());
    }

    /// More was put in order.
    pub(super) fn handle_filled(&mut self, now: Instant) {
        self.wait.set(now, 0, self.output.bytes());
    }

    /// How long what is in order waits for the kernel.
    pub(super) fn wait(&self) -> &Wait {
        &self.wait
    }

    /// What messages with bytes of other clients take that have not gone out, bytes.
    pub(super) fn message_bytes(&self) -> usize {
        self.output.charged_bytes() + self.items.charged_bytes()
    }

    /// The memory that it keeps, bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        self.output.kept_bytes() + self.items.charged_bytes()
    }
}
