//! Files, read and written so that they appear whole or not at all.
//!
//! It walks source trees in a fixed order (`source`), reads files that must not change meanwhile
//! (`read`), and puts files into a receiver's directory: under a temporary name beside the target
//! (`part`), which a later run goes on with (`adopt`), synced in batches, then renamed (`batch`, `inbox`), with a note of the command that is to follow (`owed`). It knows no protocol, no peer
//! and no terminal, and it never waits for anything but the disk.
//!
//! Invariants: nothing outside the one root directory is touched, whatever the names are and whoever
//! plants symbolic links, or mounts file systems where a transfer has been, meanwhile; a final name never shows a half-written file; what is reported as
//! committed, or as having been there, has been synced, and so has the directory that holds it; a file with a secret (`keyfile`) is readable by
//! its owner alone from its first byte on.

pub(crate) mod adopt;
pub(crate) mod attributes;
pub(crate) mod batch;
pub(crate) mod beneath;
mod copy;
pub(crate) mod extent;
mod fault;
mod folders;
mod folding;
pub(crate) mod found;
pub(crate) mod inbox;
pub mod keyfile;
pub(crate) mod leftovers;
pub(crate) mod links;
pub(crate) mod maker;
mod mounts;
pub(crate) mod omit;
pub(crate) mod owed;
pub(crate) mod part;
mod permits;
#[cfg(test)]
#[path = "tests/privilege.rs"]
pub(crate) mod privilege;
pub(crate) mod read;
mod replace;
pub(crate) mod source;
pub(crate) mod stamp;
pub(crate) mod there;
