//! What each tool does with a session, as functions and machines over parsed options.

pub mod attach;
pub mod keygen;
pub mod ports;
pub mod recv;
pub mod send;
pub mod transfers;
