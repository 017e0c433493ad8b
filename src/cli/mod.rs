//! Command lines and what people see: clap structs, exit statuses, messages, progress, and which files and variables
//! are looked at.
//!
//! It does no protocol, opens no connection and moves no payload: that is `tools` and `server`. Invariants: nothing but
//! `report`, and the bar on a terminal, writes to standard error; every foreign text goes through `escape::printable`; no
//! secret is taken from an argument or shown, but for the new key that `vp-keygen` is there to print; the environment is
//! read once, into an `env::Env`.

pub mod args;
mod backlog;
mod bar;
pub(crate) mod config;
mod counted;
pub mod env;
pub(crate) mod escape;
mod events;
pub mod exit;
pub(crate) mod files;
mod json;
mod key;
mod mixups;
mod passed;
pub(crate) mod progress;
mod proxy;
pub(crate) mod ready;
pub(crate) mod report;
mod roster;
mod screen;
mod tool;
mod trust;
pub mod units;
mod voice;

pub use tool::{Tool, main};
