//! How items and transfers end, as it goes over the wire.

/// How many items ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Verified, synced and renamed.
    pub committed: u32,
    /// Were there already.
    pub exists: u32,
    /// Not taken.
    pub refused: u32,
    /// Not come about.
    pub failed: u32,
}

/// The end of a transfer in one word. On the wire, its number here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Every item is there now.
    Complete = 0,
    /// Every item had been there before.
    NothingToDo = 1,
    /// Some items are there, some are not.
    Partial = 2,
    /// The receiver took none.
    Refused = 3,
    /// The content of an item did not match its hash.
    Integrity = 4,
    /// None came about for reasons of the file systems on either side.
    LocalIo = 5,
    /// The receiver's command failed, after every item was there or before it had taken the only one.
    CommandFailed = 6,
}

impl Status {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::NothingToDo,
        Self::Partial,
        Self::Refused,
        Self::Integrity,
        Self::LocalIo,
        Self::CommandFailed,
    ];
}
