//! The connections of one worker: those that are served, and the sockets of those that linger.

use super::conn::Conn;
use super::linger::Lingering;
use crate::net::reactor::{FIRST_TOKEN, Ready, Registry, Token};
use crate::relay::ConnId;
use foldhash::HashMap;
use std::io;
use std::time::Instant;

/// Reads of what somebody says who is turned away.
const LAST_READS: usize = 4;

/// See the module. It knows nothing of the clients behind them.
pub(super) struct Sockets {
    /// Of the worker's loop, which hears of them.
    registry: Registry,
    by_conn: HashMap<ConnId, Conn>,
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
    /// It is broken or the client has closed it, as the next read that finds nothing else will tell.
    pub is_over: bool,
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
    pub(super) fn take_in(&mut self, id: ConnId, mut conn: Conn) -> io::Result<()> {
        conn.register(&self.registry, token(id))?;
        self.by_conn.insert(id, conn);
        Ok(())
    }

    /// Gives a connection away. None if it is gone.
    pub(super) fn release(&mut self, id: ConnId) -> Option<Conn> {
        let mut conn = self.by_conn.remove(&id)?;
        conn.deregister(&self.registry).ok()?;
        Some(conn)
    }

    /// One of those that are served.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.by_conn.get_mut(&id)
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, id: ConnId) {
        self.by_conn.remove(&id);
    }

    /// Shuts down writing, and closes when the client has, or at `until`.
    pub(super) fn finish(&mut self, until: Instant, id: ConnId) {
        if let Some(conn) = self.by_conn.remove(&id) {
            self.lingering.take(until, id, conn.into_socket());
        }
    }

    /// Closes a connection after its carrier's last words. What has come meanwhile is thrown away: it would turn them into a reset.
    pub(super) fn turn_away(&mut self, id: ConnId) {
        if let Some(conn) = self.by_conn.remove(&id) {
            let mut socket = conn.into_socket();
            socket.finish();
            socket.discard(LAST_READS);
        }
    }

    /// A socket has news.
    pub(super) fn handle_ready(&mut self, ready: Ready) -> Option<Heard> {
        let id = conn_of(ready.token);
        let Some(conn) = self.by_conn.get_mut(&id) else {
            self.lingering.handle_event(id);
            return None;
        };
        let was_writable = conn.is_writable();
        conn.handle_ready(ready);
        let is_writable = !was_writable && conn.is_writable();
        let is_over = ready.error || ready.read_closed;
        // A carrier's end that its link has not heard of, as it has moved meanwhile, brings no event of its own.
        let is_readable = ready.is_for_reader() || conn.end().is_some();
        Some(Heard { conn: id, is_readable, is_writable, is_over })
    }
}
