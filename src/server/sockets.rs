//! The sockets of one worker: those that are served, and those that linger.

use super::linger::Lingering;
use crate::net::reactor::{FIRST_TOKEN, Ready, Registry, Token};
use crate::net::socket::Socket;
use crate::relay::ConnId;
use foldhash::HashMap;
use std::io;
use std::time::Instant;

/// See the module. It knows nothing of the clients behind the sockets.
pub(super) struct Sockets {
    /// Of the worker's loop, which hears of them.
    registry: Registry,
    by_conn: HashMap<ConnId, Socket>,
    /// Those that the relay has finished with, and the client has not.
    pub lingering: Lingering,
}

/// What was heard of a connection that is served.
pub(super) struct Heard {
    /// Which.
    pub conn: ConnId,
    /// There is something to read, if only its end.
    pub is_readable: bool,
    /// It takes bytes again, after it had not.
    pub is_writable: bool,
    /// It is broken, as the next read that finds nothing else will tell.
    pub is_broken: bool,
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
    /// None yet, of whom the loop with this registry will hear.
    pub(super) fn new(registry: Registry) -> Sockets {
        Sockets { registry, by_conn: HashMap::default(), lingering: Lingering::default() }
    }

    /// Takes in a connection that was accepted, or whose link came from another worker.
    ///
    /// # Errors
    /// It is gone, or the system lacks something.
    pub(super) fn take_in(&mut self, conn: ConnId, mut socket: Socket) -> io::Result<()> {
        socket.register(&self.registry, token(conn))?;
        self.by_conn.insert(conn, socket);
        Ok(())
    }

    /// Gives a connection away. None if it is gone.
    pub(super) fn release(&mut self, conn: ConnId) -> Option<Socket> {
        let mut socket = self.by_conn.remove(&conn)?;
        socket.deregister(&self.registry).ok()?;
        Some(socket)
    }

    /// One of those that are served.
    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.by_conn.get_mut(&conn)
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, conn: ConnId) {
        self.by_conn.remove(&conn);
    }

    /// Shuts down writing, and closes when the client has, or at `until`.
    pub(super) fn finish(&mut self, until: Instant, conn: ConnId) {
        if let Some(socket) = self.by_conn.remove(&conn) {
            self.lingering.take(until, conn, socket);
        }
    }

    /// A socket has news.
    pub(super) fn handle_ready(&mut self, ready: Ready) -> Option<Heard> {
        let conn = conn_of(ready.token);
        let Some(socket) = self.by_conn.get_mut(&conn) else {
            self.lingering.handle_event(conn);
            return None;
        };
        let was_writable = socket.is_writable();
        socket.handle_ready(ready);
        let is_writable = !was_writable && socket.is_writable();
        Some(Heard { conn, is_readable: ready.is_for_reader(), is_writable, is_broken: ready.error })
    }
}
