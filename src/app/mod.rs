//! What each tool does with a session.

pub mod transfer;
