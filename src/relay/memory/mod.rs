//! The memory for what clients send each other: blocks, what is counted, and who lets go when it is used up.

pub(super) mod block;
pub(super) mod budget;
pub(super) mod charge;
pub(super) mod cursor;
pub(super) mod messages;
pub(super) mod pressure;
pub(super) mod reader;
