//! Why one item of a transfer did not come about.

/// Why one item (or a whole offer) did not come about.
///
/// A fault is about one item: the others go on. It carries no text and no path, so that it can
/// cross the wire as a number; the caller knows which item it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The name is empty, too long, too deep, reserved, or holds a control character.
    Name,
    /// The same path was offered before in this transfer, or one that the receiver's file system takes for the same.
    Duplicate,
    /// Something else has that name already, and the policy says to leave it.
    Exists,
    /// A directory with something in it has that name: no policy replaces it.
    NotEmpty,
    /// The parent is missing, is not a directory, or is reached through a symbolic link.
    Parent,
    /// A symbolic link leads, or might lead, out of the tree that is sent.
    LinkTarget,
    /// Larger than the receiver takes.
    TooLarge,
    /// More items than the receiver takes.
    TooMany,
    /// A socket, fifo or device: not something to copy.
    Special,
    /// A directory tree where only one file's bytes can be taken.
    TreeNotTaken,
    /// A file, where there is but somebody's terminal to put it.
    Terminal,
    /// The peer speaks another version of the transfer.
    Version,
    /// The source changed while it was read.
    Changed,
    /// No such file.
    NotFound,
    /// The system does not permit it.
    Denied,
    /// No space, or no quota, left.
    NoSpace,
    /// The file system is read-only.
    ReadOnly,
    /// Out of file descriptors.
    NoDescriptors,
    /// Another transfer is writing the same item.
    Busy,
    /// What arrived is not what was sent.
    Integrity,
    /// Whoever reads it stopped reading; or given up because the other side had given it up.
    Cancelled,
    /// The file system can give a file its name only in such a way that it would replace another.
    OnlyReplaces,
    /// The file system has no symbolic links.
    NoLinks,
    /// Any other failure to read, write or sync.
    Io,
}

impl Fault {
    /// True where the answer is a decision, not an accident: trying again changes nothing.
    #[must_use]
    pub(crate) fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Name
                | Self::Duplicate
                | Self::Exists
                | Self::NotEmpty
                | Self::Parent
                | Self::LinkTarget
                | Self::TooLarge
                | Self::TooMany
                | Self::Special
                | Self::TreeNotTaken
                | Self::Terminal
                | Self::Version
                | Self::OnlyReplaces
                | Self::NoLinks
        )
    }
}

/// A symbolic link that leads to nothing: why what has its name cannot be read, which [`Fault::NotFound`] alone does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DanglingLink {
    /// What the link says, any bytes; of a chain of them, what the last does.
    pub target: Vec<u8>,
    /// It leads back to itself.
    pub is_loop: bool,
}
