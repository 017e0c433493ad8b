//! The sockets of one worker: those that are served, those that linger, and in which order they are read.

use super::linger::Lingering;
use super::queue::Queue;
use crate::net::reactor::{FIRST_TOKEN, Ready, Registry, Token};
use crate::net::socket::Socket;
use crate::relay::ConnId;
use std::collections::HashMap;
use std::io;
use std::time::Instant;

/// See the module. It knows nothing of the clients behind the sockets.
#[derive(Default)]
pub(super) struct Sockets {
    by_conn: HashMap<ConnId, Conn>,
    /// Those that the relay has finished with, and the client has not.
    pub lingering: Lingering,
    /// Those that have input.
    pub readable: Queue,
}

struct Conn {
    socket: Socket,
    /// Whether it stands in the list of sockets to read.
    queued: bool,
}

fn token(conn: ConnId) -> Token {
    // Numbers are given out one by one and never again.
    Token(usize::try_from(conn.get()).unwrap_or(0) + FIRST_TOKEN)
}

/// The connection whose events have this token.
fn conn_of(token: Token) -> ConnId {
    ConnId::new(u64::try_from(token.0 - FIRST_TOKEN).unwrap_or(u64::MAX))
}

impl Sockets {
    /// Takes in a connection that was accepted, or whose link came from another worker.
    ///
    /// # Errors
    /// It is gone, or the system lacks something.
    pub(super) fn take_in(&mut self, registry: &Registry, conn: ConnId, mut socket: Socket) -> io::Result<()> {
        socket.register(registry, token(conn))?;
        self.by_conn.insert(conn, Conn { socket, queued: false });
        Ok(())
    }

    /// Gives a connection away. None if it is gone.
    pub(super) fn release(&mut self, registry: &Registry, conn: ConnId) -> Option<Socket> {
        let mut socket = self.by_conn.remove(&conn)?.socket;
        socket.deregister(registry).ok()?;
        Some(socket)
    }

    /// One of those that are served.
    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.by_conn.get_mut(&conn).map(|known| &mut known.socket)
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, conn: ConnId) {
        self.by_conn.remove(&conn);
    }

    /// Shuts down writing, and closes when the client has, or at `until`.
    pub(super) fn finish(&mut self, until: Instant, conn: ConnId) {
        if let Some(known) = self.by_conn.remove(&conn) {
            self.lingering.take(until, conn, known.socket);
        }
    }

    /// A socket has news. The connection, if it takes bytes again after it had not.
    pub(super) fn handle_ready(&mut self, ready: Ready) -> Option<ConnId> {
        let conn = conn_of(ready.token);
        let Some(known) = self.by_conn.get_mut(&conn) else {
            self.lingering.handle_event(conn);
            return None;
        };
        let was_writable = known.socket.is_writable();
        known.socket.handle_ready(ready);
        if ready.is_for_reader() && !std::mem::replace(&mut known.queued, true) {
            self.readable.push(conn);
        }
        (!was_writable && known.socket.is_writable()).then_some(conn)
    }

    /// A connection is not to be read again before it has more input.
    pub(super) fn take_off(&mut self, conn: ConnId) {
        if let Some(known) = self.by_conn.get_mut(&conn) {
            known.queued = false;
        }
    }
}
