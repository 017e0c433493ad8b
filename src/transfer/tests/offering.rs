use super::*;
use crate::transfer::item::{Kind, Mtime};
use crate::transfer::messages::RawPath;
use proptest::prelude::*;

/// An answer by its number, about this item.
fn answer(kind: u8, index: u32, number: u32) -> Answer {
    let outcome = match number % 4 {
        0 => ItemOutcome::Committed,
        1 => ItemOutcome::Exists,
        2 => ItemOutcome::Refused(Fault::Exists),
        _ => ItemOutcome::Failed(Fault::Io),
    };
    match kind {
        0 => Answer::Accepted,
        1 => Answer::Refused(Fault::TooLarge),
        2 | 3 => Answer::Want { index, prefixes: vec![(4, [0; 32])] },
        4 => Answer::Have { index, otherwise: IfDifferent::Send, hash: [0; 32] },
        _ => Answer::Item { index, outcome },
    }
}

fn bytes_of(answers: &[Answer]) -> Vec<u8> {
    let mut bytes = Vec::new();
    answers.iter().for_each(|answer| answer.encode(&mut bytes));
    bytes
}

fn want(index: u32) -> Answer {
    Answer::Want { index, prefixes: Vec::new() }
}

fn item(index: u32) -> Answer {
    Answer::Item { index, outcome: ItemOutcome::Committed }
}

fn done(committed: u32) -> Answer {
    let counts = Counts { committed, ..Counts::default() };
    Answer::Done { status: Status::Complete, counts, command_status: 0 }
}

fn entry(index: u32, kind: Kind) -> Entry {
    let (mtime, path) = (Mtime { seconds: 0, nanos: 0 }, RawPath(vec![1, 1, b'f']));
    let size = if kind == Kind::File { 10 } else { 0 };
    Entry { index, kind, mode: 0, mtime, size: Some(size), path }
}

/// A directory and then files, so many items in all, all announced.
fn announced(items: u32) -> Offering {
    let mut offering = Offering::files(Vec::new(), None, Compression::Off);
    for index in 0..items {
        assert_eq!(offering.next_index(), Some(index));
        offering.announce(entry(index, if index == 0 { Kind::Directory } else { Kind::File }));
    }
    offering
}

fn stream() -> Offering {
    Offering::stream(b"name".to_vec(), Compression::Off)
}

/// What was settled by these bytes, which come in pieces of so many.
fn hear(offering: &mut Offering, bytes: &[u8], piece_bytes: usize) -> Result<Vec<Settled>, TransferError> {
    let mut settled = Vec::new();
    for mut piece in bytes.chunks(piece_bytes) {
        while let Some(one) = offering.next(&mut piece)? {
            settled.push(one);
        }
    }
    Ok(settled)
}

/// Whether two receivers heard the same, or found the same wrong.
fn is_same(one: &Result<Vec<Settled>, TransferError>, other: &Result<Vec<Settled>, TransferError>) -> bool {
    use TransferError::{Malformed, Refused, Violation};
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(Malformed(one)), Err(Malformed(other))) => one == other,
        (Err(Violation(one)), Err(Violation(other))) => one == other,
        (Err(Refused(one)), Err(Refused(other))) => one == other,
        _ => false,
    }
}

/// Deals with all that was asked for, and says the end when it may be said.
fn deal(offering: &mut Offering) {
    while let Some(Asked { index, .. }) = offering.poll_asked() {
        offering.end_file(index, FileEnd::Sent([0; 32]));
    }
    if offering.is_all_dealt_with() && !offering.is_finished() {
        offering.finish(0);
    }
}

/// How it goes with a receiver that says all this at once.
fn play(offering: &mut Offering, answers: &[Answer]) -> Result<Option<LastWord>, TransferError> {
    hear(offering, &bytes_of(answers), usize::MAX)?;
    deal(offering);
    Ok(offering.ending()?)
}

/// What was said so far.
fn said(offering: &mut Offering) -> Vec<Offer> {
    let bytes = std::mem::take(offering.offers());
    let (mut decoder, mut input, mut offers) = (Decoder::default(), &bytes[..], Vec::new());
    while let Some(Piece::Message(offer)) = decoder.next(&mut input).unwrap() {
        offers.push(offer);
    }
    offers
}

