//! From one policy to the next. It holds at once for whatever comes; those who are attached are held to it a part at a time: there
//! may be as many as links, and others want to ask something meanwhile.

use super::Router;
use super::calls::Calls;
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

impl Router {
    /// A new policy. Links of peers that it leaves out are ended, those of peers with another rate are held to that, some now and
    /// the others when [`Router::next_timeout`] says so; lower limits of numbers hold for what comes.
    pub(in crate::relay) fn set_policy(&mut self, now: Instant, policy: Policy, orders: &mut Orders) {
        while self.change.is_some() {
            // Whoever runs the relay changes it again at the same moment.
            self.hold_some(now, orders);
        }
        let before = std::mem::replace(&mut self.policy, policy);
        let left = self.roster.peers().chain(self.owed.peers()).copied().collect();
        self.change = Some(Change { before, left, since: now });
        self.hold_some(now, orders);
        Calls { router: self, now, orders }.offer_next();
    }

    /// Holds some more of those who are attached to the policy, if that has changed.
    pub(super) fn hold_some(&mut self, now: Instant, orders: &mut Orders) {
        let Some(mut change) = self.change.take() else { return };
        let most = orders.len() + ORDERS_AT_ONCE;
        for _ in 0..PEERS_AT_ONCE {
            let Some(peer) = change.left.pop_first() else { return };
            self.hold(now, (peer, change.before.share(&peer)), orders);
            if orders.len() >= most {
                break;
            }
        }
        self.change = Some(change);
    }

    /// Holds a peer to the policy now, if that has changed: another link of it is about to come, which is held to no other.
    pub(in crate::relay) fn hold_at_once(&mut self, now: Instant, peer: PeerId, orders: &mut Orders) {
        if let Some(change) = &mut self.change
            && change.left.remove(&peer)
        {
            let was = change.before.share(&peer);
            self.hold(now, (peer, was), orders);
        }
    }

    /// Holds a peer to the policy, which had this share before.
    fn hold(&mut self, now: Instant, (peer, was): (PeerId, Option<Share>), orders: &mut Orders) {
        let share = self.policy.share(&peer);
        if share == was {
            return;
        }
        self.eased.insert(peer);
        if let (Some(was), Some(rate)) = (was.and_then(|was| was.rate), share.and_then(|share| share.rate))
            && was != rate
        {
            self.owed.reckon(now, peer, [was, rate]);
        }
        let held_to = |share: Share| share.rate.map(|rate| (rate, share.circuits));
        if share.is_some() && share.map(held_to) == was.map(held_to) {
            return;
        }
        let (roster, rates) = (&self.roster, &mut self.rates);
        for (link, worker) in roster.links(&peer) {
            let end = What::End { code: CloseCode::Refused };
            let what = share.map_or(end, |share| What::Pace { rate: rates.account(now, peer, share) });
            orders.push(Order { worker, link, what });
        }
    }
}
