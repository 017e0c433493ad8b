//! What the router is asked for and what it orders.

use super::admission::Source;
use super::circuits::EndReport;
use crate::identity::PeerId;
use crate::relay::rate::Rate;
use crate::relay::{EndId, EndReason, LinkId};
use crate::wire::{CloseCode, Name};
use std::time::Duration;

/// Something a link has to be told or has to do, by the worker that owns it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The worker that owns the link, as far as the router knows.
    pub worker: usize,
    /// The link.
    pub link: LinkId,
    /// What.
    pub what: What,
}

/// Those that one question leads to, in order.
pub(crate) type Orders = Vec<Order>;

/// See [`Order`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Put an INCOMING before the client.
    Offer {
        /// The new circuit's number.
        circuit: u32,
        /// Who calls.
        from: PeerId,
        /// What is called.
        name: Name,
        /// The first bytes of the lane.
        early: Vec<u8>,
    },
    /// The INCOMING is void.
    Withdraw {
        /// Its circuit.
        circuit: u32,
        /// Why.
        code: CloseCode,
    },
    /// The CONNECT is open.
    Opened {
        /// Its circuit.
        circuit: u32,
        /// The other end.
        far: EndId,
        /// The first bytes back.
        early: Vec<u8>,
    },
    /// The CONNECT waits for a listener.
    Waiting {
        /// Its circuit.
        circuit: u32,
    },
    /// The CONNECT has failed.
    Refuse {
        /// Its circuit.
        circuit: u32,
        /// Why.
        code: CloseCode,
    },
    /// Hold the link to this rate from now on.
    Pace {
        /// The account of its peer, None without a bound.
        rate: Option<Rate>,
    },
    /// Send the link to another worker. What opens the circuit that it goes for is told there, and waits for it.
    Move {
        /// Which.
        to: usize,
    },
    /// End the link.
    End {
        /// Why.
        code: CloseCode,
    },
}

/// What a link may have whose client was admitted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Circuits of its peer, over all its links.
    pub circuits: u32,
    /// Where it comes from, if that is counted.
    pub source: Option<Source>,
    /// The account of its peer, None without a bound.
    pub rate: Option<Rate>,
}

/// A CONNECT as the router takes it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The caller's number for it.
    pub circuit: u32,
    /// Whom to reach.
    pub to: PeerId,
    /// What to reach there.
    pub name: Name,
    /// How long to wait for a listener; zero does not wait.
    pub wait: Duration,
    /// The first bytes of the lane.
    pub early: Vec<u8>,
}

/// How a link ended.
#[derive(Debug)]
pub(crate) struct Departure {
    /// Why.
    pub why: EndReason,
    /// Its ends of circuits that were open.
    pub ended: Vec<EndReport>,
}
