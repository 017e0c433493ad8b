//! The router alone: who is told what, and what it keeps of whom.

use super::admission::{Admission, ComesFrom, Newcomer};
use super::policy::Limits;
use super::requests::{
    ANSWER_DEADLINE, GUESTS_MAX, GUESTS_PER_PAIR, PARKED_PER_LINK_MAX, REQUESTS_FREE_PER_PEER, Stage,
};
use super::turns::REFUSAL_DELAY;
use super::*;
use crate::names::Peers;
use crate::relay::EndReason;
use crate::wire::Name;
use crate::wire::limits::LISTENERS_MAX;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

mod books;
mod change;
mod fairness;
mod guests;
mod late;
mod leaving;
mod owed;
mod recall;
mod shares;

const SECOND: Duration = Duration::from_secs(1);
/// More holds than anything takes that is seen to bit by bit.
const HOLDS_MAX: usize = 1_000_000;

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes([n; 32])
}

fn name(n: u8) -> Name {
    Name::App(format!("app-{n}").parse().unwrap())
}

struct World {
    admission: Admission,
    router: Router,
    orders: Vec<Order>,
    now: Instant,
}

impl World {
    fn new(limits: Limits) -> World {
        World {
            admission: Admission::new(2),
            router: Router::new(Policy::open(limits), 2),
            orders: Vec::new(),
            now: Instant::now(),
        }
    }

    fn attach(&mut self, who: u8) -> LinkId {
        let (link, admitted) = self.try_attach(who);
        admitted.unwrap();
        link
    }

    /// A connection comes in and is authenticated at once.
    fn try_attach(&mut self, who: u8) -> (LinkId, Result<Admitted, CloseCode>) {
        self.try_attach_from(who, who)
    }

    fn try_attach_from(&mut self, who: u8, source: u8) -> (LinkId, Result<Admitted, CloseCode>) {
        self.try_attach_key(peer(who), source)
    }

    fn try_attach_key(&mut self, peer: PeerId, source: u8) -> (LinkId, Result<Admitted, CloseCode>) {
        let links: Vec<usize> = self.router.load().iter().map(|load| load.links).collect();
        let source = [10, 0, 0, source].into();
        let placed = self.admission.enter(self.now, ComesFrom::Client(source), &links).unwrap();
        assert!(self.admission.leave(placed.conn));
        let newcomer = Newcomer::new(placed.conn, ComesFrom::Client(source));
        (newcomer.link(), self.router.attach(self.now, newcomer, placed.worker, peer))
    }

    fn listen(&mut self, link: LinkId, what: u8) {
        self.listen_to(link, name(what)).unwrap();
    }

    /// LISTEN, and all that it brings. How many calls that is.
    fn listen_to(&mut self, link: LinkId, name: Name) -> Result<usize, CloseCode> {
        let Brought { mut calls, mut rest } = self.router.listen(self.now, link, name, &mut self.orders)?;
        let mut turns = 0..100_000;
        while let Some(recall) = rest.take() {
            assert!(turns.next().is_some(), "a LISTEN has no end");
            let more = self.router.listen_on(self.now, link, recall, &mut self.orders);
            calls += more.calls;
            rest = more.rest;
        }
        Ok(calls)
    }

    fn connect(&mut self, link: LinkId, circuit: u32, to: (u8, u8), wait: Duration) {
        let ask = Ask { circuit, to: peer(to.0), name: name(to.1), wait, early: vec![7] };
        self.router.connect(self.now, link, ask, &mut self.orders);
    }

    fn accept(&mut self, link: LinkId, circuit: u32, early: Vec<u8>) -> Option<EndId> {
        self.router.accept(self.now, Side { link, circuit }, early, &mut self.orders)
    }

    fn reject(&mut self, link: LinkId, circuit: u32, code: CloseCode) {
        self.router.reject(self.now, Side { link, circuit }, code, &mut self.orders);
    }

    fn cancel(&mut self, link: LinkId, circuit: u32) -> bool {
        self.router.cancel(self.now, Side { link, circuit }, CloseCode::Cancelled, &mut self.orders)
    }

