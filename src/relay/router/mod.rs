//! Who is attached, who listens, who waits for whom. One router serves all workers of a relay.
//!
//! It answers with [`Order`]s for links. It knows no connection, and never sees the body of a circuit. What
//! happens it tells as [`Fact`]s.

pub(super) mod admission;
pub(super) mod beyond;
pub(super) mod calls;
mod change;
pub(super) mod circuits;
pub(super) mod common;
mod crowd;
mod eased;
pub(super) mod facts;
pub(super) mod leaving;
pub(super) mod listeners;
pub(super) mod orders;
mod owed;
pub(super) mod policy;
mod rates;
pub(super) mod requests;
mod reserve;
mod roster;
pub(super) mod round;
mod sizes;
pub(super) mod tried;
pub(super) mod turns;
mod waiting;
pub(super) mod why_circuit_closed;

use super::{EndId, LinkId};
use crate::identity::PeerId;
use crate::relay::circuit::vain::SentInVain;
use crate::relay::fair::account::Owner;
use crate::wire::limits::EARLY_MAX;
use crate::wire::{CloseCode, Name};
use admission::{Newcomer, Source};
use calls::{Accepted, Brought, Calls, Recall};
use change::{Change, Changing};
use circuits::{CircuitInfo, Circuits, Closed, EndReport};
use eased::Eased;
use facts::Fact;
use leaving::{Leaving, Left, NAMES_FOR_A_CALL, SeenTo};
use listeners::{Listener, Listeners, TooMany};
use orders::Orders;
pub(super) use orders::{Admitted, Ask, Departure, Order, What};
use owed::{CircuitBytes, Debtor, Owed};
use policy::{Policy, Share};
use rates::Rates;
use requests::{Request, Requests, Side};
pub use roster::Load;
use roster::{Attached, Roster};
use round::RequestId;
use std::collections::VecDeque;
use std::time::Instant;
use turns::{Pair, Turns};
use why_circuit_closed::CloseReason;

/// Of what has waited long enough so much is ended at once.
const DUE_AT_ONCE: usize = 32;

/// The one router of a relay.
#[derive(Debug)]
pub(super) struct Router {
    policy: Policy,
    roster: Roster,
    rates: Rates,
    owed: Owed,
    listeners: Listeners,
    requests: Requests,
    turns: Turns,
    circuits: Circuits,
    leaving: Leaving,
    /// Peers who may be able to take more calls than before.
    eased: Eased,
    /// A policy that not all who are attached have been held to yet.
    change: Option<Change>,
    facts: VecDeque<Fact>,
}

impl Router {
    /// A router for `workers` workers, at least one.
    pub(super) fn new(policy: Policy, workers: usize) -> Router {
        Router {
            policy,
            roster: Roster::new(workers.max(1)),
            rates: Rates::default(),
            owed: Owed::default(),
            listeners: Listeners::default(),
            requests: Requests::default(),
            turns: Turns::default(),
            circuits: Circuits::default(),
            leaving: Leaving::default(),
            eased: Eased::default(),
            change: None,
            facts: VecDeque::new(),
        }
    }

    /// A new policy. Links of peers that it leaves out are ended, those of peers with another rate are held to that, some now and
    /// the others when [`Router::next_timeout`] says so; lower limits of numbers hold for what comes.
    pub(super) fn set_policy(&mut self, now: Instant, policy: Policy, orders: &mut Orders) {
        Changing { router: self, now, orders }.begin(policy);
        Calls { router: self, now, orders }.offer_next();
    }

    /// Holds a peer to the policy now, if that has changed: another link of it is about to come, which is held to no other.
    pub(super) fn hold_at_once(&mut self, now: Instant, peer: PeerId, orders: &mut Orders) {
        Changing { router: self, now, orders }.hold_at_once(peer);
    }

