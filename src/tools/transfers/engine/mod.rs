//! The engines of vp-send and vp-recv: files in, files out, over one stream of a session.
//!
//! The two engines, [`SendJob`] and [`ReceiveJob`], each run in a thread of their own, because disks block; a [`Port`] joins
//! them to the stream. What is said and what may come when is decided by [`Offering`](crate::transfer::Offering) and
//! [`Reception`](crate::transfer::Reception), which they drive. They open no socket, print nothing and know no peer but by its
//! id; files are touched through [`crate::store`] alone.
//!
//! ```text
//!  source tree ─▶ walk ─▶ ENTRY … ───────────▶ look ─▶ WANT, HAVE, ITEM … ─┐
//!       file ─▶ read, hash, compress ─▶ DATA ─▶ write, hash ─▶ part file  │
//!        ◀──────────────────── answers ◀───────────────────────────────────┘
//! ```
//!
//! Invariants: an item is reported committed only when it is verified, synced and has its final name; one item's failure
//! never stops the others; whatever a peer sends, memory stays bounded, and the receiver's directory is the only place that
//! is written to.

mod admission;
mod announced;
mod answered;
mod beside;
mod content;
mod directories;
mod elsewhere;
mod hook;
mod items;
#[cfg(test)]
mod memory;
mod outgoing;
mod policy;
pub(crate) mod port;
pub(crate) mod progress;
mod receiver;
mod receiving;
mod sender;
mod sending;
pub(crate) mod sink;
#[cfg(test)]
mod tests;
mod tops;
mod tree;
mod underway;
mod writer;

pub(crate) use policy::{OnReceived, ReceivePolicy, Received};
pub(crate) use port::{Port, TryRecv};
pub(crate) use progress::{Item, ItemEnd, ItemKind, Progress, Snapshot};
pub(crate) use receiver::{Destination, ReceiveJob};
pub(crate) use sender::SendJob;
pub(crate) use writer::CommandEnded;

use crate::store::batch::BATCH_ITEMS_MAX;
use crate::transfer::messages::OPEN_ENTRIES_MAX;

const _: () = assert!(OPEN_ENTRIES_MAX > 2 * BATCH_ITEMS_MAX);
