//! When memory is used up: who has to let go of some, so that the others are read again.
//!
//! 1. At once, circuits with bytes for which their clients give no credit, as far as their links have been read.
//! 2. Memory is *stuck* in what has waited for [`SLOW`]. While that is less than a quarter of all memory, the rest moves. When
//!    it is more, links that do not take what is in order for them are dropped, and circuits that do not move on links that
//!    do are ended, until a sixteenth of memory is free. If that is not enough, the next time comes soon.
//! 3. The peers that hold most are first. Only those count that hold as much as a threshold: half of all memory at first, and
//!    half as much each time that nobody did. So an honest peer that is slow loses something only when those that hold more
//!    have lost it. Where anybody may attach, all peers of one address hold together: a key costs nothing there.
//!
//! Messages have a part of memory of their own (`charge.rs`). When that is used up, links that have some of it and do not
//! take what is in order for them are dropped, those of the peers with most messages first. Nothing else is let go of for that.
//!
//! So what is in memory leaves it within a few seconds, or can be let go of. This file chooses; the worker carries it out.

use super::budget::Budget;
use super::charge;
use crate::relay::LinkId;
use crate::relay::attached::Attachment;
use crate::relay::circuit::age::Wait;
use crate::relay::fair::account::Owner;
use crate::relay::links::Links;
use crate::relay::router::requests::Side;
use std::cmp::Reverse;
use std::collections::HashMap;
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
pub(crate) struct Shortage {
    last: Option<Look>,
    /// What waits for the slow here, as last told to the others.
    slow_bytes: usize,
    /// When it last looked for messages.
    looked_for_messages: Option<Instant>,
}

/// Whose memory may be taken back, as one worker tells the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threshold {
    /// That of peers that hold as much.
    bytes: usize,
    /// What had been let go of by then.
    let_go_bytes: usize,
}

/// A look for memory to take back.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    threshold: Threshold,
}

/// What has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// A link, with all that is on it.
    Link(LinkId),
    /// A circuit of a link.
    Circuit(Side),
}

impl Shortage {
    /// Memory is used up: the threshold of a look that begins now, if it is time for one.
    pub(crate) fn begin_look(&mut self, now: Instant, budget: &Budget) -> Option<Threshold> {
        let (highest, let_go_bytes) = (budget.limit_bytes() / 2, budget.let_go_bytes());
        let bytes = match self.last {
            Some(look) if now < look.at + INTERVAL => return None,
            // What the workers told was true long ago, if ever. First they look.
            None => usize::MAX,
            Some(look) if now >= look.at + FORGOTTEN => usize::MAX,
            _ if !is_stuck(budget) => highest,
            Some(Look { threshold, .. }) if threshold.let_go_bytes == let_go_bytes => {
                threshold.bytes.div_ceil(2).min(highest)
            }
            Some(Look { threshold, .. }) => threshold.bytes.saturating_mul(2).min(highest),
        };
        let threshold = Threshold { bytes, let_go_bytes };
        self.last = Some(Look { at: now, threshold });
        Some(threshold)
    }

    /// Another worker looks, and tells its threshold. False if this one has looked just now: it need not for each of the
    /// others.
    pub(crate) fn join_look(&mut self, now: Instant, threshold: Threshold) -> bool {
        let is_time = self.last.is_none_or(|look| now >= look.at + INTERVAL);
        if is_time {
            self.last = Some(Look { at: now, threshold });
        }
        is_time
    }

    /// A call was refused, here or elsewhere. True if it was for messages, which take all that they may, and it is time to look
    /// for some to take back.
    pub(crate) fn begin_look_for_messages(&mut self, now: Instant, budget: &Budget) -> bool {
        let is_time = self.looked_for_messages.is_none_or(|looked| now >= looked + INTERVAL);
        let begins = is_time && charge::is_full(budget);
        if begins {
            self.looked_for_messages = Some(now);
        }
        begins
    }