    /// A connection has proven to be `peer`'s, at this worker. What its link may have, or why it may not stay.
    pub(super) fn attach(
        &mut self,
        now: Instant,
        newcomer: Newcomer,
        worker: usize,
        peer: PeerId,
    ) -> Result<Admitted, CloseCode> {
        let link = newcomer.link();
        let share = self.policy.share(&peer).ok_or(CloseCode::Refused)?;
        let source = self.policy.links_per_source().map(|most| (Source::of(newcomer.source), most));
        let is_full = |(source, most)| self.roster.links_from(source) >= most;
        let holding = self.roster.links_of(&peer);
        if self.roster.len() >= self.policy.limits().links || holding >= share.links || source.is_some_and(is_full) {
            return Err(CloseCode::Limit);
        }
        let source = source.map(|(source, _)| source);
        self.roster.add(link, Attached { peer, worker, source });
        self.facts.push_back(Fact::Attached { link, peer, source });
        let rate = self.rates.account(now, peer, share);
        Ok(Admitted { circuits: share.circuits, source, rate })
    }

    /// A link is gone. Nothing is offered to it from now on; all else follows by [`Router::leave_on`]. Where it was expected,
    /// and None if it was not there.
    pub(super) fn detach(&mut self, link: LinkId, departure: Departure) -> Option<usize> {
        let attached = self.roster.remove(link)?;
        self.listeners.leave(link, attached);
        self.leaving.put(link, Left { attached, departure });
        Some(attached.worker)
    }

    /// Goes on with what a link that is gone has left, so many calls and circuits at most: what it asked for is withdrawn, what
    /// it was offered goes to somebody else or back to waiting.
    pub(super) fn leave_on(&mut self, now: Instant, link: LinkId, most: usize, orders: &mut Orders) -> SeenTo {
        let Some(mut left) = self.leaving.take(link) else { return SeenTo { calls: 0, is_all: true } };
        let mut room = most;
        let ended = &mut left.departure.ended;
        let reports = ended.split_off(ended.len().saturating_sub(room));
        self.end_circuits(now, link, &reports);
        room -= reports.len();
        // Those that were accepted, and that its worker has not heard of.
        let unheard: Vec<u32> = self.circuits.of_link(link).take(room).collect();
        room -= unheard.len();
        for circuit in unheard {
            let report = EndReport { circuit, sent_bytes: 0, late_bytes: 0, why: Some(CloseReason::LinkEnded) };
            self.end_circuits(now, link, &[report]);
        }
        let Attached { peer, source, .. } = left.attached;
        let mut calls = Calls { router: self, now, orders };
        room -= calls.handle_lost((link, peer), room);
        calls.offer_next();
        let forgotten = self.listeners.forget_left(link, room.saturating_mul(NAMES_FOR_A_CALL));
        let is_all = room > 0 && !forgotten.has_more;
        room -= forgotten.names.div_ceil(NAMES_FOR_A_CALL);
        if is_all {
            self.facts.push_back(Fact::Detached { link, peer, source, why: left.departure.why });
        } else {
            self.leaving.put(link, left);
        }
        SeenTo { calls: most - room, is_all }
    }

    /// Registers a name. Requests parked for it are offered in turn: some of them now, and the rest by
    /// [`Router::listen_on`]. An error ends the link.
    pub(super) fn listen(
        &mut self,
        now: Instant,
        link: LinkId,
        name: Name,
        orders: &mut Orders,
    ) -> Result<Brought, CloseCode> {
        let Some(&attached) = self.roster.get(link) else { return Ok(Brought::default()) };
        let Attached { peer, source, .. } = attached;
        let among = self.roster.among(&attached);
        match self.listeners.add(link, attached, among, &name) {
            Err(TooMany) => return Err(CloseCode::Limit),
            Ok(true) => self.facts.push_back(Fact::Listening { link, peer, source, name: name.clone() }),
            Ok(false) => {}
        }
        let Some(until) = self.requests.last_waiting(peer, &name) else { return Ok(Brought::default()) };
        Ok(self.listen_on(now, link, Recall { name, after: None, until }, orders))
    }

