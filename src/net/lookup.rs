//! Names and their addresses: the system's resolver, in a thread of its own, because it may take as long as it likes.

use mio::Waker;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

/// A name that is being looked up.
#[derive(Debug)]
pub(crate) struct Lookup(Receiver<io::Result<Vec<SocketAddr>>>);

impl Lookup {
    /// Begins. `waker` wakes the loop when the answer is there.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(crate) fn start(host: &str, waker: &Arc<Waker>) -> io::Result<Lookup> {
        let (sender, receiver) = channel();
        let (host, waker) = (host.to_owned(), Arc::clone(waker));
        thread::Builder::new().name("resolver".into()).spawn(move || {
            // The loop may have given up and gone: then nobody needs the answer.
            let _ = sender.send(addresses_of(&host));
            let _ = waker.wake();
        })?;
        Ok(Lookup(receiver))
    }

    /// One with its answer.
    #[cfg(test)]
    pub(crate) fn answered(answer: io::Result<Vec<SocketAddr>>) -> Lookup {
        let (sender, receiver) = channel();
        sender.send(answer).unwrap();
        Lookup(receiver)
    }

    /// The answer, once it is there: at least one address, each with port 0.
    pub(crate) fn poll(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn addresses_of(host: &str) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for found in (host, 0).to_socket_addrs()? {
        if !addresses.contains(&found) {
            addresses.push(found);
        }
    }
    if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
}
