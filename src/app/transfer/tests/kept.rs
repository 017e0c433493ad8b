//! What was at the receiver before the transfer, and the promise that goes with "it is there".

use super::script::{entry, hello};
use super::*;
use crate::app::transfer::messages::*;
use crate::app::transfer::receiving::Receiver;
use crate::app::transfer::tree::TreeSink;
use crate::store::Fault;
use crate::store::inbox::Inbox;
use crate::store::source::Kind;
use std::os::unix::fs::symlink;
use std::time::Instant;

/// What a receiver answers about these items, all of them there already, when its disk fails or does not.
fn answers(home: &Home, overwrite: Overwrite, fault: Option<Fault>, offers: Vec<Offer>) -> Vec<Answer> {
    let mut inbox = Inbox::open(&home.inbox()).unwrap();
    inbox.planted_sync_fault = fault;
    let sink = Box::new(TreeSink::new(inbox, overwrite, SENDER, 1));
    let policy = ReceivePolicy { overwrite, ..ReceivePolicy::default() };
    let mut nobody = ();
    let mut receiver = Receiver::new(sink, policy, None, &mut nobody);
    let now = Instant::now();
    receiver.handle(hello(Content::Files, b""), now).unwrap();
    for offer in offers {
        receiver.handle(offer, now).unwrap();
    }
    assert!(receiver.answers().all(|answer| !matches!(answer, Answer::Item { .. })), "before it was synced");
    receiver.commit_if_due(receiver.deadline().unwrap());
    receiver.answers().collect()
}

#[test]
fn what_was_there_before_is_only_called_so_once_it_is_synced() {
    let home = Home::new();
    fs::create_dir(home.inbox().join("d")).unwrap();
    fs::write(home.inbox().join("d/f"), b"same").unwrap();
    symlink("f", home.inbox().join("d/l")).unwrap();
    let link = Kind::Link(b"f".to_vec());
    for overwrite in [Overwrite::Never, Overwrite::Rename, Overwrite::Yes] {
        for offers in [
            vec![entry(0, Kind::Directory, 0, &[b"d"])],
            vec![entry(0, Kind::File, 4, &[b"d", b"f"]), Offer::Same { index: 0 }],
            vec![entry(0, link.clone(), 0, &[b"d", b"l"])],
        ] {
            for (fault, outcome) in [(None, ItemOutcome::Exists), (Some(Fault::Io), ItemOutcome::Failed(Fault::Io))] {
                let said = answers(&home, overwrite, fault, offers.clone());
                assert_eq!(said, [Answer::Item { index: 0, outcome }], "{overwrite:?} {offers:?}");
            }
        }
    }
    assert_eq!(names(&home.inbox().join("d")), ["f", "l"]);
}
