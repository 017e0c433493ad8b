//! Links that are gone, and what is to be done for that: the far ends of their circuits are told, and the router ends what they
//! asked for and were offered. It is done a part at a time, in turns of the peer whose link it was: it pays for them.

use super::across::Payer;
use super::fair::account::Account;
use super::{ConnId, EndId, LinkId};
use std::collections::HashMap;
use std::sync::Arc;

/// Of the calls and circuits of a link that is gone so many are seen to in one turn.
pub(super) const LEFT_AT_ONCE: usize = 32;

/// A link that is gone.
pub(super) struct Leaver {
    /// Which.
    pub link: LinkId,
    /// Who pays for what is to be done.
    pub account: Account,
    /// The far ends of its circuits that have not been told.
    pub far_ends: Vec<EndId>,
    /// Who pays for that at other workers.
    pub payer: Arc<Payer>,
}

/// See the module. They are found by the connection that carried them, whose place in line is theirs.
#[derive(Default)]
pub(super) struct Leaving {
    by_conn: HashMap<ConnId, Leaver>,
    /// Those that have yet to get in line.
    fresh: Vec<ConnId>,
}

impl Leaving {
    /// There is something to do for this one, when its turn comes.
    pub(super) fn put(&mut self, conn: ConnId, leaver: Leaver) {
        self.by_conn.insert(conn, leaver);
        self.fresh.push(conn);
    }

    /// One that has yet to get in line.
    pub(super) fn poll_fresh(&mut self) -> Option<(ConnId, Account)> {
        while let Some(conn) = self.fresh.pop() {
            if let Some(leaver) = self.by_conn.get(&conn) {
                return Some((conn, leaver.account));
            }
        }
        None
    }

    /// Its turn has come, if this is one of them.
    pub(super) fn take(&mut self, conn: ConnId) -> Option<Leaver> {
        self.by_conn.remove(&conn)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }
}
