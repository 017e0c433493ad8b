//! What must survive on disk: files appear whole or not at all.
//!
//! This folder opens, writes, syncs and renames; it decides nothing about protocols and prints nothing. Invariants: a
//! file is written under another name beside its place, synced, and only then given its name; a file with a secret is
//! readable by its owner alone from its first byte on.

pub mod keyfile;
