//! The properties that the fuzzers look for, on a few cases each, and cases of credit and retention that need both ends.

use super::*;
use crate::session::frame::{Frame, encode_open, encode_unknown};
use crate::session::{RETENTION_MAX, SESSION_BYTES_MAX, SESSION_WINDOW_START, STREAM_WINDOW_START, Violation};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn honest_ends_settle_whatever_happens_to_lanes(ops in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz_session_ops(&ops);
    }

    #[test]
    fn a_hostile_peer_ends_its_session_at_most(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_session_peer(&data);
        fuzz_session_join(&data);
    }
}

#[test]
fn bytes_of_refused_streams_give_their_credit_back() {
    let mut pair = Pair::new();
    let each = usize::try_from(STREAM_WINDOW_START).unwrap();
    let times = 3 * SESSION_WINDOW_START / STREAM_WINDOW_START;
    for _ in 0..times {
        let id = pair.ends[0].session.open_stream(pair.now, "drop").unwrap();
        pair.ends[0].flows.insert(id, Flow::default());
        for _ in 0..5 {
            pair.write(0, id, each);
            pair.send(0, 1 << 20);
            pair.deliver(0, usize::MAX);
        }
        pair.ends[1].session.stream_mut(id).refuse(CloseCode::Refused);
        pair.ends[1].session.stream_mut(id).refuse(CloseCode::Refused);
        for side in [1, 0, 1, 0] {
            pair.send(side, 1 << 20);
            pair.deliver(side, usize::MAX);
        }

        assert_eq!(
            pair.ends[0].session.stream(id).send_half(),
            crate::session::Half::Broken(CloseCode::Refused.to_wire())
        );
        pair.ends[0].session.stream_mut(id).release();
        for end in &mut pair.ends {
            end.flows.remove(&id);
        }
    }
    assert_eq!(pair.ends.each_ref().map(|end| end.session.stream_count()), [0, 0]);
    pair.open(0);
    pair.write(0, u32::try_from(2 * times).unwrap(), 200_000);
    pair.settle();
}

#[test]
fn a_writer_that_waits_for_retention_hears_of_what_a_join_settles() {
    let mut pair = Pair::new();
    let exchange = |pair: &mut Pair| {
        for side in [0, 1] {
            pair.send(side, 1 << 20);
            pair.deliver(side, usize::MAX);
        }
    };
    let id = pair.ends[0].session.open_stream(pair.now, "drop").unwrap();
    exchange(&mut pair);
    pair.ends[0].session.stream_mut(id).write(&[7; 60_000]);
    pair.send(0, 1 << 20);
    pair.deliver(0, usize::MAX);
    // The peer has all of it, and its acknowledgement never comes. Meanwhile retention is full.
    let session = &mut pair.ends[0].session;
    let held = session.ledger.retained_bytes();
    assert!(held > 0);
    session.ledger.set_retained_bytes(RETENTION_MAX);
    assert_eq!(session.stream_mut(id).write(&[7; 10]), 0);
    session.ledger.set_retained_bytes(held);
    while session.poll_touched().is_some() {}
    pair.cut(0);
    pair.join(255);
    (0..3).for_each(|_| exchange(&mut pair));
    let session = &mut pair.ends[0].session;
    assert_eq!((session.ledger.retained_bytes(), session.poll_touched()), (0, Some(id)));
}

#[test]
fn credit_told_on_a_lane_that_the_peer_has_left_is_told_again_on_the_next() {
    let mut pair = Pair::new();
    let id = pair.ends[0].session.open_stream(pair.now, "drop").unwrap();
    let window = usize::try_from(STREAM_WINDOW_START).unwrap();
    let exchange = |pair: &mut Pair| {
        for side in [0, 1] {
            pair.send(side, 1 << 20);
            pair.deliver(side, usize::MAX);
        }
    };
    while pair.ends[0].session.stream_mut(id).write(&vec![7; window]) > 0 {
        exchange(&mut pair);
    }
    assert_eq!(pair.ends[0].session.stream_mut(id).write(b"more"), 0, "the writer waits for credit");
    let (pending, first) = pair.ends[0].session.start_join(Suite::AesGcm).unwrap();
    let answer = pair.ends[1].session.answer_join(pair.now, Suite::AesGcm, &first).unwrap();
    // The answer is under way. Behind it goes what gives credit, to where nobody listens any more.
    let reader = &mut pair.ends[1].session;
    while let came @ 1.. = reader.stream(id).readable().len() {
        reader.stream_mut(id).read(came);
        reader.stream_mut(id).consume(pair.now, came);
    }
    assert!(reader.poll_output(pair.now, 0, &mut Vec::new(), 1 << 20) > 0);
    pair.ends[0].session.finish_join(pair.now, pending, &answer.message).unwrap();
    pair.pipes.insert(answer.lane, Pipe::default());
    pair.bury();
    (0..3).for_each(|_| exchange(&mut pair));
    assert_eq!(pair.ends[0].session.stream_mut(id).write(b"more"), 4);
}

