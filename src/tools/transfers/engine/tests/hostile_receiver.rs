//! A receiver that does what it should not, against the sender.

use super::*;
use crate::transfer::Fault;
use crate::transfer::decoder::Malformed;
use crate::transfer::messages::*;
use crate::transfer::{outcome::Violation, status::Counts};
use std::slice::from_ref;

/// Lets the sender meet a receiver that says this, whatever it hears, and then hangs up.
fn meet(source: &Path, answers: &[Answer], raw: &[u8]) -> Sent {
    let (mut ours, mut theirs) = pair();
    let mut bytes = Vec::new();
    answers.iter().for_each(|answer| answer.encode(&mut bytes));
    bytes.extend_from_slice(raw);
    thread::scope(|scope| {
        let attacker = scope.spawn(move || {
            // The first chunk holds the greeting and every entry.
            theirs.recv().unwrap();
            theirs.send(parcel(&bytes)).unwrap();
            theirs.finish();
            while let Ok(Some(chunk)) = theirs.recv() {
                theirs.recycle(chunk);
            }
        });
        let sent = job(from_ref(&source.to_path_buf())).run(&mut ours, &mut ());
        drop(ours);
        attacker.join().unwrap();
        sent
    })
}

fn item(index: u32, outcome: ItemOutcome) -> Answer {
    Answer::Item { index, outcome }
}

fn done(committed: u32) -> Answer {
    let counts = Counts { committed, ..Counts::default() };
    Answer::Done { status: Status::Complete, counts, command_status: 0 }
}

fn want(index: u32, prefixes: &[(u64, Hash)]) -> Answer {
    Answer::Want { index, prefixes: prefixes.to_vec() }
}

/// What else makes no sense, and in which order, is tested where it is decided: [`crate::transfer::offering`].
#[test]
fn answers_that_make_no_sense_end_the_transfer() {
    let home = Home::new();
    let tree = home.put("t/f", b"content").parent().unwrap().to_path_buf();
    let (dir, file) = (item(0, ItemOutcome::Committed), item(1, ItemOutcome::Committed));
    let ok = Answer::Accepted;
    let cases: Vec<(Vec<Answer>, Violation)> = vec![
        (vec![want(1, &[])], Violation::Hello),
        (vec![ok.clone(), want(1, &[]), want(1, &[])], Violation::Index),
        (vec![ok.clone(), dir.clone(), done(1)], Violation::Order),
        (vec![ok.clone(), dir.clone(), file.clone(), done(3)], Violation::Counts),
        (vec![ok.clone(), dir.clone(), want(1, &[]), done(1)], Violation::Counts),
        (vec![ok.clone(), dir, file, done(2), ok], Violation::Order),
    ];
    for (number, (answers, expected)) in cases.into_iter().enumerate() {
        match meet(&tree, &answers, &[]) {
            Err(TransferError::Violation(violation)) => {
                assert_eq!(violation, expected, "case {number}");
            }
            other => panic!("case {number}: {other:?}"),
        }
    }
}

#[test]
fn garbage_silence_and_refusal_have_their_own_errors() {
    let home = Home::new();
    let file = home.put("f", b"content");
    let garbage = meet(&file, &[Answer::Accepted], b"\x04\x01\0\0\0x");
    assert!(matches!(garbage, Err(TransferError::Malformed(Malformed::Type(4)))), "{garbage:?}");
    let silence = meet(&file, &[Answer::Accepted], &[]);
    assert!(matches!(silence, Err(TransferError::Truncated)), "{silence:?}");
    let refusal = meet(&file, &[Answer::Refused(Fault::TooLarge)], &[]);
    assert!(matches!(refusal, Err(TransferError::Refused(Fault::TooLarge))), "{refusal:?}");
}

#[test]
fn prefixes_that_are_not_ours_are_not_believed() {
    let home = Home::new();
    let content = noise(20, 300_000);
    let file = home.put("f", &content);
    let (mut ours, mut theirs) = pair();
    let wrong = [(100, [1; 32]), (300_000, *blake3::hash(&content).as_bytes()), (1 << 60, [2; 32])];
    let mut answers = Vec::new();
    Answer::Accepted.encode(&mut answers);
    want(0, &wrong).encode(&mut answers);
    let heard = thread::scope(|scope| {
        let sender = scope.spawn(move || job(from_ref(&file)).run(&mut ours, &mut ()).map(drop));
        let mut heard = theirs.recv().unwrap().unwrap().to_vec();
        theirs.send(parcel(&answers)).unwrap();
        while heard.len() < content.len() {
            heard.extend_from_slice(&theirs.recv().unwrap().unwrap());
        }
        drop(theirs);
        assert!(sender.join().unwrap().is_err());
        heard
    });
    let mut begin = Vec::new();
    Offer::Begin { index: 0, offset: 0 }.encode(&mut begin);
    assert!(heard.windows(begin.len()).any(|window| window == begin));
}

#[test]
fn a_file_the_receiver_gives_up_is_not_sent_to_its_end() {
    let home = Home::new();
    let file = home.put("f", &noise(21, 8 << 20));
    let (mut ours, mut theirs) = pair();
    let mut answers = Vec::new();
    Answer::Accepted.encode(&mut answers);
    want(0, &[]).encode(&mut answers);
    item(0, ItemOutcome::Failed(Fault::NoSpace)).encode(&mut answers);
    let counts = Counts { failed: 1, ..Counts::default() };
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(move || job(from_ref(&file)).run(&mut ours, &mut ()));
        theirs.recv().unwrap();
        theirs.send(parcel(&answers)).unwrap();
        let mut finish = Vec::new();
        Offer::Finish { entries: 1, skipped: 0 }.encode(&mut finish);
        let mut heard = Vec::new();
        while !heard.ends_with(&finish) {
            heard.extend_from_slice(&theirs.recv().unwrap().unwrap());
        }
        let mut done = Vec::new();
        let status = Status::LocalIo;
        Answer::Done { status, counts, command_status: 0 }.encode(&mut done);
        theirs.send(parcel(&done)).unwrap();
        sender.join().unwrap().unwrap()
    });
    assert_eq!((sent.status, sent.tally.failures[0].fault), (Status::LocalIo, Fault::NoSpace));
    assert!(sent.sent_bytes < 1 << 20, "{}", sent.sent_bytes);
}
