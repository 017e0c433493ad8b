use super::*;
use crate::transfer::encode::data_header;
use crate::transfer::item::{Kind, Mtime};
use crate::transfer::messages::{RawPath, VERSION};
use proptest::prelude::*;

fn bytes_of(offer: &Offer) -> Vec<u8> {
    let mut bytes = Vec::new();
    offer.encode(&mut bytes);
    bytes
}

fn hear(reception: &mut Reception, offer: &Offer) -> Result<Fact, Violation> {
    match reception.next(&mut &bytes_of(offer)[..]) {
        Ok(fact) => Ok(fact.expect("a whole message")),
        Err(TransferError::Violation(violation)) => Err(violation),
        Err(other) => panic!("{other:?}"),
    }
}

fn data(reception: &mut Reception, count: usize) -> Result<usize, Violation> {
    let bytes = [&data_header(count)[..], &vec![7; count]].concat();
    match reception.next(&mut &bytes[..]) {
        Ok(Some(Fact::Data(count))) => Ok(count),
        Err(TransferError::Violation(violation)) => Err(violation),
        other => panic!("{other:?}"),
    }
}

fn greeted(content: Content) -> Reception {
    let mut reception = Reception::default();
    let hello = Hello { version: VERSION, content, totals: None, name: Vec::new() };
    assert_eq!(hear(&mut reception, &Offer::Hello(hello.clone())), Ok(Fact::Hello(hello.clone())));
    reception.accept();
    assert_eq!(hear(&mut reception, &Offer::Hello(hello)), Err(Violation::Hello));
    reception
}

fn entry(index: u32, size: u64) -> Offer {
    let (mtime, path) = (Mtime { seconds: 0, nanos: 0 }, RawPath(vec![1, 1, b'f']));
    Offer::Entry(Entry { index, kind: Kind::File, mode: 0, mtime, size: Some(size), path })
}

/// A file of ten bytes that is wanted, or from its fourth on, and is under way from this offset.
fn under_way(offset: u64) -> Result<Reception, Violation> {
    let mut reception = greeted(Content::Files);
    hear(&mut reception, &entry(0, 10))?;
    reception.want(0, Some(10), vec![(4, [0; 32])]);
    hear(&mut reception, &Offer::Begin { index: 0, offset })?;
    Ok(reception)
}

#[test]
fn a_file_has_the_bytes_that_were_announced_from_an_offset_that_was_told() {
    assert_eq!(under_way(3).map(drop), Err(Violation::Offset));
    let end = Offer::End { index: 0, hash: [1; 32] };
    for (offset, count) in [(0, 10), (4, 6)] {
        let mut reception = under_way(offset).unwrap();
        assert_eq!(data(&mut reception, count), Ok(count));
        assert_eq!(hear(&mut reception, &end), Ok(Fact::End { index: 0, hash: [1; 32], length: 10 }));
        assert_eq!(hear(&mut reception, &end), Err(Violation::Index), "it has ended");
        assert_eq!(data(&mut under_way(offset).unwrap(), count + 1), Err(Violation::Length));
    }
    assert_eq!(hear(&mut under_way(0).unwrap(), &end), Err(Violation::Length));
}

#[test]
fn what_has_failed_here_may_break_off_but_not_grow() {
    let mut reception = under_way(0).unwrap();
    reception.settle(0, Fault::NoSpace.into());
    assert_eq!(data(&mut reception, 5), Ok(5));
    let hash = [1; 32];
    assert_eq!(hear(&mut reception, &Offer::End { index: 0, hash }), Ok(Fact::End { index: 0, hash, length: 5 }));
    let mut reception = under_way(0).unwrap();
    reception.settle(0, Fault::NoSpace.into());
    assert_eq!(data(&mut reception, 11), Err(Violation::Length));
}

#[test]
fn the_item_of_a_stream_is_told_once_and_its_rest_is_passed_over() {
    let mut reception = greeted(Content::Stream);
    assert_eq!(data(&mut reception, 5), Ok(5));
    reception.settle(0, Fault::Cancelled.into());
    let told = reception.answers().len();
    assert_eq!(data(&mut reception, 5), Ok(5));
    let finish = Offer::Finish { entries: 0, skipped: 0 };
    assert_eq!(hear(&mut reception, &finish), Ok(Fact::StreamEnd));
    reception.settle(0, ItemOutcome::Committed);
    assert_eq!(reception.answers().len(), told);
    assert_eq!(hear(&mut reception, &finish), Err(Violation::Order));
    assert_eq!(hear(&mut greeted(Content::Stream), &entry(0, 1)), Err(Violation::Order));
}

