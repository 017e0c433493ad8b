//! vp
pub mod app;
pub mod cli;
pub mod identity;
pub mod link;
pub mod net;
pub mod node;
pub mod noise;
pub mod relay;
pub mod session;
pub mod store;
pub mod wire;