    /// Goes on with what a LISTEN brings.
    pub(super) fn listen_on(&mut self, now: Instant, link: LinkId, recall: Recall, orders: &mut Orders) -> Brought {
        let Some(&Attached { peer, .. }) = self.roster.get(link) else { return Brought::default() };
        let mut calls = Calls { router: self, now, orders };
        let brought = calls.offer_again(peer, recall);
        calls.offer_next();
        brought
    }

    /// Forgets a name. What was offered under it may still be answered.
    pub(super) fn unlisten(&mut self, link: LinkId, name: &Name) {
        let Some(&attached) = self.roster.get(link) else { return };
        let Attached { peer, source, .. } = attached;
        if self.listeners.remove(link, attached, name) {
            self.facts.push_back(Fact::Unlistened { link, peer, source, name: name.clone() });
        }
    }

    /// A link asks for a circuit.
    pub(super) fn connect(&mut self, now: Instant, link: LinkId, ask: Ask, orders: &mut Orders) {
        let Some(&Attached { peer: from, worker, source }) = self.roster.get(link) else { return };
        let pair = Pair { from, source, to: ask.to };
        // What somebody asks of itself takes both ends, and would wait for one of them.
        let ends = if pair.from == pair.to { 2 } else { 1 };
        let may_ask = self.has_share(&from, ends) && self.source_has_share(source) && self.requests.may_ask(pair);
        if !may_ask || self.turns.is_restless(&pair) {
            let what = What::Refuse { circuit: ask.circuit, code: CloseCode::Limit };
            orders.push(Order { worker, link, what });
            return;
        }
        self.roster.ask(link);
        Calls { router: self, now, orders }.begin(link, pair, ask);
    }

    /// A listener takes what it was offered: the other end for it, or None if the offer is void by now.
    pub(super) fn accept(&mut self, now: Instant, callee: Side, early: Vec<u8>, orders: &mut Orders) -> Option<EndId> {
        debug_assert!(early.len() <= EARLY_MAX);
        let Side { link, circuit } = callee;
        let mut calls = Calls { router: self, now, orders };
        let Some(Accepted { caller, pair, name }) = calls.take_up(callee) else {
            // It has one offer less, or somebody else may have the turn.
            calls.offer_next();
            return None;
        };
        self.worker_of(caller.link)?;
        let callee_worker = self.worker_of(link)?;
        self.roster.hold(link);
        let caller_worker = self.bring(caller.link, link, orders)?;
        let Pair { from, source, to } = pair;
        let info = self.circuits.open(CircuitInfo { caller, callee, from, source, to, name, since: now });
        self.facts.push_back(Fact::Opened(info));
        let far = EndId { worker: callee_worker, link, circuit };
        let what = What::Opened { circuit: caller.circuit, far, early };
        orders.push(Order { worker: caller_worker, link: caller.link, what });
        Calls { router: self, now, orders }.offer_next();
        Some(EndId { worker: caller_worker, link: caller.link, circuit: caller.circuit })
    }

    /// A call is taken: its caller's link goes to the worker of the callee's, if it has no open circuit elsewhere. Not sooner:
    /// whoever calls could tell by its link's worker whether somebody is there. Where it is then.
    fn bring(&mut self, caller: LinkId, callee: LinkId, orders: &mut Orders) -> Option<usize> {
        if self.circuits.of_link(caller).next().is_none()
            && let Some((worker, to)) = self.roster.relocate(caller, callee)
        {
            orders.push(Order { worker, link: caller, what: What::Move { to } });
        }
        self.worker_of(caller)
    }

    /// A listener declines what it was offered. One that says it is not there is treated as if it were not: the request
    /// goes to the next one, or waits.
    pub(super) fn reject(&mut self, now: Instant, callee: Side, code: CloseCode, orders: &mut Orders) {
        Calls { router: self, now, orders }.handle_rejected(callee, code);
    }

    /// A listener cannot be brought what it was offered: messages take all that they may. Its caller hears that, and who is next in
    /// line has its turn when others have had theirs: there may be thousands, all turned back for the same reason.
    pub(super) fn turn_back(&mut self, now: Instant, callee: Side, orders: &mut Orders) {
        Calls { router: self, now, orders }.turn_back(callee);
        self.eased.leave_rest(now);
    }

