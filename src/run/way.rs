//! By which way a client gets to a relay, and what may be in that way.

use crate::carrier::proxy::{Destination, Login, Proxy, Refusal};
use crate::names::{ProxyAddress, ProxyScheme};
use crate::net::child::Ended;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::sync::Arc;

/// By which way a relay is reached.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// By its own name and port.
    Straight,
    /// Through a proxy.
    Proxy(ProxyServer),
    /// By the standard streams of this command.
    Command(OsString),
}

/// A proxy and what is told to it.
#[derive(Clone)]
pub(crate) struct ProxyServer {
    /// Where it is, and what has named it.
    pub named: Named,
    /// Who asks.
    pub login: Option<Arc<Login>>,
}

impl fmt::Debug for ProxyServer {
    /// Without who asks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named.fmt(f)
    }
}

impl ProxyServer {
    /// Its machine for a tunnel.
    pub(super) fn ask(&self, to: &Destination) -> Proxy {
        let login = self.login.clone();
        match self.named.address.scheme {
            ProxyScheme::Http => Proxy::connect(to, login),
            ProxyScheme::Socks5 => Proxy::socks5(to, login),
        }
    }
}

/// Why a way did not lead to the relay: it comes as the system's errors do, and is put into words by who knows it.
#[derive(Debug)]
pub(crate) struct Obstacle {
    /// What is in the way: a proxy, by its address, or nothing more to be said.
    pub proxy: Option<Named>,
    /// What it did.
    pub what: Hindrance,
}

/// A proxy by its address, and what has named it.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// Its address.
    pub address: ProxyAddress,
    /// The variable that it is from, if it is from one: who runs a tool may not know of that.
    pub by: Option<&'static str>,
}

/// What is in the way.
#[derive(Debug)]
pub(crate) enum Hindrance {
    /// It cannot be reached, or broke.
    Io(io::Error),
    /// It says no.
    Refused(Refusal),
    /// The command cannot be started.
    NotStarted(io::Error),
    /// The command has ended.
    Ended(Ended),
    /// The command has closed its streams, and goes on.
    Closed,
}

impl Obstacle {
    /// What an error of the system is, if it is one of these.
    pub(crate) fn of(error: &io::Error) -> Option<&Obstacle> {
        error.get_ref()?.downcast_ref()
    }

    /// As an error of the system.
    pub(super) fn into_error(self) -> io::Error {
        io::Error::other(self)
    }
}
