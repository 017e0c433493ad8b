//! What exports lead to, and which addresses that are: names resolved once, and again only after they led nowhere.

use crate::net::tcp::Place;
use mio::Waker;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at the same name.
const RESOLVE_PAUSE: Duration = Duration::from_secs(5);

/// What an export serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Ports of a host, from the first to the last.
    Tcp {
        /// A name or an address.
        host: String,
        /// The first port.
        first: u16,
        /// The last port, often the first.
        last: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Tcp { host, first, last } => {
                if host.contains(':') {
                    write!(f, "[{host}]:{first}")?
                } else {
                    write!(f, "{host}:{first}")?
                }
                if first == last { Ok(()) } else { write!(f, "-{last}") }
            }
        }
    }
}

/// A target and its addresses.
#[derive(Debug)]
pub struct Resolved {
    target: Target,
    addresses: Vec<IpAddr>,
    looking: Option<Receiver<io::Result<Vec<IpAddr>>>>,
    look_after: Option<Instant>,
}

impl Resolved {
    /// Resolves the target. It may take as long as the system's resolver does.
    ///
    /// # Errors
    /// The name has no address.
    pub fn new(target: Target) -> io::Result<Resolved> {
        let addresses = match &target {
            Target::Unix(_) => Vec::new(),
            Target::Tcp { host, .. } => look_up(host)?,
        };
        Ok(Resolved { target, addresses, looking: None, look_after: None })
    }

    /// What it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Where to connect for the port of this offset, one after the other. None: there is no such port.
    pub fn places(&self, offset: u16) -> Option<Vec<Place>> {
        match &self.target {
            Target::Unix(path) => (offset == 0).then(|| vec![Place::Unix(path.clone())]),
            Target::Tcp { first, last, .. } => {
                let port = port_at(*first, *last, offset)?;
                Some(self.addresses.iter().map(|address| Place::Tcp(SocketAddr::new(*address, port))).collect())
            }
        }
    }

    /// None of the addresses led anywhere: perhaps the name has others now. The answer is for later connections.
    pub fn handle_failure(&mut self, now: Instant, waker: &Arc<Waker>) {
        let Target::Tcp { host, .. } = &self.target else { return };
        let soon = self.look_after.is_some_and(|after| now < after);
        if soon || self.looking.is_some() || host.parse::<IpAddr>().is_ok() {
            return;
        }
        self.look_after = Some(now + RESOLVE_PAUSE);
        let (sender, receiver) = channel();
        let (host, waker) = (host.clone(), Arc::clone(waker));
        let resolver = thread::Builder::new().name("resolver".into()).spawn(move || {
            // The loop may have given up and gone: then nobody needs the answer.
            let _ = sender.send(look_up(&host));
            let _ = waker.wake();
        });
        // Without a thread the old addresses stay, until the next failure.
        self.looking = resolver.is_ok().then_some(receiver);
    }

    /// Takes the answer of the resolver, if it came.
    pub fn poll(&mut self) {
        let Some(receiver) = &self.looking else { return };
        match receiver.try_recv() {
            Err(TryRecvError::Empty) => return,
            Ok(Ok(addresses)) => self.addresses = addresses,
            // The name is unknown for now: what it meant last is the best guess.
            Ok(Err(_)) | Err(TryRecvError::Disconnected) => {}
        }
        self.looking = None;
    }
}

/// The port so far behind the first of a range.
fn port_at(first: u16, last: u16, offset: u16) -> Option<u16> {
    first.checked_add(offset).filter(|port| *port <= last)
}

fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for found in (host, 0).to_socket_addrs()? {
        if !addresses.contains(&found.ip()) {
            addresses.push(found.ip());
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(host: &str, first: u16, last: u16) -> Target {
        Target::Tcp { host: host.to_owned(), first, last }
    }

    #[test]
    fn an_offset_leads_to_a_port_of_the_range_and_to_no_other() {
        let range = Resolved::new(tcp("127.0.0.1", 1099, 1103)).unwrap();
        assert_eq!(range.places(0), Some(vec![Place::Tcp("127.0.0.1:1099".parse().unwrap())]));
        assert_eq!(range.places(4), Some(vec![Place::Tcp("127.0.0.1:1103".parse().unwrap())]));
        assert_eq!((range.places(5), range.places(u16::MAX)), (None, None));
        let socket = Resolved::new(Target::Unix("/run/db".into())).unwrap();
        assert_eq!((socket.places(0).map(|places| places.len()), socket.places(1)), (Some(1), None));
    }

    #[test]
    fn a_name_without_address_is_an_error() {
        assert!(Resolved::new(tcp("no-such-host.invalid", 1, 1)).is_err());
    }

    #[test]
    fn targets_read_as_they_are_typed() {
        assert_eq!(tcp("db", 5432, 5432).to_string(), "db:5432");
        assert_eq!(tcp("::1", 1099, 1103).to_string(), "[::1]:1099-1103");
        assert_eq!(Target::Unix("/run/db".into()).to_string(), "unix:/run/db");
    }

    proptest! {
        #[test]
        fn no_offset_leads_out_of_a_range(first: u16, more: u16, offset: u16) {
            let last = first.saturating_add(more);
            match port_at(first, last, offset) {
                Some(port) => prop_assert!((first..=last).contains(&port) && port - first == offset),
                None => prop_assert!(u32::from(first) + u32::from(offset) > u32::from(last)),
            }
        }
    }
}
