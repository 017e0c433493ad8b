//! Connections that the relay has finished with and the client has not: kept for a moment, so that the last message is
//! not lost to a reset, which is what closing a socket with unread input does.

use crate::net::socket::Socket;
use crate::relay::ConnId;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a client may take to close, while the relay serves.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// Connections that linger at once; older ones are closed.
const LINGERING_MAX: usize = 4096;
/// Reads of one of them at once, and one is looked at in a turn: a client that goes on sending is not listened to.
const READS_MAX: usize = 16;

/// See the module's words.
#[derive(Default)]
pub(super) struct Lingering {
    sockets: BTreeMap<ConnId, Socket>,
    /// Deadlines in the order in which they pass.
    deadlines: VecDeque<(Instant, ConnId)>,
    /// Those of which more may be read: no event will tell of that.
    unread: VecDeque<ConnId>,
}

impl Lingering {
    /// Shuts down writing and keeps the socket until then at the latest. Later calls name later times, or the end of all.
    pub(super) fn take(&mut self, until: Instant, id: ConnId, socket: Socket) {
        socket.finish();
        self.sockets.insert(id, socket);
        self.deadlines.push_back((until, id));
        if self.deadlines.len() > LINGERING_MAX {
            self.drop_first();
        }
        self.handle_event(id);
    }

    /// Throws input away; closes when the client has.
    pub(super) fn handle_event(&mut self, id: ConnId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        // The end may be there already, behind what is read now.
        socket.rouse();
        if socket.discard(READS_MAX) {
            self.sockets.remove(&id);
        } else if socket.is_readable() && !self.unread.contains(&id) {
            self.unread.push_back(id);
        }
    }

    /// Goes on with the next of which more may be read.
    pub(super) fn read_on(&mut self) {
        if let Some(id) = self.unread.pop_front() {
            self.handle_event(id);
        }
    }

    /// Whether there is one.
    pub(super) fn is_busy(&self) -> bool {
        !self.unread.is_empty()
    }

    /// When the next one is closed.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.front().map(|&(at, _)| at)
    }

    /// Closes those whose time is up.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.deadlines.front().is_some_and(|&(at, id)| at <= now || !self.sockets.contains_key(&id)) {
            self.drop_first();
        }
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    fn drop_first(&mut self) {
        if let Some((_, id)) = self.deadlines.pop_front() {
            self.sockets.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::endpoint::Endpoint;
    use crate::net::options::Purpose;
    use std::io::Write;
    use std::net::{Shutdown, TcpListener};

    /// What was sent and never read tells of itself once, and the end behind it with it.
    #[test]
    fn a_client_that_has_sent_much_and_closed_is_read_to_its_end() {
        const UNREAD: usize = 4 * READS_MAX * 4096;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Socket::connect(&Endpoint::Tcp(listener.local_addr().unwrap()), Purpose::Link).unwrap();
        let (mut client, _) = listener.accept().unwrap();
        // The kernel keeps as much.
        client.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(&vec![1; UNREAD]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut lingering, id) = (Lingering::default(), ConnId::new(1));
        lingering.take(Instant::now() + LINGER, id, socket);
        assert!(!lingering.is_empty() && lingering.is_busy());
        let mut turns = 0;
        while lingering.is_busy() {
            lingering.read_on();
            turns += 1;
            assert!(turns <= UNREAD / (READS_MAX * 4096), "it is read for ever");
        }
        assert!(lingering.is_empty() && turns > 1, "{turns}");
    }
}
