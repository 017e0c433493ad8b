//! Who is attached, who listens, who waits for whom. One router serves all workers of a relay.
//!
//! It answers with [`Order`]s for links. It knows no connection, and never sees the body of a circuit. What
//! happens it tells as [`Fact`]s.

pub(super) mod admission;
pub(super) mod circuits;
pub(super) mod common;
pub(super) mod facts;
pub(super) mod listeners;
pub(super) mod orders;
pub(super) mod policy;
pub(super) mod requests;
mod reserve;
mod roster;
pub(super) mod turns;
use super::{EndId, LinkId};
use crate::identity::PeerId;
use crate::wire::limits::EARLY_MAX;
use crate::wire::{CloseCode, Control, Name};
use admission::Source;
use circuits::{CircuitInfo, Circuits, Closed, EndReport, WhyClosed};
use facts::Fact;
use listeners::{Listeners, TooMany};
use orders::Orders;
pub(super) use orders::{Ask, Departure, Order, What};
use policy::{Policy, Share};
use requests::{ANSWER_DEADLINE, PARKED_PER_LINK_MAX, Request, Requests, Side, Stage};
pub use roster::Load;
use roster::{Attached, Roster};
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use turns::{Pair, Place, REFUSAL_DELAY, RequestId, Turn, Turns, look_again};

/// The one router of a relay.
#[derive(Debug)]
pub(super) struct Router {
    policy: Policy,
    roster: Roster,
    listeners: Listeners,
    requests: Requests,
    turns: Turns,
    circuits: Circuits,
    /// Peers who may be able to take more calls than before.
    eased: BTreeSet<PeerId>,
    facts: VecDeque<Fact>,
}

impl Router {
    /// A router for `workers` workers, at least one.
    pub(super) fn new(policy: Policy, workers: usize) -> Router {
        Router {
            policy,
            roster: Roster::new(workers.max(1)),
            listeners: Listeners::default(),
            requests: Requests::default(),
            turns: Turns::default(),
            circuits: Circuits::default(),
            eased: BTreeSet::new(),
            facts: VecDeque::new(),
        }
    }

    /// A link has proven to be `peer`'s, at this worker. Its share, or why it may not stay.
    pub(super) fn attach(
        &mut self,
        link: LinkId,
        worker: usize,
        peer: PeerId,
        from: IpAddr,
    ) -> Result<Share, CloseCode> {
        let share = self.policy.share(&peer).ok_or(CloseCode::Refused)?;
        let source = self.policy.links_per_source().map(|most| (Source::of(from), most));
        let is_full = |(source, most)| self.roster.links_from(source) >= most;
        let holding = self.roster.links_of(&peer);
        if self.roster.len() >= self.policy.limits().links || holding >= share.links || source.is_some_and(is_full) {
            return Err(CloseCode::Limit);
        }
        self.roster.add(link, Attached { peer, worker, source: source.map(|(source, _)| source) });
        self.facts.push_back(Fact::Attached { link, peer });
        Ok(share)
    }

    /// A link is gone. What it asked for is withdrawn; what it was offered goes to somebody else or back to waiting.
    pub(super) fn detach(&mut self, now: Instant, link: LinkId, departure: Departure, orders: &mut Orders) {
        let Some(Attached { peer, .. }) = self.roster.remove(link) else { return };
        self.end_circuits(now, link, &departure.ended);
        // Those that were accepted, and that its worker has not heard of.
        for circuit in self.circuits.of_link(link) {
            let report = EndReport { circuit, sent_bytes: 0, why: Some(WhyClosed::LinkEnded) };
            self.end_circuits(now, link, &[report]);
        }
        self.facts.push_back(Fact::Detached { link, peer, why: departure.why });
        self.listeners.remove_all(peer, link);
        for id in self.requests.made_by(link) {
            self.withdraw(now, id, CloseCode::PeerGone, orders);
        }
        for id in self.requests.offered_to(link) {
            if let Some(request) = self.requests.take(id) {
                self.turns.end_offer(peer);
                self.settle(now, id, request, orders);
            }
        }
        self.eased.insert(peer);
        self.offer_next(now, orders);
    }

