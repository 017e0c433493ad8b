//! What each tool does, as functions over parsed options: the machines of the core joined with `net` and `store`.
//!
//! Nothing here parses a command line, prints, or ends the process: results and errors go back to the caller.

pub mod attach;
pub mod callers;
pub mod client;
pub mod ending;
pub mod joint;
pub mod keygen;
mod notice;
mod pauses;
pub mod portrep;
mod pump;
pub mod recv;
pub mod relay;
mod reminder;
pub mod send;
pub mod transfer;
