//! When memory is used up: who has to let go of some, so that the others are read again.
//!
//! At once, circuits with bytes for which their clients give no credit, as far as their links have been read. Beyond that,
//! memory is *stuck* in what has waited for [`SLOW`]; as long as that is less than a quarter, the rest moves. When it is more,
//! it is let go of: links that do not take what is in order for them, and circuits that do not move on links that do. The
//! peers that hold most are first: there is a bar, half of all memory at first, and halved each time that nobody was above it.
//! So an honest peer that is slow loses something only when those that hold more have lost it. A sixteenth of memory at a
//! time is enough: if not, the next time comes soon.
//!
//! Messages have a part of memory of their own (`charge.rs`). When that is used up, links that have some of it and do not take
//! what is in order for them are dropped, whatever their peers hold.
//!
//! So what is in memory leaves it within a few seconds, or can be let go of.

use super::LinkId;
use super::block::Budget;
use super::charge;
use super::conn::Conn;
use super::forward::{Forwarder, Parcel, Why};
use super::port::Slot;
use super::wait::Wait;
use crate::identity::PeerId;
use crate::wire::CloseCode;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a worker looks for memory to take back.
const INTERVAL: Duration = Duration::from_millis(100);
/// A shortage that was over for so long is another one.
const FORGOTTEN: Duration = Duration::from_secs(1);
/// How long bytes may wait when memory is short: any path brings a grant back sooner, and it is well before clients whose links
/// are not read give up.
const SLOW: Duration = Duration::from_secs(2);
/// The part of memory that may be stuck.
const STUCK_PART: usize = 4;
/// The part of memory that a worker lets go of at a time.
const STEP_PART: usize = 16;

/// What a worker knows of a time in which memory is used up.
#[derive(Debug, Default)]
pub struct Shortage {
    run: Option<Run>,
    /// What waits for the slow here, as last told to the others.
    slow_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    looked: Instant,
    bar_bytes: usize,
    let_go_bytes: usize,
}

impl Shortage {
    /// Memory is used up: the bar, if it is time to look again.
    fn bar(&mut self, now: Instant, budget: &Budget) -> Option<usize> {
        let (highest, let_go_bytes) = (budget.limit_bytes() / 2, budget.let_go_bytes());
        let bar_bytes = match self.run {
            Some(run) if now < run.looked + INTERVAL => return None,
            // What the workers told was true long ago, if ever. First they look.
            None => usize::MAX,
            Some(run) if now >= run.looked + FORGOTTEN => usize::MAX,
            _ if !is_stuck(budget) => highest,
            Some(run) if run.let_go_bytes == let_go_bytes => run.bar_bytes.div_ceil(2).min(highest),
            Some(run) => run.bar_bytes.saturating_mul(2).min(highest),
        };
        self.run = Some(Run { looked: now, bar_bytes, let_go_bytes });
        Some(bar_bytes)
    }
}

/// Whether more of the memory waits for the slow than may.
fn is_stuck(budget: &Budget) -> bool {
    budget.slow_bytes() > budget.limit_bytes() / STUCK_PART
}

/// Somebody who holds memory and takes little of it.
struct Slow {
    peer: PeerId,
    since: Instant,
    link: LinkId,
    /// None: the link with all that is on it.
    circuit: Option<u32>,
    bytes: usize,
    /// Whether it is a link with messages.
    has_messages: bool,
}

impl Forwarder {
    /// Memory is used up, and input waits for it; or a call was refused for want of it. See the module: what this worker and
    /// the others let go of is what is lacking here. Tell it again while that is so.
    pub fn handle_starved(&mut self, now: Instant) {
        let Some(bar_bytes) = self.shortage.bar(now, self.pool.budget()) else { return };
        self.shed(now, bar_bytes);
        let others = (0..self.workers).filter(|worker| *worker != self.worker);
        self.parcels.extend(others.map(|worker| (worker, Parcel::Shed(bar_bytes))));
        self.run_orders(now);
    }

    /// Lets go of what gets no credit, and of what is stuck with peers that hold no less than the bar.
    pub(super) fn shed(&mut self, now: Instant, bar_bytes: usize) {
        for (id, circuit) in self.stalled(now) {
            self.cut_circuit(now, (id, circuit), CloseCode::Limit);
        }
        let mut slow = self.slow(now);
        let mut by_peer = HashMap::new();
        for holder in &slow {
            *by_peer.entry(holder.peer).or_insert(0) += holder.bytes;
        }
        let (pool, before) = (Arc::clone(&self.pool), self.shortage.slow_bytes);
        self.shortage.slow_bytes = by_peer.values().sum();
        pool.budget().set_slow_bytes(before, self.shortage.slow_bytes);
        let (stuck, full) = (is_stuck(pool.budget()), charge::is_full(pool.budget()));
        let held = |holder: &Slow| by_peer.get(&holder.peer).copied().unwrap_or(0);
        slow.retain(|holder| (stuck && held(holder) >= bar_bytes) || (full && holder.has_messages));
        // In an order that does not depend on where a table keeps them.
        slow.sort_by_key(|holder| (Reverse(held(holder)), holder.since, holder.link, holder.circuit));
        let (mut let_go, enough) = (0, pool.budget().limit_bytes() / STEP_PART);
        for Slow { link, circuit, bytes, .. } in slow {
            if let_go >= enough {
                break;
            }
            match circuit {
                Some(circuit) => self.cut_circuit(now, (link, circuit), CloseCode::Limit),
                // There is no telling it: what it does not take is ahead of any word.
                None => self.drop_conn(now, link, Why::Slow),
            }
            let_go += bytes;
        }
        pool.budget().let_go(let_go);
        let left = self.shortage.slow_bytes.saturating_sub(let_go);
        pool.budget().set_slow_bytes(std::mem::replace(&mut self.shortage.slow_bytes, left), left);
    }

    /// Circuits with bytes that wait for a credit which does not come.
    fn stalled(&self, now: Instant) -> Vec<(LinkId, u32)> {
        let mut stalled = Vec::new();
        for (&id, conn) in &self.conns {
            // Credit may be in what was not read.
            let Conn::Open(port) = conn else { continue };
            if port.unread {
                continue;
            }
            for (&circuit, slot) in &port.circuits {
                if matches!(slot, Slot::Open(half) if half.outward.is_stalled(now, SLOW)) {
                    stalled.push((id, circuit));
                }
            }
        }
        stalled.sort_unstable();
        stalled
    }

    /// Links and circuits on which something has waited for long.
    fn slow(&self, now: Instant) -> Vec<Slow> {
        let lasting = |wait: &Wait| wait.since().filter(|since| now >= *since + SLOW);
        let mut slow = Vec::new();
        for (&link, conn) in &self.conns {
            let Conn::Open(port) = conn else { continue };
            let peer = port.peer;
            if let Some(since) = lasting(&port.wait) {
                let (bytes, has_messages) = (port.kept_bytes(), port.has_messages());
                slow.push(Slow { peer, since, link, circuit: None, bytes, has_messages });
                continue;
            }
            for (&circuit, slot) in &port.circuits {
                if let Slot::Open(half) = slot
                    && let Some(since) = lasting(half.outward.wait())
                {
                    let bytes = half.outward.kept_bytes();
                    slow.push(Slow { peer, since, link, circuit: Some(circuit), bytes, has_messages: false });
                }
            }
        }
        slow
    }
}
