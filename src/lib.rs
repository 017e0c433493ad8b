//! vp

pub mod app;
pub mod identity;
pub mod noise;
pub mod store;
