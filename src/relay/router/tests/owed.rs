//! Circuits that have ended and that a peer with a rate has not paid for.

use super::fairness::{H, HOUR, S, V, offers, refusals};
use super::*;
use crate::relay::rate::Metered;
use crate::wire::limits::CIRCUIT_WINDOW_START;

const WINDOW: u64 = CIRCUIT_WINDOW_START as u64;
/// Bytes a second.
const RATE: u64 = 10 * 1024;

/// A callee with this rate and 16 circuits, so many of which a caller has open.
struct Owing {
    world: World,
    callee: LinkId,
    caller: LinkId,
    /// What the callee has sent is counted here.
    link: Metered,
    open: u32,
}

impl Owing {
    fn new(rate: u64, open: u32) -> Owing {
        let mut world = World::new(Limits::default());
        world.hold_to(&[(V, &format!("rate={rate} circuits=16")), (H, ""), (S, "")]);
        let (callee, admitted) = world.try_attach(V);
        let caller = world.attach(H);
        world.listen(callee, 0);
        for n in 1..=open {
            world.connect(caller, 2 * n, (V, 0), HOUR);
            world.accept(callee, 2 * n - 1, vec![]).unwrap();
        }
        world.take();
        Owing { world, callee, caller, link: Metered::new(admitted.unwrap().rate), open }
    }

    /// The caller is gone. Each of its circuits has brought so much by then, and may bring so much yet.
    fn end(&mut self, sent_bytes: u64, late_bytes: u32) {
        let world = &mut self.world;
        let report = |n, why| EndReport { circuit: n, sent_bytes, late_bytes, why };
        let ended = (1..=self.open).map(|n| report(2 * n, Some(CloseReason::LinkEnded))).collect();
        world.router.detach(self.caller, Departure { why: EndReason::Closed, ended });
        world.see_to(self.caller);
        let ended: Vec<EndReport> = (1..=self.open).map(|n| report(2 * n - 1, None)).collect();
        world.router.handle_ended(world.now, self.callee, &ended, &mut world.orders);
        world.take();
    }

    /// The callee is gone, with all that it has.
    fn go(&mut self) {
        let departure = Departure { why: EndReason::Closed, ended: Vec::new() };
        self.world.router.detach(self.callee, departure);
        self.world.see_to(self.callee);
        self.world.take();
    }

    /// It is there again.
    fn come(&mut self) {
        let (callee, admitted) = self.world.try_attach(V);
        (self.callee, self.link) = (callee, Metered::new(admitted.unwrap().rate));
    }

    /// How many circuits the callee may ask for itself.
    fn asks(&mut self) -> u32 {
        let world = &mut self.world;
        let numbers = (1..=16).map(|n| 1000 + 2 * n);
        numbers.clone().for_each(|circuit| world.connect(self.callee, circuit, (S, 0), HOUR));
        let refused = refusals(&world.take());
        for circuit in numbers {
            world.cancel(self.callee, circuit);
        }
        world.take();
        16 - u32::try_from(refused).unwrap()
    }

    /// Whether somebody else may call it.
    fn is_called(&mut self) -> bool {
        let other = self.world.attach(S);
        self.world.connect(other, 2, (V, 0), HOUR);
        offers(&self.world.take()).iter().any(|(_, from)| *from == peer(S))
    }
}

#[test]
fn a_circuit_that_has_ended_counts_as_one_at_most_whatever_it_brought() {
    for (sent_bytes, late_bytes) in [(WINDOW, CIRCUIT_WINDOW_START), (1 << 40, CIRCUIT_WINDOW_START), (WINDOW, 0)] {
        let mut owing = Owing::new(RATE, 12);
        let unpaid = 12 * usize::try_from(WINDOW).unwrap();
        owing.link.receive(owing.world.now, unpaid);
        owing.link.note_bidden(Some(peer(H)), unpaid);
        owing.end(sent_bytes, late_bytes);
        assert_eq!(owing.asks(), 4, "{sent_bytes} {late_bytes}");
        assert!(owing.is_called());
    }
}

#[test]
fn a_circuit_counts_by_what_may_come_yet_if_all_that_came_is_paid_for() {
    // Granted before the rate was so low.
    for (late_bytes, left, seconds) in [(0, 16, 0), (CIRCUIT_WINDOW_START / 2, 10, 77), (40 << 20, 4, 154)] {
        let mut owing = Owing::new(RATE, 12);
        owing.end(1 << 40, late_bytes);
        assert_eq!(owing.asks(), left, "{late_bytes}");
        // One after the other, for all of it may come.
        owing.world.pass(Duration::from_secs(seconds * 9 / 10));
        assert_eq!(owing.asks() == 16, seconds == 0, "{late_bytes}");
        owing.world.pass(Duration::from_secs(seconds / 10 + 1));
        assert_eq!(owing.asks(), 16, "{late_bytes}");
    }
}

