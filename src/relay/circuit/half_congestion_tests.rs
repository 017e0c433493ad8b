//! When a circuit is full; and a half of one between two paths: how much comes through, how large its window gets, how often
//! it is congested.

use super::*;
use crate::relay::circuit::standstill::{Standstill, State};
use crate::relay::memory::block::{Budget, Piece, Pool};
use crate::wire::limits::CIRCUIT_WINDOW_START;
use std::collections::VecDeque;
use std::time::Duration;

/// A half with these bytes waiting in each direction, inward with as much credit as can be.
fn holding(inward: usize, outward: usize) -> Half {
    let (now, pool) = (Instant::now(), Pool::new(Budget::new(1 << 30)));
    let mut half = Half::new(now, End { worker: 0, link: crate::relay::LinkId::new(1), circuit: 1 });
    half.inward.announced = u32::MAX / 2;
    half.outward.push(now, Piece::copied(&pool, &vec![0; outward]), 0);
    assert_eq!(half.receive(now, inward), Ok(Arrival::Usual));
    half
}

#[test]
fn a_circuit_is_full_by_what_waits_in_both_directions_together_if_this_one_has_a_part_in_it() {
    let now = Instant::now();
    let part = usize::try_from(PART_MIN).unwrap();
    for (inward, outward) in [(FULL_FROM, 0), (2 * part, FULL_FROM - 2 * part)] {
        let mut half = holding(inward, outward);
        assert!(!half.is_full());
        assert_eq!(half.receive(now, 1), Ok(Arrival::Congests));
        assert_eq!(half.receive(now, 1), Ok(Arrival::Usual), "once");
        assert!(half.is_full() && half.stays_congested());
        half.inward.finish();
        assert!(!half.is_full(), "nothing more can come");
    }
    let mut small = holding(part - 1, FULL_FROM);
    assert_eq!(small.receive(now, 1), Ok(Arrival::Usual));
    assert!(!small.is_full());
    assert_eq!(small.receive(now, 1), Ok(Arrival::Congests));
    let mut huge = holding(FULL_FROM, 0);
    assert_eq!(huge.receive(now, CIRCUIT_BYTES_MAX - FULL_FROM), Ok(Arrival::Congests));
    assert_eq!(huge.receive(now, 1), Ok(Arrival::Overflows));
}

const MIB: f64 = 1048576.0;
/// The simulation's step, milliseconds.
const TICK: f64 = 0.25;
/// What the kernel takes ahead of the way out, bytes.
const KERNEL: u32 = 2 * 1024 * 1024;

/// What came of a run.
#[derive(Debug)]
struct Outcome {
    /// Bytes that went out, MiB a second.
    rate: f64,
    /// The largest window, MiB.
    window: f64,
    /// The most that was held, MiB.
    held: f64,
    congestions: u32,
    /// When the circuit was ended, if it was, milliseconds.
    cut: Option<f64>,
}

/// A client that sends without end.
struct Client {
    /// Bytes a step.
    rate: u32,
    allowance: u32,
    trip: f64,
    credit: u32,
    sent: u32,
    /// What is under way each way, with the time of its arrival.
    grants: VecDeque<(f64, u32)>,
    pieces: VecDeque<(f64, u32)>,
    /// What has arrived and was not read, in the kernel.
    unread: u32,
}

impl Client {
    fn tick(&mut self, at: f64) {
        while let Some((_, credit)) = self.grants.pop_front_if(|(due, _)| *due <= at) {
            self.credit = credit;
        }
        self.allowance = (self.allowance + self.rate).min(2 * self.rate);
        let count = credit_left(self.credit, self.sent).min(self.allowance);
        self.allowance -= count;
        self.sent = self.sent.wrapping_add(count);
        self.pieces.push_back((at + self.trip / 2.0, count));
        while let Some((_, count)) = self.pieces.pop_front_if(|(due, _)| *due <= at) {
            self.unread += count;
        }
    }
}

/// Bytes a step of a rate in MiB a second.
fn per_tick(rate: u32) -> u32 {
    rate * 1024 * 256 / 1000
}

