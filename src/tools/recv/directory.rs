//! Where what comes goes: one directory for all peers, or one for each, so that none of them learns what others have sent.

use crate::identity::PeerId;
use crate::store::leftovers::remove_old;
use crate::tools::transfers::engine::Destination;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What stands for the peer in the last name of a path.
const PEER: &[u8] = b"%p";

/// A receiver's directory, or one for each peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Directory {
    /// What all peers send goes there.
    Shared(PathBuf),
    /// What each peer sends goes to one of its own.
    OfPeers {
        /// The directory that they are in.
        parent: PathBuf,
        /// What they are called, with `%p` in it.
        pattern: OsString,
    },
}

impl Directory {
    /// What a path means; none if it names the peer elsewhere than in its last name.
    #[must_use]
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let names_peer = |name: &OsStr| name.as_bytes().windows(PEER.len()).any(|window| window == PEER);
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(last)) if names_peer(last) && !names_peer(parent.as_os_str()) => {
                let parent = if parent == Path::new("") { Path::new(".") } else { parent };
                Some(Self::OfPeers { parent: parent.to_owned(), pattern: last.to_owned() })
            }
            _ => (!names_peer(path.as_os_str())).then(|| Self::Shared(path.to_owned())),
        }
    }

    /// The directory that is there before anybody calls.
    #[must_use]
    pub(crate) fn base(&self) -> &Path {
        let (Self::Shared(base) | Self::OfPeers { parent: base, .. }) = self;
        base
    }

    /// Removes what has been left unfinished there long ago, beside whatever goes on.
    pub(super) fn begin_removing_old(&self) {
        let base = self.base().to_owned();
        // Without a thread it stays a while longer.
        let _ = std::thread::Builder::new().name("leftovers".into()).spawn(move || remove_old(&base));
    }

    /// The same with that directory at this path.
    #[must_use]
    pub(crate) fn based(self, base: PathBuf) -> Self {
        match self {
            Self::Shared(_) => Self::Shared(base),
            Self::OfPeers { pattern, .. } => Self::OfPeers { parent: base, pattern },
        }
    }

    /// Where what this peer sends goes. A name that would lead elsewhere, or hide the directory, is no name for one: then it
    /// is called by the id, as that of a peer without a name is.
    #[must_use]
    pub(crate) fn of_peer(&self, peer: &PeerId, name: &str) -> Destination {
        let (parent, pattern) = match self {
            Self::Shared(path) => return Destination::Directory(path.clone()),
            Self::OfPeers { parent, pattern } => (parent, pattern.as_bytes()),
        };
        let name = if name.is_empty() || name.starts_with('.') || name.contains('/') {
            peer.to_string()
        } else {
            name.to_owned()
        };
        let (mut called, mut rest) = (Vec::new(), pattern);
        while let Some(at) = rest.windows(PEER.len()).position(|window| window == PEER) {
            called.extend_from_slice(&rest[..at]);
            called.extend_from_slice(name.as_bytes());
            rest = &rest[at + PEER.len()..];
        }
        called.extend_from_slice(rest);
        Destination::DirectoryOfPeer(parent.join(OsString::from_vec(called)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_peer(path: &str, name: &str) -> String {
        let peer = PeerId::from_bytes([1; 32]);
        let whole = Directory::of(Path::new(path)).expect("a directory").of_peer(&peer, name);
        let whole = whole.directory().expect("a directory").to_string_lossy().into_owned();
        whole.replace(&peer.to_string(), "ID")
    }

    #[test]
    fn the_last_name_may_name_the_peer() {
        for (path, there) in [
            ("/in", "/in"),
            ("in/", "in/"),
            ("in/100%", "in/100%"),
            ("/in/%p", "/in/east"),
            ("/in/%p/", "/in/east"),
            ("%p", "./east"),
            ("in/from-%p.%p%", "in/from-east.east%"),
            ("in/%%p", "in/%east"),
        ] {
            assert_eq!(of_peer(path, "east"), there, "{path}");
        }
        for path in ["%p/in", "/%p/%p", "/in/%p/.."] {
            assert_eq!(Directory::of(Path::new(path)), None, "{path}");
        }
        let base = |path| Directory::of(Path::new(path)).expect("a directory").base().to_owned();
        assert_eq!([base("/in/%p"), base("/in"), base("%p")], ["/in", "/in", "."].map(PathBuf::from));
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for name in [".", "..", ".ssh", "", "a/b", "/etc"] {
            assert_eq!(of_peer("/in/%p", name), "/in/ID", "{name}");
        }
    }
}
