//! What every tool that connects needs while it runs: a client, which is one node and its connection to a relay, driven by the
//! one loop (`net::reactor`).
//!
//! A [`tool::Tool`] says what it does with sessions; the client gives it time, events and a node, and knows nothing else of it.
//! News go to whoever listens, as values without words; an end without success is the tool's error. The client never blocks,
//! prints nothing and ends no process. By which way a relay is reached is in [`way`], the socket on that way in `approach`, and
//! what is said on it in `connection`. How long an end may take is in [`farewell`], who gives way to others, as a session whose
//! process is gone has to, in [`turns`].

mod approach;
pub(crate) mod callers;
pub(crate) mod client;
mod connection;
mod dialled;
pub(crate) mod farewell;
pub(crate) mod joint;
mod leavers;
pub(crate) mod news;
mod reminder;
mod requests;
pub(crate) mod tool;
pub(crate) mod trust;
pub(crate) mod turns;
pub(crate) mod way;

pub(crate) use news::News;