#[test]
fn what_is_compared_is_the_same_or_differs_as_it_was_asked() {
    let asked = |otherwise| {
        let mut reception = greeted(Content::Files);
        hear(&mut reception, &entry(0, 10)).unwrap();
        reception.have(0, Some(10), [0; 32], otherwise);
        reception
    };
    let (same, differs) = (Offer::Same { index: 0 }, Offer::Differs { index: 0 });
    let begin = Offer::Begin { index: 0, offset: 0 };
    for (otherwise, differs_ok) in [(IfDifferent::Leave, true), (IfDifferent::Send, false)] {
        assert!(hear(&mut asked(otherwise), &same).is_ok());
        assert_eq!(hear(&mut asked(otherwise), &differs).is_ok(), differs_ok);
        assert_eq!(hear(&mut asked(otherwise), &begin).is_ok(), !differs_ok);
    }
}

#[test]
fn no_more_entries_are_open_than_may_be() {
    let mut reception = greeted(Content::Files);
    let most = u32::try_from(OPEN_ENTRIES_MAX).unwrap();
    (0..most).for_each(|index| drop(hear(&mut reception, &entry(index, 0)).unwrap()));
    assert_eq!(hear(&mut reception, &entry(most, 0)), Err(Violation::Entries));
    let mut reception = greeted(Content::Files);
    assert_eq!(hear(&mut reception, &entry(1, 0)), Err(Violation::Index));
}

/// An offer by its number, of this item.
fn offer(kind: u8, index: u32, number: u64) -> Offer {
    match kind {
        0..3 => entry(index, number),
        3 => Offer::Begin { index, offset: number & 4 },
        4 => Offer::Hole(1 + number),
        5 => Offer::End { index, hash: [0; 32] },
        6 => Offer::Failed { index, fault: Fault::Io },
        7 => Offer::Same { index },
        8 => Offer::Differs { index },
        _ => Offer::Finish { entries: index, skipped: 0 },
    }
}

proptest! {
    /// Whatever comes: what is begun was asked for, once, and its length is what was announced.
    #[test]
    fn facts_follow_what_was_asked_for(
        offers in proptest::collection::vec((0..10_u8, prop_oneof![9 => Just(0_u32), 1 => 0..3_u32], 0..12_u64), 0..60),
    ) {
        let mut reception = greeted(Content::Files);
        let (mut next, mut asked, mut under_way) = (0, VecDeque::new(), None);
        for (kind, astray, number) in offers {
            let due: Option<(u32, Option<u64>)> = under_way.or(asked.front().copied());
            let index = if kind < 3 { next } else { due.map_or(0, |(index, _)| index) };
            match hear(&mut reception, &offer(kind, index + astray, number)) {
                // Then a transfer ends.
                Err(_) => break,
                Ok(Fact::Entry(entry)) => {
                    prop_assert!(under_way.is_none() && entry.index == next);
                    next += 1;
                    match number % 3 {
                        0 => reception.want(entry.index, entry.size, vec![(4, [0; 32])]),
                        1 => reception.have(entry.index, entry.size, [0; 32], IfDifferent::Send),
                        _ => reception.settle(entry.index, ItemOutcome::Committed),
                    }
                    asked.extend((number % 3 < 2).then_some((entry.index, entry.size)));
                }
                Ok(Fact::Begin { index, .. }) => {
                    prop_assert!(under_way.is_none() && asked[0].0 == index);
                    under_way = asked.pop_front();
                }
                Ok(Fact::End { index, length, .. }) => {
                    prop_assert_eq!(under_way.take(), Some((index, Some(length))));
                }
                Ok(Fact::Failed { index, .. }) => {
                    let gone = under_way.take().or_else(|| asked.pop_front());
                    prop_assert_eq!(gone.map(|gone| gone.0), Some(index));
                }
                Ok(Fact::Same { index }) => prop_assert_eq!(asked.pop_front().map(|gone| gone.0), Some(index)),
                Ok(Fact::Hole(_)) => prop_assert!(under_way.is_some()),
                Ok(Fact::Finish { .. }) => prop_assert!(asked.is_empty() && under_way.is_none()),
                Ok(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
