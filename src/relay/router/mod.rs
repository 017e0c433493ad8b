//! Who is attached, who listens, who waits for whom. One router serves all workers of a relay.
//!
//! It answers with [`Order`]s for links. It knows no connection, and never sees the body of a circuit. What
//! happens it tells as [`Fact`]s.

pub(super) mod admission;
pub(super) mod circuits;
pub(super) mod common;
pub(super) mod facts;
pub(super) mod orders;
pub(super) mod policy;
pub(super) mod requests;
use super::{EndId, LinkId, Why};
use crate::identity::PeerId;
use crate::wire::limits::{EARLY_MAX, LISTENERS_MAX};
use crate::wire::{CloseCode, Control, Name};
use circuits::{CircuitInfo, Circuits, EndReport, WhyClosed};
use facts::Fact;
pub(super) use orders::{Ask, Order, What};
use policy::{Policy, Share};
use requests::{PARKED_PER_LINK_MAX, REQUESTS_MAX, Request, RequestId, Requests, Side, Stage};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Names of all links, beyond [`NAMES_FREE_PER_PEER`] of each peer. Each takes about 400 bytes.
pub const NAMES_MAX: usize = 262_144;
/// Names that a peer may have however many others have: what it asks for must not depend on them. With as many peers as there
/// may be links it is as much again.
pub const NAMES_FREE_PER_PEER: usize = 16;
/// Names of all links of one peer: as many as sixteen links may have.
pub const NAMES_PER_PEER_MAX: usize = 16 * LISTENERS_MAX;
/// How long a listener may take to answer an INCOMING.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// A caller moves to the worker of its callee unless that worker has this many circuit ends more than its own. Sharing a
/// worker saves the hop between threads; a hub with many callers should still use every core.
const CROWDING_MAX: usize = 8;

#[derive(Debug)]
struct Entry {
    peer: PeerId,
    worker: usize,
    names: Vec<Name>,
    /// The next odd number for an INCOMING; None when all are used up.
    next_circuit: Option<u32>,
    /// Circuits asked for, offered or open.
    circuits: u32,
}

#[derive(Debug, Default)]
struct Holding {
    links: Vec<LinkId>,
    names: usize,
    circuits: u32,
}

/// What a worker carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Links.
    pub links: usize,
    /// Ends of circuits.
    pub circuits: usize,
}

/// The one router of a relay.
#[derive(Debug)]
pub(super) struct Router {
    policy: Policy,
    links: HashMap<LinkId, Entry>,
    peers: HashMap<PeerId, Holding>,
    /// Listeners by name, the newest last.
    names: HashMap<(PeerId, Name), Vec<LinkId>>,
    /// Names beyond those that each peer may have in any case, all together.
    names_held: usize,
    requests: Requests,
    circuits: Circuits,
    load: Vec<Load>,
    facts: VecDeque<Fact>,
}

/// How a link ended.
#[derive(Debug)]
pub(super) struct Departure {
    /// Why.
    pub why: Why,
    /// Its ends of circuits that were open.
    pub ended: Vec<EndReport>,
}

impl Router {
    /// A router for `workers` workers, at least one.
    pub(super) fn new(policy: Policy, workers: usize) -> Router {
        Router {
            policy,
            links: HashMap::new(),
            peers: HashMap::new(),
            names: HashMap::new(),
            names_held: 0,
            requests: Requests::default(),
            circuits: Circuits::default(),
            facts: VecDeque::new(),
            load: vec![Load::default(); workers.max(1)],
        }
    }

    /// A link has proven to be `peer`'s, at this worker. Its share, or why it may not stay.
    pub(super) fn attach(&mut self, link: LinkId, worker: usize, peer: PeerId) -> Result<Share, CloseCode> {
        let share = self.policy.share(&peer).ok_or(CloseCode::Refused)?;
        let holding = self.peers.get(&peer).map_or(0, |holding| holding.links.len());
        if self.links.len() >= self.policy.limits().links || holding >= share.links {
            return Err(CloseCode::Limit);
        }
        self.peers.entry(peer).or_default().links.push(link);
        self.load[worker].links += 1;
        self.links.insert(link, Entry { peer, worker, names: Vec::new(), next_circuit: Some(1), circuits: 0 });
        self.facts.push_back(Fact::Attached { link, peer });
        Ok(share)
    }

