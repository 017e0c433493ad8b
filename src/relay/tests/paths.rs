//! A client's attachment between two paths: how much comes through, how large its window gets, how often it is congested.
//!
//! Bytes are counted and not sent: the attachment is told of DATA, and what it seals for the client is opened.

use crate::identity::Identity;
use crate::link::{Answer, Answered, Dial, Frame, Link, credit_left};
use crate::relay::attached::Attachment;
use crate::relay::circuit::end::Arrival;
use crate::relay::circuit::table::Input;
use crate::relay::circuit::window::Growth;
use crate::relay::greeting::Authenticated;
use crate::relay::output::{Output, SLICES_MAX};
use crate::relay::{ConnId, EndId, LinkId, MayRead, Newcomer};
use crate::wire::limits::CIRCUIT_WINDOW_START;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

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
    /// The most that the client might send beyond what had gone out, MiB: the largest window.
    window: f64,
    /// The most that was held, MiB.
    held: f64,
    congestions: u32,
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

/// Both ends of a link, after the handshake.
fn link() -> (Link, Authenticated) {
    let (relay, client) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let (dial, first) = Dial::new(&client, relay.id()).unwrap();
    let mut reply = Vec::new();
    let Ok(Answered::More(answer, _)) = Answer::begin().handle_bytes(&relay, &first, &mut reply) else { panic!() };
    let mut last = Vec::new();
    let Ok(Ok(dialled)) = dial.handle_bytes(&reply, &mut last) else { panic!() };
    let Ok(Answered::Admitted(admitted)) = answer.handle_bytes(&relay, &last, &mut Vec::new()) else { panic!() };
    (dialled.link, Authenticated { link: Box::new(admitted.link), peer: admitted.peer })
}

/// The one circuit.
const CIRCUIT: u32 = 2;

/// The attachment, and the client's end of its link.
struct Relay {
    attachment: Attachment,
    client: Link,
}

impl Relay {
    fn new(now: Instant) -> Relay {
        let (client, authenticated) = link();
        let newcomer = Newcomer { conn: ConnId::new(1), source: [127, 0, 0, 1].into(), front: None };
        let mut attachment = Attachment::new(now, newcomer, authenticated, Output::default());
        attachment.circuits.open(now, CIRCUIT, EndId { worker: 0, link: LinkId::new(2), circuit: 1 });
        // Somebody else is on the link.
        attachment.circuits.offer(1, crate::identity::PeerId::from_bytes([1; 32]));
        Relay { attachment, client }
    }

    /// The credit that it tells the client now, if any.
    fn credit(&mut self, now: Instant) -> Option<u32> {
        self.attachment.settle(now);
        if !self.attachment.has_output() {
            return None;
        }
        self.attachment.fill(now).unwrap();
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = self.attachment.outgoing.output.slices(&mut slices);
        let sealed: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        self.attachment.handle_written(now, sealed.len(), |_, _| ());
        let (mut at, mut newest) = (0, None);
        while at < sealed.len() {
            let (used, frame) = self.client.advance(&sealed[at..]).unwrap();
            at += used;
            let Frame::Credit { circuit: CIRCUIT, credit } = frame else { panic!("{frame:?}") };
            newest = Some(credit);
        }
        newest
    }

    fn buffered(&mut self) -> u32 {
        self.attachment.circuits.end(CIRCUIT).unwrap().inward.buffered()
    }
}

/// `seconds` of a path of `rate` MiB/s and `trip` ms to the client, and of a way out of `out(ms)` MiB/s.
fn run(rate: u32, trip: f64, seconds: f64, out: impl Fn(f64) -> u32) -> Outcome {
    let start = Instant::now();
    let mut relay = Relay::new(start);
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
    let mut outcome = Outcome { rate: 0.0, window: 0.0, held: 0.0, congestions: 0 };
    let (mut freed, mut gone, mut at, mut room) = (0_u32, 0.0, 0.0, 0);
    while at < seconds * 1000.0 {
        at += TICK;
        let now = start + Duration::from_secs_f64(at / 1000.0);
        client.tick(at);
        while client.unread > 0 && relay.attachment.may_read() == MayRead::Now {
            let count = client.unread.min(256 * 1024);
            client.unread -= count;
            relay.attachment.handle_read(now, usize::try_from(count).unwrap());
            let input = Input { circuit: CIRCUIT, bytes: usize::try_from(count).unwrap(), credit: 0 };
            let arrival = relay.attachment.receive(now, input).unwrap().unwrap().arrival;
            outcome.congestions += u32::from(arrival == Arrival::Congests);
            assert_ne!(arrival, Arrival::Overflows);
        }
        if client.unread > 0 {
            assert_eq!(relay.attachment.handle_unread(now), None, "{rate} in, {trip} ms: ended after {at} ms");
        }
        room = (room + per_tick(out(at))).min(KERNEL);
        let mut left = relay.buffered().min(room);
        while left > 0 {
            let count = left.min(512 * 1024);
            left -= count;
            room -= count;
            gone += f64::from(count);
            freed = freed.wrapping_add(count);
            relay.attachment.free(now, CIRCUIT, count, Growth::Allowed);
        }
        if let Some(credit) = relay.credit(now) {
            outcome.window = outcome.window.max(f64::from(credit_left(credit, freed)) / MIB);
            client.grants.push_back((at + trip / 2.0, credit));
        }
        outcome.held = outcome.held.max(f64::from(relay.buffered()) / MIB);
    }
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