    fn detach(&mut self, link: LinkId) {
        self.leave(link);
        self.see_to(link);
    }

    /// All is done for a link that is gone.
    fn see_to(&mut self, link: LinkId) {
        let is_all = (0..HOLDS_MAX).any(|_| self.router.leave_on(self.now, link, 32, &mut self.orders).is_all);
        assert!(is_all, "what a link has left is never seen to");
    }

    /// A link is gone, and nothing has been done for that.
    fn leave(&mut self, link: LinkId) {
        self.router.detach(link, Departure { why: EndReason::Closed, ended: Vec::new() });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.router.handle_timeout(self.now, &mut self.orders);
        let mut holds = 0..HOLDS_MAX;
        while self.router.next_timeout().is_some_and(|at| at <= self.now) {
            assert!(holds.next().is_some(), "what is due is never done");
            self.router.handle_timeout(self.now, &mut self.orders);
        }
    }

    /// The orders since the last call, without workers.
    fn take(&mut self) -> Vec<(LinkId, What)> {
        self.orders.drain(..).map(|order| (order.link, order.what)).collect()
    }
}

fn offer(circuit: u32, from: u8, what: u8) -> What {
    What::Offer { circuit, from: peer(from), name: name(what), early: vec![7] }
}

fn refuse(circuit: u32, code: CloseCode) -> What {
    What::Refuse { circuit, code }
}

#[test]
fn the_newest_listener_is_offered_and_its_death_passes_the_offer_on() {
    let mut world = World::new(Limits::default());
    let (old, new, caller) = (world.attach(1), world.attach(1), world.attach(2));
    world.listen(old, 0);
    world.listen(new, 0);
    world.connect(caller, 2, (1, 0), Duration::ZERO);
    assert_eq!(world.take(), [(new, offer(1, 2, 0))]);
    world.detach(new);
    assert_eq!(world.take(), [(old, offer(1, 2, 0))]);
    let end = world.accept(old, 1, vec![9]).unwrap();
    assert_eq!((end.link, end.circuit), (caller, 2));
    assert!(
        matches!(&world.take()[..], [(to, What::Opened { circuit: 2, far, .. })] if *to == caller && far.link == old)
    );
    assert_eq!(world.accept(old, 1, vec![]), None, "only once");
}

#[test]
fn nobody_there_means_at_once_without_patience_and_later_with_it() {
    let mut world = World::new(Limits::default());
    let caller = world.attach(2);
    world.connect(caller, 2, (1, 0), Duration::ZERO);
    assert_eq!(world.take(), []);
    world.pass(REFUSAL_DELAY);
    assert_eq!(world.take(), [(caller, refuse(2, CloseCode::NotHere))]);
    world.connect(caller, 4, (1, 0), 5 * SECOND);
    world.pass(REFUSAL_DELAY);
    assert_eq!(world.take(), [(caller, What::Waiting { circuit: 4 })]);
    let end = 5 * SECOND - REFUSAL_DELAY;
    assert_eq!(world.router.next_timeout(), Some(world.now + end));
    world.pass(end - SECOND);
    assert_eq!(world.take(), []);
    world.pass(SECOND);
    assert_eq!(world.take(), [(caller, refuse(4, CloseCode::NotHere))]);
    assert_eq!(world.router.next_timeout(), None);
}

/// Absent, and there but not for this caller: both are heard of when the time is up, and before that nothing is.
#[test]
fn a_name_that_is_no_applications_tells_nobody_who_is_there() {
    let session = Name::Session([0; 16]);
    let ask = |circuit| Ask { circuit, to: peer(1), name: session.clone(), wait: 3 * SECOND, early: vec![7] };
    for is_there in [false, true] {
        let mut world = World::new(Limits::default());
        let caller = world.attach(2);
        if is_there {
            let callee = world.attach(1);
            world.router.listen(world.now, callee, session.clone(), &mut world.orders).unwrap();
            world.router.connect(world.now, caller, ask(2), &mut world.orders);
            assert!(matches!(world.take()[..], [(to, What::Offer { circuit: 1, .. })] if to == callee));
            world.reject(callee, 1, CloseCode::NotHere);
        } else {
            world.router.connect(world.now, caller, ask(2), &mut world.orders);
        }
        world.pass(2 * SECOND);
        assert_eq!(world.take(), [], "{is_there}");
        world.pass(SECOND);
        assert_eq!(world.take(), [(caller, refuse(2, CloseCode::NotHere))], "{is_there}");
    }
}

