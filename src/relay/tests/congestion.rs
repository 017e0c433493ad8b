//! Circuits with windows larger than what the relay holds, whose receiver stops.

use super::*;
use crate::identity::PeerId;
use crate::relay::Cut;
use crate::wire::limits::CIRCUIT_WINDOW_MAX;

/// Sends all that a client may over a path of 50 ms, again and again; yields the credit it comes to and what it has sent, of
/// which it is told how much they were.
fn widened(
    now: &mut Instant,
    relay: &mut RelayCore,
    (from, circuit): (&mut Client, u32),
    (to, far): (&mut Client, u32),
    (mut credit, mut sent): (u32, u32),
) -> (u32, u32) {
    to.bare(Kind::Credit, far, sent + (1 << 30));
    to.flush(*now, relay);
    let piece = numbered(WINDOW / 2);
    for _ in 0..30 {
        *now += Duration::from_millis(50);
        while sent < credit {
            let count = (credit - sent).min(CIRCUIT_WINDOW_START / 2);
            from.data(circuit, &piece[..usize::try_from(count).unwrap()]);
            from.flush(*now, relay);
            sent += count;
            to.all(*now, relay);
        }
        for got in from.all(*now, relay) {
            let Got::Credit(_, more) = got else { panic!("{got:?}") };
            credit = more;
        }
    }
    (credit, sent)
}

/// A caller (circuit 2) and a callee (circuit 1) whose windows are larger than what the relay holds for a circuit; and what
/// the caller has sent.
fn wide(now: &mut Instant) -> (RelayCore, Client, Client, u32) {
    let (mut relay, id) = relay(2);
    let (mut caller, mut callee) = joined(*now, &mut relay, id);
    let fresh = (CIRCUIT_WINDOW_START, 0);
    let there = widened(now, &mut relay, (&mut caller, 2), (&mut callee, 1), fresh);
    let back = widened(now, &mut relay, (&mut callee, 1), (&mut caller, 2), fresh);
    assert_eq!([there.0 - there.1, back.0 - back.1], [CIRCUIT_WINDOW_MAX; 2]);
    assert_eq!(relay.used_bytes(), 0, "all has arrived");
    (relay, caller, callee, there.1)
}

/// Sends as long as the relay reads, at most `pieces` of 128 KiB; how many it were.
fn send(now: Instant, relay: &mut RelayCore, (from, circuit): (&mut Client, u32), pieces: usize) -> usize {
    let piece = numbered(WINDOW);
    for sent in 0..pieces {
        if relay.may_read(from.id) != MayRead::Now {
            return sent;
        }
        from.data(circuit, &piece);
        from.flush(now, relay);
    }
    pieces
}

/// A call that waits for its answer: somebody else on the link.
fn call_on(now: Instant, relay: &mut RelayCore, caller: &mut Client, peer: PeerId) {
    caller.connect(4, peer, "b", 60_000);
    caller.flush(now, relay);
    assert_eq!(caller.all(now, relay), []);
}

/// What a relay may hold for a busy circuit.
const HELD_MAX: usize = 8 << 20;

#[test]
fn a_congested_circuit_shuts_its_link_and_gives_little_credit_when_it_has_drained() {
    let mut now = Instant::now();
    let (mut relay, mut caller, mut callee, before) = wide(&mut now);
    let mut sent = send(now, &mut relay, (&mut caller, 2), 1000);
    assert_eq!((relay.may_read(caller.id), relay.may_read(callee.id)), (MayRead::Later, MayRead::Now));
    assert!((6 << 20..=HELD_MAX).contains(&relay.used_bytes()), "{}", relay.used_bytes());
    // What was granted goes on as fast as the other side takes it, and no more is granted.
    let mut got = 0;
    let mut turns = 0..100_000;
    while got == 0 || relay.used_bytes() > 0 {
        assert!(turns.next().is_some(), "the relay holds something for ever");
        now += Duration::from_millis(1);
        got += match &callee.got(now, &mut relay, 1 << 20)[..] {
            [Got::Data(1, bytes)] => bytes.len(),
            others => panic!("{others:?}"),
        };
        if sent * WINDOW < 36 << 20 {
            sent += send(now, &mut relay, (&mut caller, 2), 8);
            assert!(relay.used_bytes() <= HELD_MAX && relay.used_bytes() > HELD_MAX / 2);
            assert_eq!(caller.all(now, &mut relay), []);
        }
    }
    assert_eq!(relay.may_read(caller.id), MayRead::Now);
    assert_eq!(got, sent * WINDOW);
    // Drained: what memory covers, or half of that.
    let Some(Got::Credit(2, credit)) = caller.all(now, &mut relay).pop() else { panic!("no credit") };
    let left = credit - before - u32::try_from(got).unwrap();
    assert!((3 << 20..=6 << 20).contains(&left), "{left}");
}