#[test]
fn writers_wait_while_much_is_held_and_hear_when_it_is_consumed() {
    let mut pair = Pair::new();
    let id = pair.ends[0].session.open_stream(pair.now, "drop").unwrap();
    pair.ends[0].session.stream_mut(id).write(b"1");
    pair.send(0, 1 << 20);
    pair.deliver(0, usize::MAX);
    let now = pair.now;
    let session = &mut pair.ends[1].session;
    session.credit.set_held((40 << 20) + 1);
    session.ledger.set_retained_bytes(SESSION_BYTES_MAX - (40 << 20) - 1);
    assert_eq!(session.stream_mut(id).write(b"fits"), 0, "one byte is held");
    while session.poll_touched().is_some() {}
    session.credit.set_held(1);
    session.stream_mut(id).read(1);
    session.stream_mut(id).consume(now, 1);
    assert_eq!((session.poll_touched(), session.stream_mut(id).write(b"fits")), (Some(id), 4));
}

#[test]
fn what_only_a_later_version_knows_is_acknowledged_as_its_number_says() {
    for (number, is_retained) in [(0x80, true), (0xbf, true), (0xc0, false), (0xff, false)] {
        let mut pair = Pair::new();
        let held = pair.ends[0].session.ledger.retained_bytes();
        pair.ends[0].session.send_unknown(number, b"new");
        pair.send(0, 1 << 10);
        assert_eq!(pair.ends[0].session.ledger.retained_bytes() > held, is_retained, "{number:#x}");
        pair.deliver(0, usize::MAX);
        pair.pass(crate::lane::ACK_DELAY);
        pair.send(1, 1 << 10);
        pair.deliver(1, usize::MAX);
        assert_eq!(pair.ends[0].session.ledger.retained_bytes(), held, "{number:#x}");
    }
}

#[test]
fn nothing_is_held_of_what_only_a_later_version_knows() {
    let now = Instant::now();
    let ((mut sealer, _), keys) = channel();
    let mut session = Session::new(now, config(Role::Responder, keys));
    let mut record = Vec::new();
    while record.len() < RECORD_PLAINTEXT_MAX - 3 {
        let length = (RECORD_PLAINTEXT_MAX - 3 - record.len()).min(97);
        encode_unknown(0x80, &vec![1; length], &mut record);
    }
    let held = |session: &Session| {
        let waits = session.schedule.bytes() + session.ledger.retained_bytes() + session.events.len();
        (waits, session.credit.held(), session.stream_count())
    };
    for _ in 0..200 {
        let mut wire = u16::try_from(record.len() + 16).unwrap().to_be_bytes().to_vec();
        sealer.seal_into(&record, &mut wire).unwrap();
        session.handle_bytes(now, 0, &wire).expect("it is skipped");
    }
    assert_eq!(held(&session), (0, 0, 0));
}

/// Sends `record` again and again; the session answers into nothing. Yields the memory it held when it gave up.
fn flood(record: impl Fn(u32) -> Vec<u8>, reads: bool) -> usize {
    let now = Instant::now();
    let ((mut sealer, _), keys) = channel();
    let mut session = Session::new(now, config(Role::Responder, keys));
    // As if data that nobody acknowledges had used up what may be held.
    session.ledger.set_retained_bytes(RETENTION_MAX);
    for n in 0..1000 {
        let plain = record(n);
        let mut wire = u16::try_from(plain.len() + 16).unwrap().to_be_bytes().to_vec();
        sealer.seal_into(&plain, &mut wire).unwrap();
        if let Err(error) = session.handle_bytes(now, 0, &wire) {
            assert_eq!(error, SessionError::PeerMisbehaved(Violation::Answers));
            return session.schedule.bytes() + session.ledger.retained_bytes();
        }
        while let Some(event) = session.poll_event() {
            if let Event::StreamOpened { id, .. } = event {
                session.stream_mut(id).refuse(CloseCode::Refused);
            }
        }
        if reads {
            session.poll_output(now, 0, &mut Vec::new(), 1 << 16);
        }
    }
    panic!("the flood never ended");
}

#[test]
fn a_peer_that_takes_no_answers_gets_no_further() {
    let open_and_reset = |n: u32| {
        let mut record = Vec::new();
        for id in (n * 400..(n + 1) * 400).map(|n| 2 * n) {
            encode_open(id, "a", &mut record);
            Frame::Reset { id, code: 0, final_offset: 0 }.encode(&mut record);
        }
        record
    };
    for reads in [false, true] {
        assert!(flood(open_and_reset, reads) < RETENTION_MAX + (2 << 20));
    }
}