#[test]
fn however_many_circuits_are_ended_before_what_was_under_way_has_come_all_of_that_is_paid_for() {
    const ALL: u64 = 1000;
    for (rate, comes_after) in [(RATE, 1), (1 << 20, 1), (RATE, 12), (1 << 20, 12)] {
        let mut owing = Owing::new(rate, 0);
        let (start, window) = (owing.world.now, usize::try_from(WINDOW).unwrap());
        let (mut number, mut ended, mut under_way) = (0, 0, 0);
        let mut turns = 0..1000 * ALL;
        while ended < ALL {
            assert!(turns.next().is_some(), "they are never paid for");
            number += 2;
            owing.world.connect(owing.caller, number, (V, 0), HOUR);
            let offered = offers(&owing.world.take()).first().map(|(circuit, _)| *circuit);
            let taken = offered.filter(|circuit| owing.world.accept(owing.callee, *circuit, vec![]).is_some());
            if let Some(circuit) = taken {
                let World { router, now, orders, .. } = &mut owing.world;
                let late_bytes = CIRCUIT_WINDOW_START;
                let end = EndReport { circuit, sent_bytes: 0, late_bytes, why: None };
                router.handle_ended(*now, owing.callee, &[end], orders);
                let caller = EndReport { circuit: number, sent_bytes: 0, late_bytes: 0, why: None };
                router.handle_ended(*now, owing.caller, &[caller], orders);
                (ended, under_way) = (ended + 1, under_way + 1);
            }
            if under_way == comes_after || taken.is_none() {
                for _ in 0..std::mem::take(&mut under_way) {
                    owing.link.receive(owing.world.now, window);
                    owing.link.note_bidden(Some(peer(H)), window);
                    owing.link.note_late(Some(peer(H)), window);
                }
            }
            let now = owing.world.now;
            assert!(owing.link.reads_from().is_some_and(|from| from <= now), "{rate}: after {ended}");
            let ahead = (ended * WINDOW).saturating_sub(rate * (now - start).as_secs());
            assert!(ahead <= 14 * WINDOW + rate, "{rate}, {comes_after}: {ahead} bytes ahead after {ended}");
            // No more is waited for than that.
            let paid = rate * (now - start).as_secs();
            assert!(paid <= ALL * WINDOW + 2 * rate, "{rate}: {paid} after {ended}");
            if taken.is_none() {
                owing.world.cancel(owing.caller, number);
                owing.world.pass(Duration::from_secs(1));
            }
            owing.world.take();
        }
    }
}

#[test]
fn what_is_owed_is_paid_for_at_another_rate_from_when_that_is_known() {
    let all = [(1 << 20, 4), (RATE / 2, 308)].map(|known| [(true, known), (false, known)]).concat();
    for (is_there, (rate, seconds)) in all {
        let mut owing = Owing::new(RATE, 12);
        owing.end(0, CIRCUIT_WINDOW_START);
        if !is_there {
            owing.go();
        }
        owing.world.hold_to(&[(V, &format!("rate={rate} circuits=16")), (H, ""), (S, "")]);
        if !is_there {
            owing.come();
        }
        assert_eq!(owing.asks(), 4, "{rate}");
        owing.world.pass(Duration::from_secs(seconds / 2));
        assert_eq!(owing.asks() == 16, rate > RATE, "{rate}");
        owing.world.pass(Duration::from_secs(seconds - seconds / 2));
        assert_eq!(owing.asks(), 16, "{rate}");
    }
}

#[test]
fn callers_that_wait_are_offered_as_soon_as_a_callee_may_have_more_circuits() {
    let mut owing = Owing::new(RATE, 12);
    let world = &mut owing.world;
    let other = world.attach(S);
    (1..=3).for_each(|n| world.connect(other, 2 * n, (V, 0), HOUR));
    for (circuit, _) in offers(&world.take()) {
        world.accept(owing.callee, circuit, vec![]);
    }
    world.take();
    world.hold_to(&[(V, "rate=10K circuits=32"), (H, ""), (S, "")]);
    assert_eq!(offers(&world.take()).len(), 1);
}

#[test]
fn what_comes_into_calls_that_are_void_counts_with_who_called_until_all_of_it_is_paid_for() {
    for taken in [0, 5, 20] {
        let mut owing = Owing::new(RATE, 0);
        let window = usize::try_from(WINDOW).unwrap();
        for _ in 0..taken {
            owing.link.receive(owing.world.now, window);
            owing.link.note_bidden(Some(peer(H)), window);
            let sent = SentInVain { from: peer(H), bytes: window };
            owing.world.router.note_in_vain(owing.world.now, owing.callee, sent);
        }
        let left = u32::try_from(16 - taken.min(12)).unwrap();
        assert_eq!(owing.asks(), left, "{taken}: one caller has three quarters");
        assert!(owing.is_called(), "{taken}");
        // A window is paid for in 12.8 s.
        owing.world.pass(Duration::from_secs(12 * taken));
        owing.world.take();
        assert_eq!(owing.asks() == 16, taken == 0, "{taken}");
        owing.world.pass(Duration::from_secs(taken + 1));
        owing.world.take();
        assert_eq!(owing.asks(), 16, "{taken}");
    }
}
