//! vp
pub mod cli;
pub mod identity;