/// `seconds` of a path of `rate` MiB/s and `trip` ms to the client, and of a way out of `out(ms)` MiB/s.
fn run(rate: u32, trip: f64, seconds: f64, out: impl Fn(f64) -> u32) -> Outcome {
    let start = Instant::now();
    let mut half = Half::new(start, End { worker: 0, link: crate::relay::LinkId::new(1), circuit: 1 });
    let mut client = Client {
        rate: per_tick(rate),
        allowance: 0,
        trip,
        credit: CIRCUIT_WINDOW_START,
        sent: 0,
        grants: VecDeque::new(),
        pieces: VecDeque::new(),
        unread: 0,
    };
    let (mut outcome, mut gone, mut at) =
        (Outcome { rate: 0.0, window: 0.0, held: 0.0, congestions: 0, cut: None }, 0.0, 0.0);
    let (mut room, mut standstill) = (0, Standstill::new(start));
    while at < seconds * 1000.0 {
        at += TICK;
        let now = start + Duration::from_secs_f64(at / 1000.0);
        client.tick(at);
        let stands = client.unread > 0 && half.inward.congested && half.is_full();
        standstill.set(now, if stands { State::Stands } else { State::Moves });
        if standstill.is_used_up() {
            outcome.cut = Some(at);
            break;
        }
        while client.unread > 0 && !(half.inward.congested && half.is_full()) {
            let count = client.unread.min(256 * 1024);
            client.unread -= count;
            let arrival = half.receive(now, usize::try_from(count).unwrap()).unwrap();
            outcome.congestions += u32::from(arrival == Arrival::Congests);
            assert_ne!(arrival, Arrival::Overflows);
        }
        room = (room + per_tick(out(at))).min(KERNEL);
        let mut left = half.inward.buffered().min(room);
        while left > 0 {
            let count = left.min(512 * 1024);
            left -= count;
            room -= count;
            gone += f64::from(count);
            let growth = if standstill.may_be_risked(now, false) { Growth::Allowed } else { Growth::Covered };
            let due = half.inward.free(now, count, growth);
            let was = half.inward.congested;
            if due || (was && !half.stays_congested() && half.inward.is_due()) {
                client.grants.push_back((at + trip / 2.0, half.inward.announce(now)));
            }
        }
        outcome.window = outcome.window.max(f64::from(half.inward.window.bytes()) / MIB);
        outcome.held = outcome.held.max(f64::from(half.inward.buffered()) / MIB);
    }
    assert_eq!(outcome.cut, None, "{rate} in, {trip} ms: {outcome:?}");
    outcome.rate = gone / MIB / seconds;
    outcome
}

#[test]
fn a_way_out_that_is_steady_is_filled_after_one_congestion_at_most() {
    for (rate, out, trip) in [
        (1000, 100, 50.0),
        (1000, 200, 50.0),
        (1000, 300, 50.0),
        (1000, 500, 50.0),
        (300, 1000, 50.0),
        (500, 100, 150.0),
        (1000, 150, 150.0),
        (1000, 900, 5.0),
        (2000, 600, 50.0),
        (1000, 700, 20.0),
    ] {
        let outcome = run(rate, trip, 20.0, |_| out);
        assert!(
            outcome.congestions <= 1 && outcome.rate > 0.9 * f64::from(rate.min(out)),
            "{rate} in, {out} out, {trip} ms: {outcome:?}"
        );
    }
}

#[test]
fn a_way_out_that_stops_at_times_widens_nothing_beyond_what_the_path_carries() {
    for (rate, stop) in [(10, 300.0), (10, 900.0), (10, 2500.0), (30, 300.0)] {
        let outcome = run(rate, 50.0, 40.0, |at| if at % 4000.0 < stop { 0 } else { 1000 });
        // A burst that was held back counts once as if the path had carried it in one round trip.
        assert!(
            outcome.window * 1000.0 / 50.0 < 4.0 * f64::from(rate) && outcome.congestions == 0,
            "{rate}, {stop}: {outcome:?}"
        );
    }
}

#[test]
fn a_way_out_that_falters_is_filled_nearly_as_well() {
    // The second is more than a circuit may hold, again and again: still better than if the window had stayed small.
    for (stop, least) in [(5.0, 0.8 * 600.0), (15.0, 6.0 / 0.05)] {
        let outcome = run(1000, 50.0, 20.0, |at| if at % 200.0 < stop { 0 } else { 600 });
        assert!(outcome.rate > least, "{stop} of 200 ms: {outcome:?}");
    }
}

#[test]
fn a_way_out_that_narrows_at_once_is_congested_once_and_then_filled() {
    let outcome = run(1000, 50.0, 40.0, |at| if at < 3000.0 { 1000 } else { 150 });
    assert!(outcome.congestions == 1 && outcome.window == 40.0 && outcome.held < 7.0, "{outcome:?}");
    assert!(outcome.rate > 0.9 * (2.5 * 800.0 + 37.0 * 150.0) / 40.0, "{outcome:?}");
}
