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
/// Reads of one event: a client that goes on sending is not listened to.
const READS_MAX: usize = 16;

/// See the module's words.
#[derive(Default)]
pub(super) struct Lingering {
    sockets: BTreeMap<ConnId, Socket>,
    /// Deadlines in the order in which they pass.
    deadlines: VecDeque<(Instant, ConnId)>,
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
        if socket.discard(READS_MAX) {
            self.sockets.remove(&id);
        }
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
