//! The file protocol, for files and streams alike: its messages as bytes, what is said and what may come when on the
//! sending side (`Offering`) and on the receiving side (`Reception`), compressed blocks, hashes, and how a transfer ends.
//!
//! It opens no file and no socket; what drives it is in `tools`: files in a thread, streams on the loop. What crosses
//! the wire is specified in [`messages`].

pub(crate) mod blocks;
pub mod decoder;
pub mod encode;
pub(crate) mod fault;
pub mod hash;
pub mod item;
pub(crate) mod limit;
pub mod messages;
pub(crate) mod meter;
pub(crate) mod offering;
pub(crate) mod outcome;
pub mod parse;
pub mod path;
pub(crate) mod reception;
pub mod status;
pub(crate) mod unblock;

pub(crate) use blocks::Compression;
pub use fault::Fault;
pub(crate) use limit::RateLimit;
pub(crate) use meter::LinkMeter;
pub(crate) use offering::Offering;
pub(crate) use outcome::{ReceiveOutcome, SendOutcome, TransferError};
pub(crate) use reception::{Fact, Reception};
pub use status::Status;
pub use unblock::BlockDecoder;
