//! What streams of one session owe each other where its limits are: one history each, step by step.

use crate::pair::{Plan, World};
use std::time::Duration;
use vp::session::canary::Canary;
use vp::session::{STREAMS_MAX, SessionError, Violation};
use vp::wire::CloseCode;

/// Two sessions in quiet, the first with this defect.
fn quiet(canary: Option<Canary>) -> World {
    let mut world = World::new(&Plan { streams: 0, ..Plan::of_seed(1) });
    world.plan_piece_max = 1 << 20;
    if let Some(canary) = canary {
        world.sides[0].session.plant(canary);
    }
    exchange(&mut world);
    world
}

/// Lets everything arrive that can.
fn exchange(world: &mut World) {
    for side in [0, 1].repeat(300) {
        world.transmit(side, 262_144).unwrap_or_else(|fate| panic!("{fate}"));
    }
}

/// A peer without manners: it opens more than it may, and its session ends for that; the other end never holds more.
pub fn opens_without_end() {
    let mut world = quiet(Some(Canary::OpensWithoutEnd));
    let most = usize::try_from(STREAMS_MAX).expect("a small number");
    let mut refused = false;
    for _ in 0..2 * most {
        let opened = world.sides[0].session.open_stream(world.now, "yes");
        assert!(opened.is_some(), "it has no limit of its own");
        refused |= world.transmit(0, 262_144).is_err();
        assert!(world.sides[1].session.stream_count() <= most);
        if refused {
            break;
        }
    }
    assert!(refused);
    assert_eq!(world.sides[1].session.failure(), Some(SessionError::PeerMisbehaved(Violation::TooManyStreams)));
    // One with manners stops by itself, and nothing ends.
    let mut world = quiet(None);
    let opened = (0..2 * most).filter(|_| world.sides[0].session.open_stream(world.now, "yes").is_some()).count();
    assert_eq!(opened, most);
    exchange(&mut world);
    assert_eq!((world.sides[1].session.failure(), world.sides[1].session.stream_count()), (None, most));
}

/// An opener whose streams are over opens as many again before the other end's application has looked at the first.
pub fn turns_over_at_the_limit() {
    let mut world = quiet(None);
    let most = usize::try_from(STREAMS_MAX).expect("a small number");
    let open = |world: &mut World| -> Vec<u32> {
        (0..most).map_while(|_| world.sides[0].session.open_stream(world.now, "yes")).collect()
    };
    let first = open(&mut world);
    assert_eq!(first.len(), most);
    exchange(&mut world);
    for id in first {
        let session = &mut world.sides[0].session;
        session.stream_mut(id).reset(CloseCode::Cancelled);
        session.stream_mut(id).stop(CloseCode::Cancelled);
        session.stream_mut(id).release();
    }
    exchange(&mut world);
    assert_eq!(world.sides[0].session.stream_count(), 0, "for its opener every stream is over");
    assert_eq!(open(&mut world).len(), most);
    exchange(&mut world);
    assert_eq!(world.sides[1].session.failure(), None);
}

/// Streams that were fast, and so have wide windows, and then are read no more, leave credit to others.
pub fn fast_streams_that_stop_leave_credit() {
    let mut world = World::new(&Plan { streams: 0, ..Plan::of_seed(1) });
    world.plan_piece_max = 1 << 20;
    let piece = vec![7; 1 << 20];
    let mut held = Vec::new();
    for _ in 0..16 {
        let id = world.sides[0].session.open_stream(world.now, "yes").expect("few streams");
        let mut read = 0;
        // Fast for a while, then not at all, until nothing more goes in.
        for round in 0..400 {
            world.sides[0].session.stream_mut(id).write(&piece);
            carry(&mut world);
            let now = world.now;
            let far = &mut world.sides[1].session;
            while round < 120 && !far.stream(id).readable().is_empty() {
                let count = far.stream(id).readable().len();
                far.stream_mut(id).read(count);
                far.stream_mut(id).consume(now, count);
                read += count;
            }
        }
        assert!(read > 1 << 20, "it was stalled: {read} bytes");
        held.push(world.sides[0].session.stream(id).written() - read as u64);
    }
    assert!(held[0] > 1 << 20, "its window was wide when it stopped: {held:?}");
    let id = world.sides[0].session.open_stream(world.now, "yes").expect("few streams");
    let mut sent = 0;
    let mut read = 0;
    for _ in 0..200 {
        sent += world.sides[0].session.stream_mut(id).write(&piece[..200_000 - sent]);
        carry(&mut world);
        let now = world.now;
        let far = &mut world.sides[1].session;
        let count = far.stream(id).readable().len();
        far.stream_mut(id).read(count);
        far.stream_mut(id).consume(now, count);
        read += count;
    }
    assert_eq!(read, 200_000, "a stream that is read waits for those that are not");
}

/// Bytes of a read stream that come through when nobody reads the others and those came last, so that no byte is consumed
/// any more when credit becomes scarce.
pub fn comes_through_scarce_credit(canary: Option<Canary>) -> usize {
    let mut world = quiet(None);
    if let Some(canary) = canary {
        world.sides[1].session.plant(canary);
    }
    let piece = vec![7; 1 << 18];
    let unread = |world: &mut World| {
        let id = world.sides[0].session.open_stream(world.now, "yes").expect("few streams");
        for _ in 0..3 {
            world.sides[0].session.stream_mut(id).write(&piece);
            carry(world);
        }
    };
    // 36 of 44 MiB are held; then 1.5 MiB are consumed, which is too little to be told; then nearly all the rest is held.
    (0..144).for_each(|_| unread(&mut world));
    let id = world.sides[0].session.open_stream(world.now, "yes").expect("few streams");
    let pass = |world: &mut World, bytes: usize| {
        let (mut sent, mut read) = (0, 0);
        for _ in 0..100 {
            sent += world.sides[0].session.stream_mut(id).write(&piece[..(bytes - sent).min(piece.len())]);
            carry(world);
            let now = world.now;
            let far = &mut world.sides[1].session;
            while !far.stream(id).readable().is_empty() {
                let count = far.stream(id).readable().len();
                far.stream_mut(id).read(count);
                far.stream_mut(id).consume(now, count);
                read += count;
            }
        }
        read
    };
    assert_eq!(pass(&mut world, 3 << 19), 3 << 19, "there is credit");
    (0..28).for_each(|_| unread(&mut world));
    pass(&mut world, 200_000)
}

/// A round trip of 10 ms in which everything moves that can.
fn carry(world: &mut World) {
    for side in 0..2 {
        for _ in 0..30 {
            world.transmit(side, 262_144).unwrap_or_else(|fate| panic!("{fate}"));
        }
        world.advance(Duration::from_millis(5)).unwrap_or_else(|fate| panic!("{fate}"));
    }
}
