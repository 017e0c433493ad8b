//! Sockets, pipes, terminals, children and signals, without ever blocking the loop that drives them.
//!
//! This folder moves bytes between the kernel and buffers it is given. It knows no frame, no session and no tool, and
//! uses nothing of the layers above or of the core.
//!
//! Invariants: a descriptor that others share is never switched to non-blocking mode, because that would switch it for
//! them too; readiness is a hint, taken back by the first "would block"; a loop waits in `reactor` alone, and only who
//! reads a `list` waits for a file, for some seconds.

pub(crate) mod accept;
pub(crate) mod accounts;
pub(crate) mod child;
pub(crate) mod dial;
pub mod endpoint;
pub(crate) mod list;
pub(crate) mod listen;
mod local_address;
pub(crate) mod lookup;
pub mod options;
pub(crate) mod passed;
pub(crate) mod pauses;
pub(crate) mod program;
pub mod reactor;
pub(crate) mod reaper;
pub(crate) mod signals;
pub mod slots;
pub mod socket;
pub(crate) mod socket_file;
pub(crate) mod stdio;
#[cfg(test)]
pub(crate) mod testkit;
mod wait;
pub(crate) mod walk;

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Result of one attempt to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes came.
    Bytes(usize),
    /// The other end is done.
    End,
    /// Nothing now; an event will tell.
    Later,
}

/// Result of one attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// So many bytes were taken.
    Bytes(usize),
    /// Nobody will ever take anything here again.
    Gone,
    /// Nothing now; an event will tell.
    Later,
}

pub(crate) fn register(
    registry: &mio::Registry,
    fd: impl AsFd,
    token: mio::Token,
    interest: mio::Interest,
) -> io::Result<()> {
    registry.register(&mut mio::unix::SourceFd(&fd.as_fd().as_raw_fd()), token, interest)
}

pub(crate) fn deregister(registry: &mio::Registry, fd: impl AsFd) {
    // It can only fail if the descriptor was never registered, and then there is nothing to undo.
    let _ = registry.deregister(&mut mio::unix::SourceFd(&fd.as_fd().as_raw_fd()));
}