    /// A link is gone. What it asked for is withdrawn; what it was offered goes to somebody else or back to waiting.
    pub(super) fn detach(&mut self, now: Instant, link: LinkId, departure: Departure, orders: &mut Vec<Order>) {
        let Some(entry) = self.links.remove(&link) else { return };
        self.end_circuits(now, link, &departure.ended);
        // Those that were accepted, and that its worker has not heard of.
        for circuit in self.circuits.of_link(link) {
            let report = EndReport { circuit, sent_bytes: 0, why: Some(WhyClosed::LinkEnded) };
            self.end_circuits(now, link, &[report]);
        }
        self.facts.push_back(Fact::Detached { link, peer: entry.peer, why: departure.why });
        let load = &mut self.load[entry.worker];
        load.links -= 1;
        load.circuits -= usize::try_from(entry.circuits).unwrap_or(0);
        self.forget_names(&entry.peer, entry.names.len());
        if let Some(holding) = self.peers.get_mut(&entry.peer) {
            holding.links.retain(|&other| other != link);
            holding.circuits -= entry.circuits;
            if holding.links.is_empty() {
                self.peers.remove(&entry.peer);
            }
        }
        for name in entry.names {
            self.remove_listener(entry.peer, name, link);
        }
        for id in self.requests.made_by(link) {
            self.withdraw(id, CloseCode::PeerGone, orders);
        }
        for id in self.requests.offered_to(link) {
            if let Some(request) = self.requests.take(id) {
                self.settle(now, id, request, orders);
            }
        }
    }

    /// Registers a name. Requests parked for it are offered at once. An error ends the link.
    pub(super) fn listen(
        &mut self,
        now: Instant,
        link: LinkId,
        name: Name,
        orders: &mut Vec<Order>,
    ) -> Result<(), CloseCode> {
        let Some(entry) = self.links.get_mut(&link) else { return Ok(()) };
        if !entry.names.contains(&name) {
            let Some(holding) = self.peers.get_mut(&entry.peer) else { return Ok(()) };
            let most = entry.names.len() >= LISTENERS_MAX || holding.names >= NAMES_PER_PEER_MAX;
            let is_free = holding.names < NAMES_FREE_PER_PEER;
            if most || (!is_free && self.names_held >= NAMES_MAX) {
                return Err(CloseCode::Limit);
            }
            holding.names += 1;
            self.names_held += usize::from(!is_free);
            entry.names.push(name.clone());
            self.names.entry((entry.peer, name.clone())).or_default().push(link);
            self.facts.push_back(Fact::Listening { link, peer: entry.peer, name: name.clone() });
        }
        let peer = entry.peer;
        for id in self.requests.parked_for(peer, &name) {
            if let Some(mut request) = self.requests.take(id) {
                // Whoever listens anew is worth another try, even after it was not there for this caller before.
                request.tried.retain(|tried| *tried != link);
                self.settle(now, id, request, orders);
            }
        }
        Ok(())
    }

