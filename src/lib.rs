//! vp

pub mod app;
pub mod store;
