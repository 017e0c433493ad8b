//! The links of one worker, and what goes from one to another: here, at another worker, or by the router's order.
//!
//! It knows links and no connections. Whoever drives it carries out what [`Switch::poll_event`] and [`Switch::poll_message`]
//! say.

use super::across::{Message, Paid, Payer, Payers, UNDER_WAY_MAX};
use super::attached::Attachment;
use super::circuit::table::Circuit;
use super::circuit::window::Growth;
use super::early::{Early, Kept};
use super::events::{Event, MovingLink};
use super::fair::work::Work;
use super::leaving::{LEFT_AT_ONCE, Leaver, Leaving};
use super::links::Links;
use super::memory::block::Pool;
use super::memory::charge::Charge;
use super::memory::pressure::{Shortage, Threshold, Victim, choose_for_messages, stalled};
use super::router::circuits::EndReport;
use super::router::common::RouterHandle;
use super::router::requests::Side;
use super::router::why_circuit_closed::{CloseReason, Cut};
use super::router::{Departure, Order, What};
use super::to_end::ToEnd;
use super::why_link_ended::EndReason;
use super::{ConnId, EndId, LinkId, WorkerIndex};
use crate::wire::{CloseCode, Control};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a link that ends may take to accept its last bytes.
pub(super) const ENDING_MAX: Duration = Duration::from_secs(2);

/// Of links, and of connections whose clients have not said who they are, so many are looked at at once whose time has come: a
/// network that breaks down takes all of its with it, and others want to be heard.
pub(super) const DUE_AT_ONCE: usize = 32;

/// Something for another worker.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// From the router, for a link.
    Order(Order),
    /// For an end of a circuit, and who pays for it if that is not the link that it is for.
    ToEnd(EndId, ToEnd, Option<Paid>),
    /// Another connection took the place of this one.
    Evict(ConnId),
    /// Memory is used up: let go of what waits for those who do not take it, if their peers hold so much.
    Reclaim(Threshold),
    /// Messages take all that they may: let go of those for links that do not take them.
    ReclaimMessages,
}

/// See the module.
pub(super) struct Switch {
    place: WorkerIndex,
    /// The links.
    pub links: Links,
    /// The way to the router.
    pub router: RouterHandle,
    pool: Arc<Pool>,
    messages: VecDeque<(usize, WorkerMessage)>,
    /// Links that are gone.
    pub leaving: Leaving,
    /// How much of them ends of circuits have yet to be told.
    pub payers: Payers,
    early: Early,
    events: VecDeque<Event>,
    shortage: Shortage,
}

const _: () = assert!(UNDER_WAY_MAX * size_of::<WorkerMessage>() <= 128 * 1024);

impl WorkerMessage {
    /// Whether it has its turn later, and costs next to nothing now.
    pub(crate) fn waits_its_turn(&self) -> bool {
        matches!(self, WorkerMessage::ToEnd(..))
    }
}

impl Switch {
    /// Without links.
    pub(super) fn new(place: WorkerIndex, router: RouterHandle, pool: Arc<Pool>) -> Switch {
        Switch {
            place,
            links: Links::default(),
            router,
            pool,
            messages: VecDeque::new(),
            leaving: Leaving::default(),
            payers: Payers::default(),
            early: Early::default(),
            events: VecDeque::new(),
            shortage: Shortage::default(),
        }
    }

    /// Which worker this is.
    pub(super) fn place(&self) -> WorkerIndex {
        self.place
    }

