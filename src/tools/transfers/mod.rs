//! What `vp-send` and `vp-recv` have in common: what they have to say, and how a transfer ends.

mod ending;
pub mod engine;
mod error;
mod news;
pub mod pump;

pub use ending::{Ending, close_code};
pub use error::Error;
pub use news::{News, Transfer, tell};