    /// Registers a name. Requests parked for it are offered in turn. An error ends the link.
    pub(super) fn listen(
        &mut self,
        now: Instant,
        link: LinkId,
        name: Name,
        orders: &mut Orders,
    ) -> Result<(), CloseCode> {
        let Some(&Attached { peer, .. }) = self.roster.get(link) else { return Ok(()) };
        match self.listeners.add(peer, link, &name) {
            Err(TooMany) => return Err(CloseCode::Limit),
            Ok(true) => self.facts.push_back(Fact::Listening { link, peer, name: name.clone() }),
            Ok(false) => {}
        }
        for id in self.requests.parked_for(peer, &name) {
            if let Some(mut request) = self.requests.take(id) {
                // Whoever listens anew is worth another try, even after it was not there for this caller before.
                request.tried.retain(|tried| *tried != link);
                self.queue(now, id, request);
            }
        }
        self.offer_next(now, orders);
        Ok(())
    }

    /// Forgets a name. What was offered under it may still be answered.
    pub(super) fn unlisten(&mut self, link: LinkId, name: &Name) {
        let Some(&Attached { peer, .. }) = self.roster.get(link) else { return };
        if self.listeners.remove(peer, link, name) {
            self.facts.push_back(Fact::Unlistened { link, peer, name: name.clone() });
        }
    }

    /// A link asks for a circuit.
    pub(super) fn connect(&mut self, now: Instant, link: LinkId, ask: Ask, orders: &mut Orders) {
        let Some(&Attached { peer: from, worker, source }) = self.roster.get(link) else { return };
        let pair = Pair { from, to: ask.to };
        // What somebody asks of itself takes both ends, and would wait for one of them.
        let ends = if pair.from == pair.to { 2 } else { 1 };
        if !self.has_share(&from, ends) || self.turns.is_restless(&from) {
            let what = What::Refuse { circuit: ask.circuit, code: CloseCode::Limit };
            orders.push(Order { worker, link, what });
            return;
        }
        self.roster.hold(link);
        let mut request = Request {
            caller: Side { link, circuit: ask.circuit },
            pair,
            source,
            name: ask.name,
            early: ask.early,
            expires: (!ask.wait.is_zero()).then(|| now + ask.wait),
            told_waiting: false,
            tried: Vec::new(),
            is_guest: !self.requests.has_room(&from, source),
            turn: Turn::First,
            place: None,
            stage: Stage::Held { until: now + REFUSAL_DELAY },
        };
        let id = self.requests.issue_id();
        if request.is_guest && !(self.turns.is_free(pair) && self.can_take(&pair.to)) {
            request.early = Vec::new();
            self.requests.put(id, request);
        } else {
            self.queue(now, id, request);
            self.offer_next(now, orders);
        }
    }

    /// A listener takes what it was offered: the other end for it, or None if the offer is void by now.
    pub(super) fn accept(&mut self, now: Instant, callee: Side, early: Vec<u8>, orders: &mut Orders) -> Option<EndId> {
        debug_assert!(early.len() <= EARLY_MAX);
        let Side { link, circuit } = callee;
        let id = self.requests.of_callee(callee)?;
        let mut request = self.requests.take(id)?;
        let Request { caller, pair, turn, .. } = request;
        self.end_offer(link, pair.to);
        if !self.has_share(&pair.to, 1) {
            // It has asked for so many circuits itself meanwhile.
            self.give_up_place(now, &mut request);
            self.queue(now, id, request);
            return None;
        }
        let (caller_worker, callee_worker) = (self.worker_of(caller.link)?, self.worker_of(link)?);
        self.roster.hold(link);
        self.turns.open(pair, turn);
        let Pair { from, to } = pair;
        let info = self.circuits.open(CircuitInfo { caller, callee, from, to, name: request.name, since: now });
        self.facts.push_back(Fact::Opened(info));
        let far = EndId { worker: callee_worker, link, circuit };
        let what = What::Opened { circuit: caller.circuit, far, early };
        orders.push(Order { worker: caller_worker, link: caller.link, what });
        self.offer_next(now, orders);
        Some(EndId { worker: caller_worker, link: caller.link, circuit: caller.circuit })
    }