#[test]
fn what_is_parked_is_offered_when_somebody_listens_and_parked_again_when_they_die() {
    let mut world = World::new(Limits::default());
    let (caller, callee) = (world.attach(2), world.attach(1));
    world.connect(caller, 2, (1, 0), 60 * SECOND);
    world.connect(caller, 4, (1, 0), 60 * SECOND);
    world.pass(REFUSAL_DELAY);
    world.take();
    world.listen(callee, 1);
    assert_eq!(world.take(), []);
    world.listen(callee, 0);
    assert_eq!(world.take(), [(callee, offer(1, 2, 0)), (callee, offer(3, 2, 0))]);
    world.detach(callee);
    world.pass(REFUSAL_DELAY);
    assert_eq!(world.take(), [], "the caller has been told that it waits");
    let second = world.attach(1);
    world.listen(second, 0);
    assert_eq!(world.take(), [(second, offer(1, 2, 0)), (second, offer(3, 2, 0))]);
}

#[test]
fn a_listener_that_does_not_answer_is_passed_over() {
    let mut world = World::new(Limits::default());
    let (first, second, caller) = (world.attach(1), world.attach(1), world.attach(2));
    world.listen(first, 0);
    world.listen(second, 0);
    world.connect(caller, 2, (1, 0), 3600 * SECOND);
    world.take();
    world.pass(ANSWER_DEADLINE);
    let withdrawn = |circuit| What::Withdraw { circuit, code: CloseCode::Cancelled };
    assert_eq!(world.take(), [(second, withdrawn(1)), (first, offer(1, 2, 0))]);
    assert_eq!(world.accept(second, 1, vec![]), None, "too late");
    world.pass(ANSWER_DEADLINE);
    assert_eq!(world.take(), [(first, withdrawn(1)), (caller, refuse(2, CloseCode::NotHere))]);
}

#[test]
fn a_rejection_reaches_the_caller_and_never_sounds_like_waiting() {
    let mut world = World::new(Limits::default());
    let (callee, caller) = (world.attach(1), world.attach(2));
    world.listen(callee, 0);
    for (circuit, said, heard) in [
        (2, CloseCode::UnknownSession, CloseCode::UnknownSession),
        (4, CloseCode::Waiting, CloseCode::Refused),
        (6, CloseCode::Done, CloseCode::Done),
    ] {
        world.connect(caller, circuit, (1, 0), Duration::ZERO);
        world.take();
        world.reject(callee, circuit - 1, said);
        assert_eq!(world.take(), [(caller, refuse(circuit, heard))]);
    }
}

#[test]
fn a_listener_that_says_it_is_not_there_is_treated_as_if_it_were_not() {
    let mut world = World::new(Limits::default());
    let (callee, caller) = (world.attach(1), world.attach(2));
    world.listen(callee, 0);
    world.connect(caller, 2, (1, 0), 3600 * SECOND);
    assert_eq!(world.take(), [(callee, offer(1, 2, 0))]);
    world.reject(callee, 1, CloseCode::NotHere);
    world.pass(REFUSAL_DELAY);
    assert_eq!(world.take(), [(caller, What::Waiting { circuit: 2 })]);
    world.listen(callee, 0);
    assert_eq!(world.take(), [(callee, offer(3, 2, 0))], "whoever listens anew is asked anew");
}

