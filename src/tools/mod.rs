//! What each tool does with a session, as functions and machines over parsed options.
//!
//! Nothing here parses a command line, prints, or ends the process: news and errors go back to the caller. [`transfers`] is
//! what `vp-send` and `vp-recv` have in common.

pub(crate) mod attach;
pub(crate) mod keygen;
pub(crate) mod ports;
pub(crate) mod recv;
pub(crate) mod send;
pub(crate) mod transfers;
