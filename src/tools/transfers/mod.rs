//! What `vp-send` and `vp-recv` have in common: what they have to say, and how a transfer ends.

mod ending;
mod error;
mod news;

pub use ending::{Ending, close_code};
pub use error::Error;
pub use news::{News, Transfer, tell};