/// Input waits and the gate is shut, for at most so long; how long that was.
fn hold(now: &mut Instant, relay: &mut RelayCore, client: &Client, most: Duration) -> Duration {
    let began = *now;
    while relay.may_read(client.id) == MayRead::Later && *now < began + most {
        relay.handle_unread(*now, client.id);
        *now += Duration::from_millis(2);
    }
    *now - began
}

#[test]
fn a_circuit_that_shuts_its_link_for_too_long_is_ended_and_lets_go_of_its_memory() {
    for (both_ways, others_wait) in [(false, false), (false, true), (true, true)] {
        let mut now = Instant::now();
        let (mut relay, mut caller, mut callee, _) = wide(&mut now);
        if others_wait {
            call_on(now, &mut relay, &mut caller, callee.peer);
        }
        if both_ways {
            // Neither direction would be congested by itself.
            send(now, &mut relay, (&mut callee, 1), 40);
            assert_eq!(relay.may_read(callee.id), MayRead::Now);
        }
        send(now, &mut relay, (&mut caller, 2), 1000);
        assert_eq!(relay.may_read(caller.id), MayRead::Later);
        send(now, &mut relay, (&mut callee, 1), if both_ways { 1000 } else { 1 });
        assert_eq!(relay.may_read(callee.id), if both_ways { MayRead::Later } else { MayRead::Now });
        assert!((6 << 20..=HELD_MAX).contains(&relay.used_bytes()), "{}", relay.used_bytes());
        let stood = hold(&mut now, &mut relay, &caller, Duration::from_secs(9)).as_millis();
        let most = if others_wait { 1000 } else { 4000 };
        assert!((most..most + 10).contains(&stood), "{stood} ms");
        assert_eq!(why_closed(&mut relay), [CloseReason::Cut(Cut::BlockedItsLink)]);
        assert_eq!(relay.used_bytes(), 0);
        assert_eq!(callee.all(now, &mut relay), [Got::Reset(1, CloseCode::Limit.to_wire())]);
        assert_eq!(caller.all(now, &mut relay), [Got::Reset(2, CloseCode::Limit.to_wire())]);
        // What comes after is skipped, and the links go on.
        for (client, circuit) in [(&mut caller, 2), (&mut callee, 1)] {
            assert_eq!(relay.may_read(client.id), MayRead::Now);
            client.data(circuit, &numbered(WINDOW));
            client.bare(Kind::Ping, 0, 5);
            client.flush(now, &mut relay);
            assert_eq!(client.all(now, &mut relay), [Got::Pong(5)]);
        }
    }
}

#[test]
fn a_link_that_stood_still_gets_no_more_than_memory_covers_for_a_while() {
    let mut now = Instant::now();
    let (mut relay, mut caller, mut callee, before) = wide(&mut now);
    call_on(now, &mut relay, &mut caller, callee.peer);
    let sent = before + u32::try_from(send(now, &mut relay, (&mut caller, 2), 1000) * WINDOW).unwrap();
    let stood = hold(&mut now, &mut relay, &caller, Duration::from_millis(100));
    callee.all(now, &mut relay);
    let credit = before + CIRCUIT_WINDOW_MAX;
    assert_eq!(caller.all(now, &mut relay), [], "most of that is left");
    // What is left of the last window is spent first. A second later the link's stop is not forgotten, three later it is.
    let soon = widened(&mut now, &mut relay, (&mut caller, 2), (&mut callee, 1), (credit, sent));
    assert_eq!(soon.0 - soon.1, 6 << 20, "after {stood:?}");
    now += Duration::from_secs(2);
    let later = widened(&mut now, &mut relay, (&mut caller, 2), (&mut callee, 1), soon);
    assert_eq!(later.0 - later.1, CIRCUIT_WINDOW_MAX);
}

