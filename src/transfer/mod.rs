//! The file engine of vp-send and vp-recv: files in, files out, over one stream of a session.
//!
//! The two engines, [`SendJob`] and [`ReceiveJob`], each run in a thread of their own, because disks
//! block; a [`Port`] joins them to the stream. They speak the messages of [`messages`]. They open no
//! socket, print nothing and know no peer but by its id; files are touched through
//! [`crate::store`] alone.
//!
//! ```text
//!  source tree ─▶ walk ─▶ ENTRY … ───────────▶ look ─▶ WANT, HAVE, ITEM … ─┐
//!       file ─▶ read, hash, compress ─▶ DATA ─▶ write, hash ─▶ part file  │
//!        ◀──────────────────── answers ◀───────────────────────────────────┘
//! ```
//!
//! Invariants: an item is reported committed only when it is verified, synced and has its final
//! name; one item's failure never stops the others; whatever a peer sends, memory stays bounded,
//! and the receiver's directory is the only place that is written to.

mod beside;
pub mod blocks;
mod content;
pub mod decoder;
mod elsewhere;
pub mod encode;
pub mod limit;
pub mod link;
#[cfg(test)]
mod memory;
pub mod messages;
pub mod outcome;
mod outgoing;
pub mod parse;
pub mod port;
pub mod progress;
mod receiver;
mod receiving;
mod sender;
mod sending;
mod settling;
mod sink;
#[cfg(test)]
mod tests;
mod tops;
mod tree;
mod unblock;
mod underway;
mod writer;

pub use crate::store::Fault;
pub use crate::store::inbox::Overwrite;
pub use blocks::{BlockEncoder, Compression};
pub use limit::RateLimit;
pub use link::LinkMeter;
pub use outcome::{ReceiveOutcome, SendOutcome, Status, TransferError};
pub use port::{CHUNK_BYTES, Port, PortClosed, TryRecv};
pub use progress::{Item, ItemEnd, ItemKind, Progress, Snapshot};
pub use receiver::{Destination, OnReceived, ReceiveJob, ReceivePolicy, Received};
pub use sender::SendJob;
pub use unblock::BlockDecoder;
pub use writer::CommandEnded;
