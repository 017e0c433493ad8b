//! Sessions that are up by a genuine handshake, with nothing between them and their node.

use super::super::circuits::UplinkId;
use super::super::entry::RETRY_PAUSE;
use super::*;
use crate::identity::Identity;
use crate::node::Kind;
use crate::node::TOMBSTONE_TIME;
use crate::node::handshakes::{Early, Handshakes};
use crate::wire::CloseCode;
use crate::wire::limits::HANDSHAKE_DEADLINE;
use std::time::Duration;

const TIMES: Times = Times {
    dead_time: Duration::from_secs(10),
    resume_timeout: Duration::from_secs(600),
    lane_life: Duration::from_secs(3_600),
};
/// All circuits are this one here, but for one of the same number on another link.
const CIRCUIT: CircuitId = CircuitId { uplink: UplinkId::FIRST, number: 2 };

fn app() -> AppName {
    "x".parse().expect("a name")
}

fn id(byte: u8) -> PeerId {
    Identity::from_seed(&[byte; 32]).id()
}

/// Does everything there is to be done for those that were touched. Yields what that was.
fn settle(sessions: &mut Sessions, now: Instant, link: LinkState) -> Vec<(Key, Action)> {
    let mut done = Vec::new();
    let mut turns = 0..10_000;
    while let Some(key) = sessions.next_touched() {
        assert!(turns.next().is_some(), "something is touched again and again");
        loop {
            let action = sessions.next_action(now, key, link);
            match action {
                Action::Rest { .. } => break,
                Action::Call => sessions.set_circuit(key, Some(CIRCUIT)),
                Action::Join => assert!(sessions.start_join(now, key, Suite::preferred()).is_some()),
                Action::End => assert!(sessions.remove(now, key).is_none() || !sessions.contains(key)),
                Action::DropLane(_) => {}
            }
            done.push((key, action));
            assert!(done.len() < 10_000, "there is always something to be done");
        }
    }
    done
}

/// Both ends of a session, by their handshake.
fn handshake() -> [Met; 2] {
    let [one, other] = [1, 2].map(|byte| Handshakes::new(Identity::from_seed(&[byte; 32]), Kind::Pipe));
    let begun = one.call(id(2), &app()).expect("it begins");
    let Some(Early::FirstLane(hello)) = Early::parse(&begun.early) else { panic!("not a call") };
    let answered = other.answer_call(&app(), hello).expect("it answers");
    let finished = one.finish_call(*begun.reply, &answered.second).expect("it is the callee");
    let theirs = other.finish_answer(*answered.expect, &finished.prelude[2..]).expect("it is the caller");
    [finished.met, theirs]
}

/// A caller's session that is up, and what it would hear first.
fn answered(sessions: &mut Sessions, now: Instant) -> (Key, Vec<u8>) {
    let [caller, callee] = handshake();
    let key = sessions.answer(id(1), app(), now + HANDSHAKE_DEADLINE);
    let beginning = Beginning { role: Role::Responder, met: callee, circuit: CIRCUIT };
    assert!(sessions.bring_up(now, key, beginning).is_some());
    let Met { established: caller, features } = caller;
    let (export, keys) = (&caller.export, (caller.sealer, caller.opener));
    let config = Config { role: Role::Initiator, export, keys, features, times: TIMES };
    let mut first = Session::new(now, config);
    let (mut bytes, mut said) = (Vec::new(), Vec::new());
    let session = sessions.session(key).expect("it is up");
    session.poll_output(now, 0, &mut bytes, 10_000);
    first.handle_bytes(now, 0, &bytes).expect("genuine");
    first.poll_output(now, 0, &mut said, 10_000);
    (key, said)
}

fn hear(sessions: &mut Sessions, now: Instant, key: Key, bytes: &[u8]) {
    let heard = sessions.handle_bytes(now, LaneCircuit { key, circuit: CIRCUIT, lane: 0 }, bytes);
    assert!(heard.is_presentable && !heard.is_resumed);
}

fn serving(callers_max: usize) -> Serving {
    Serving::new(crate::node::Callers::Nobody, callers_max)
}