#[test]
fn a_circuit_that_is_read_though_it_is_full_is_ended() {
    let mut now = Instant::now();
    let (mut relay, mut caller, mut callee, _) = wide(&mut now);
    for _ in 0..HELD_MAX / WINDOW + 1 {
        caller.data(2, &numbered(WINDOW));
    }
    caller.flush(now, &mut relay);
    assert_eq!(why_closed(&mut relay), [CloseReason::Cut(Cut::Overflowed)]);
    assert_eq!(relay.used_bytes(), 0);
    assert_eq!(callee.all(now, &mut relay), [Got::Reset(1, CloseCode::Limit.to_wire())]);
    assert_eq!(caller.all(now, &mut relay), [Got::Reset(2, CloseCode::Limit.to_wire())]);
}

#[test]
fn a_link_whose_circuit_has_drained_does_not_stand_still_though_nothing_more_comes() {
    let mut now = Instant::now();
    let (mut relay, mut caller, mut callee, before) = wide(&mut now);
    call_on(now, &mut relay, &mut caller, callee.peer);
    let sent = before + u32::try_from(send(now, &mut relay, (&mut caller, 2), 1000) * WINDOW).unwrap();
    hold(&mut now, &mut relay, &caller, Duration::from_millis(100));
    callee.all(now, &mut relay);
    // Silence in which its 100 ms are forgotten, and which is none of them.
    now += Duration::from_secs(4);
    let (credit, sent) =
        widened(&mut now, &mut relay, (&mut caller, 2), (&mut callee, 1), (before + CIRCUIT_WINDOW_MAX, sent));
    assert_eq!(credit - sent, CIRCUIT_WINDOW_MAX);
}

#[test]
fn bytes_that_were_read_a_little_at_a_time_take_hardly_more_memory_than_there_are() {
    for size in [500, 5000, 8200, 20_000, 40_000, 60_000] {
        // Each read brings one frame, and now and then the callee takes a byte of what is put in order for it.
        for every in [usize::MAX, 300_000, 1] {
            let mut now = Instant::now();
            let (mut relay, mut caller, mut callee, _) = wide(&mut now);
            let (piece, mut sent) = (numbered(size), 0);
            let mut turns = 0..1_000_000;
            while relay.may_read(caller.id) == MayRead::Now {
                assert!(turns.next().is_some(), "it may send any amount");
                caller.data(2, &piece);
                assert!(caller.pour(now, &mut relay));
                if (sent + size) / every > sent / every {
                    callee.got(now, &mut relay, 1);
                }
                sent += size;
            }
            assert!(sent > 6 << 20, "{sent}");
            let most = sent * 9 / 8 + (512 << 10);
            assert!(relay.used_bytes() <= most, "{} for {sent} bytes, {size} a read", relay.used_bytes());
        }
    }
}

#[test]
fn bytes_that_go_on_at_once_are_not_copied() {
    let now = Instant::now();
    let (mut relay, id) = relay(1);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    for _ in 0..8 {
        caller.data(2, &numbered(10_000));
        assert!(caller.pour(now, &mut relay));
        assert_eq!(relay.used_bytes(), crate::relay::memory::block::BLOCK_BYTES, "it stays in its block");
        assert_eq!(callee.all(now, &mut relay), [Got::Data(1, numbered(10_000))]);
        assert_eq!(relay.used_bytes(), 0);
    }
}

#[test]
fn full_blocks_are_not_copied_however_long_they_wait() {
    let mut now = Instant::now();
    let (mut relay, mut caller, mut callee, _) = wide(&mut now);
    // As from a socket with much in it: four blocks, of which the header takes 32 bytes.
    let body = numbered(4 * crate::relay::memory::block::BLOCK_BYTES - 32);
    for reads in 1..=16 {
        caller.data(2, &body);
        assert!(caller.pour(now, &mut relay));
        assert_eq!(relay.used_bytes(), reads * 4 * crate::relay::memory::block::BLOCK_BYTES);
    }
    assert!(callee.all(now, &mut relay) == [Got::Data(1, body.repeat(16))]);
    assert_eq!(relay.used_bytes(), 0);
}
