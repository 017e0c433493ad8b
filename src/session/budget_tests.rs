use super::super::fuzz::{EXPORT, TIMES, channel};
use super::super::{Role, SESSION_WINDOW_START};
use super::*;
use crate::wire::limits::RECORD_PLAINTEXT_MAX;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn pair(now: Instant, budget: &Budget) -> (Session, Session) {
    let (ours, theirs) = channel();
    let end = |role, keys| Session::new(now, role, &EXPORT, keys, TIMES).within(budget);
    (end(Role::Initiator, ours), end(Role::Responder, theirs))
}

fn one(now: Instant, budget: &Budget) -> Session {
    pair(now, budget).0
}

/// What the session may hold of what came, and may retain, beyond what it has from the start.
fn grown(session: &Session) -> usize {
    let window = usize::try_from(session.session_window.size() - SESSION_WINDOW_START).unwrap();
    window + session.retention_granted - RETENTION_START
}

/// A peer that sends what it may and acknowledges nothing: everything grows as far as it goes.
fn press(session: &mut Session) {
    for _ in 0..10 {
        session.received_bytes = session.session_window.size();
        session.widen_session();
    }
    session.received_bytes = 0;
    for _ in 0..20 {
        session.retained_bytes = session.retention_granted;
        session.is_retention_full();
    }
}

#[test]
fn one_session_grows_to_its_full_windows_and_gives_them_back() {
    let budget = Budget::default();
    let mut session = one(Instant::now(), &budget);
    press(&mut session);
    assert_eq!(session.session_window.size(), SESSION_WINDOW_MAX);
    assert_eq!((session.retention_granted, session.is_retention_full()), (RETENTION_MAX, true));
    assert_eq!(budget.left_bytes(), GROWTH_MAX - 79 * MIB);
    // What is acknowledged need not be retained, and its room is for others at once.
    session.retained_bytes = 0;
    session.shrink_retention();
    assert_eq!(session.retention_granted, RETENTION_STEP);
    assert_eq!(budget.left_bytes(), GROWTH_MAX - 43 * MIB);
    drop(session);
    assert_eq!(budget.left_bytes(), GROWTH_MAX);
}

#[test]
fn many_sessions_together_stay_within_the_budget() {
    let (now, budget) = (Instant::now(), Budget::default());
    let mut sessions: Vec<Session> = (0..300).map(|_| one(now, &budget)).collect();
    sessions.iter_mut().for_each(press);
    let all: usize = sessions.iter().map(grown).sum();
    assert_eq!(all, GROWTH_MAX - budget.left_bytes());
    assert!((GROWTH_MAX * 9 / 10..=GROWTH_MAX).contains(&all), "{all}");
    assert!(sessions.iter().take(3).all(|session| session.session_window.size() >= 16 << 20), "the first ones run");
    assert!(grown(&sessions[7]) > 0, "and large ones leave small ones something");
    // Each on a budget of its own: the pressure would have shown.
    let alone: usize = (0..20)
        .map(|_| {
            let mut session = one(now, &Budget::default());
            press(&mut session);
            grown(&session)
        })
        .sum();
    assert!(alone > GROWTH_MAX);
}

#[test]
fn what_was_denied_is_asked_for_again() {
    let (now, budget) = (Instant::now(), Budget::new(80 * MIB));
    let (mut first, mut second) = (one(now, &budget), one(now, &budget));
    while first.share.take(MIB) {}
    press(&mut second);
    assert_eq!(grown(&second), 0);
    assert!(!second.tell_limits || second.session_limit == SESSION_WINDOW_START, "nothing is told that did not grow");
    drop(first);
    press(&mut second);
    assert!(grown(&second) > 16 * MIB, "{}", grown(&second));
}

/// Moves what can be moved, for so many round trips; the responder reads the stream `reads` and no other.
fn exchange(now: &mut Instant, ends: &mut (Session, Session), trips: usize, reads: u32) -> usize {
    let mut moved = 0;
    for _ in 0..trips {
        let mut wire = Vec::new();
        ends.0.poll_output(*now, 0, &mut wire, 16 * MIB);
        *now += Duration::from_millis(25);
        ends.1.handle_bytes(*now, 0, &wire).unwrap();
        while let count @ 1.. = ends.1.readable(reads).len() {
            ends.1.read(reads, count);
            ends.1.consume(*now, reads, count);
            moved += count;
        }
        wire.clear();
        ends.1.handle_timeout(*now).unwrap();
        ends.1.poll_output(*now, 0, &mut wire, MIB);
        *now += Duration::from_millis(25);
        ends.0.handle_bytes(*now, 0, &wire).unwrap();
        ends.0.handle_timeout(*now).unwrap();
    }
    moved
}

#[test]
fn with_nothing_left_streams_still_move_past_one_that_nobody_reads() {
    let mut now = Instant::now();
    for (bytes, window) in [(0, SESSION_WINDOW_START), (GROWTH_MAX, 2 * SESSION_WINDOW_START)] {
        let mut ends = pair(now, &Budget::new(bytes));
        exchange(&mut now, &mut ends, 1, 0);
        let ids = [(); 2].map(|()| ends.0.open_stream(now, "drop").unwrap());
        let mut moved = 0;
        for _ in 0..40 {
            for id in ids {
                while ends.0.write(id, &[7; RECORD_PLAINTEXT_MAX]) > 0 {}
            }
            moved += exchange(&mut now, &mut ends, 1, ids[1]);
        }
        assert!(moved > 4 * MIB, "{moved}");
        assert!(ends.1.held_bytes() <= STREAM_WINDOW_START, "{}", ends.1.held_bytes());
        let size = ends.1.session_window.size();
        assert!(if bytes == 0 { size == window } else { size >= window }, "{size}");
        assert!(ends.0.retained_bytes <= RETENTION_START, "{}", ends.0.retained_bytes);
    }
}
