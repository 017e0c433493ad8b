//! The connections of one worker: those that are served, and the sockets of those that linger.

use super::carriers::{At, Carriers};
use super::conn::Conn;
use super::linger::Lingering;
use super::requests::Requests;
use crate::carrier::{RelayEnd, What};
use crate::net::reactor::{FIRST_TOKEN, Ready, Registry, Token};
use crate::relay::ConnId;
use foldhash::HashMap;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reads of what somebody says who is turned away.
const LAST_READS: usize = 4;
/// A link that requests make up may be without a connection for so long: the next request is on its way, or nobody is there.
const ABSENCE: Duration = Duration::from_secs(10);

/// See the module. It knows nothing of the clients behind them.
pub(super) struct Sockets {
    /// Of the worker's loop, which hears of them.
    registry: Registry,
    by_conn: HashMap<ConnId, Conn>,
    /// Whose the sockets are of links that have several.
    owners: HashMap<ConnId, ConnId>,
    /// Links that have none, and until when that may be so, in this order.
    absent: VecDeque<(Instant, ConnId)>,
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
    /// Some of the connections that make it up have gone.
    pub has_gone: bool,
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
        Sockets {
            registry,
            by_conn: HashMap::default(),
            owners: HashMap::default(),
            absent: VecDeque::new(),
            lingering: Lingering::default(),
        }
    }

    /// Takes in a connection that was accepted, or whose link came from another worker.
    ///
    /// # Errors
    /// It is gone, or the system lacks something.
    pub(super) fn take_in(&mut self, id: ConnId, mut conn: Conn) -> io::Result<()> {
        for (key, socket) in conn.sockets_mut(id) {
            socket.register(&self.registry, token(key))?;
        }
        // Only when all of them are here: of a link that is not taken in nobody takes them out.
        self.owners.extend(conn.sockets_mut(id).into_iter().map(|(key, _)| (key, id)));
        match conn.requests_mut() {
            None => drop(self.owners.remove(&id)),
            Some(requests) => {
                if let Some(until) = requests.absent_until() {
                    self.note_absent(until, id);
                }
            }
        }
        self.by_conn.insert(id, conn);
        Ok(())
    }

    fn note_absent(&mut self, until: Instant, link: ConnId) {
        let at = self.absent.partition_point(|(others, _)| *others <= until);
        self.absent.insert(at, (until, link));
    }

    /// Gives a connection away. None if it is gone.
    pub(super) fn release(&mut self, id: ConnId) -> Option<Conn> {
        let mut conn = self.remove(id)?;
        for (_, socket) in conn.sockets_mut(id) {
            socket.deregister(&self.registry).ok()?;
        }
        Some(conn)
    }

    fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let mut conn = self.by_conn.remove(&id)?;
        if conn.requests_mut().is_some() {
            for (key, _) in conn.sockets_mut(id) {
                self.owners.remove(&key);
            }
        }
        Some(conn)
    }

    /// The request that has come on a connection begins a link, which others find by its name. False if it does not.
    pub(super) fn begin(&mut self, id: ConnId, carriers: &Arc<Carriers>, worker: usize) -> bool {
        let Some(asked) = self.by_conn.get(&id).and_then(Conn::asked) else { return false };
        let at = At { worker, conn: id };
        let entered = (asked.what == What::Down(0)).then(|| Carriers::enter(carriers, asked.carrier, at)).flatten();
        let Some(entered) = entered else { return false };
        let Some(wire) = self.by_conn.remove(&id).and_then(|conn| conn.into_wire(id)) else { return false };
        self.owners.insert(id, id);
        self.by_conn.insert(id, Conn::many(Requests::new(RelayEnd::new(wire, asked.carrier), entered)));
        true
    }

    /// A connection brings a request for a link that is here. It comes back if that does not take it.
    pub(super) fn join(&mut self, link: ConnId, key: ConnId, conn: Conn) -> Option<Conn> {
        let Some(requests) = self.by_conn.get_mut(&link).and_then(Conn::requests_mut) else { return Some(conn) };
        let mut wire = conn.into_wire(key)?;
        if wire.socket.register(&self.registry, token(key)).is_err() {
            return None;
        }
        let mut back = requests.join(wire);
        match &mut back {
            // It fails only if it was not registered.
            Some(wire) => drop(wire.socket.deregister(&self.registry)),
            None => {
                self.owners.insert(key, link);
            }
        }
        back.map(Conn::of_wire)
    }

    /// What connections of a link have come to that are none of its any more: each is to be answered, or is another link's.
    pub(super) fn take_leavers(&mut self, now: Instant, link: ConnId) -> Vec<(ConnId, Conn)> {
        let Some(requests) = self.by_conn.get_mut(&link).and_then(Conn::requests_mut) else { return Vec::new() };
        let mut leavers = Vec::new();
        let mut gone = requests.take_gone();
        while let Some(mut wire) = requests.take_leaver() {
            gone.push(wire.key);
            // It fails only if it was not registered.
            let _ = wire.socket.deregister(&self.registry);
            leavers.push((wire.key, Conn::of_wire(wire)));
        }
        let absent = requests.miss(now + ABSENCE);
        for key in gone {
            self.owners.remove(&key);
        }
        if let Some(until) = absent {
            self.note_absent(until, link);
        }
        leavers
    }

    /// When a link has been without a connection for too long.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.absent.front().map(|&(at, _)| at)
    }

    /// A link that has been.
    pub(super) fn poll_absent(&mut self, now: Instant) -> Option<ConnId> {
        while let Some((at, link)) = self.absent.pop_front_if(|(at, _)| *at <= now) {
            // It may have had one meanwhile, and none again.
            let until = self.by_conn.get_mut(&link).and_then(|conn| conn.requests_mut()?.absent_until());
            if until == Some(at) {
                return Some(link);
            }
        }
        None
    }

    /// One of those that are served.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.by_conn.get_mut(&id)
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, id: ConnId) {
        self.remove(id);
    }

    /// Shuts down writing, and closes when the client has, or at `until`.
    pub(super) fn finish(&mut self, until: Instant, id: ConnId) {
        let sockets = self.remove(id).map(|conn| conn.into_sockets(id)).unwrap_or_default();
        for (key, socket) in sockets {
            self.lingering.take(until, key, socket);
        }
    }

    /// Closes a connection after its carrier's last words. What has come meanwhile is thrown away: it would turn them into a reset.
    pub(super) fn turn_away(&mut self, id: ConnId) {
        if let Some(conn) = self.remove(id) {
            say_last(id, conn);
        }
    }

    /// A socket has news.
    pub(super) fn handle_ready(&mut self, ready: Ready) -> Option<Heard> {
        let id = conn_of(ready.token);
        let owner = self.owners.get(&id).copied().unwrap_or(id);
        let Some(conn) = self.by_conn.get_mut(&owner) else {
            self.lingering.handle_event(id);
            return None;
        };
        let (socket, id) = (id, owner);
        let was_writable = conn.is_writable();
        conn.handle_ready(socket, ready);
        let is_writable = (!was_writable && conn.is_writable()) || conn.has_taken();
        let is_over = (ready.error || ready.read_closed) && conn.hangs_on(socket);
        // A carrier's end that its link has not heard of, as it has moved meanwhile, brings no event of its own.
        let is_readable = ready.is_for_reader() || conn.end().is_some();
        Some(Heard { conn: id, is_readable, is_writable, is_over, has_gone: conn.has_gone() })
    }
}

/// Closes a connection that is none of those that are served, after its carrier's last words.
pub(super) fn say_last(id: ConnId, conn: Conn) {
    for (_, mut socket) in conn.into_sockets(id) {
        socket.finish();
        socket.discard(LAST_READS);
    }
}

#[cfg(test)]
#[path = "tests/sockets.rs"]
mod tests;