#[test]
fn a_call_waits_for_a_link_and_is_repeated_after_a_pause() {
    let now = Instant::now();
    let mut sessions = Sessions::new(TIMES);
    let key = sessions.call(id(2), app());
    assert_eq!(settle(&mut sessions, now, LinkState::Down), []);
    assert_eq!(sessions.next_timeout(LinkState::Down), None);
    sessions.touch_all();
    assert_eq!(settle(&mut sessions, now, LinkState::Drained), [(key, Action::Call)]);
    sessions.handle_lost(now, LostCircuit { key, circuit: CIRCUIT, lane: None });
    assert_eq!(sessions.next_timeout(LinkState::Drained), Some(now + RETRY_PAUSE), "not settled yet");
    assert_eq!(settle(&mut sessions, now, LinkState::Drained), []);
    assert_eq!(sessions.next_timeout(LinkState::Drained), Some(now + RETRY_PAUSE));
    sessions.handle_timeout(now + RETRY_PAUSE / 2);
    assert_eq!(sessions.next_touched(), None, "it is not due");
    sessions.handle_timeout(now + RETRY_PAUSE);
    assert_eq!(settle(&mut sessions, now + RETRY_PAUSE, LinkState::Drained), [(key, Action::Call)]);
    assert_eq!(sessions.next_timeout(LinkState::Drained), None);
}

#[test]
fn a_caller_that_never_says_who_it_is_is_forgotten_in_time_and_others_find_a_place_before() {
    let now = Instant::now();
    let mut sessions = Sessions::new(TIMES);
    let until = now + HANDSHAKE_DEADLINE;
    let mut taken = 0;
    let mut rounds = 0..10_000;
    while sessions.has_room_for(&id(1), &serving(usize::MAX)) {
        assert!(rounds.next().is_some(), "there is room for any number");
        sessions.answer(id(1), app(), until);
        taken += 1;
    }
    assert_eq!(taken, ENTERING_MAX);
    assert!(sessions.has_room_for(&id(2), &serving(1)) && !sessions.has_room_for(&id(2), &serving(0)));
    settle(&mut sessions, now, LinkState::Drained);
    assert_eq!(sessions.next_timeout(LinkState::Drained), Some(until));
    sessions.handle_timeout(until);
    let ended = settle(&mut sessions, until, LinkState::Drained);
    assert!(ended.len() == taken && ended.iter().all(|(_, action)| *action == Action::End));
    assert!(sessions.is_empty() && sessions.has_room_for(&id(1), &serving(1)));
}

#[test]
fn what_a_peer_has_under_way_has_a_bound_and_keeps_it_from_no_second_call() {
    let now = Instant::now();
    let mut sessions = Sessions::new(TIMES);
    let mut keys = Vec::new();
    let mut turns = 0..10_000;
    while sessions.has_room_for(&id(1), &serving(64)) {
        assert!(turns.next().is_some(), "there is room for any number");
        keys.push(sessions.answer(id(1), app(), now + HANDSHAKE_DEADLINE));
    }
    assert_eq!(keys.len(), ENTERING_MAX, "none of them has come in yet");
    sessions.answer(id(3), app(), now + HANDSHAKE_DEADLINE);
    assert!(sessions.has_room_for(&id(3), &serving(1)), "its first call may have lost its path");
    assert!(
        sessions.has_room_for(&id(2), &serving(64)) && sessions.has_room_for(&id(2), &serving(1)),
        "it is there first"
    );
    for key in keys {
        sessions.remove(now, key);
    }
    assert!(sessions.has_room_for(&id(1), &serving(1)));
}

#[test]
fn our_own_calls_leave_less_to_callers_and_are_no_callers() {
    let mut sessions = Sessions::new(TIMES);
    for _ in 0..SESSIONS_MAX {
        sessions.call(id(2), app());
    }
    assert!(!sessions.has_room_for(&id(1), &serving(1)) && sessions.is_called(&id(2)) && !sessions.is_called(&id(1)));
}

#[test]
fn whoever_is_released_is_not_woken_for_a_call_that_will_not_be_made() {
    let now = Instant::now();
    let mut sessions = Sessions::new(TIMES);
    let key = sessions.call(id(2), app());
    settle(&mut sessions, now, LinkState::Drained);
    sessions.handle_lost(now, LostCircuit { key, circuit: CIRCUIT, lane: None });
    sessions.release(key);
    let due = now + RETRY_PAUSE;
    assert_eq!(settle(&mut sessions, due, LinkState::Busy), []);
    assert_eq!(sessions.next_timeout(LinkState::Busy), None, "a loop would spin until the link is written");
    sessions.handle_drained();
    assert_eq!(settle(&mut sessions, due, LinkState::Drained), [(key, Action::End)]);
}

#[test]
fn whoever_is_released_goes_when_all_is_written() {
    let now = Instant::now();
    let mut sessions = Sessions::new(TIMES);
    let key = sessions.call(id(2), app());
    settle(&mut sessions, now, LinkState::Drained);
    sessions.release(key);
    assert_eq!(settle(&mut sessions, now, LinkState::Busy), []);
    sessions.handle_drained();
    assert_eq!(settle(&mut sessions, now, LinkState::Drained), [(key, Action::End)]);
    assert!(sessions.is_empty());
    sessions.handle_drained();
    assert_eq!(sessions.next_touched(), None);
}

