//! Streams that are put into a directory, and senders that take their time.

use super::script::{Say, encoded, entry, hello, play};
use super::*;
use crate::transfer::Fault;
use crate::transfer::decoder::{Decoder, Piece};
use crate::transfer::item::Kind;
use crate::transfer::messages::*;

#[test]
fn a_stream_with_a_name_becomes_a_file() {
    let home = Home::new();
    let stream = |name: &[u8]| {
        vec![
            hello(Content::Stream, name).into(),
            Say::Data(b"one "),
            Say::Data(b"two"),
            Offer::Finish { entries: 0, skipped: 0 }.into(),
        ]
    };
    let (answers, got) = play(into(&home.inbox()), stream(b"dump.sql"));
    assert_eq!(got.unwrap().status, Status::Complete);
    assert!(matches!(answers[..], [Answer::Accepted, Answer::Item { .. }, Answer::Done { .. }]));
    assert_eq!(fs::read(home.inbox().join("dump.sql")).unwrap(), b"one two");
    for (name, fault) in [(&b""[..], Fault::Name), (b"../x", Fault::Name)] {
        let (answers, _) = play(into(&home.inbox()), stream(name));
        assert_eq!(answers, [Answer::Refused(fault)]);
    }
    assert_eq!(names(&home.inbox()), ["dump.sql"]);

    let mut limited = into(&home.inbox());
    limited.policy.bytes_max = Some(5);
    let (_, got) = play(limited, stream(b"large"));
    let got = got.unwrap();
    assert_eq!((got.status, got.tally.failures[0].fault), (Status::Refused, Fault::TooLarge));
    let cut: Vec<Say> = vec![hello(Content::Stream, b"cut").into(), Say::Data(b"half")];
    let (_, got) = play(into(&home.inbox()), cut);
    assert!(matches!(got, Err(TransferError::Truncated)));
    assert_eq!(names(&home.inbox()), ["dump.sql"], "a broken stream leaves nothing");
}

/// A stream of this name in these pieces, into an inbox with this policy: its outcome and the status of the whole.
fn streamed(home: &Home, name: &[u8], pieces: &[&'static [u8]], overwrite: Overwrite) -> (ItemOutcome, Status) {
    let begin: Say = hello(Content::Stream, name).into();
    let end: Say = Offer::Finish { entries: 0, skipped: 0 }.into();
    let data = pieces.iter().map(|piece| Say::Data(piece));
    let script: Vec<Say> = [begin].into_iter().chain(data).chain([end]).collect();
    let mut receive = into(&home.inbox());
    receive.policy.overwrite = overwrite;
    let (answers, got) = play(receive, script);
    let [Answer::Accepted, Answer::Item { index: 0, outcome }, Answer::Done { status, .. }] = answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(got.map(|got| got.status).unwrap(), status);
    (outcome, status)
}

#[test]
fn a_stream_that_is_there_already_is_welcome_and_another_is_refused() {
    let home = Home::new();
    let keep = Overwrite::Never;
    let there = (ItemOutcome::Exists, Status::NothingToDo);
    let refused = (ItemOutcome::Refused(Fault::Exists), Status::Refused);
    assert_eq!(streamed(&home, b"a", &[b"one ", b"two"], keep), (ItemOutcome::Committed, Status::Complete));
    assert_eq!(streamed(&home, b"a", &[b"one", b" two"], keep), there);
    for other in [&[&b"one "[..], b"too"][..], &[b"one ", b"two", b"!"], &[b"one "], &[]] {
        assert_eq!(streamed(&home, b"a", other, keep), refused, "{other:?}");
    }
    assert_eq!(names(&home.inbox()), ["a"]);
    assert_eq!(fs::read(home.inbox().join("a")).unwrap(), b"one two");
    std::os::unix::fs::symlink("a", home.inbox().join("link")).unwrap();
    let begin = vec![hello(Content::Stream, b"link").into(), Say::Data(b"one two")];
    assert_eq!(play(into(&home.inbox()), begin).0, [Answer::Refused(Fault::Exists)], "a link is no such file");
}

#[test]
fn a_stream_that_would_be_renamed_is_kept_once() {
    let home = Home::new();
    let committed = (ItemOutcome::Committed, Status::Complete);
    for (piece, expected) in [(&b"1"[..], committed), (b"22", committed)] {
        assert_eq!(streamed(&home, b"a", &[piece], Overwrite::Rename), expected);
        assert_eq!(streamed(&home, b"a", &[piece], Overwrite::Rename), (ItemOutcome::Exists, Status::NothingToDo));
    }
    assert_eq!(names(&home.inbox()), ["a", "a.1"]);
}

#[test]
fn a_pause_of_the_sender_does_not_hold_up_the_commit() {
    let home = Home::new();
    let begun = encoded([
        hello(Content::Files, b"").into(),
        entry(0, Kind::File, 4, &[b"f"]).into(),
        Offer::Begin { index: 0, offset: 0 }.into(),
        Say::Data(b"fine"),
        Offer::End { index: 0, hash: *blake3::hash(b"fine").as_bytes() }.into(),
    ]);
    let committed = Answer::Item { index: 0, outcome: ItemOutcome::Committed };
    let (mut ours, mut theirs) = pair();
    let got = thread::scope(|scope| {
        let receiver = scope.spawn(|| into(&home.inbox()).run(&mut theirs, &mut ()));
        ours.send(parcel(&begun)).unwrap();
        let mut decoder = Decoder::<Answer>::default();
        let mut answers = Vec::new();
        // Nothing more is said until the file is safe; a port that waits a minute panics.
        while !answers.contains(&committed) {
            let chunk = ours.recv().unwrap().unwrap();
            let mut input = &chunk[..];
            while let Some(Piece::Message(answer)) = decoder.next(&mut input).unwrap() {
                answers.push(answer);
            }
        }
        assert_eq!(names(&home.inbox()), ["f"]);
        ours.send(parcel(&encoded([Offer::Finish { entries: 1, skipped: 0 }.into()]))).unwrap();
        receiver.join().unwrap()
    });
    assert_eq!(got.unwrap().status, Status::Complete);
}
