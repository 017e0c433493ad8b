//! A private pipe between two parties behind firewalls, through a relay that can read nothing.
//!
//! ```text
//! stdin ─▶ tool ─▶ session.stream ─▶ lane.record (sealed end to end) ─▶ link.frame (header sealed to the relay) ─▶ carrier
//!                                                                                                                  │
//! stdout ◀─ tool ◀─ session.stream ◀─ lane.record ◀───── link.frame ◀──────── relay: open 32 bytes, seal 32 bytes ◀─┘
//! ```
//!
//! # Map
//!
//! The core is pure: bytes, commands and the time go in; bytes, events and the next deadline come out.
//!
//! | module | what |
//! |---|---|
//! | [`identity`] | who a peer is and what it signs: keys, ids, cards |
//! | [`names`] | what people type and keep in files |
//! | [`noise`] | the handshake and the sealed channel |
//! | [`wire`] | bytes on which both ends of a link agree; limits, close codes |
//! | [`carrier`] | bytes of a socket into those of a link, and back |
//! | [`link`] | frames between a client and its relay; when a link is dead |
//! | [`lane`] | records end to end over one pipe, and what must be sent again when it breaks |
//! | [`session`] | streams end to end, over lanes that die and are replaced |
//! | [`relay`] | what a relay decides |
//! | [`node`] | what a client decides |
//! | [`ports`] | what a replicated port says, hears and decides |
//! | [`transfer`] | the file protocol, for files and streams alike |
//!
//! The shell touches the world:
//!
//! | module | what |
//! |---|---|
//! | [`net`] | sockets, standard input and output, children, signals |
//! | [`store`] | files that appear whole or not at all |
//! | `run` | what every tool that connects has in common: a node, its connection, signals, the end |
//! | `tools` | what each tool does with a session |
//! | [`server`] | the relay's process |
//! | [`cli`] | options, words for people, exit statuses |
//!
//! Arrows run down from `cli` over `tools` and `server` to `identity`, never up; `tests/purity` fails when one does.
//!
//! # Invariants
//!
//! - What an application reads is a prefix of what the other wrote; an end is reported only where the writer put it.
//! - A reliable frame is held until the peer has said that it took it, on whatever lane.
//! - No counter repeats under a key; no ciphertext is sent twice.
//! - No length is believed before it is compared with a cap; every queue has a bound, every wait a deadline.
//! - A peer is who its handshake proved, never who the relay said.
//! - A file has its final name only when it is whole, verified and synced.
//!
//! PROTOCOL.md says what goes over the wire; DESIGN.md says why, and argues for these.
//!
//! Functions named `fuzz_*` are entries for fuzzers and no part of the interface.

// `pub` says that somebody outside can use it.
#![warn(unreachable_pub)]

pub mod carrier;
pub mod cli;
pub mod identity;
pub mod lane;
pub mod link;
pub mod names;
pub mod net;
pub mod node;
pub mod noise;
pub mod ports;
pub mod relay;
pub(crate) mod run;
pub mod server;
pub mod session;
pub mod store;
pub(crate) mod tools;
pub mod transfer;
pub mod wire;
