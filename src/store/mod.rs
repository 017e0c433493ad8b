//! Files, read and written so that they appear whole or not at all.
//!
//! It walks source trees in a fixed order ([`source`]), reads files that must not change meanwhile
//! ([`read`]), and puts files into a receiver's directory: under a temporary name beside the target
//! ([`part`]), which a later run goes on with ([`adopt`]), synced in batches, then renamed ([`batch`], [`inbox`]), with a note of the command that is to follow ([`owed`]). It knows no protocol, no peer
//! and no terminal, and it never waits for anything but the disk.
//!
//! Invariants: nothing outside the one root directory is touched, whatever the names are and whoever
//! plants symbolic links, or mounts file systems where a transfer has been, meanwhile; a final name never shows a half-written file; what is reported as
//! committed, or as having been there, has been synced, and so has the directory that holds it; a file with a secret ([`keyfile`]) is readable by
//! its owner alone from its first byte on.

pub mod adopt;
pub mod attributes;
pub mod batch;
pub mod beneath;
mod copy;
pub mod extent;
mod fault;
mod folders;
mod folding;
pub mod found;
pub mod inbox;
pub mod keyfile;
pub mod leftovers;
pub mod links;
pub mod maker;
mod mounts;
pub mod omit;
pub mod owed;
pub mod part;
mod permits;
pub mod read;
mod replace;
pub mod source;
pub mod stamp;
pub mod there;
