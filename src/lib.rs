//! vp
pub mod identity;
pub mod link;
pub mod noise;
pub mod wire;