    /// Chooses among what is stuck with peers that hold no less than the threshold. Whatever is chosen counts as let go of.
    pub(crate) fn choose(&mut self, now: Instant, links: &Links, threshold: Threshold, budget: &Budget) -> Vec<Victim> {
        let mut slow = slow(now, links);
        let mut by_owner = HashMap::new();
        for holder in &slow {
            *by_owner.entry(holder.owner).or_insert(0) += holder.bytes;
        }
        let slow_bytes = by_owner.values().sum();
        budget.set_slow_bytes(std::mem::replace(&mut self.slow_bytes, slow_bytes), slow_bytes);
        let held = |holder: &Slow| by_owner.get(&holder.owner).copied().unwrap_or(0);
        slow.retain(|holder| held(holder) >= threshold.bytes);
        // In an order that does not depend on where a table keeps them.
        slow.sort_by_key(|holder| (Reverse(held(holder)), holder.since, holder.link, holder.circuit));
        let overdraft = budget.used_bytes().saturating_sub(budget.limit_bytes());
        let (mut let_go, enough) = (0, budget.limit_bytes() / STEP_PART + overdraft);
        let mut victims = Vec::new();
        for Slow { link, circuit, bytes, .. } in slow {
            if let_go >= enough || !is_stuck(budget) {
                break;
            }
            victims.push(circuit.map_or(Victim::Link(link), |circuit| Victim::Circuit(Side { link, circuit })));
            let_go += bytes;
            self.slow_bytes -= bytes;
            budget.set_slow_bytes(bytes, 0);
        }
        budget.let_go(let_go);
        victims
    }
}

/// Whether more of the memory waits for the slow than may.
fn is_stuck(budget: &Budget) -> bool {
    budget.slow_bytes() > budget.limit_bytes() / STUCK_PART
}

/// Circuits with bytes that wait for a credit which does not come.
pub(crate) fn stalled(now: Instant, links: &Links) -> Vec<Side> {
    let mut stalled = Vec::new();
    // Credit may be in what was not read.
    for attachment in links.iter().filter(|attachment| !attachment.intake.has_unread()) {
        let ends = attachment.circuits.ends().filter(|(_, end)| end.outward.is_stalled(now, SLOW));
        stalled.extend(ends.map(|(circuit, _)| Side { link: attachment.id, circuit }));
    }
    stalled.sort_unstable();
    stalled
}

/// Links that do not take what is in order for them, messages among it: those of the peers with most messages, wherever those
/// wait.
pub(crate) fn choose_for_messages(now: Instant, links: &Links, budget: &Budget) -> Vec<LinkId> {
    let with_messages = |attachment: &Attachment| {
        let (since, bytes) = (lasting(attachment.outgoing.wait(), now)?, attachment.outgoing.message_bytes());
        let of_owner = Reverse(budget.messages().bytes_for(&attachment.owner()));
        (bytes > 0).then_some((of_owner, since, attachment.id, bytes))
    };
    let mut slow: Vec<_> = links.iter().filter_map(with_messages).collect();
    slow.sort_unstable();
    let (mut let_go, enough) = (0, charge::most_bytes(budget) / STEP_PART);
    let mut chosen = Vec::new();
    for (_, _, link, bytes) in slow {
        if let_go >= enough {
            break;
        }
        chosen.push(link);
        let_go += bytes;
    }
    chosen
}

/// Somebody who holds memory and takes little of it.
struct Slow {
    owner: Owner,
    since: Instant,
    link: LinkId,
    /// None: the link with all that is on it.
    circuit: Option<u32>,
    bytes: usize,
}

/// Links and circuits on which something has waited for long.
fn slow(now: Instant, links: &Links) -> Vec<Slow> {
    let mut slow = Vec::new();
    for attachment in links.iter() {
        let (owner, link) = (attachment.owner(), attachment.id);
        if let Some(since) = lasting(attachment.outgoing.wait(), now) {
            slow.push(Slow { owner, since, link, circuit: None, bytes: attachment.kept_bytes() });
            continue;
        }
        for (circuit, end) in attachment.circuits.ends() {
            if let Some(since) = lasting(end.outward.wait(), now) {
                slow.push(Slow { owner, since, link, circuit: Some(circuit), bytes: end.outward.kept_bytes() });
            }
        }
    }
    slow
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
        let threshold = |bytes| Threshold { bytes, let_go_bytes: 0 };
        let mut shortage = Shortage::default();
        let looks = (0..100).filter(|n| shortage.join_look(start + *n * INTERVAL / 10, threshold(1 << 18))).count();
        assert_eq!(looks, 10);
        // Nor for itself; then it goes on from where the others are.
        budget.set_slow_bytes(0, 1 << 20);
        assert!(shortage.begin_look(start + 99 * INTERVAL / 10, &budget).is_none());
        let next = shortage.begin_look(start + 10 * INTERVAL, &budget);
        assert_eq!(next.map(|threshold| threshold.bytes), Some(1 << 17));
        let mut begins = |n: u32| shortage.begin_look_for_messages(start + n * INTERVAL / 10, &budget);
        assert!(!begins(0), "messages take nothing");
        let owner = Owner::Strangers;
        let _all = charge::Charge::new(&budget, owner, charge::most_bytes(&budget));
        assert!(begins(1) && !begins(10) && begins(11));
    }
}
