//! What waits to go out on a link and has no body.

use super::memory::charge::Charge;
use crate::wire::{CloseCode, Control};
use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub(super) enum Item {
    /// A control message.
    Control(Box<Message>),
    /// What became of a call.
    Status {
        /// Its circuit.
        circuit: u32,
        /// What.
        code: CloseCode,
    },
    /// The credit of a circuit, as it is when this goes out.
    Credit(u32),
    /// The end of a circuit.
    Reset {
        /// Which.
        circuit: u32,
        /// Why.
        code: CloseCode,
    },
}

// Of each circuit there may be some, also after it has ended, while its client takes nothing: they are not charged.
const _: () = assert!(size_of::<Item>() <= 16);

/// A control message, as it waits.
#[derive(Debug)]
pub(super) struct Message {
    /// What it says.
    pub control: Control,
    /// What it is charged, if it has bytes of another client.
    pub charge: Option<Charge>,
}

/// Items in the order in which they go out.
#[derive(Debug, Default)]
pub(super) struct Items {
    queue: VecDeque<Item>,
    /// Control messages among them that are charged to nobody: the relay's answers.
    answers: usize,
}

fn is_answer(item: &Item) -> bool {
    match item {
        Item::Status { .. } => true,
        Item::Control(message) => message.charge.is_none(),
        Item::Credit(_) | Item::Reset { .. } => false,
    }
}

impl Items {
    /// Appends an item.
    pub(super) fn push(&mut self, item: Item) {
        self.answers += usize::from(is_answer(&item));
        self.queue.push_back(item);
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.queue.pop_front()?;
        self.answers -= usize::from(is_answer(&item));
        Some(item)
    }

    /// How many of them are answers of the relay.
    pub(super) fn answers(&self) -> usize {
        self.answers
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes back the message about a call, or that it was answered, if it has not gone out; whether that is so.
    pub(super) fn take_back(&mut self, number: u32) -> bool {
        let about = |item: &Item| match item {
            Item::Control(message) => match message.control {
                Control::Incoming { circuit, .. } | Control::Opened { circuit, .. } => circuit == number,
                _ => false,
            },
            _ => false,
        };
        let at = self.queue.iter().position(about);
        at.and_then(|at| self.queue.remove(at)).is_some()
    }

    /// What messages among them are charged, bytes.
    pub(super) fn charged_bytes(&self) -> usize {
        let charge = |item: &Item| match item {
            Item::Control(message) => message.charge.as_ref().map_or(0, Charge::bytes),
            _ => 0,
        };
        self.queue.iter().map(charge).sum()
    }
}