    /// A listener declines what it was offered. One that says it is not there is treated as if it were not: the request
    /// goes to the next one, or waits.
    pub(super) fn reject(&mut self, now: Instant, callee: Side, code: CloseCode, orders: &mut Orders) {
        let link = callee.link;
        let Some(id) = self.requests.of_callee(callee) else { return };
        let Some(mut request) = self.requests.take(id) else { return };
        self.end_offer(link, request.pair.to);
        match code {
            CloseCode::NotHere => {
                request.tried.push(link);
                self.settle(now, id, request, orders);
            }
            // This would tell the caller that all is well.
            CloseCode::Waiting => self.fail(now, &mut request, CloseCode::Refused, orders),
            code => self.fail(now, &mut request, code, orders),
        }
        self.offer_next(now, orders);
    }

    /// A caller no longer wants what it asked for. False if the circuit is open by now.
    pub(super) fn cancel(&mut self, now: Instant, caller: Side, code: CloseCode, orders: &mut Orders) -> bool {
        let Some(id) = self.requests.of_caller(caller) else { return false };
        self.withdraw(now, id, code, orders);
        self.release(caller.link, 1);
        self.offer_next(now, orders);
        true
    }

    /// A link's ends of open circuits have ended.
    pub(super) fn handle_ended(&mut self, now: Instant, link: LinkId, ended: &[EndReport], orders: &mut Orders) {
        self.release(link, u32::try_from(ended.len()).unwrap_or(u32::MAX));
        self.end_circuits(now, link, ended);
        self.offer_next(now, orders);
    }

    fn end_circuits(&mut self, now: Instant, link: LinkId, ended: &[EndReport]) {
        for report in ended {
            let Some(closed) = self.circuits.end(now, link, *report) else { continue };
            let Closed { info, .. } = &closed;
            let (from, to) = (info.from, info.to);
            self.facts.push_back(Fact::Closed(closed));
            self.turns.close(Pair { from, to });
            self.eased.insert(to);
        }
    }

    /// The next thing that has happened, in order.
    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// Moves `link` to the worker where it should be before `message` is acted upon, if it is not there: the worker that asks
    /// has to send it there.
    pub(super) fn relocate(&mut self, link: LinkId, message: &Control) -> Option<usize> {
        let &Attached { peer, .. } = self.roster.get(link)?;
        let partner = match message {
            Control::Connect { to, name, .. } => self.listeners.newest(*to, name, &[])?,
            Control::Listen { name } => self.requests.first_parked_caller(peer, name)?,
            _ => return None,
        };
        self.roster.relocate(link, partner)
    }

    /// The worker of an attached link.
    pub(super) fn worker_of(&self, link: LinkId) -> Option<usize> {
        self.roster.worker_of(link)
    }

    /// A new policy. Links of peers that it leaves out are ended, those of peers with another rate are held to that; lower
    /// limits of numbers hold for what comes.
    pub(super) fn set_policy(&mut self, policy: Policy, orders: &mut Orders) {
        let before = std::mem::replace(&mut self.policy, policy);
        for (peer, links) in self.roster.peers() {
            let share = self.policy.share(peer);
            if share.is_some_and(|share| before.share(peer).is_some_and(|before| before.rate == share.rate)) {
                continue;
            }
            for &link in links {
                let Some(worker) = self.worker_of(link) else { continue };
                let end = What::End { code: CloseCode::Refused };
                let what = share.map_or(end, |share| What::Pace { rate: share.rate });
                orders.push(Order { worker, link, what });
            }
        }
    }