    /// The memory for bodies.
    #[cfg(any(feature = "canaries", feature = "fuzzing"))]
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The next thing to do with a connection, or that has happened.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.router.poll_fact().map(Event::Fact))
    }

    /// Something to do with a connection.
    pub(super) fn put_event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// The next message, with the worker it is for.
    pub(super) fn poll_message(&mut self) -> Option<(usize, WorkerMessage)> {
        self.messages.pop_front()
    }

    /// A message for another worker.
    pub(super) fn put_message(&mut self, worker: usize, message: WorkerMessage) {
        self.messages.push_back((worker, message));
    }

    /// Changes a link, and follows up what that leads to.
    pub(super) fn change(&mut self, now: Instant, id: LinkId, change: impl FnOnce(&mut Attachment)) {
        let ended = self.links.change(now, id, change);
        if !ended.is_empty() {
            self.router.ask(|router, orders| router.handle_ended(now, id, &ended, orders));
        }
    }

    /// Bytes came for a circuit that is none. If they are for a call that came to nothing, its caller owes for them.
    pub(super) fn handle_unused(&mut self, now: Instant, id: LinkId) {
        if let Some(sent) = self.links.get_mut(id).and_then(|attachment| attachment.circuits.vain.take_sent()) {
            self.router.ask(|router, _| router.note_in_vain(now, id, sent));
        }
    }

    /// Follows up what was changed otherwise.
    pub(super) fn touch(&mut self, now: Instant, id: LinkId) {
        self.change(now, id, |_| ());
    }

    // What ends of circuits tell each other.

    /// One of a link's ends of circuits tells its other end, here or at another worker.
    pub(super) fn deliver(&mut self, now: Instant, from: LinkId, to: EndId, what: ToEnd) {
        if to.worker == self.place.worker {
            return self.handle_told(now, to, what);
        }
        let paid = match what {
            // Whoever sent them pays.
            ToEnd::Freed(_) => None,
            ToEnd::Data(_) | ToEnd::Fin | ToEnd::Reset(_) => self.payer(from).map(|payer| Payer::pay(&payer)),
        };
        self.messages.push_back((to.worker, WorkerMessage::ToEnd(to, what, paid)));
    }

    fn payer(&mut self, link: LinkId) -> Option<Arc<Payer>> {
        let (attachment, payers) = (self.links.get_mut(link)?, &mut self.payers);
        let account = attachment.account();
        Some(Arc::clone(attachment.intake.payer(|| payers.payer(link, account))))
    }

    /// An end here is told what has come for it. Only when it knows, or cannot any more, is that under way no longer.
    pub(super) fn handle_message(&mut self, now: Instant, message: Message) {
        if !self.early.is_empty() && self.links.get(message.to.link).is_none() {
            return self.early.keep_told(message);
        }
        let Message { to, what, paid } = message;
        self.tell(now, to, what);
        drop(paid);
    }

    /// The same of one whose other end is here.
    fn handle_told(&mut self, now: Instant, to: EndId, what: ToEnd) {
        self.handle_message(now, Message { to, what, paid: None });
    }

    fn tell(&mut self, now: Instant, to: EndId, what: ToEnd) {
        let EndId { link, circuit, .. } = to;
        match what {
            ToEnd::Data(piece) => self.change(now, link, |attachment| attachment.push(now, circuit, piece)),
            ToEnd::Fin => self.change(now, link, |attachment| attachment.finish(circuit)),
            ToEnd::Reset(code) => self.change(now, link, |attachment| attachment.lose(circuit, code)),
            ToEnd::Freed(bytes) => {
                let growth = if self.pool.budget().is_ample() { Growth::Allowed } else { Growth::Stopped };
                self.change(now, link, |attachment| attachment.free(now, circuit, bytes, growth));
            }
        }
    }

    // The router's orders.

    /// Carries out what the router ordered, and what follows from that.
    pub(super) fn run_orders(&mut self, now: Instant) {
        while let Some(order) = self.router.poll_order() {
            if order.worker != self.place.worker {
                self.messages.push_back((order.worker, WorkerMessage::Order(order)));
            } else if self.links.get(order.link).is_some() {
                let id = order.link;
                self.apply(now, id, order.what);
                self.touch(now, id);
            } else {
                self.redirect(now, order);
            }
        }
    }

    fn apply(&mut self, now: Instant, id: LinkId, what: What) {
        let Some(attachment) = self.links.get_mut(id) else { return };
        match what {
            What::Offer { .. } if attachment.is_ending() => {}
            What::Offer { circuit, from, name, early } => {
                if let Some(charge) = Charge::within(self.pool.budget(), attachment.owner(), early.len()) {
                    attachment.circuits.offer(circuit, from);
                    attachment.outgoing.pass_on(Control::Incoming { circuit, from, name, early }, charge);
                    return;
                }
                self.router.ask(|router, orders| router.turn_back(now, Side { link: id, circuit }, orders));
                self.handle_refused(now);
            }
            What::Withdraw { circuit, code } => attachment.withdraw(circuit, code),
            What::Opened { circuit, far, early } => {
                if matches!(attachment.circuits.get(circuit), Some(Circuit::Asked(_))) {
                    attachment.circuits.open(now, circuit, far);
                    let charge = Charge::new(self.pool.budget(), attachment.owner(), early.len());
                    attachment.outgoing.pass_on(Control::Opened { circuit, early }, charge);
                } else {
                    // The caller gave up while the callee accepted.
                    let report = EndReport { circuit, sent_bytes: 0, late_bytes: 0, why: Some(CloseReason::GivenUp) };
                    self.router.ask(|router, orders| router.handle_ended(now, id, &[report], orders));
                    self.deliver(now, id, far, ToEnd::Reset(CloseCode::Cancelled));
                }
            }
            What::Waiting { circuit } => {
                if matches!(attachment.circuits.get(circuit), Some(Circuit::Asked(_))) {
                    attachment.outgoing.tell(circuit, CloseCode::Waiting);
                }
            }
            What::Refuse { circuit, code } => {
                if matches!(attachment.circuits.get(circuit), Some(Circuit::Asked(_))) {
                    attachment.circuits.forget(circuit, None);
                    attachment.outgoing.tell(circuit, code);
                }
            }
            What::Pace { rate } => attachment.set_rate(now, rate),
            // Ordered where the callee is, so it comes between turns: nothing of the link is being dealt with. One that ends
            // stays, and what waits for it there was told.
            What::Move { .. } if attachment.is_ending() => {}
            What::Move { to } => self.move_out(id, to),
            What::End { code } => self.end(now, id, code),
        }
    }

    /// An order for a link that is not here: on its way here, gone on, or gone.
    fn redirect(&mut self, now: Instant, order: Order) {
        match self.router.ask(|router, _| router.worker_of(order.link)) {
            Some(worker) if worker == self.place.worker => {
                if self.early.keep(order) {
                    self.give_up_early(now);
                }
            }
            Some(worker) => self.messages.push_back((worker, WorkerMessage::Order(Order { worker, ..order }))),
            None => {
                let before = self.early.take(order.link).into_iter().filter_map(Kept::into_order);
                for order in before.chain([order]) {
                    if let What::Opened { far, .. } = order.what {
                        self.deliver(now, order.link, far, ToEnd::Reset(CloseCode::PeerGone));
                    }
                }
            }
        }
    }

    /// Gives orders up that wait for links which are on no way here any more: their connection was lost, or they moved on.
    fn give_up_early(&mut self, now: Instant) {
        if !self.early.is_empty() {
            let (early, here) = (&mut self.early, Some(self.place.worker));
            let lost = self.router.ask(|router, _| early.take_lost(|link| router.worker_of(link) == here));
            lost.into_iter().for_each(|order| self.redirect(now, order));
        }
    }

    #[cfg(test)]
    pub(super) fn early_links(&self) -> usize {
        self.early.len()
    }

    // How links and circuits end.

    /// Ends a link with BYE. Its circuits end at their other ends at once.
    pub(super) fn end(&mut self, now: Instant, id: LinkId, code: CloseCode) {
        if self.links.get(id).is_some_and(|attachment| !attachment.is_ending()) {
            self.detach(id, EndReason::Ended(code));
            self.change(now, id, |attachment| attachment.end(code, now + ENDING_MAX));
        }
    }

    /// Ends a circuit here and at its other end, and what it holds with it.
    pub(super) fn cut_circuit(&mut self, now: Instant, side: Side, cut: Cut) {
        let (mut far, code) = (None, CloseCode::Limit);
        let why = Some(CloseReason::Cut(cut));
        self.change(now, side.link, |attachment| far = attachment.reset(side.circuit, code, why));
        if let Some(far) = far {
            self.deliver(now, side.link, far, ToEnd::Reset(code));
        }
    }

    /// Takes a link's circuits and everything the router knows of it away: all at once from itself, and from others a part at a
    /// time.
    fn detach(&mut self, id: LinkId, why: EndReason) {
        let Some(attachment) = self.links.get_mut(id) else { return };
        // A link that still has circuits while it ends goes away with the whole relay: BYE tells the others.
        let told = attachment.is_ending();
        let why = attachment.ending_code().map_or(why, EndReason::Ended);
        let mut far_ends = attachment.circuits.forget_all();
        let ended = attachment.circuits.take_ended();
        if told {
            far_ends.clear();
        }
        let (conn, account, payers) = (attachment.conn, attachment.account(), &mut self.payers);
        let payer = Arc::clone(attachment.intake.payer(|| payers.payer(id, account)));
        let expected = self.router.ask(|router, _| router.detach(id, Departure { why, ended }));
        let Some(worker) = expected else { return };
        self.leaving.put(conn, Leaver { link: id, account, far_ends, payer });
        if worker != self.place.worker {
            // It was to go there, and what is kept for it there finds out that it does not come.
            let order = Order { worker, link: id, what: What::End { code: CloseCode::PeerGone } };
            self.messages.push_back((worker, WorkerMessage::Order(order)));
        }
    }

    /// Goes on with what is to be done for a link that is gone, whose turn has come. What that cost; None: it is a turn of
    /// another connection.
    pub(super) fn leave_on(&mut self, now: Instant, conn: ConnId) -> Option<Work> {
        let mut leaver = self.leaving.take(conn)?;
        let told = leaver.far_ends.split_off(leaver.far_ends.len().saturating_sub(LEFT_AT_ONCE));
        let count = told.len();
        for far in told {
            let what = ToEnd::Reset(CloseCode::PeerGone);
            if far.worker == self.place.worker {
                self.handle_told(now, far, what);
            } else {
                // Behind what the link had sent.
                let paid = Some(Payer::pay(&leaver.payer));
                self.messages.push_back((far.worker, WorkerMessage::ToEnd(far, what, paid)));
            }
        }
        let link = leaver.link;
        let seen_to = self.router.ask(|router, orders| router.leave_on(now, link, LEFT_AT_ONCE, orders));
        if !(seen_to.is_all && leaver.far_ends.is_empty()) {
            self.leaving.put(conn, leaver);
        }
        self.run_orders(now);
        // An end that is told and the report of its other end are one circuit.
        Some(Work::of_calls(count.max(seen_to.calls)))
    }

    /// Forgets a link.
    pub(super) fn remove(&mut self, now: Instant, id: LinkId, why: EndReason) -> Option<Box<Attachment>> {
        self.detach(id, why);
        self.give_up_early(now);
        self.links.remove(id)
    }

    /// Forgets a link and has its connection closed.
    pub(super) fn drop_link(&mut self, now: Instant, id: LinkId, why: EndReason) {
        if let Some(attachment) = self.remove(now, id, why) {
            self.events.push_back(Event::Close(attachment.conn));
        }
    }

    /// Sends a link to another worker, with what it holds. It pays there for what that costs the two.
    pub(super) fn move_out(&mut self, id: LinkId, to: usize) {
        if let Some(mut attachment) = self.links.remove(id) {
            attachment.intake.owe(Work::MOVE);
            attachment.intake.leave_worker();
            self.events.push_back(Event::Move(to, MovingLink { attachment }));
        }
    }

    /// A link came from another worker.
    pub(super) fn move_in(&mut self, now: Instant, attachment: Box<Attachment>) {
        let id = attachment.id;
        self.links.insert(attachment);
        for kept in self.early.take(id) {
            match kept {
                Kept::Order(order) => {
                    self.router.put_order(order);
                    self.run_orders(now);
                }
                Kept::Told(message) => self.handle_message(now, message),
            }
        }
        self.touch(now, id);
    }

    // What time does.

    /// When [`Switch::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.links.next_timeout().into_iter().chain(self.router.next_timeout()).min()
    }

    /// Drops some links that are dead and ends some of what has waited long enough: there is more if [`Switch::next_timeout`] says so.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let mut left = DUE_AT_ONCE;
        while left > 0
            && let Some(id) = self.links.poll_due(now)
        {
            let dead = self.links.get(id).filter(|attachment| attachment.is_dead(now));
            // Its circuits are forgotten at once, and that takes longer than the rest.
            left = left.saturating_sub(1 + dead.map_or(0, |attachment| attachment.circuits.len() / 32));
            if dead.is_some() {
                self.drop_link(now, id, EndReason::Dead);
            } else {
                self.touch(now, id);
            }
        }
        if self.router.next_timeout().is_some_and(|at| at <= now) {
            self.router.ask(|router, orders| router.handle_timeout(now, orders));
        }
        self.give_up_early(now);
    }

    // What shortage of memory does.

    /// Memory is used up, and input waits for it: this worker and the others let go of some.
    pub(super) fn handle_starved(&mut self, now: Instant) {
        let Some(threshold) = self.shortage.begin_look(now, self.pool.budget()) else { return };
        self.reclaim(now, threshold);
        self.tell_others(|| WorkerMessage::Reclaim(threshold));
    }

    /// Another worker is starved.
    pub(super) fn handle_reclaim(&mut self, now: Instant, threshold: Threshold) {
        if self.shortage.join_look(now, threshold) {
            self.reclaim(now, threshold);
        }
    }

    /// A call was refused, perhaps because messages take all that they may.
    fn handle_refused(&mut self, now: Instant) {
        if self.reclaim_messages(now) {
            self.tell_others(|| WorkerMessage::ReclaimMessages);
        }
    }

    /// Drops links that do not take messages, if it is time for that; whether it is.
    pub(super) fn reclaim_messages(&mut self, now: Instant) -> bool {
        let begins = self.shortage.begin_look_for_messages(now, self.pool.budget());
        if begins {
            for id in choose_for_messages(now, &self.links, self.pool.budget()) {
                self.drop_link(now, id, EndReason::Slow);
            }
        }
        begins
    }

    fn reclaim(&mut self, now: Instant, threshold: Threshold) {
        for stalled in stalled(now, &self.links) {
            self.cut_circuit(now, stalled, Cut::GotNoCredit);
        }
        for victim in self.shortage.choose(now, &self.links, threshold, self.pool.budget()) {
            match victim {
                Victim::Circuit(side) => self.cut_circuit(now, side, Cut::TakenTooSlowly),
                // There is no telling it: what it does not take is ahead of any word.
                Victim::Link(link) => self.drop_link(now, link, EndReason::Slow),
            }
        }
    }

    fn tell_others(&mut self, message: impl Fn() -> WorkerMessage) {
        let others = (0..self.place.workers).filter(|worker| *worker != self.place.worker);
        self.messages.extend(others.map(|worker| (worker, message())));
    }
}
