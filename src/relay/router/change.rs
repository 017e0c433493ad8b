//! From one policy to the next. It holds at once for whatever comes; those who are attached are held to it a part at a time: there
//! may be as many as links, and others want to ask something meanwhile.

use super::Router;
use super::orders::{Order, Orders, What};
use super::policy::{Policy, Share};
use crate::identity::PeerId;
use crate::wire::CloseCode;
use std::collections::BTreeSet;
use std::time::Instant;

/// So many peers are looked at at once.
const PEERS_AT_ONCE: usize = 256;
/// And with so many orders for their links the next are for another time.
const ORDERS_AT_ONCE: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Change {
    before: Policy,
    /// Those who were attached then, or owed something, and have not been looked at.
    left: BTreeSet<PeerId>,
    since: Instant,
}

impl Change {
    /// Since when there is something to do: the rest of it, as soon as may be.
    pub(super) fn since(&self) -> Instant {
        self.since
    }
}

/// A router, while it goes from one policy to the next.
pub(super) struct Changing<'r> {
    pub router: &'r mut Router,
    pub now: Instant,
    pub orders: &'r mut Orders,
}

impl Changing<'_> {
    /// Begins with a new policy, and holds some to it.
    pub(super) fn begin(&mut self, policy: Policy) {
        while self.router.change.is_some() {
            // Whoever runs the relay changes it again at the same moment.
            self.hold_some();
        }
        let before = std::mem::replace(&mut self.router.policy, policy);
        let left = self.router.roster.peers().chain(self.router.owed.peers()).copied().collect();
        self.router.change = Some(Change { before, left, since: self.now });
        self.hold_some();
    }

    /// Holds some more of those who are attached to the policy, if that has changed.
    pub(super) fn hold_some(&mut self) {
        let Some(mut change) = self.router.change.take() else { return };
        let most = self.orders.len() + ORDERS_AT_ONCE;
        for _ in 0..PEERS_AT_ONCE {
            let Some(peer) = change.left.pop_first() else { return };
            self.hold(peer, change.before.share(&peer));
            if self.orders.len() >= most {
                break;
            }
        }
        self.router.change = Some(change);
    }

    /// Holds a peer to the policy now, if that has changed.
    pub(super) fn hold_at_once(&mut self, peer: PeerId) {
        if let Some(change) = &mut self.router.change
            && change.left.remove(&peer)
        {
            let was = change.before.share(&peer);
            self.hold(peer, was);
        }
    }

    /// Holds a peer to the policy, which had this share before.
    fn hold(&mut self, peer: PeerId, was: Option<Share>) {
        let Router { policy, roster, rates, owed, eased, .. } = &mut *self.router;
        let share = policy.share(&peer);
        if share == was {
            return;
        }
        eased.insert(peer);
        if let (Some(was), Some(rate)) = (was.and_then(|was| was.rate), share.and_then(|share| share.rate))
            && was != rate
        {
            owed.reckon(self.now, peer, [was, rate]);
        }
        let held_to = |share: Share| share.rate.map(|rate| (rate, share.circuits));
        if share.is_some() && share.map(held_to) == was.map(held_to) {
            return;
        }
        for (link, worker) in roster.links(&peer) {
            let end = What::End { code: CloseCode::Refused };
            let what = share.map_or(end, |share| What::Pace { rate: rates.account(self.now, peer, share) });
            self.orders.push(Order { worker, link, what });
        }
    }
}
