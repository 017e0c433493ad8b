//! Numbers for connections, links and ends of circuits.

use std::fmt;

/// A connection: a socket of one of the relay's workers. Never used again, so that a late event cannot mean another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

/// An authenticated link: how one client is attached. Never used again, so that a late message cannot mean another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

impl ConnId {
    /// The connection with this number.
    pub const fn new(number: u64) -> ConnId {
        ConnId(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl LinkId {
    /// The link with this number.
    pub(crate) const fn new(number: u64) -> LinkId {
        LinkId(number)
    }

    /// Its number.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// Where one end of a circuit is: its worker, its link, and the link's number for the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndId {
    /// The worker that owns the link. A link with circuits stays with its worker.
    pub worker: usize,
    /// The link.
    pub link: LinkId,
    /// The link's number for the circuit.
    pub circuit: u32,
}

/// One worker out of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerIndex {
    /// Its number, from 0.
    pub worker: usize,
    /// How many there are.
    pub workers: usize,
}
