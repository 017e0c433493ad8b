//! The bytes both ends of a link agree on: the frame header, the control messages, the close codes, the features and the limits.
//!
//! This folder turns values into bytes and back. It holds no key and decides nothing about who may do what.
//!
//! Invariants: no length is believed before it is compared with a cap of [`limits`]; a message has exactly one encoding,
//! so whatever decodes also re-encodes to the same bytes; only [`control`] names the serialiser.

pub mod code;
pub mod control;
pub mod features;
pub mod header;
pub mod limits;

pub use code::CloseCode;
pub use control::{Control, ControlError, Name};
pub use features::Features;
pub use header::{Header, HeaderError, Kind};