    /// A caller no longer wants what it asked for. False if the circuit is open by now.
    pub(super) fn cancel(&mut self, now: Instant, caller: Side, code: CloseCode, orders: &mut Orders) -> bool {
        let Some(id) = self.requests.of_caller(caller) else { return false };
        let mut calls = Calls { router: self, now, orders };
        calls.withdraw(id, code);
        calls.release(caller.link, 1, 0);
        calls.offer_next();
        true
    }

    /// A link's ends of open circuits have ended.
    pub(super) fn handle_ended(&mut self, now: Instant, link: LinkId, ended: &[EndReport], orders: &mut Orders) {
        self.end_circuits(now, link, ended);
        let mut calls = Calls { router: self, now, orders };
        let count = |is_asked: bool| {
            let ended = ended.iter().filter(|report| Side { link, circuit: report.circuit }.is_callers() == is_asked);
            u32::try_from(ended.count()).unwrap_or(u32::MAX)
        };
        calls.release(link, count(true), count(false));
        calls.offer_next();
    }

    fn end_circuits(&mut self, now: Instant, link: LinkId, ended: &[EndReport]) {
        for report in ended {
            self.note_owed(now, Side { link, circuit: report.circuit }, report);
            let Some(closed) = self.circuits.end(now, link, *report) else { continue };
            let Closed { info, .. } = &closed;
            let pair = Pair { from: info.from, source: info.source, to: info.to };
            self.facts.push_back(Fact::Closed(closed));
            self.turns.close(pair);
            self.eased.insert(pair.to);
        }
    }

    /// A circuit that has ended counts among those of a peer with a rate until the peer has paid for it.
    fn note_owed(&mut self, now: Instant, side: Side, report: &EndReport) {
        let Some(info) = self.circuits.info(side) else { return };
        let is_callee = info.callee == side;
        let (peer, other) = if is_callee { (info.to, info.from) } else { (info.from, info.to) };
        let caller = is_callee.then(|| Owner::of_peer(other, info.source));
        // All that was sent is paid for if nothing is owed without what may come yet.
        let sent_bytes = self.rates.owes_until(now, (&peer, other), 0).map_or(0, |_| report.sent_bytes);
        let bytes = CircuitBytes::new(sent_bytes, report.late_bytes);
        if let Some(until) = self.rates.expect_late(now, (&peer, other), bytes.late) {
            self.owed.add(Debtor { peer, caller }, until, bytes);
        }
    }

    /// A peer has sent something into a call that had come to nothing. If it has a rate, the caller owes for that as for a circuit,
    /// as far as he may have one more; beyond that for longer.
    pub(super) fn note_in_vain(&mut self, now: Instant, callee: LinkId, SentInVain { from, bytes }: SentInVain) {
        let Some(&Attached { peer, .. }) = self.roster.get(callee) else { return };
        let Some(until) = self.rates.owes_until(now, (&peer, from), 0) else { return };
        // Nobody has a rate where addresses count.
        let owner = Owner::Peer(from);
        let debtor = Debtor { peer, caller: Some(owner) };
        if self.leaves_caller(&peer, owner) {
            self.owed.add(debtor, until, CircuitBytes::new(u64::try_from(bytes).unwrap_or(u64::MAX), 0));
        } else {
            self.owed.prolong(debtor, until);
        }
    }

    /// The next thing that has happened, in order.
    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// Moves `link` to the worker where it should be before it listens to `name`, that of the first who calls it, if it is not
    /// there: the worker that asks has to send it there.
    pub(super) fn relocate(&mut self, link: LinkId, name: &Name) -> Option<usize> {
        let &Attached { peer, .. } = self.roster.get(link)?;
        let caller = self.requests.first_waiting_caller(peer, name)?;
        let goes = self.roster.is_idle(link);
        goes.then(|| self.roster.relocate(link, caller)).flatten().map(|(_, to)| to)
    }

