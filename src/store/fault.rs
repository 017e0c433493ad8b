//! What the system says, as a fault of one item.

use crate::transfer::Fault;
use rustix::io::Errno;

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace,
            Errno::FBIG => Self::TooLarge,
            Errno::ROFS => Self::ReadOnly,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            Errno::NOENT => Self::NotFound,
            Errno::PIPE => Self::Cancelled,
            Errno::MFILE | Errno::NFILE => Self::NoDescriptors,
            Errno::NAMETOOLONG => Self::Name,
            Errno::EXIST | Errno::ISDIR => Self::Exists,
            Errno::NOTEMPTY => Self::NotEmpty,
            // What a path that leads astray answers.
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => Self::Parent,
            _ => Self::Io,
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::Cancelled;
        }
        Errno::from_io_error(&error).map_or(Self::Io, Self::from)
    }
}
