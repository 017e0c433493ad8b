//! vp
pub mod app;
pub mod identity;
pub mod link;
pub mod net;
pub mod noise;
pub mod relay;
pub mod store;
pub mod wire;
