//! Where connections belong that have brought a request for a link.

use super::carriers::At;
use super::conn::Conn;
use super::shared::Shared;
use super::sockets::Sockets;
use crate::carrier::What;
use crate::relay::{ConnId, Forwarder};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// What of a worker knows that.
pub(super) struct Placing<'a> {
    pub worker: usize,
    pub shared: &'a Arc<Shared>,
    pub forwarder: &'a mut Forwarder,
    pub sockets: &'a mut Sockets,
}

/// What a request has come to on a connection that is served.
pub(super) enum Asked {
    /// It has begun a link, which is that connection's.
    Begun,
    /// It is for a link that others carry: the connection is to be placed.
    Joins(Conn),
    /// It is for none, and was told so; the connection is gone.
    Refused,
}

/// Where a connection goes.
pub(super) enum Place {
    /// It is part of this link, which is here.
    Here(ConnId),
    /// The link that it is for is at this worker, or on its way there.
    Worker(usize, Conn),
    /// It begins a link on a connection that others have used before, from this address.
    Anew(IpAddr, Conn),
    /// Nowhere: it was told so.
    Nowhere(Conn),
}

impl Placing<'_> {
    /// A connection whose client has not said who it is has brought a request.
    pub(super) fn handle_asked(&mut self, now: Instant, id: ConnId) -> Asked {
        let source = self.sockets.get_mut(id).and_then(Conn::take_source);
        if self.sockets.begin(id, &self.shared.carriers, self.worker) {
            if let Some(source) = source {
                self.forwarder.handle_source(now, id, source);
            }
            return Asked::Begun;
        }
        let asked = self.sockets.get_mut(id).and_then(|conn| conn.asked());
        if asked.is_some_and(|asked| self.shared.carriers.find(asked.carrier).is_some()) {
            self.forwarder.handle_joined(id);
            return self.sockets.release(id).map_or(Asked::Refused, Asked::Joins);
        }
        if let Some(conn) = self.sockets.get_mut(id) {
            conn.refuse();
        }
        self.sockets.turn_away(id);
        self.forwarder.handle_garbage(now, id);
        Asked::Refused
    }

    /// Where a connection goes that is nobody's here.
    pub(super) fn place(&mut self, key: ConnId, mut conn: Conn) -> Place {
        let Some(asked) = conn.asked() else { return Place::Nowhere(conn) };
        match self.shared.carriers.find(asked.carrier) {
            // Where it should be here and is not, it is on its way here.
            Some(At { worker, conn: link }) if worker != self.worker || self.sockets.get_mut(link).is_none() => {
                return Place::Worker(worker, conn);
            }
            Some(At { conn: link, .. }) => match self.sockets.join(link, key, conn) {
                None => return Place::Here(link),
                Some(back) => conn = back,
            },
            None => {
                if let Some(address) = conn.came_from().filter(|_| asked.what == What::Down(0)) {
                    return Place::Anew(address, conn);
                }
            }
        }
        conn.refuse();
        Place::Nowhere(conn)
    }

    /// Closes links that no request has come for, for too long.
    pub(super) fn drop_absent(&mut self, now: Instant) {
        while let Some(link) = self.sockets.poll_absent(now) {
            self.sockets.close(link);
            self.forwarder.handle_closed(now, link);
        }
    }

    /// Something may have changed about a link that requests make up: which connections are none of its any more.
    pub(super) fn look(&mut self, now: Instant, link: ConnId) -> Vec<(ConnId, Conn)> {
        let Some(requests) = self.sockets.get_mut(link).and_then(Conn::requests_mut) else { return Vec::new() };
        if !self.forwarder.is_stranger(link) {
            requests.welcome();
        }
        let leavers = self.sockets.take_leavers(now, link);
        let Some(conn) = self.sockets.get_mut(link) else { return leavers };
        let (is_readable, is_writable) = (conn.is_readable(), conn.is_writable());
        if is_writable {
            self.forwarder.handle_writable(now, link);
        }
        if is_readable {
            self.forwarder.handle_readable(link);
        }
        leavers
    }
}
