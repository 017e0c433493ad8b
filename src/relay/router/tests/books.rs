//! Whatever happens in whatever order, what the router counts is what its links believe.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Attach(u8),
    /// It goes, and so many of its calls are seen to.
    Detach(usize, u8),
    /// So many more of what was left.
    GoOn(u8),
    Listen(usize, u8),
    Unlisten(usize, u8),
    Connect(usize, u8, u8, u8),
    Answer(usize, bool),
    Cancel(usize),
    Close(usize),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let link = 0..8_usize;
    prop_oneof![
        (0..3_u8).prop_map(Step::Attach),
        (link.clone(), 0..6_u8).prop_map(|(at, most)| Step::Detach(at, most)),
        (1..6_u8).prop_map(Step::GoOn),
        (link.clone(), 0..2_u8).prop_map(|(at, what)| Step::Listen(at, what)),
        (link.clone(), 0..2_u8).prop_map(|(at, what)| Step::Unlisten(at, what)),
        (link.clone(), 0..3_u8, 0..2_u8, 0..3_u8).prop_map(|(at, to, what, wait)| Step::Connect(at, to, what, wait)),
        (link.clone(), any::<bool>()).prop_map(|(at, yes)| Step::Answer(at, yes)),
        link.clone().prop_map(Step::Cancel),
        link.prop_map(Step::Close),
        (0..12_u8).prop_map(Step::Pass),
    ]
}

/// What the links believe, from orders alone.
#[derive(Default)]
struct Believed {
    links: Vec<LinkId>,
    asking: BTreeSet<(LinkId, u32)>,
    offered: BTreeSet<(LinkId, u32)>,
    open: BTreeSet<(LinkId, u32)>,
    gone: Vec<LinkId>,
    next: u32,
}

impl Believed {
    fn hear(&mut self, orders: Vec<Order>) {
        for Order { link, what, .. } in orders {
            if !self.links.contains(&link) {
                continue;
            }
            match what {
                What::Offer { circuit, .. } => assert!(self.offered.insert((link, circuit)), "offered twice"),
                What::Withdraw { circuit, .. } => assert!(self.offered.remove(&(link, circuit))),
                What::Opened { circuit, .. } => {
                    assert!(self.asking.remove(&(link, circuit)));
                    self.open.insert((link, circuit));
                }
                What::Waiting { circuit } => assert!(self.asking.contains(&(link, circuit))),
                What::Refuse { circuit, .. } => assert!(self.asking.remove(&(link, circuit)), "answered twice"),
                What::Pace { .. } | What::Move { .. } | What::End { .. } => {}
            }
        }
    }
}

fn go_on(world: &mut World, believed: &mut Believed, most: u8) {
    let (now, orders) = (world.now, &mut world.orders);
    believed.gone.retain(|link| !world.router.leave_on(now, *link, usize::from(most), orders).is_all);
}

fn apply(world: &mut World, believed: &mut Believed, step: &Step) {
    let at = |n: usize| believed.links.get(n).copied();
    match *step {
        Step::Attach(who) => {
            if believed.links.len() < 8 {
                let link = world.attach(who);
                believed.links.push(link);
            }
        }
        Step::Detach(n, most) => {
            if let Some(link) = at(n) {
                believed.links.remove(n);
                for set in [&mut believed.asking, &mut believed.offered, &mut believed.open] {
                    set.retain(|(of, _)| *of != link);
                }
                world.leave(link);
                believed.gone.push(link);
                go_on(world, believed, most);
            }
        }
        Step::GoOn(most) => go_on(world, believed, most),
        Step::Listen(n, what) => at(n).into_iter().for_each(|link| world.listen(link, what)),
        Step::Unlisten(n, what) => at(n).into_iter().for_each(|link| world.router.unlisten(link, &name(what))),
        Step::Connect(n, to, what, wait) => {
            if let Some(link) = at(n) {
                believed.next += 2;
                believed.asking.insert((link, believed.next));
                world.connect(link, believed.next, (to, what), u32::from(wait) * 4 * SECOND);
            }
        }
        Step::Answer(n, yes) => {
            if let Some((link, circuit)) = believed.offered.iter().nth(n).copied() {
                believed.offered.remove(&(link, circuit));
                if yes {
                    // None: its peer has asked for as many circuits itself as it may have, meanwhile, or the caller is gone.
                    if world.accept(link, circuit, vec![]).is_some() {
                        believed.open.insert((link, circuit));
                    }
                } else {
                    world.reject(link, circuit, CloseCode::Refused);
                }
            }
        }
        Step::Cancel(n) => {
            if let Some((link, circuit)) = believed.asking.iter().nth(n).copied() {
                believed.asking.remove(&(link, circuit));
                assert!(world.cancel(link, circuit));
            }
        }
        Step::Close(n) => {
            if let Some((link, circuit)) = believed.open.iter().nth(n).copied() {
                believed.open.remove(&(link, circuit));
                let report = EndReport { circuit, sent_bytes: 1, late_bytes: 0, why: Some(CloseReason::Finished) };
                world.router.handle_ended(world.now, link, &[report], &mut world.orders);
            }
        }
        Step::Pass(seconds) => world.pass(u32::from(seconds) * SECOND),
    }
}

proptest! {
    /// Every request is answered once, every offer is answered or withdrawn once, and the counts always agree.
    #[test]
    fn any_schedule_keeps_the_books(steps in proptest::collection::vec(step(), 1..200)) {
        let mut world = World::new(Limits { circuits_per_peer: 6, ..Limits::default() });
        let mut believed = Believed::default();
        for step in &steps {
            apply(&mut world, &mut believed, step);
            believed.hear(std::mem::take(&mut world.orders));
            let held = believed.asking.len() + believed.offered.len() + believed.open.len();
            let counted: usize = world.router.load().iter().map(|load| load.circuits).sum();
            prop_assert_eq!(counted, held);
            prop_assert_eq!(world.router.load().iter().map(|load| load.links).sum::<usize>(), believed.links.len());
            let asked: u32 = (0..3).map(|who| world.router.roster.asked_from(Source::of([10, 0, 0, who].into()))).sum();
            let of_callers = believed.open.iter().filter(|(_, circuit)| circuit.is_multiple_of(2)).count();
            prop_assert_eq!(usize::try_from(asked).unwrap(), believed.asking.len() + of_callers);
            let is_there = |request: &&Request| believed.links.contains(&request.caller.link);
            prop_assert_eq!(world.router.requests.iter().filter(is_there).count(), believed.asking.len());
        }
        believed.gone.drain(..).for_each(|link| world.see_to(link));
        for link in std::mem::take(&mut believed.links) {
            world.detach(link);
        }
        prop_assert_eq!(world.router.requests.len(), 0);
        let facts: Vec<Fact> = std::iter::from_fn(|| world.router.poll_fact()).collect();
        let opened = facts.iter().filter(|fact| matches!(fact, Fact::Opened(_))).count();
        let closed = facts.iter().filter(|fact| matches!(fact, Fact::Closed(_))).count();
        prop_assert_eq!((closed, world.router.circuits.len()), (opened, 0));
        let is_over = world.router.leaving.is_empty() && world.router.listeners.is_empty();
        prop_assert!(is_over && world.router.roster.len() == 0);
        world.pass(REFUSAL_DELAY);
        prop_assert!(world.router.turns.is_empty() && world.router.next_timeout().is_none());
        prop_assert!(world.router.load().iter().all(|load| *load == Load::default()));
    }
}
