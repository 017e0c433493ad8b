//! What becomes of a CONNECT: it waits for its turn, is offered, waits for a listener, and comes to nothing or is taken.

use super::listeners::Listener;
use super::orders::{Ask, Order, Orders, What};
use super::requests::{ANSWER_DEADLINE, PARKED_PER_LINK_MAX, Request, Side, Stage, Told};
use super::round::{RequestId, Turn};
use super::tried::Tried;
use super::turns::{Pair, Place, REFUSAL_DELAY, look_again};
use super::waiting::Mark;
use super::{LinkId, Router};
use crate::identity::PeerId;
use crate::wire::{CloseCode, Name};
use std::time::{Duration, Instant};

/// Of what waits for somebody who listens so much has its turn at once: others want to ask something, too.
const RECALLED_AT_ONCE: usize = 32;
/// So many calls are offered at once.
const OFFERED_AT_ONCE: usize = 32;
/// A call for which there was no memory is offered again after so long: links that hold it have been let go of by then, or take
/// it.
const TURNED_BACK_FOR: Duration = Duration::from_secs(1);
/// And of those who may take more so many are looked at for that.
const EASED_AT_ONCE: usize = 128;

/// A request that its callee has taken.
pub(super) struct Accepted {
    /// The caller's side.
    pub caller: Side,
    /// Who called whom.
    pub pair: Pair,
    /// What was called.
    pub name: Name,
}

/// Calls that somebody is to be offered who listens to a name, and that waited when it said so.
#[derive(Debug)]
pub(crate) struct Recall {
    /// What they call.
    pub name: Name,
    /// Those up to there have had their turn.
    pub after: Option<Mark>,
    /// The last of them.
    pub until: Mark,
}

/// What a LISTEN has brought so far.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// So many calls just now.
    pub calls: usize,
    /// More, when its link has another turn.
    pub rest: Option<Recall>,
}

/// A router, while it deals with requests. Whatever may have made room for another call is followed by
/// [`Calls::offer_next`].
pub(super) struct Calls<'r> {
    pub router: &'r mut Router,
    pub now: Instant,
    pub orders: &'r mut Orders,
}

