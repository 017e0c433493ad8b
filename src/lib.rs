//! vp

pub mod app;
pub mod cli;
pub mod identity;
pub mod noise;
pub mod store;
