//! What a sender can make the receiver remember.

use super::script::{entry, hello, tell, told};
use super::*;
use crate::store::inbox::Inbox;
use crate::tools::transfers::engine::receiving::Receiver;
use crate::tools::transfers::engine::tree::TreeSink;
use crate::transfer::Fault;
use crate::transfer::item::Kind;
use crate::transfer::messages::*;

fn sink(home: &Home) -> Box<TreeSink> {
    let inbox = Inbox::open(&home.inbox()).unwrap();
    Box::new(TreeSink::new(inbox, Overwrite::Never, SENDER, 1))
}

#[test]
fn nothing_of_a_refused_item_is_kept() {
    let home = Home::new();
    let policy = ReceivePolicy { items_max: Some(200), ..ReceivePolicy::default() };
    let mut nobody = ();
    let mut receiver = Receiver::new(sink(&home), policy, None, &mut nobody);
    tell(&mut receiver, hello(Content::Files, b""));
    for index in 0..300_u32 {
        let name = format!("{index:0200}");
        let link = Kind::Link(vec![b'x'; 4_095]); // never taken at the top
        tell(&mut receiver, entry(index, link, 0, &[name.as_bytes()]));
    }
    assert_eq!(told(&mut receiver).iter().filter(|answer| matches!(answer, Answer::Item { .. })).count(), 300);
    assert_eq!(receiver.items.tops.len(), 0);
    assert_eq!(receiver.arriving.admission.remembered(), 200);
    // The twin: what is taken is kept.
    let mut receiver = Receiver::new(sink(&home), ReceivePolicy::default(), None, &mut nobody);
    tell(&mut receiver, hello(Content::Files, b""));
    tell(&mut receiver, entry(0, Kind::Directory, 0, &[b"d"]));
    tell(&mut receiver, entry(1, Kind::Directory, 0, &[b"d", b"e"]));
    assert_eq!(receiver.items.tops.len(), 1);
}

#[test]
fn paths_of_directories_are_kept_up_to_a_bound() {
    let home = Home::new();
    let mut sink = sink(&home);
    sink.directories.bytes_left = 1_000;
    let mut nobody = ();
    let mut receiver = Receiver::new(sink, ReceivePolicy::default(), None, &mut nobody);
    tell(&mut receiver, hello(Content::Files, b""));
    for index in 0..10_u32 {
        let name = format!("{index:0100}");
        tell(&mut receiver, entry(index, Kind::Directory, 0, &[name.as_bytes()]));
    }
    receiver.commit();
    let outcomes: Vec<_> = told(&mut receiver)
        .into_iter()
        .filter_map(|answer| if let Answer::Item { index, outcome } = answer { Some((index, outcome)) } else { None })
        .collect();
    for index in 0..10 {
        let outcome = if index < 6 { ItemOutcome::Committed } else { ItemOutcome::Refused(Fault::TooMany) };
        assert!(outcomes.contains(&(index, outcome)), "{index}: {outcomes:?}");
    }
    assert_eq!(names(&home.inbox()).len(), 6);
}