#[test]
fn a_caller_that_gives_up_or_dies_takes_its_requests_back() {
    let mut world = World::new(Limits::default());
    let (callee, caller) = (world.attach(1), world.attach(2));
    world.listen(callee, 0);
    world.connect(caller, 2, (1, 0), Duration::ZERO);
    world.connect(caller, 4, (1, 0), Duration::ZERO);
    world.connect(caller, 6, (9, 0), SECOND);
    world.take();
    assert!(world.cancel(caller, 2));
    assert_eq!(world.take(), [(callee, What::Withdraw { circuit: 1, code: CloseCode::Cancelled })]);
    world.detach(caller);
    assert_eq!(world.take(), [(callee, What::Withdraw { circuit: 3, code: CloseCode::PeerGone })]);
    assert_eq!(world.router.requests.len(), 0);
    world.pass(REFUSAL_DELAY);
    assert_eq!(world.router.next_timeout(), None);
}

#[test]
fn every_cap_answers_limit() {
    let limits = Limits { links: 3, links_per_peer: 2, circuits_per_peer: 3 };
    let mut world = World::new(limits);
    let (callee, caller) = (world.attach(1), world.attach(2));
    world.attach(2);
    for who in [2, 3] {
        assert_eq!(world.try_attach(who).1, Err(CloseCode::Limit));
    }
    world.listen(callee, 0);
    for circuit in [2, 4, 6, 8] {
        world.connect(caller, circuit, (1, 0), SECOND);
    }
    assert_eq!(world.take().last(), Some(&(caller, refuse(8, CloseCode::Limit))));
    for what in 0..=u16::MAX {
        let [a, b] = what.to_be_bytes();
        let mut id = [0; 16];
        (id[0], id[1], id[2]) = (1, a, b);
        match world.router.listen(world.now, callee, Name::Session(id), &mut world.orders) {
            Ok(_) => assert!(usize::from(what) < LISTENERS_MAX - 1),
            Err(code) => {
                assert_eq!((code, usize::from(what)), (CloseCode::Limit, LISTENERS_MAX - 1));
                break;
            }
        }
    }
}

#[test]
fn parked_requests_of_one_link_are_bounded() {
    let mut world = World::new(Limits::default());
    let caller = world.attach(2);
    for n in 1..=u32::try_from(PARKED_PER_LINK_MAX).unwrap() {
        world.connect(caller, 2 * n, (1, 0), SECOND);
    }
    world.pass(REFUSAL_DELAY);
    assert!(world.take().iter().all(|(_, what)| matches!(what, What::Waiting { .. })));
    world.connect(caller, 1000, (1, 0), SECOND);
    world.pass(REFUSAL_DELAY);
    assert_eq!(world.take(), [(caller, refuse(1000, CloseCode::Limit))]);
}

#[test]
fn a_hub_with_many_callers_does_not_gather_them_all_on_one_worker() {
    let mut world = World::new(Limits::default());
    let hub = world.attach(1);
    world.listen(hub, 0);
    let mut moved = 0;
    for n in 0..40_u8 {
        let caller = world.attach(2 + n);
        world.connect(caller, 2, (1, 0), Duration::ZERO);
        let offered = world.take();
        let [(_, What::Offer { circuit, .. })] = &offered[..] else { panic!("{offered:?}") };
        world.accept(hub, *circuit, vec![]).unwrap();
        moved += world.take().iter().filter(|(_, what)| matches!(what, What::Move { .. })).count();
    }
    let load: Vec<usize> = world.router.load().iter().map(|load| load.circuits).collect();
    assert!(moved > 0 && load.iter().all(|circuits| *circuits >= 20), "{load:?}");
}

#[test]
fn a_new_policy_ends_the_links_of_those_it_leaves_out() {
    let mut world = World::new(Limits::default());
    let (one, two, other) = (world.attach(1), world.attach(1), world.attach(2));
    let peers = Peers::parse(&format!("two {}\n", peer(2))).unwrap();
    world.router.set_policy(world.now, Policy::only(&peers, Limits::default()).unwrap(), &mut world.orders);
    let ended: BTreeSet<LinkId> = world.take().into_iter().map(|(link, _)| link).collect();
    assert_eq!(ended, BTreeSet::from([one, two]));
    assert!(!ended.contains(&other));
}