#[test]
fn answers_about_files_that_make_no_sense_are_violations() {
    let have = Answer::Have { index: 1, otherwise: IfDifferent::Send, hash: [0; 32] };
    let ok = Answer::Accepted;
    let cases: [(&[Answer], Violation); 18] = [
        (&[want(1)], Violation::Hello),
        (&[item(1)], Violation::Hello),
        (&[done(0)], Violation::Hello),
        (&[ok.clone(), ok.clone()], Violation::Order),
        (&[ok.clone(), Answer::Refused(Fault::Io)], Violation::Order),
        (&[ok.clone(), want(2)], Violation::Index),
        (&[ok.clone(), want(u32::MAX)], Violation::Index),
        (&[ok.clone(), want(0)], Violation::Index),
        (&[ok.clone(), answer(4, 0, 0)], Violation::Index),
        (&[ok.clone(), want(1), want(1)], Violation::Index),
        (&[ok.clone(), want(1), have], Violation::Index),
        (&[ok.clone(), item(2)], Violation::Index),
        (&[ok.clone(), item(1), item(1)], Violation::Index),
        (&[ok.clone(), item(1), want(1)], Violation::Index),
        (&[ok.clone(), item(0), done(1)], Violation::Order),
        (&[ok.clone(), item(0), item(1), done(3)], Violation::Counts),
        (&[ok.clone(), item(0), want(1), done(1)], Violation::Counts),
        (&[ok.clone(), item(0), item(1), done(2), ok.clone()], Violation::Order),
    ];
    for (number, (answers, expected)) in cases.into_iter().enumerate() {
        match play(&mut announced(2), answers) {
            Err(TransferError::Violation(violation)) => assert_eq!(violation, expected, "case {number}"),
            other => panic!("case {number}: {other:?}"),
        }
    }
    let end = Some(LastWord { status: Status::Complete, command_status: None });
    let good = play(&mut announced(2), &[ok, item(0), item(1), done(2)]);
    assert_eq!(good.unwrap(), end, "this is how it should be");
}

#[test]
fn answers_about_a_stream_that_make_no_sense_are_violations() {
    let ok = Answer::Accepted;
    let failed = |command_status| Answer::Done {
        status: Status::CommandFailed,
        counts: Counts { committed: 1, ..Counts::default() },
        command_status,
    };
    let nothing = Answer::Done { status: Status::NothingToDo, counts: Counts::default(), command_status: 0 };
    let cases: [(&[Answer], Violation); 9] = [
        (&[item(0)], Violation::Hello),
        (&[ok.clone(), ok.clone()], Violation::Order),
        (&[ok.clone(), want(0)], Violation::Order),
        (&[ok.clone(), item(1)], Violation::Order),
        (&[ok.clone(), item(0), item(0)], Violation::Order),
        (&[ok.clone(), done(1)], Violation::Order),
        (&[ok.clone(), item(0), done(0)], Violation::Counts),
        (&[ok.clone(), item(0), nothing], Violation::Counts),
        (&[ok.clone(), item(0), done(1), done(1)], Violation::Order),
    ];
    for (number, (answers, expected)) in cases.into_iter().enumerate() {
        let mut offering = stream();
        offering.finish(0);
        match play(&mut offering, answers) {
            Err(TransferError::Violation(violation)) => assert_eq!(violation, expected, "case {number}"),
            other => panic!("case {number}: {other:?}"),
        }
    }
    for (last, command_status) in [(done(1), None), (failed(3), Some(3))] {
        let mut offering = stream();
        offering.finish(0);
        let end = play(&mut offering, &[ok.clone(), item(0), last]).unwrap().unwrap();
        assert_eq!(end.command_status, command_status);
        assert_eq!(offering.stream_outcome(), Some(ItemOutcome::Committed));
    }
    let early = hear(&mut stream(), &bytes_of(&[ok, item(0), done(1)]), 1);
    assert!(matches!(early, Err(TransferError::Violation(Violation::Order))), "before END: {early:?}");
}

#[test]
fn a_stream_is_said_from_its_greeting_to_its_end() {
    let mut offering = stream();
    let mut expected = Vec::new();
    let hello = Hello { version: VERSION, content: Content::Stream, totals: None, name: b"name".to_vec() };
    Offer::Hello(hello).encode(&mut expected);
    offering.copy(b"content");
    expected.extend_from_slice(b"\x04\x07\0\0\0content");
    assert_eq!(offering.data(3), *b"\x04\x03\0\0\0");
    offering.finish(0);
    Offer::Finish { entries: 0, skipped: 0 }.encode(&mut expected);
    assert_eq!(*offering.offers(), expected);
    assert_eq!(offering.content_bytes(), 10);
}

#[test]
fn the_end_may_be_said_before_it_is_told_what_became_of_a_directory() {
    let mut offering = announced(2);
    hear(&mut offering, &bytes_of(&[Answer::Accepted]), 1).unwrap();
    assert!(!offering.is_all_dealt_with(), "the file may be asked for");
    hear(&mut offering, &bytes_of(&[want(1)]), 1).unwrap();
    assert!(!offering.is_all_dealt_with(), "it was");
    assert!(matches!(offering.poll_asked(), Some(Asked { index: 1, .. })));
    offering.end_file(1, FileEnd::Sent([0; 32]));
    assert!(offering.is_all_dealt_with() && !offering.is_settled(0));
    offering.finish(0);
    assert_eq!(
        play(&mut offering, &[item(0), item(1), done(2)]).unwrap().map(|last| last.status),
        Some(Status::Complete)
    );
}