impl Calls<'_> {
    /// A link asks for a circuit, which is held for it.
    pub(super) fn begin(&mut self, link: LinkId, pair: Pair, ask: Ask) {
        let mut request = Request {
            caller: Side { link, circuit: ask.circuit },
            pair,
            name: ask.name,
            early: ask.early,
            expires: (!ask.wait.is_zero()).then(|| self.now + ask.wait),
            told: Told::Nothing,
            tried: Tried::default(),
            is_guest: !self.router.requests.has_room(pair),
            turn: Turn::First,
            place: None,
            stage: Stage::Held { until: self.now + REFUSAL_DELAY },
        };
        let id = self.router.requests.issue_id();
        if request.is_guest && !(self.router.turns.is_free(pair) && self.router.can_take(&pair.to)) {
            request.early = Vec::new();
            self.router.requests.put(id, request);
        } else {
            self.queue(id, request);
            self.offer_next();
        }
    }

    /// A callee takes what it was offered. None if the offer is void by now, as that of a link that is gone, or if the callee has
    /// no room for it: then the request waits for its turn again. For one that is offered at once or not at all that is no turn.
    pub(super) fn take_up(&mut self, callee: Side) -> Option<Accepted> {
        let (id, mut request) = self.answered(callee)?;
        let Request { caller, pair, .. } = request;
        if self.router.worker_of(caller.link).is_none() {
            self.give_up_all(&mut request);
            return None;
        }
        if !self.router.may_open(&pair) {
            // Many calls are offered at once, and it has taken as many others meanwhile, or has asked for circuits itself.
            if request.is_guest {
                self.fail(&mut request, CloseCode::Limit);
            } else {
                self.give_up_place(&mut request);
                self.queue(id, request);
            }
            return None;
        }
        self.router.turns.open(pair, request.turn);
        if let Some(place) = request.untold() {
            self.router.turns.give_back(pair, place.turn);
        }
        Some(Accepted { caller, pair, name: request.name })
    }

    /// A listener declines what it was offered.
    pub(super) fn handle_rejected(&mut self, callee: Side, code: CloseCode) {
        let Some((id, mut request)) = self.answered(callee) else { return };
        match code {
            CloseCode::NotHere => {
                request.note_tried(&self.router.listeners);
                self.settle(id, request);
            }
            // This would tell the caller that all is well.
            CloseCode::Waiting => self.fail(&mut request, CloseCode::Refused),
            code => self.fail(&mut request, code),
        }
        self.offer_next();
    }

    /// A listener cannot be brought what it was offered: there is no memory for it. Its caller hears what it would if nobody
    /// was there, or whoever uses memory up would learn who is.
    pub(super) fn turn_back(&mut self, callee: Side) {
        let Some((id, mut request)) = self.answered(callee) else { return };
        match request.place {
            _ if !request.hides() => self.fail(&mut request, CloseCode::Limit),
            Some(Place { turn: Turn::First, until, .. }) => self.hold(id, request, until),
            _ => {
                self.give_up_place(&mut request);
                let again = self.now + TURNED_BACK_FOR;
                let until = request.expires.map_or(again, |expires| again.min(expires));
                self.hold(id, request, until);
            }
        }
    }

    fn answered(&mut self, callee: Side) -> Option<(RequestId, Request)> {
        let id = self.router.requests.of_callee(callee)?;
        let request = self.router.requests.take(id)?;
        self.end_offer(callee.link, request.pair.to);
        Some((id, request))
    }

    /// A link of a peer is gone: what it asked for is withdrawn, what it was offered goes to somebody else or waits. So many of
    /// both at most, and how many that were.
    pub(super) fn handle_lost(&mut self, (link, peer): (LinkId, PeerId), most: usize) -> usize {
        let made = self.router.requests.made_by(link, most);
        let offered = self.router.requests.offered_to(link, most - made.len());
        let count = made.len() + offered.len();
        for id in made {
            self.withdraw(id, CloseCode::PeerGone);
        }
        for id in offered {
            if let Some(request) = self.router.requests.take(id) {
                self.router.turns.end_offer(peer);
                self.settle(id, request);
            }
        }
        self.router.eased.insert(peer);
        count
    }

    /// A link of a peer listens to a name: requests that wait for somebody who does have another turn, callers in turn, so many
    /// at most. One whose caller may not know yet that nobody was there is offered too, and the caller hears at the same time
    /// what it would have heard without that.
    pub(super) fn offer_again(&mut self, peer: PeerId, recall: Recall) -> Brought {
        let Recall { name, after, until } = recall;
        let mut marks = self.router.requests.waiting_for((peer, &name), after, RECALLED_AT_ONCE);
        let is_all = marks.len() < RECALLED_AT_ONCE || marks.last() >= Some(&until);
        marks.retain(|mark| *mark <= until);
        for mark in &marks {
            // Those that came meanwhile have been with all who listen.
            let is_of_use = |request: &&Request| self.router.listener(request, u64::MAX).is_some();
            if self.router.requests.get(mark.id).filter(is_of_use).is_some()
                && let Some(request) = self.router.requests.take(mark.id)
            {
                self.go_again(mark.id, request);
            }
        }
        let rest = (!is_all).then(|| Recall { name, after: marks.last().copied(), until });
        Brought { calls: marks.len(), rest }
    }

    /// A request has another turn, and its caller hears no sooner of the first one.
    fn go_again(&mut self, id: RequestId, mut request: Request) {
        if request.turn == Turn::First {
            request.told = request.place.take().map_or(Told::Nothing, Told::NothingYet);
            request.turn = Turn::Again;
        }
        self.queue(id, request);
    }

    /// Sees to requests whose time has come, so many at most.
    pub(super) fn handle_overdue(&mut self, most: usize) {
        for _ in 0..most {
            let Some(id) = self.router.requests.overdue(self.now) else { return };
            let Some(mut request) = self.router.requests.take(id) else { return };
            if request.untold().is_some_and(|place| place.until <= self.now) {
                self.tell_at_last(id, request);
                continue;
            }
            match request.stage {
                Stage::Parked => self.fail(&mut request, CloseCode::NotHere),
                Stage::Held { .. } => self.conclude(id, request),
                Stage::Queued { .. } => self.wait_on(id, request),
                Stage::Offered { callee, .. } => self.handle_unanswered(id, request, callee),
            }
        }
    }

    /// A listener has not answered in time.
    fn handle_unanswered(&mut self, id: RequestId, mut request: Request, callee: Side) {
        self.end_offer(callee.link, request.pair.to);
        self.order_withdrawal(callee, CloseCode::Cancelled);
        if request.expires.is_some_and(|expires| request.turn == Turn::Again && expires <= self.now) {
            return self.fail(&mut request, CloseCode::NotHere);
        }
        request.note_tried(&self.router.listeners);
        // Its patience is used up: another listener may answer, nobody is waited for.
        request.expires = None;
        self.settle(id, request);
    }

    /// Lets a request wait for its turn.
    fn queue(&mut self, id: RequestId, mut request: Request) {
        request.stage = Stage::Queued { until: look_again(self.now, request.expires) };
        self.router.turns.queue(request.pair, request.turn, id);
        self.router.eased.insert(request.pair.to);
        self.router.requests.put(id, request);
    }

    /// Offers calls to peers who may take more than before, as long as they do, each caller in turn; so many at most. There are
    /// more if [`Router::next_timeout`] says so.
    pub(super) fn offer_next(&mut self) {
        let (mut left, mut looks) = (OFFERED_AT_ONCE, EASED_AT_ONCE);
        while left > 0 && looks > 0 {
            // Whoever waits for room that others had comes before them, and has one call in turn.
            let waited = self.router.turns.poll_room();
            let most = if waited.is_some() { 1 } else { left };
            let Some(to) = waited.or_else(|| self.router.eased.pop()) else { return };
            let offered = self.offer_some(to, most);
            if offered == most {
                self.router.eased.insert(to);
            } else {
                self.router.wait_for_room(to);
            }
            left -= offered;
            looks -= 1;
        }
        self.router.eased.leave_rest(self.now);
    }

    /// Offers a peer so many calls at most, as long as it takes some. How many those are.
    fn offer_some(&mut self, to: PeerId, most: usize) -> usize {
        let mut offered = 0;
        while offered < most
            && self.router.can_take(&to)
            && let Some(id) = self.router.next_call(to)
        {
            let Some(mut request) = self.router.requests.take(id) else { continue };
            // Who was told to wait hears nothing now.
            let delay = if request.hides() && request.turn == Turn::First { REFUSAL_DELAY } else { Duration::ZERO };
            let listened = self.router.listeners.last();
            request.place = Some(Place { turn: request.turn, until: self.now + delay, listened });
            if self.router.worker_of(request.caller.link).is_some() {
                self.settle(id, request);
            } else {
                // Its link is gone, and it was about to be withdrawn.
                self.give_up_all(&mut request);
            }
            offered += 1;
        }
        offered
    }

    /// A request that has a place goes to the newest listener that has not failed it. With none left its caller hears of it in
    /// due time.
    fn settle(&mut self, id: RequestId, mut request: Request) {
        let hides = request.place.filter(|place| self.now < place.until);
        // An answer of who came later could come after that time.
        let last = hides.map_or(u64::MAX, |place| place.listened);
        let listener = self.router.listener(&request, last).filter(|_| self.router.can_take(&request.pair.to));
        if let Some(listener) = listener {
            return self.offer(id, request, listener);
        }
        let Some(Place { until, .. }) = hides else { return self.conclude(id, request) };
        request.stage = Stage::Held { until };
        if request.waits_for_listener() && self.router.listener(&request, u64::MAX).is_some() {
            return self.go_again(id, request);
        }
        self.hold(id, request, until);
    }

    fn offer(&mut self, id: RequestId, mut request: Request, Listener { link, since }: Listener) {
        let Some((worker, circuit)) = self.router.roster.offer(link) else {
            return self.fail(&mut request, CloseCode::Limit);
        };
        let source = self.router.roster.source_of(&request.pair.to);
        self.router.turns.offer(request.pair.to, source);
        let until = self.now + ANSWER_DEADLINE;
        // The end of its patience is the same whether or not somebody has it by then.
        let patience = request.expires.filter(|_| request.turn == Turn::Again);
        let until = patience.map_or(until, |expires| until.min(expires));
        request.stage = Stage::Offered { callee: Side { link, circuit }, since, until };
        let (from, name, early) = (request.pair.from, request.name.clone(), request.early.clone());
        self.orders.push(Order { worker, link, what: What::Offer { circuit, from, name, early } });
        self.router.requests.put(id, request);
    }

    /// Nobody has taken a request, and its caller may not know before `until`.
    fn hold(&mut self, id: RequestId, mut request: Request, until: Instant) {
        if request.is_guest {
            request.early = Vec::new();
        }
        request.stage = Stage::Held { until };
        self.router.requests.put(id, request);
    }

    /// Nobody has taken a request, and its caller may know: it is parked, or ends.
    fn conclude(&mut self, id: RequestId, mut request: Request) {
        self.give_up_place(&mut request);
        if let Some(first) = request.untold() {
            return self.hold(id, request, first.until);
        }
        if request.is_guest {
            return self.fail(&mut request, CloseCode::Limit);
        }
        if request.expires.is_none_or(|expires| expires <= self.now) {
            return self.fail(&mut request, CloseCode::NotHere);
        }
        if request.turn == Turn::First && !self.may_park(&request) {
            return self.fail(&mut request, CloseCode::Limit);
        }
        self.tell_waiting(&mut request);
        request.turn = Turn::Again;
        if self.router.listener(&request, u64::MAX).is_some() {
            return self.queue(id, request);
        }
        request.stage = Stage::Parked;
        self.router.requests.put(id, request);
    }

    /// The caller of a request hears now that nobody was there at first, wherever the request stands meanwhile.
    fn tell_at_last(&mut self, id: RequestId, mut request: Request) {
        self.give_up_first(&mut request);
        if !self.may_park(&request) {
            self.leave_stage(id, &request, CloseCode::Cancelled);
            return self.fail(&mut request, CloseCode::Limit);
        }
        self.tell_waiting(&mut request);
        match request.stage {
            Stage::Held { .. } => self.conclude(id, request),
            _ => self.router.requests.put(id, request),
        }
    }

    /// Whether the link of a request that has been taken out may have one more parked.
    fn may_park(&self, request: &Request) -> bool {
        self.router.requests.parked_by(request.caller.link) < PARKED_PER_LINK_MAX
    }

    /// Says once that a request waits. Nobody is told that he waits for a name that is no application's: whether somebody
    /// listens to it would show in when the word comes. See section 5.1 of PROTOCOL.md.
    fn tell_waiting(&mut self, request: &mut Request) {
        let Side { link, circuit } = request.caller;
        if let (Name::App(_), Some(worker)) = (&request.name, self.router.worker_of(link))
            && std::mem::replace(&mut request.told, Told::Waiting) != Told::Waiting
        {
            self.orders.push(Order { worker, link, what: What::Waiting { circuit } });
        }
    }

    /// A request has waited long for its turn. It waits on, unless its caller has to know by now.
    fn wait_on(&mut self, id: RequestId, mut request: Request) {
        self.router.turns.unqueue(request.pair, request.turn, id);
        let is_app = matches!(request.name, Name::App(_));
        if request.expires.is_none() || (is_app && self.router.is_full(&request.pair.to)) {
            self.fail(&mut request, CloseCode::Limit);
        } else if request.expires.is_some_and(|expires| expires <= self.now) {
            self.fail(&mut request, CloseCode::NotHere);
        } else {
            self.queue(id, request);
        }
    }

    /// Ends a request that has been taken out, with a final answer to its caller.
    fn fail(&mut self, request: &mut Request, code: CloseCode) {
        self.give_up_all(request);
        let Side { link, circuit } = request.caller;
        if let Some(worker) = self.router.worker_of(link) {
            self.orders.push(Order { worker, link, what: What::Refuse { circuit, code } });
        }
        self.release(link, 1, 0);
    }

    /// Ends a request without a word to its caller.
    pub(super) fn withdraw(&mut self, id: RequestId, code: CloseCode) {
        let Some(mut request) = self.router.requests.take(id) else { return };
        self.leave_stage(id, &request, code);
        self.give_up_all(&mut request);
    }

    /// A request that has been taken out waits for nothing any more, neither for an answer nor for its turn.
    fn leave_stage(&mut self, id: RequestId, request: &Request, code: CloseCode) {
        if let Stage::Offered { callee, .. } = request.stage {
            self.end_offer(callee.link, request.pair.to);
            self.order_withdrawal(callee, code);
        }
        self.router.turns.unqueue(request.pair, request.turn, id);
    }

    fn order_withdrawal(&mut self, Side { link, circuit }: Side, code: CloseCode) {
        if let Some(worker) = self.router.worker_of(link) {
            self.orders.push(Order { worker, link, what: What::Withdraw { circuit, code } });
        }
    }

    fn give_up_all(&mut self, request: &mut Request) {
        self.give_up_first(request);
        self.give_up_place(request);
    }

    fn give_up_place(&mut self, request: &mut Request) {
        self.give_up(request.pair, request.place.take());
    }

    fn give_up_first(&mut self, request: &mut Request) {
        if let Some(first) = request.untold() {
            request.told = Told::Nothing;
            self.give_up(request.pair, Some(first));
        }
    }

    fn give_up(&mut self, pair: Pair, place: Option<Place>) {
        if let Some(place) = place {
            self.router.turns.leave(self.now, pair, place);
            self.router.eased.insert(pair.to);
        }
    }

    fn end_offer(&mut self, link: LinkId, to: PeerId) {
        self.router.roster.end_offer(link);
        self.router.turns.end_offer(to);
        self.router.eased.insert(to);
    }

    /// So many circuits of a link have ended that it had asked for, and so many that it had taken.
    pub(super) fn release(&mut self, link: LinkId, asked: u32, taken: u32) {
        self.router.roster.release(link, asked, taken);
        if let Some(attached) = self.router.roster.get(link) {
            self.router.eased.insert(attached.peer);
        }
    }
}