    /// When [`Router::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.requests.next_deadline().into_iter().chain(self.turns.next_timeout()).min()
    }

    /// Ends what has waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant, orders: &mut Orders) {
        while let Some(to) = self.turns.poll_due(now) {
            self.eased.insert(to);
        }
        while let Some(id) = self.requests.overdue(now) {
            let Some(mut request) = self.requests.take(id) else { return };
            match request.stage {
                Stage::Parked => self.fail(now, &mut request, CloseCode::NotHere, orders),
                Stage::Held { .. } => self.conclude(now, id, request, orders),
                Stage::Queued { .. } => self.wait_on(now, id, request, orders),
                Stage::Offered { callee, .. } => {
                    self.end_offer(callee.link, request.pair.to);
                    self.order_withdrawal(callee, CloseCode::Cancelled, orders);
                    if request.expires.is_some_and(|expires| request.turn == Turn::Again && expires <= now) {
                        self.fail(now, &mut request, CloseCode::NotHere, orders);
                        continue;
                    }
                    request.tried.push(callee.link);
                    // Its patience is used up: another listener may answer, nobody is waited for.
                    request.expires = None;
                    self.settle(now, id, request, orders);
                }
            }
        }
        self.offer_next(now, orders);
    }

    /// What each worker carries.
    pub(super) fn load(&self) -> &[Load] {
        self.roster.load()
    }

    // What becomes of a request.

    /// Lets a request wait for its turn.
    fn queue(&mut self, now: Instant, id: RequestId, mut request: Request) {
        request.stage = Stage::Queued { until: look_again(now, request.expires) };
        self.turns.queue(request.pair, request.turn, id);
        self.eased.insert(request.pair.to);
        self.requests.put(id, request);
    }

    /// Offers calls to peers who may take more than before, as long as they do, each caller in turn.
    fn offer_next(&mut self, now: Instant, orders: &mut Orders) {
        while let Some(to) = self.eased.pop_first() {
            let open_max = self.policy.share(&to).map_or(u32::MAX, |share| share.of_one_caller());
            while self.can_take(&to)
                && let Some(id) = self.turns.next(to, open_max)
            {
                let Some(mut request) = self.requests.take(id) else { continue };
                // Nobody hides from itself, nor from who knows what no stranger can; and who was told to wait hears nothing now.
                let hides = request.pair.from != to && request.name.is_guessable() && request.turn == Turn::First;
                let delay = if hides { REFUSAL_DELAY } else { Duration::ZERO };
                request.place = Some(Place { turn: request.turn, until: now + delay });
                self.settle(now, id, request, orders);
            }
        }
    }

    /// A request that has a place goes to the newest listener that has not failed it. With none left its caller hears of it in
    /// due time.
    fn settle(&mut self, now: Instant, id: RequestId, mut request: Request, orders: &mut Orders) {
        let to = request.pair.to;
        if let Some(link) = self.listener(&request).filter(|_| self.can_take(&to)) {
            let Some((worker, circuit)) = self.roster.offer(link) else {
                return self.fail(now, &mut request, CloseCode::Limit, orders);
            };
            self.turns.offer(to);
            let until = now + ANSWER_DEADLINE;
            // The end of its patience is the same whether or not somebody has it by then.
            let until =
                request.expires.filter(|_| request.turn == Turn::Again).map_or(until, |expires| until.min(expires));
            request.stage = Stage::Offered { callee: Side { link, circuit }, until };
            let (from, name, early) = (request.pair.from, request.name.clone(), request.early.clone());
            orders.push(Order { worker, link, what: What::Offer { circuit, from, name, early } });
            self.requests.put(id, request);
            return;
        }
        match request.place.map(|place| place.until).filter(|until| now < *until) {
            Some(until) => {
                if request.is_guest {
                    request.early = Vec::new();
                }
                request.stage = Stage::Held { until };
                self.requests.put(id, request);
            }
            None => self.conclude(now, id, request, orders),
        }
    }

    /// Nobody has taken a request, and its caller may know: it is parked, or ends.
    fn conclude(&mut self, now: Instant, id: RequestId, mut request: Request, orders: &mut Orders) {
        self.give_up_place(now, &mut request);
        if request.is_guest {
            return self.fail(now, &mut request, CloseCode::Limit, orders);
        }
        let Side { link: caller, circuit } = request.caller;
        let waits = request.expires.is_some_and(|expires| now < expires);
        let Some(worker) = self.worker_of(caller).filter(|_| waits) else {
            return self.fail(now, &mut request, CloseCode::NotHere, orders);
        };
        if request.turn == Turn::First && self.requests.parked_by(caller) >= PARKED_PER_LINK_MAX {
            return self.fail(now, &mut request, CloseCode::Limit, orders);
        }
        // Nobody is told that he waits for a name that is no application's: whether somebody listens to it would show in
        // when the word comes. See section 5.1 of PROTOCOL.md.
        let is_app = matches!(request.name, Name::App(_));
        if is_app && !std::mem::replace(&mut request.told_waiting, true) {
            orders.push(Order { worker, link: caller, what: What::Waiting { circuit } });
        }
        request.turn = Turn::Again;
        if self.listener(&request).is_some() {
            return self.queue(now, id, request);
        }
        request.stage = Stage::Parked;
        self.requests.put(id, request);
    }

    /// A request has waited long for its turn. It waits on, unless its caller has to know by now.
    fn wait_on(&mut self, now: Instant, id: RequestId, mut request: Request, orders: &mut Orders) {
        self.turns.unqueue(request.pair, request.turn, id);
        let is_app = matches!(request.name, Name::App(_));
        if request.expires.is_none() || (is_app && self.is_full(&request.pair.to)) {
            self.fail(now, &mut request, CloseCode::Limit, orders);
        } else if request.expires.is_some_and(|expires| expires <= now) {
            self.fail(now, &mut request, CloseCode::NotHere, orders);
        } else {
            self.queue(now, id, request);
        }
    }

    /// Ends a request that has been taken out, with a final answer to its caller.
    fn fail(&mut self, now: Instant, request: &mut Request, code: CloseCode, orders: &mut Orders) {
        self.give_up_place(now, request);
        let Side { link, circuit } = request.caller;
        if let Some(worker) = self.worker_of(link) {
            orders.push(Order { worker, link, what: What::Refuse { circuit, code } });
        }
        self.release(link, 1);
    }

    /// Ends a request without a word to its caller.
    fn withdraw(&mut self, now: Instant, id: RequestId, code: CloseCode, orders: &mut Orders) {
        let Some(mut request) = self.requests.take(id) else { return };
        if let Stage::Offered { callee, .. } = request.stage {
            self.end_offer(callee.link, request.pair.to);
            self.order_withdrawal(callee, code, orders);
        }
        self.turns.unqueue(request.pair, request.turn, id);
        self.give_up_place(now, &mut request);
    }

    fn order_withdrawal(&self, Side { link, circuit }: Side, code: CloseCode, orders: &mut Orders) {
        if let Some(worker) = self.worker_of(link) {
            orders.push(Order { worker, link, what: What::Withdraw { circuit, code } });
        }
    }

    fn give_up_place(&mut self, now: Instant, request: &mut Request) {
        if let Some(place) = request.place.take() {
            self.turns.leave(now, request.pair, place);
            self.eased.insert(request.pair.to);
        }
    }

    fn end_offer(&mut self, link: LinkId, to: PeerId) {
        self.roster.end_offer(link);
        self.turns.end_offer(to);
        self.eased.insert(to);
    }

    /// So many circuits of a link have ended.
    fn release(&mut self, link: LinkId, count: u32) {
        self.roster.release(link, count);
        self.eased.extend(self.roster.get(link).map(|attached| attached.peer));
    }

    /// Whom to offer a request.
    fn listener(&self, request: &Request) -> Option<LinkId> {
        self.listeners.newest(request.pair.to, &request.name, &request.tried)
    }

    /// Whether a peer may have so many circuits more.
    fn has_share(&self, peer: &PeerId, more: u32) -> bool {
        let held = self.roster.circuits_of(peer).unwrap_or(0);
        self.policy.share(peer).is_some_and(|share| held.saturating_add(more) <= share.circuits)
    }

    /// Whether others may open no more circuits to a peer.
    fn is_full(&self, to: &PeerId) -> bool {
        let share = self.policy.share(to);
        !self.has_share(to, 1) || share.is_some_and(|share| self.turns.open_to(to) >= share.of_callers())
    }

    /// Whether a peer can be offered one more call. To one that is not there nothing is offered, so it can.
    fn can_take(&self, to: &PeerId) -> bool {
        self.roster.circuits_of(to).is_none() || (self.turns.may_offer(to) && !self.is_full(to))
    }
}

#[cfg(test)]
#[path = "tests/router.rs"]
mod tests;
