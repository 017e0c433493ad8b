//! The sockets of one worker: those that are served, those that linger, and in which order they are read.

use super::conn::Socket;
use super::linger::Lingering;
use super::queue::Queue;
use crate::relay::ConnId;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Registry, Token};
use std::collections::HashMap;
use std::io;
use std::time::Instant;

/// See the module. It knows nothing of the clients behind the sockets.
#[derive(Default)]
pub struct Sockets {
    by_conn: HashMap<ConnId, Socket>,
    /// Those that the relay has finished with, and the client has not.
    pub lingering: Lingering,
    /// Those that have input.
    pub readable: Queue,
}

fn token(conn: ConnId) -> Token {
    // Numbers are given out one by one from 1; the largest tokens stay free.
    Token(usize::try_from(conn.get()).unwrap_or(0))
}

/// The connection whose events have this token.
pub fn conn_of(token: Token) -> ConnId {
    ConnId::new(u64::try_from(token.0).unwrap_or(u64::MAX))
}

impl Sockets {
    /// Takes in a connection that was accepted, or whose link came from another worker.
    ///
    /// # Errors
    /// It is gone, or the system lacks something.
    pub fn take_in(&mut self, registry: &Registry, conn: ConnId, stream: TcpStream) -> io::Result<()> {
        let socket = Socket::new(registry, stream, token(conn))?;
        self.by_conn.insert(conn, socket);
        Ok(())
    }

    /// Gives a connection away. None if it is gone.
    pub fn release(&mut self, registry: &Registry, conn: ConnId) -> Option<TcpStream> {
        self.by_conn.remove(&conn)?.release(registry).ok()
    }

    /// One of those that are served.
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.by_conn.get_mut(&conn)
    }

    /// Closes a connection.
    pub fn close(&mut self, conn: ConnId) {
        self.by_conn.remove(&conn);
    }

    /// Shuts down writing, and closes when the client has, or at `until`.
    pub fn finish(&mut self, until: Instant, conn: ConnId) {
        if let Some(socket) = self.by_conn.remove(&conn) {
            self.lingering.take(until, conn, socket);
        }
    }

    /// Something happened to a connection. True if it takes bytes again, after it had not.
    pub fn handle_event(&mut self, conn: ConnId, event: &Event) -> bool {
        let Some(socket) = self.by_conn.get_mut(&conn) else {
            self.lingering.handle_event(conn);
            return false;
        };
        socket.hung_up |= event.is_read_closed() || event.is_error();
        if (event.is_readable() || socket.hung_up) && !std::mem::replace(&mut socket.queued, true) {
            self.readable.push(conn);
        }
        event.is_writable() && !std::mem::replace(&mut socket.writable, true)
    }

    /// A connection is not to be read again before it has more input.
    pub fn take_off(&mut self, conn: ConnId) {
        if let Some(socket) = self.by_conn.get_mut(&conn) {
            socket.queued = false;
        }
    }
}
