//! Files, read and written so that they appear whole or not at all.
//!
//! It walks source trees in a fixed order (`source`) and reads files that must not change meanwhile (`read`). It puts files
//! into a receiver's directory (`inbox`): under a temporary name beside the target (`part`), which a later run goes on with
//! (`adopt`); then it syncs them in batches and renames them (`batch`), and notes the command that is to follow (`owed`). It
//! knows no protocol, no peer and no terminal, and never waits for anything but the disk.
//!
//! Invariants:
//! - Nothing outside of the one root directory is touched, whatever the names are, whoever plants symbolic links, and whatever is
//!   mounted meanwhile where a transfer has been.
//! - A final name never shows a half-written file.
//! - What is reported as committed, or as having been there, has been synced, and so has the directory that holds it.
//! - A file with a secret ([`keyfile`]) is readable by its owner alone from its first byte on.

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
pub(crate) mod password;
mod permits;
#[cfg(test)]
pub(crate) mod planted;
#[cfg(test)]
#[path = "tests/privilege.rs"]
pub(crate) mod privilege;
pub(crate) mod read;
mod replace;
pub(crate) mod source;
pub(crate) mod stamp;
pub(crate) mod there;