#[test]
fn files_are_asked_for_in_order_and_our_faults_come_back_as_ours() {
    let mut offering = announced(4);
    said(&mut offering);
    let asks = [Answer::Accepted, item(0), want(2), answer(4, 1, 0), want(3)];
    assert_eq!(hear(&mut offering, &bytes_of(&asks), 1).unwrap().len(), 1);
    assert!(offering.is_accepted() && !offering.is_all_dealt_with());
    let mut order = Vec::new();
    for end in [FileEnd::Failed(Fault::Changed), FileEnd::Same, FileEnd::Failed(Fault::Cancelled)] {
        let Asked { index, .. } = offering.poll_asked().unwrap();
        order.push(index);
        if index == 3 {
            let there = hear(&mut offering, &bytes_of(&[answer(5, 3, 3)]), 1).unwrap();
            assert_eq!(there[0].side, Side::There, "it failed there first");
            assert!(offering.is_settled(3));
        }
        offering.end_file(index, end);
    }
    assert_eq!(order, [2, 1, 3]);
    let here = hear(&mut offering, &bytes_of(&[answer(5, 2, 3), answer(5, 1, 1)]), 1).unwrap();
    assert_eq!(here.iter().map(|one| one.side).collect::<Vec<_>>(), [Side::Here, Side::There]);
    deal(&mut offering);
    let (failed, cancelled) = (Fault::Changed, Fault::Cancelled);
    assert_eq!(
        said(&mut offering),
        [
            Offer::Failed { index: 2, fault: failed },
            Offer::Same { index: 1 },
            Offer::Failed { index: 3, fault: cancelled },
            Offer::Finish { entries: 4, skipped: 0 },
        ]
    );
}

#[test]
fn no_more_items_are_open_than_may_be() {
    let most = u32::try_from(OPEN_ENTRIES_MAX).unwrap();
    let mut offering = announced(most);
    assert!(!offering.has_room());
    hear(&mut offering, &bytes_of(&[Answer::Accepted, item(1)]), 1).unwrap();
    assert!(!offering.has_room(), "the first is still open");
    hear(&mut offering, &bytes_of(&[item(0)]), 1).unwrap();
    assert!(offering.has_room());
    assert_eq!((stream().has_room(), stream().next_index()), (false, None));
}

proptest! {
    /// Whatever is answered, and in whatever pieces it comes: each item is settled once and each file is asked for once, by a
    /// receiver that has accepted; and a last word is believed only if it fits.
    #[test]
    fn what_is_settled_fits_what_was_announced(
        answers in proptest::collection::vec((prop_oneof![1 => Just(1_u8), 12 => 2..9_u8], 0..6_u32, 0..4_u32), 0..12),
        greets in prop_oneof![9 => Just(true), 1 => Just(false)],
        astray in prop_oneof![9 => Just(0_u32), 1 => Just(1_u32)],
        piece_bytes in prop_oneof![Just(1_usize), 1..40_usize],
    ) {
        let mut offering = announced(5);
        let accepted = greets.then_some(Answer::Accepted);
        let said = accepted.into_iter().chain(answers.iter().map(|&(kind, index, number)| answer(kind, index, number)));
        let bytes = bytes_of(&said.collect::<Vec<_>>());
        let whole = hear(&mut announced(5), &bytes, usize::MAX);
        let pieces = hear(&mut offering, &bytes, piece_bytes);
        prop_assert!(is_same(&whole, &pieces), "{:?} {:?}", whole, pieces);
        // Then a transfer ends.
        let Ok(mut settled) = pieces else { return Ok(()) };
        prop_assert!(greets || settled.is_empty());
        let mut asked = Vec::new();
        while let Some(Asked { index, .. }) = offering.poll_asked() {
            asked.push(index);
            offering.end_file(index, FileEnd::Same);
        }
        deal(&mut offering);
        let (mut once, open) = (asked.clone(), (0..5).filter(|index| !offering.is_settled(*index)).count());
        once.sort_unstable();
        once.dedup();
        prop_assert!(once.len() == asked.len() && once.iter().all(|index| (1..5).contains(index)));
        settled.sort_unstable_by_key(|one| one.index);
        settled.dedup_by_key(|one| one.index);
        prop_assert_eq!(settled.len() + open, 5);
        let mut counts = Counts::default();
        settled.iter().for_each(|one| one.outcome.count(&mut counts));
        counts.failed += astray;
        let last = Answer::Done { status: Status::Partial, counts, command_status: 0 };
        let end = hear(&mut offering, &bytes_of(&[last]), piece_bytes).and_then(|_| Ok(offering.ending()?));
        prop_assert_eq!(end.is_ok(), greets && open == 0 && astray == 0, "{:?}", end);
    }
}
