//! vp
pub mod identity;
pub mod link;
pub mod node;
pub mod noise;
pub mod session;
pub mod wire;