    /// The worker of an attached link.
    pub(super) fn worker_of(&self, link: LinkId) -> Option<usize> {
        self.roster.worker_of(link)
    }

    /// When [`Router::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let easing = [self.turns.next_timeout(), self.owed.next_timeout(), self.eased.next_timeout()];
        let others = [self.requests.next_deadline(), self.change.as_ref().map(Change::since)];
        others.into_iter().chain(easing).flatten().min()
    }

    /// Ends some of what has waited long enough. There is more if [`Router::next_timeout`] says so: whoever else wants to
    /// ask something need not wait for all of it.
    pub(super) fn handle_timeout(&mut self, now: Instant, orders: &mut Orders) {
        Changing { router: self, now, orders }.hold_some();
        for _ in 0..DUE_AT_ONCE {
            let Some(to) = self.turns.poll_due(now).or_else(|| self.owed.poll_due(now)) else { break };
            self.eased.insert(to);
        }
        let mut calls = Calls { router: self, now, orders };
        calls.handle_overdue(DUE_AT_ONCE);
        calls.offer_next();
    }

    /// What each worker carries.
    pub(super) fn load(&self) -> &[Load] {
        self.roster.load()
    }

    /// Whom to offer a request, of those that listened by then.
    fn listener(&self, request: &Request, last: u64) -> Option<Listener> {
        self.listeners.newest_until(last, (request.pair.to, &request.name), &request.tried)
    }

    /// Whether a peer may have so many circuits more.
    fn has_share(&self, peer: &PeerId, more: u32) -> bool {
        let held = self.roster.circuits_of(peer).unwrap_or(0).saturating_add(more);
        self.policy.share(peer).is_some_and(|share| held.saturating_add(self.owed.of(&share, peer)) <= share.circuits)
    }

    /// Whether peers of a source may ask for one more.
    fn source_has_share(&self, source: Option<Source>) -> bool {
        let most = source.and_then(|source| Some((source, self.policy.circuits_per_source()?)));
        most.is_none_or(|(source, most)| self.roster.asked_from(source) < most)
    }

    /// Whether others may open no more circuits to a peer.
    fn is_full(&self, to: &PeerId) -> bool {
        let is_shut = |share: Share| self.turns.open_to(to) + self.owed.of_callers(&share, to) >= share.of_callers();
        !self.has_share(to, 1) || self.policy.share(to).is_some_and(is_shut)
    }

    /// The call whose turn it is with a peer. It has a place from now on.
    fn next_call(&mut self, to: PeerId) -> Option<RequestId> {
        let (owed, share) = (&self.owed, self.policy.share(&to));
        self.turns.next(to, |owner| share.map_or(u32::MAX, |share| owed.leaves_caller(&share, to, *owner)))
    }

    /// Whether a caller may open one more circuit to whom it calls, which is there.
    fn may_open(&self, pair: &Pair) -> bool {
        !self.is_full(&pair.to) && self.leaves_caller(&pair.to, pair.owner())
    }

    /// Whether a caller has fewer circuits to a peer than one may have.
    fn leaves_caller(&self, to: &PeerId, owner: Owner) -> bool {
        let most = |share| self.owed.leaves_caller(&share, *to, owner);
        self.policy.share(to).is_some_and(|share| self.turns.open_by(to, &owner) < most(share))
    }

    /// A peer that takes no more calls waits, if all that it lacks is room that others have.
    fn wait_for_room(&mut self, to: PeerId) {
        if self.roster.circuits_of(&to).is_some() {
            self.turns.wait_for_room(to, self.roster.source_of(&to));
        }
    }

    /// Whether a peer can be offered one more call. To one that is not there nothing is offered, so it can.
    fn can_take(&self, to: &PeerId) -> bool {
        self.roster.circuits_of(to).is_none()
            || (self.turns.may_offer(to, self.roster.source_of(to)) && !self.is_full(to))
    }
}

#[cfg(test)]
mod tests;
