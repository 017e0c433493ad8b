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
//! what is in order for them are dropped, those of the peers with most messages first. Nothing else is let go of for that.
//!
//! So what is in memory leaves it within a few seconds, or can be let go of.

use super::block::Budget;
use super::messages as charge;
use crate::identity::PeerId;
use crate::relay::LinkId;
use crate::relay::attached::Slot;
use crate::relay::circuit::age::Wait;
use crate::relay::conn::Conn;
use crate::relay::worker::{Forwarder, Parcel, Why};
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
    /// When it last looked for messages.
    looked_for_messages: Option<Instant>,
}

/// Whose memory may be taken back, as one worker tells the others.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// Peers that hold as much.
    bytes: usize,
    /// What had been let go of by then.
    let_go_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    looked: Instant,
    bar: Bar,
}

impl Shortage {
    /// Memory is used up: the bar, if it is time to look again.
    fn next_bar(&mut self, now: Instant, budget: &Budget) -> Option<Bar> {
        let (highest, let_go_bytes) = (budget.limit_bytes() / 2, budget.let_go_bytes());
        let bytes = match self.run {
            Some(run) if now < run.looked + INTERVAL => return None,
            // What the workers told was true long ago, if ever. First they look.
            None => usize::MAX,
            Some(run) if now >= run.looked + FORGOTTEN => usize::MAX,
            _ if !is_stuck(budget) => highest,
            Some(Run { bar, .. }) if bar.let_go_bytes == let_go_bytes => bar.bytes.div_ceil(2).min(highest),
            Some(Run { bar, .. }) => bar.bytes.saturating_mul(2).min(highest),
        };
        let bar = Bar { bytes, let_go_bytes };
        self.run = Some(Run { looked: now, bar });
        Some(bar)
    }

    /// Another worker tells its bar. False if this one has looked just now: it need not for each of the others.
    fn take_over(&mut self, now: Instant, bar: Bar) -> bool {
        let is_time = self.run.is_none_or(|run| now >= run.looked + INTERVAL);
        if is_time {
            self.run = Some(Run { looked: now, bar });
        }
        is_time
    }

    /// Messages take all that they may: whether it is time to look again.
    fn may_look_for_messages(&mut self, now: Instant) -> bool {
        let is_time = self.looked_for_messages.is_none_or(|looked| now >= looked + INTERVAL);
        if is_time {
            self.looked_for_messages = Some(now);
        }
        is_time
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
}

impl Forwarder {
    /// Memory is used up, and input waits for it. See the module: what this worker and the others let go of is what is lacking
    /// here. Tell it again while that is so.
    pub fn handle_starved(&mut self, now: Instant) {
        let Some(bar) = self.shortage.next_bar(now, self.pool.budget()) else { return };
        self.shed(now, bar);
        self.tell_others(|| Parcel::Shed(bar));
        self.run_orders(now);
    }

    /// Another worker is starved.
    pub(in crate::relay) fn handle_bar(&mut self, now: Instant, bar: Bar) {
        if self.shortage.take_over(now, bar) {
            self.shed(now, bar);
        }
    }

    /// A call was refused, perhaps because messages take all that they may.
    pub(in crate::relay) fn handle_refused(&mut self, now: Instant) {
        if charge::is_full(self.pool.budget()) && self.shortage.may_look_for_messages(now) {
            self.drop_deaf(now);
            self.tell_others(|| Parcel::ShedMessages);
        }
    }

    /// Another worker refuses calls.
    pub(in crate::relay) fn shed_messages(&mut self, now: Instant) {
        if charge::is_full(self.pool.budget()) && self.shortage.may_look_for_messages(now) {
            self.drop_deaf(now);
        }
    }

    fn tell_others(&mut self, parcel: impl Fn() -> Parcel) {
        let others = (0..self.workers).filter(|worker| *worker != self.worker);
        self.parcels.extend(others.map(|worker| (worker, parcel())));
    }

