//! Where sockets are.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a socket is, or shall be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An address and port.
    Tcp(SocketAddr),
    /// A name in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    /// `127.0.0.1:5432`, `unix:/run/db`. A path may hold anything: escape it before a person sees it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
