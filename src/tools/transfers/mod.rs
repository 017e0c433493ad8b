//! What `vp-send` and `vp-recv` have in common: what they have to say, and how a transfer ends.

mod ending;
pub(crate) mod engine;
mod error;
mod news;
pub(crate) mod pump;

pub(crate) use ending::{Ending, close_code};
pub(crate) use error::{Error, verdict};
pub(crate) use news::{News, Transfer, tell};