    /// Lets go of what gets no credit, and of what is stuck with peers that hold no less than the bar.
    fn shed(&mut self, now: Instant, bar: Bar) {
        for (id, circuit) in self.stalled(now) {
            self.cut_circuit(now, (id, circuit), CloseCode::Limit);
        }
        let mut slow = self.slow(now);
        let mut by_peer = HashMap::new();
        for holder in &slow {
            *by_peer.entry(holder.peer).or_insert(0) += holder.bytes;
        }
        let pool = Arc::clone(&self.pool);
        let budget = pool.budget();
        let slow_bytes = by_peer.values().sum();
        budget.set_slow_bytes(std::mem::replace(&mut self.shortage.slow_bytes, slow_bytes), slow_bytes);
        let held = |holder: &Slow| by_peer.get(&holder.peer).copied().unwrap_or(0);
        slow.retain(|holder| held(holder) >= bar.bytes);
        // In an order that does not depend on where a table keeps them.
        slow.sort_by_key(|holder| (Reverse(held(holder)), holder.since, holder.link, holder.circuit));
        let overdraft = budget.used_bytes().saturating_sub(budget.limit_bytes());
        let (mut let_go, enough) = (0, budget.limit_bytes() / STEP_PART + overdraft);
        for Slow { link, circuit, bytes, .. } in slow {
            if let_go >= enough || !is_stuck(budget) {
                break;
            }
            match circuit {
                Some(circuit) => self.cut_circuit(now, (link, circuit), CloseCode::Limit),
                // There is no telling it: what it does not take is ahead of any word.
                None => self.drop_conn(now, link, Why::Slow),
            }
            let_go += bytes;
            self.shortage.slow_bytes -= bytes;
            budget.set_slow_bytes(bytes, 0);
        }
        budget.let_go(let_go);
    }

    /// Drops links that do not take what is in order for them, messages among it: those of the peers with most messages,
    /// wherever those wait.
    fn drop_deaf(&mut self, now: Instant) {
        let budget = Arc::clone(self.pool.budget());
        let mut deaf = Vec::new();
        for (&link, conn) in &self.conns {
            if let Conn::Open(port) = conn
                && let Some(since) = lasting(&port.wait, now)
                && port.message_bytes() > 0
            {
                deaf.push((Reverse(budget.messages().bytes_for(&port.peer)), since, link, port.message_bytes()));
            }
        }
        deaf.sort_unstable();
        let (mut let_go, enough) = (0, charge::most_bytes(&budget) / STEP_PART);
        for (_, _, link, bytes) in deaf {
            if let_go >= enough {
                break;
            }
            self.drop_conn(now, link, Why::Slow);
            let_go += bytes;
        }
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
        let mut slow = Vec::new();
        for (&link, conn) in &self.conns {
            let Conn::Open(port) = conn else { continue };
            let peer = port.peer;
            if let Some(since) = lasting(&port.wait, now) {
                slow.push(Slow { peer, since, link, circuit: None, bytes: port.kept_bytes() });
                continue;
            }
            for (&circuit, slot) in &port.circuits {
                if let Slot::Open(half) = slot
                    && let Some(since) = lasting(half.outward.wait(), now)
                {
                    slow.push(Slow { peer, since, link, circuit: Some(circuit), bytes: half.outward.kept_bytes() });
                }
            }
        }
        slow
    }
}

/// Since when something waits, if that is long.
fn lasting(wait: &Wait, now: Instant) -> Option<Instant> {
    wait.since().filter(|since| now >= *since + SLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_looks_once_in_an_interval_however_many_others_are_starved() {
        let (start, budget) = (Instant::now(), Budget::new(1 << 20));
        let bar = |bytes| Bar { bytes, let_go_bytes: 0 };
        let mut shortage = Shortage::default();
        let looks = (0..100).filter(|n| shortage.take_over(start + *n * INTERVAL / 10, bar(1 << 18))).count();
        assert_eq!(looks, 10);
        // Nor for itself; then it goes on from where the others are.
        budget.set_slow_bytes(0, 1 << 20);
        assert!(shortage.next_bar(start + 99 * INTERVAL / 10, &budget).is_none());
        assert_eq!(shortage.next_bar(start + 10 * INTERVAL, &budget).map(|bar| bar.bytes), Some(1 << 17));
        let mut is_time = |n: u32| shortage.may_look_for_messages(start + n * INTERVAL / 10);
        assert!(is_time(0) && !is_time(9) && is_time(10));
    }
}