    /// Forgets a name. What was offered under it may still be answered.
    pub(super) fn unlisten(&mut self, link: LinkId, name: &Name) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let before = entry.names.len();
        entry.names.retain(|other| other != name);
        let (peer, gone) = (entry.peer, before - entry.names.len());
        if gone > 0 {
            self.facts.push_back(Fact::Unlistened { link, peer, name: name.clone() });
        }
        self.forget_names(&peer, gone);
        self.remove_listener(peer, name.clone(), link);
    }

    fn forget_names(&mut self, peer: &PeerId, count: usize) {
        if let Some(holding) = self.peers.get_mut(peer) {
            let before = holding.names.saturating_sub(NAMES_FREE_PER_PEER);
            holding.names -= count;
            self.names_held -= before - holding.names.saturating_sub(NAMES_FREE_PER_PEER);
        }
    }

    fn remove_listener(&mut self, peer: PeerId, name: Name, link: LinkId) {
        let key = (peer, name);
        if let Some(listeners) = self.names.get_mut(&key) {
            listeners.retain(|&other| other != link);
            if listeners.is_empty() {
                self.names.remove(&key);
            }
        }
    }

    /// A link asks for a circuit.
    pub(super) fn connect(&mut self, now: Instant, link: LinkId, ask: Ask, orders: &mut Vec<Order>) {
        let Some(entry) = self.links.get(&link) else { return };
        let (from, worker) = (entry.peer, entry.worker);
        if !self.has_room(&from) || self.requests.len() >= REQUESTS_MAX {
            let what = What::Refuse { circuit: ask.circuit, code: CloseCode::Limit };
            orders.push(Order { worker, link, what });
            return;
        }
        self.hold(link);
        let request = Request {
            caller: Side { link, circuit: ask.circuit },
            from,
            to: ask.to,
            name: ask.name,
            early: ask.early,
            expires: (!ask.wait.is_zero()).then(|| now + ask.wait),
            told_waiting: false,
            tried: Vec::new(),
            stage: Stage::Parked,
        };
        let id = self.requests.issue_id();
        self.settle(now, id, request, orders);
    }

    /// A listener takes what it was offered: the other end for it, or None if the offer is void by now.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        callee: Side,
        early: Vec<u8>,
        orders: &mut Vec<Order>,
    ) -> Option<EndId> {
        debug_assert!(early.len() <= EARLY_MAX);
        let Side { link, circuit } = callee;
        let id = self.requests.of_callee(callee)?;
        let Request { caller, from, to, name, .. } = self.requests.take(id)?;
        let (caller_worker, callee_worker) = (self.worker_of(caller.link)?, self.worker_of(link)?);
        let info = self.circuits.open(CircuitInfo { caller, callee, from, to, name, since: now });
        self.facts.push_back(Fact::Opened(info));
        let far = EndId { worker: callee_worker, link, circuit };
        let what = What::Opened { circuit: caller.circuit, far, early };
        orders.push(Order { worker: caller_worker, link: caller.link, what });
        Some(EndId { worker: caller_worker, link: caller.link, circuit: caller.circuit })
    }

    /// A listener declines what it was offered. One that says it is not there is treated as if it were not: the request
    /// goes to the next one, or waits.
    pub(super) fn reject(&mut self, now: Instant, callee: Side, code: CloseCode, orders: &mut Vec<Order>) {
        let link = callee.link;
        let Some(id) = self.requests.of_callee(callee) else { return };
        let Some(mut request) = self.requests.take(id) else { return };
        self.release(link, 1);
        match code {
            CloseCode::NotHere => {
                request.tried.push(link);
                self.settle(now, id, request, orders);
            }
            // This would tell the caller that all is well.
            CloseCode::Waiting => self.fail(&request, CloseCode::Refused, orders),
            code => self.fail(&request, code, orders),
        }
    }

    /// A caller no longer wants what it asked for. False if the circuit is open by now.
    pub(super) fn cancel(&mut self, caller: Side, code: CloseCode, orders: &mut Vec<Order>) -> bool {
        let Some(id) = self.requests.of_caller(caller) else { return false };
        self.withdraw(id, code, orders);
        self.release(caller.link, 1);
        true
    }

    /// A link's ends of open circuits have ended.
    pub(super) fn handle_ended(&mut self, now: Instant, link: LinkId, ended: &[EndReport]) {
        self.release(link, u32::try_from(ended.len()).unwrap_or(u32::MAX));
        self.end_circuits(now, link, ended);
    }

    fn end_circuits(&mut self, now: Instant, link: LinkId, ended: &[EndReport]) {
        for report in ended {
            self.facts.extend(self.circuits.end(now, link, *report).map(Fact::Closed));
        }
    }

    /// The next thing that has happened, in order.
    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// Moves `link` to the worker where it should be before `message` is acted upon, if it is not there: the worker that asks
    /// has to send it there.
    pub(super) fn relocate(&mut self, link: LinkId, message: &Control) -> Option<usize> {
        let entry = self.links.get(&link)?;
        if entry.circuits > 0 {
            return None;
        }
        let partner = match message {
            Control::Connect { to, name, .. } => *self.names.get(&(*to, name.clone()))?.last()?,
            Control::Listen { name } => self.requests.first_parked_caller(entry.peer, name)?,
            _ => return None,
        };
        let (here, there) = (entry.worker, self.worker_of(partner)?);
        if here == there || self.load[there].circuits > self.load[here].circuits + CROWDING_MAX {
            return None;
        }
        self.links.get_mut(&link)?.worker = there;
        self.load[here].links -= 1;
        self.load[there].links += 1;
        Some(there)
    }

    /// The worker of an attached link.
    pub(super) fn worker_of(&self, link: LinkId) -> Option<usize> {
        self.links.get(&link).map(|entry| entry.worker)
    }

    /// A new policy. Links of peers that it leaves out are ended, those of peers with another rate are held to that; lower
    /// limits of numbers hold for what comes.
    pub(super) fn set_policy(&mut self, policy: Policy, orders: &mut Vec<Order>) {
        let before = std::mem::replace(&mut self.policy, policy);
        for (peer, holding) in &self.peers {
            let share = self.policy.share(peer);
            if share.is_some_and(|share| before.share(peer).is_some_and(|before| before.rate == share.rate)) {
                continue;
            }
            for &link in &holding.links {
                let Some(entry) = self.links.get(&link) else { continue };
                let end = What::End { code: CloseCode::Refused };
                let what = share.map_or(end, |share| What::Pace { rate: share.rate });
                orders.push(Order { worker: entry.worker, link, what });
            }
        }
    }

    /// When [`Router::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.requests.next_deadline()
    }

    /// Ends what has waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant, orders: &mut Vec<Order>) {
        while let Some(id) = self.requests.overdue(now) {
            let Some(mut request) = self.requests.take(id) else { return };
            let Stage::Offered { callee: Side { link, circuit }, .. } = request.stage else {
                self.fail(&request, CloseCode::NotHere, orders);
                continue;
            };
            self.release(link, 1);
            if let Some(worker) = self.worker_of(link) {
                let what = What::Withdraw { circuit, code: CloseCode::Cancelled };
                orders.push(Order { worker, link, what });
            }
            request.tried.push(link);
            // Its patience is used up: another listener may answer, nobody is waited for.
            request.expires = None;
            self.settle(now, id, request, orders);
        }
    }

    /// What each worker carries.
    pub(super) fn load(&self) -> &[Load] {
        &self.load
    }

    /// Requests that are parked or offered.
    #[cfg(test)]
    pub(super) fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Offers a request to the newest listener that has not failed it; else parks it or ends it.
    fn settle(&mut self, now: Instant, id: RequestId, mut request: Request, orders: &mut Vec<Order>) {
        let listeners = self.names.get(&(request.to, request.name.clone()));
        let listener = listeners.and_then(|all| all.iter().rev().find(|link| !request.tried.contains(link)).copied());
        if let Some(link) = listener {
            let Some((worker, circuit)) = self.issue_number(link).filter(|_| self.has_room(&request.to)) else {
                return self.fail(&request, CloseCode::Limit, orders);
            };
            self.hold(link);
            request.stage = Stage::Offered { callee: Side { link, circuit }, until: now + ANSWER_DEADLINE };
            let (from, name, early) = (request.from, request.name.clone(), request.early.clone());
            orders.push(Order { worker, link, what: What::Offer { circuit, from, name, early } });
            self.requests.put(id, request);
            return;
        }
        let Side { link: caller, circuit } = request.caller;
        let waits = request.expires.is_some_and(|expires| now < expires);
        let Some(worker) = self.worker_of(caller).filter(|_| waits) else {
            return self.fail(&request, CloseCode::NotHere, orders);
        };
        if self.requests.parked_by(caller) >= PARKED_PER_LINK_MAX {
            return self.fail(&request, CloseCode::Limit, orders);
        }
        // Nobody is told that he waits for a name that is no application's: whether somebody listens to it would show in
        // when the word comes. See section 5.1 of PROTOCOL.md.
        let is_app = matches!(request.name, Name::App(_));
        if is_app && !std::mem::replace(&mut request.told_waiting, true) {
            orders.push(Order { worker, link: caller, what: What::Waiting { circuit } });
        }
        request.stage = Stage::Parked;
        self.requests.put(id, request);
    }

    /// Ends a request that has been taken out, with a final answer to its caller.
    fn fail(&mut self, request: &Request, code: CloseCode, orders: &mut Vec<Order>) {
        let Side { link, circuit } = request.caller;
        if let Some(worker) = self.worker_of(link) {
            orders.push(Order { worker, link, what: What::Refuse { circuit, code } });
        }
        self.release(link, 1);
    }

    /// Ends a request without a word to its caller.
    fn withdraw(&mut self, id: RequestId, code: CloseCode, orders: &mut Vec<Order>) {
        let Some(request) = self.requests.take(id) else { return };
        let Stage::Offered { callee: Side { link, circuit }, .. } = request.stage else { return };
        self.release(link, 1);
        if let Some(worker) = self.worker_of(link) {
            orders.push(Order { worker, link, what: What::Withdraw { circuit, code } });
        }
    }

    /// Uses up the next number for an INCOMING on a link; with its worker.
    fn issue_number(&mut self, link: LinkId) -> Option<(usize, u32)> {
        let entry = self.links.get_mut(&link)?;
        let circuit = entry.next_circuit?;
        entry.next_circuit = circuit.checked_add(2);
        Some((entry.worker, circuit))
    }

    fn has_room(&self, peer: &PeerId) -> bool {
        let held = self.peers.get(peer).map_or(0, |holding| holding.circuits);
        self.policy.share(peer).is_some_and(|share| held < share.circuits)
    }

    fn hold(&mut self, link: LinkId) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.circuits += 1;
        self.load[entry.worker].circuits += 1;
        if let Some(holding) = self.peers.get_mut(&entry.peer) {
            holding.circuits += 1;
        }
    }

    fn release(&mut self, link: LinkId, count: u32) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let count = count.min(entry.circuits);
        entry.circuits -= count;
        self.load[entry.worker].circuits -= usize::try_from(count).unwrap_or(0);
        if let Some(holding) = self.peers.get_mut(&entry.peer) {
            holding.circuits -= count;
        }
    }
}

#[cfg(test)]
#[path = "tests/router.rs"]
mod tests;