#[test]
fn a_caller_too_many_waits_and_is_the_next() {
    let now = Instant::now();
    let mut sessions = Sessions::new(TIMES);
    let keys = [0, 1].map(|_| {
        let (key, said) = answered(&mut sessions, now);
        hear(&mut sessions, now, key, &said);
        key
    });
    assert!(matches!(sessions.announce(keys[0], 1), Some(Event::Up { key, .. }) if key == keys[0]));
    assert_eq!(sessions.announce(keys[0], 1), None, "the tool knows");
    assert_eq!((sessions.announce(keys[1], 1), sessions.callers().total()), (None, 1));
    let name = sessions.rendezvous(keys[0]).expect("a caller's");
    assert_eq!(sessions.remove(now, keys[0]), Some(name));
    let next = [1, 1].map(|most| sessions.take_waiting(most));
    assert_eq!((sessions.callers().total(), next), (0, [Some(keys[1]), None]));
    assert!(sessions.announce(keys[1], 1).is_some() && sessions.callers().total() == 1);
    assert!(sessions.has_ended(name) && sessions.named(name).is_none());
    sessions.handle_timeout(now + TOMBSTONE_TIME);
    assert!(!sessions.has_ended(name));
}

#[test]
fn a_session_that_lost_its_lane_tells_the_tool_that_knows_it_and_no_other() {
    let now = Instant::now();
    let mut sessions = Sessions::new(TIMES);
    for is_known in [false, true] {
        let (key, said) = answered(&mut sessions, now);
        hear(&mut sessions, now, key, &said);
        assert_eq!(sessions.announce(key, usize::from(is_known)).is_some(), is_known);
        let elsewhere = CircuitId { uplink: UplinkId::SECOND, ..CIRCUIT };
        let lost = LostCircuit { key, circuit: elsewhere, lane: Some(1) };
        assert_eq!(sessions.handle_lost(now, lost), Loss::None, "its lane has another circuit of that number");
        let lost = LostCircuit { key, circuit: CIRCUIT, lane: Some(0) };
        assert_eq!(sessions.handle_lost(now, lost), if is_known { Loss::Lane } else { Loss::None });
        assert_eq!(sessions.handle_lost(now, lost), Loss::None, "it is lost once");
    }
}

#[test]
fn a_session_that_failed_goes_only_if_the_tool_does_not_know_it() {
    let now = Instant::now();
    for is_known in [false, true] {
        let mut sessions = Sessions::new(TIMES);
        let (key, said) = answered(&mut sessions, now);
        hear(&mut sessions, now, key, &said);
        assert_eq!(sessions.announce(key, usize::from(is_known)).is_some(), is_known);
        sessions.handle_lost(now, LostCircuit { key, circuit: CIRCUIT, lane: Some(0) });
        settle(&mut sessions, now, LinkState::Down);
        let late = now + TIMES.resume_timeout;
        assert_eq!(sessions.next_timeout(LinkState::Down), Some(late));
        sessions.handle_timeout(late);
        let done = settle(&mut sessions, late, LinkState::Down);
        assert_eq!(done, if is_known { vec![] } else { vec![(key, Action::End)] });
        assert_eq!(sessions.contains(key), is_known);
    }
}

#[test]
fn what_the_tool_does_with_a_session_wakes_it_and_taking_its_output_does_not() {
    let now = Instant::now();
    let mut sessions = Sessions::new(TIMES);
    let (key, _) = answered(&mut sessions, now);
    settle(&mut sessions, now, LinkState::Drained);
    assert!(sessions.session_for_output(key).is_some() && sessions.session(key).is_some());
    assert_eq!(sessions.next_touched(), None, "nothing was done with it");
    sessions.session(key).expect("it is up").close(CloseCode::Done);
    assert_eq!(sessions.next_touched(), Some(key));
    assert!(matches!(sessions.next_action(now, key, LinkState::Busy), Action::Rest { wake: true, .. }));
    let session = sessions.session_for_output(key).expect("it is up");
    assert!(session.poll_output(now, 0, &mut Vec::new(), 1 << 16) > 0);
    assert_eq!(sessions.next_touched(), Some(key));
    assert!(matches!(sessions.next_action(now, key, LinkState::Busy), Action::Rest { wake: false, .. }));
    assert!(sessions.session_for_output(key).is_some());
    sessions.session(key).expect("it is up").close_failed(1);
    assert_eq!(sessions.next_touched(), Some(key), "whatever it was lent for first");
}
