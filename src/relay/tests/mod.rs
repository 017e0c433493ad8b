//! A whole relay and its clients: what they say and what they hear.

use super::switch::ENDING_MAX;
use super::{CloseReason, Fact, Limits, MayRead, Policy, REFUSAL_DELAY, RelayCore};
use crate::identity::Identity;
use crate::names::Peers;
use crate::wire::limits::{CIRCUIT_WINDOW_START, DEAD_TIME};
use crate::wire::{CloseCode, Control, Kind};
use std::time::{Duration, Instant};

mod across;
mod answers;
mod congestion;
mod facts;
mod floods;
mod machine;
mod memory;
mod moves;
mod paths;
mod props;
mod rates;
mod replies;
mod strangers;
mod testkit;

use testkit::{Client, Got, app, joined, joined_as, joined_from, relay, relay_with};

const WINDOW: usize = CIRCUIT_WINDOW_START as usize;

fn status(circuit: u32, code: CloseCode) -> Got {
    Got::Control(Control::Status { circuit, code: code.to_wire() })
}

fn bye(code: CloseCode) -> Got {
    Got::Control(Control::Bye { code: code.to_wire() })
}

fn numbered(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// Why circuits closed since the last call.
fn why_closed(relay: &mut RelayCore) -> Vec<CloseReason> {
    let facts = std::iter::from_fn(|| relay.poll_fact());
    facts.filter_map(|fact| if let Fact::Closed(closed) = fact { Some(closed.why) } else { None }).collect()
}

#[test]
fn bytes_cross_both_ways_and_half_close_keeps_the_other_way_open() {
    for workers in [1, 2] {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let (mut caller, mut callee) = joined(now, &mut relay, id);
        caller.data(2, b"hello");
        caller.bare(Kind::Fin, 2, 0);
        caller.flush(now, &mut relay);
        assert_eq!(callee.all(now, &mut relay), [Got::Data(1, b"hello".to_vec()), Got::Fin(1)]);
        callee.data(1, b"late reply");
        callee.bare(Kind::Fin, 1, 0);
        callee.flush(now, &mut relay);
        assert_eq!(caller.all(now, &mut relay), [Got::Data(2, b"late reply".to_vec()), Got::Fin(2)]);
        assert_eq!(relay.load().iter().map(|load| load.circuits).sum::<usize>(), 0);
        assert_eq!(relay.used_bytes(), 0);
    }
}

#[test]
fn a_caller_moves_to_its_callees_worker_and_a_listener_to_its_callers() {
    let now = Instant::now();
    let (mut relay, id) = relay(2);
    let (_caller, _callee) = joined(now, &mut relay, id);
    let loads: Vec<usize> = relay.load().iter().map(|load| load.circuits).collect();
    assert!(loads == [2, 0] || loads == [0, 2], "{loads:?}");
    let mut early = Client::attach(now, &mut relay, id, 3);
    let late_peer = Identity::from_seed(&[4; 32]).id();
    early.connect(2, late_peer, "b", 1000);
    early.flush(now, &mut relay);
    relay.handle_timeout(now + REFUSAL_DELAY);
    let mut late = Client::attach(now, &mut relay, id, 4);
    late.say(Control::Listen { name: app("b") });
    late.flush(now, &mut relay);
    let got = late.all(now, &mut relay);
    assert_eq!(got[1], Got::Control(Control::Listening { name: app("b") }));
    assert!(matches!(&got[2], Got::Control(Control::Incoming { circuit: 1, .. })));
    let loads: Vec<usize> = relay.load().iter().map(|load| load.circuits).collect();
    assert!(loads == [2, 2], "{loads:?}");
}

#[test]
fn a_flood_of_messages_of_a_later_version_changes_nothing_and_holds_nothing() {
    for step in [1, 1000, 60_000] {
        let now = Instant::now();
        let (mut relay, id) = relay(1);
        let (mut caller, mut callee) = joined(now, &mut relay, id);
        for number in [0x80, 0xfa].repeat(if step == 1 { 1 } else { 50 }) {
            caller.say(Control::Unknown { number, body: vec![0; 16_000] });
            caller.trickle(now, &mut relay, step);
            assert_eq!(relay.used_bytes(), 0, "nothing of it is kept");
            relay.say(now, caller.id, Control::Unknown { number, body: vec![1; 16_000] });
            assert_eq!(caller.all(now, &mut relay), [], "a client passes over what a relay says of it");
        }
        caller.data(2, b"hello");
        caller.trickle(now, &mut relay, step);
        assert_eq!(callee.all(now, &mut relay), [Got::Data(1, b"hello".to_vec())]);
        assert_eq!(caller.all(now, &mut relay), []);
    }
}

#[test]
fn one_byte_reads_change_nothing() {
    let now = Instant::now();
    let (mut relay, id) = relay(2);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    let sent = numbered(3000);
    caller.data(2, &sent[..1000]);
    caller.bare(Kind::Ping, 0, 77);
    caller.data(2, &sent[1000..]);
    caller.bare(Kind::Fin, 2, 0);
    caller.trickle(now, &mut relay, 1);
    let (mut received, mut ended) = (Vec::new(), false);
    let mut reads = 0..2 * sent.len();
    while !ended {
        assert!(reads.next().is_some(), "{} bytes, and no end", received.len());
        for got in callee.got(now, &mut relay, 1) {
            match got {
                Got::Data(1, bytes) => received.extend(bytes),
                Got::Fin(1) => ended = true,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(received, sent);
    assert_eq!(caller.all(now, &mut relay), [Got::Pong(77)]);
}

#[test]
fn a_receiver_that_grants_nothing_bounds_what_the_relay_holds() {
    let now = Instant::now();
    let (mut relay, id) = relay(1);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    // The callee's start window goes through to it; what comes after waits, up to the caller's window.
    caller.data(2, &numbered(WINDOW));
    caller.flush(now, &mut relay);
    let Got::Data(1, bytes) = &callee.all(now, &mut relay)[0] else { panic!() };
    assert_eq!(bytes.len(), WINDOW);
    let Got::Credit(2, credit) = caller.all(now, &mut relay)[0] else { panic!() };
    let more = usize::try_from(credit).unwrap() - WINDOW;
    for piece in numbered(more).chunks(WINDOW) {
        caller.data(2, piece);
    }
    caller.flush(now, &mut relay);
    assert_eq!(callee.all(now, &mut relay), []);
    assert!((more..=more + WINDOW / 2).contains(&relay.used_bytes()), "{}", relay.used_bytes());
    callee.bare(Kind::Credit, 1, CIRCUIT_WINDOW_START + 10);
    callee.flush(now, &mut relay);
    assert_eq!(callee.all(now, &mut relay), [Got::Data(1, numbered(10))]);
    // More than granted ends that link, and only that.
    caller.data(2, &numbered(11));
    caller.flush(now, &mut relay);
    let got = caller.all(now, &mut relay);
    assert_eq!(&got[got.len() - 2..], [bye(CloseCode::Protocol), Got::Closed]);
    assert_eq!(callee.all(now, &mut relay), [Got::Reset(1, CloseCode::PeerGone.to_wire())]);
    assert_eq!(relay.used_bytes(), 0, "a reset discards what waited");
}

#[test]
fn when_memory_is_short_a_circuit_that_gets_no_credit_is_ended() {
    let start = Instant::now();
    let (mut relay, id) = relay(2);
    let (mut caller, mut callee) = joined(start, &mut relay, id);
    caller.data(2, &numbered(WINDOW));
    caller.flush(start, &mut relay);
    callee.all(start, &mut relay);
    caller.all(start, &mut relay);
    caller.data(2, &numbered(WINDOW / 2));
    caller.flush(start, &mut relay);
    for (seconds, ended) in [(1, false), (2, true)] {
        let now = start + Duration::from_secs(seconds);
        relay.handle_starved(now);
        assert_eq!(relay.used_bytes() == 0, ended);
        let reset = |circuit| Got::Reset(circuit, CloseCode::Limit.to_wire());
        assert_eq!(callee.all(now, &mut relay), if ended { vec![reset(1)] } else { vec![] });
        assert_eq!(caller.all(now, &mut relay), if ended { vec![reset(2)] } else { vec![] });
    }
}

#[test]
fn a_reset_discards_what_waits_and_late_frames_are_skipped() {
    let now = Instant::now();
    let (mut relay, id) = relay(1);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    for _ in 0..2 {
        caller.data(2, &numbered(WINDOW / 2));
    }
    caller.bare(Kind::Reset, 2, 8);
    caller.data(2, b"late");
    caller.bare(Kind::Fin, 2, 0);
    caller.bare(Kind::Credit, 2, 1 << 20);
    caller.bare(Kind::Ping, 0, 5);
    caller.flush(now, &mut relay);
    assert_eq!(caller.all(now, &mut relay), [Got::Pong(5)]);
    assert_eq!(callee.all(now, &mut relay), [Got::Reset(1, 8)]);
    callee.data(1, b"crossing");
    callee.bare(Kind::Ping, 0, 6);
    callee.flush(now, &mut relay);
    assert_eq!(callee.all(now, &mut relay), [Got::Pong(6)]);
    assert_eq!(caller.all(now, &mut relay), []);
    assert_eq!(relay.used_bytes(), 0);
}

#[test]
fn a_dead_link_resets_its_circuits_at_once() {
    for workers in [1, 2] {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let (mut caller, callee) = joined(now, &mut relay, id);
        relay.handle_closed(now, callee.id);
        assert_eq!(caller.all(now, &mut relay), [Got::Reset(2, CloseCode::PeerGone.to_wire())]);
    }
}

#[test]
fn last_words_arrive_ahead_of_the_reset_unless_the_circuit_was_cancelled() {
    for (code, heard) in [(CloseCode::Done, true), (CloseCode::Cancelled, false)] {
        let now = Instant::now();
        let (mut relay, id) = relay(1);
        let (mut caller, mut callee) = joined(now, &mut relay, id);
        caller.data(2, b"good bye");
        caller.bare(Kind::Reset, 2, u32::from(code.to_wire()));
        caller.flush(now, &mut relay);
        let mut expected = vec![Got::Reset(1, code.to_wire())];
        if heard {
            expected.insert(0, Got::Data(1, b"good bye".to_vec()));
        }
        assert_eq!(callee.all(now, &mut relay), expected);
        assert_eq!(relay.load()[0].circuits, 0);
    }
    let now = Instant::now();
    let (mut relay, id) = relay(2);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    caller.data(2, b"good bye");
    caller.flush(now, &mut relay);
    relay.handle_closed(now, caller.id);
    let gone = Got::Reset(1, CloseCode::PeerGone.to_wire());
    assert_eq!(callee.all(now, &mut relay), [Got::Data(1, b"good bye".to_vec()), gone]);
}

#[test]
fn what_came_in_while_nobody_looked_is_heard_before_anybody_is_taken_for_dead() {
    let start = Instant::now();
    for workers in [1, 2] {
        let (mut relay, id) = relay(workers);
        let (mut caller, mut callee) = joined(start, &mut relay, id);
        let back = start + 2 * DEAD_TIME;
        relay.handle_late(back);
        relay.handle_timeout(back);
        caller.bare(Kind::Ping, 0, 1);
        caller.flush(back, &mut relay);
        assert_eq!(caller.all(back, &mut relay), [Got::Pong(1)]);
        assert_eq!(callee.all(back, &mut relay), []);
        // Who has said nothing by then is dead, however often nobody looked.
        let then = relay.next_timeout().expect("the callee is overdue");
        assert!(back < then && then <= back + Duration::from_secs(1));
        relay.handle_late(then);
        relay.handle_timeout(then);
        assert_eq!(callee.all(then, &mut relay), [Got::Closed]);
        assert_eq!(caller.all(then, &mut relay), [Got::Reset(2, CloseCode::PeerGone.to_wire())]);
    }
}

#[test]
fn a_silent_link_with_circuits_is_dead_in_time_and_a_parked_one_is_not() {
    let start = Instant::now();
    let (mut relay, id) = relay(1);
    let (mut caller, mut callee) = joined(start, &mut relay, id);
    let mut idle = Client::attach(start, &mut relay, id, 3);
    idle.all(start, &mut relay);
    let mut now = start;
    let mut turns = 0..10_000;
    while let Some(next) = relay.next_timeout().filter(|next| *next <= start + DEAD_TIME) {
        assert!(turns.next().is_some(), "it wakes up again and again");
        now = next;
        caller.bare(Kind::Ping, 0, 1);
        caller.flush(now, &mut relay);
        caller.all(now, &mut relay);
        relay.handle_timeout(now);
        let lost = callee.all(now, &mut relay);
        if lost == [Got::Closed] {
            break;
        }
    }
    assert_eq!(now, start + DEAD_TIME);
    assert_eq!(caller.all(now, &mut relay), [Got::Reset(2, CloseCode::PeerGone.to_wire())]);
    assert_eq!(idle.all(now, &mut relay), []);
}

#[test]
fn what_a_carrier_says_itself_is_no_life_of_a_link() {
    let start = Instant::now();
    let (mut relay, id) = relay(1);
    let (mut caller, mut callee) = joined(start, &mut relay, id);
    for part in [DEAD_TIME / 2, DEAD_TIME] {
        let now = start + part;
        caller.bare(Kind::Ping, 0, 1);
        caller.flush(now, &mut relay);
        caller.all(now, &mut relay);
        relay.handle_overhead(now, callee.id, 100);
        relay.handle_timeout(now);
    }
    assert_eq!(callee.all(start + DEAD_TIME, &mut relay), [Got::Closed]);
}

#[test]
fn a_stranger_is_told_that_it_is_refused_and_a_removed_peer_is_cut() {
    let now = Instant::now();
    let known = |seeds: &[u8]| {
        let line = |seed: &u8| format!("peer{seed} {}\n", Identity::from_seed(&[*seed; 32]).id());
        let peers = Peers::parse(&seeds.iter().map(line).collect::<String>()).unwrap();
        Policy::only(&peers, Limits::default()).unwrap()
    };
    let (mut relay, id) = relay_with(known(&[1, 2]), 2);
    let mut stranger = Client::attach(now, &mut relay, id, 9);
    assert_eq!(stranger.all(now, &mut relay), [bye(CloseCode::Refused), Got::Closed]);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    relay.set_policy(now, known(&[1]));
    assert_eq!(caller.all(now, &mut relay), [bye(CloseCode::Refused), Got::Closed]);
    assert_eq!(callee.all(now, &mut relay), [Got::Reset(1, CloseCode::PeerGone.to_wire())]);
    callee.connect(2, caller.peer, "a", 0);
    callee.flush(now, &mut relay);
    relay.handle_timeout(now + REFUSAL_DELAY);
    assert_eq!(callee.all(now, &mut relay), [status(2, CloseCode::NotHere)]);
}

/// A policy for two peers, the second with these options.
fn second_with(options: &str) -> Policy {
    let line = |seed: u8, options: &str| format!("peer{seed} {} {options}\n", Identity::from_seed(&[seed; 32]).id());
    let peers = Peers::parse(&(line(1, "") + &line(2, options))).unwrap();
    Policy::only(&peers, Limits::default()).unwrap()
}

/// So many seconds of a caller that sends what it may and has heartbeats; `(credit, sent)` before and after that.
fn send_for(
    now: &mut Instant,
    relay: &mut RelayCore,
    (caller, callee): (&mut Client, &mut Client),
    seconds: u64,
    (mut credit, mut sent): (usize, usize),
) -> (usize, usize) {
    let end = *now + Duration::from_secs(seconds);
    while *now < end {
        if credit > sent {
            let most = (credit - sent).min(2 * WINDOW);
            caller.data(2, &numbered(most));
            sent += most;
        }
        // Heartbeats pass while credit is held back.
        caller.bare(Kind::Ping, 0, 1);
        callee.bare(Kind::Ping, 0, 1);
        callee.bare(Kind::Credit, 1, u32::try_from(sent + WINDOW).unwrap());
        caller.flush(*now, relay);
        callee.flush(*now, relay);
        callee.all(*now, relay);
        for got in caller.all(*now, relay) {
            match got {
                Got::Credit(2, more) => credit = usize::try_from(more).unwrap(),
                other => assert_eq!(other, Got::Pong(1)),
            }
        }
        *now += Duration::from_millis(100);
        relay.handle_timeout(*now);
    }
    (credit, sent)
}

#[test]
fn a_peer_with_a_rate_gets_its_credit_at_that_rate() {
    let mut now = Instant::now();
    let (mut relay, id) = relay_with(second_with("rate=100K"), 1);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    let (_, sent) = send_for(&mut now, &mut relay, (&mut caller, &mut callee), 20, (WINDOW, 0));
    assert!((2_000_000..2_300_000).contains(&sent), "{sent}");
}

#[test]
fn another_rate_holds_at_once_for_links_that_are_there() {
    let mut now = Instant::now();
    let (mut relay, id) = relay_with(second_with("rate=1K"), 2);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    let mut so_far = send_for(&mut now, &mut relay, (&mut caller, &mut callee), 5, (WINDOW, 0));
    assert!(so_far.1 < 3 * WINDOW, "{so_far:?}");
    // What was granted without a rate may still be used.
    for (options, least, most) in [("", 4_000_000, usize::MAX), ("rate=100K", 1_500_000, 2_900_000)] {
        relay.set_policy(now, second_with(options));
        let before = so_far.1;
        so_far = send_for(&mut now, &mut relay, (&mut caller, &mut callee), 20, so_far);
        let sent = so_far.1 - before;
        assert!((least..most).contains(&sent), "{options}: {sent}");
    }
}

#[test]
fn what_was_granted_before_a_lower_rate_does_not_hold_back_the_credit_after_it() {
    let mut now = Instant::now();
    let (mut relay, id) = relay_with(second_with(""), 1);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    let before = send_for(&mut now, &mut relay, (&mut caller, &mut callee), 5, (WINDOW, 0));
    assert!(before.0 - before.1 >= 3 * WINDOW, "{before:?}");
    relay.set_policy(now, second_with("rate=30K"));
    let after = send_for(&mut now, &mut relay, (&mut caller, &mut callee), 6, before);
    assert!(after.0 > before.0, "well within a dead time: {after:?}");
    let end = send_for(&mut now, &mut relay, (&mut caller, &mut callee), 14, after);
    assert!(end.1 < before.0 + 20 * 35_000, "{before:?} {end:?}");
}

#[test]
fn going_away_comes_after_what_was_queued() {
    let now = Instant::now();
    let (mut relay, id) = relay(2);
    let (mut caller, mut callee) = joined(now, &mut relay, id);
    caller.data(2, b"last words");
    caller.flush(now, &mut relay);
    relay.shut_down(now);
    assert_eq!(
        callee.all(now, &mut relay),
        [Got::Data(1, b"last words".to_vec()), bye(CloseCode::GoingAway), Got::Closed]
    );
    assert_eq!(caller.all(now, &mut relay), [bye(CloseCode::GoingAway), Got::Closed]);
}

#[test]
fn a_handshake_that_trickles_is_closed_at_its_deadline_without_a_word() {
    let start = Instant::now();
    let (mut relay, _) = relay(1);
    let slow = relay.handle_accept(start, [127, 0, 0, 1].into()).unwrap();
    let bad = relay.handle_accept(start, [127, 0, 0, 1].into()).unwrap();
    relay.handle_bytes(start, bad, b"GET / HTTP/1.1\r\n");
    assert_eq!(relay.poll_closed(), Some(bad));
    for second in 0..10_u64 {
        let now = start + Duration::from_secs(second);
        relay.handle_bytes(now, slow, &[b"vp\x01\x01\x04\x00\x00\x00\x00\x00"[usize::try_from(second).unwrap()]]);
        relay.handle_timeout(now);
        assert_eq!(relay.poll_closed(), None);
    }
    relay.handle_timeout(start + Duration::from_secs(10));
    assert_eq!(relay.poll_closed(), Some(slow));
    assert_eq!(relay.poll_output(start, slow, &mut Vec::new(), 100), 0);
}

#[test]
fn a_client_that_breaks_the_protocol_loses_its_link() {
    let now = Instant::now();
    type Breach = fn(&mut Client);
    let breaches: [Breach; 5] = [
        |client| client.connect(3, client.peer, "a", 0),
        |client| client.connect(0, client.peer, "a", 0),
        |client| client.say(Control::Welcome { circuits: 1 }),
        |client| {
            client.connect(4, client.peer, "nobody", 1000);
            client.connect(4, client.peer, "nobody", 1000);
        },
        |client| {
            client.connect(2, client.peer, "nobody", 1000);
            client.data(2, b"too early");
        },
    ];
    for breach in breaches {
        let (mut relay, id) = relay(2);
        let mut client = Client::attach(now, &mut relay, id, 1);
        breach(&mut client);
        client.flush(now, &mut relay);
        let got = client.all(now, &mut relay);
        assert_eq!(&got[got.len() - 2..], [bye(CloseCode::Protocol), Got::Closed]);
        assert_eq!(relay.load().iter().map(|load| load.links + load.circuits).sum::<usize>(), 0);
    }
}

#[test]
fn a_link_that_ends_and_takes_nothing_any_more_is_closed_in_time() {
    let now = Instant::now();
    let (mut relay, id) = relay(1);
    let mut client = Client::attach(now, &mut relay, id, 1);
    client.all(now, &mut relay);
    // It breaks the protocol, and does not read what it is told of that.
    client.say(Control::Connect { circuit: 1, to: client.peer, name: app("x"), wait_ms: 0, early: vec![] });
    client.flush(now, &mut relay);
    let mut closed = None;
    let mut turns = 0..10_000;
    while let Some(next) = relay.next_timeout().filter(|next| closed.is_none() && *next <= now + 2 * ENDING_MAX) {
        assert!(turns.next().is_some(), "it wakes up again and again");
        relay.handle_timeout(next);
        closed = (!relay.is_open(client.id)).then_some(next);
    }
    assert_eq!(closed, Some(now + ENDING_MAX));
}
