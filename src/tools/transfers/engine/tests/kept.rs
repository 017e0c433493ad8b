//! What was at the receiver before the transfer, and the promise that goes with "it is there".

use super::script::{Say, WHEN, encoded, entry, hello, tell, tell_bytes, told};
use super::*;
use crate::store::attributes::Attributes;
use crate::store::inbox::Inbox;
use crate::store::part::{PartFile, PartKey, PartName};
use crate::tools::transfers::engine::receiving::Receiver;
use crate::tools::transfers::engine::tree::TreeSink;
use crate::transfer::Fault;
use crate::transfer::item::{Kind, Mtime, Totals};
use crate::transfer::messages::*;
use crate::transfer::path::TreePath;
use std::os::unix::fs::symlink;
use std::time::Instant;

/// What a receiver answers about these items, all of them there already, when its disk fails or does not.
fn answers(home: &Home, overwrite: Overwrite, fault: Option<Fault>, offers: Vec<Offer>) -> Vec<Answer> {
    let mut inbox = Inbox::open(&home.inbox()).unwrap();
    inbox.planted.sync_fault = fault;
    let sink = Box::new(TreeSink::new(inbox, overwrite, SENDER, 1));
    let policy = ReceivePolicy { overwrite, ..ReceivePolicy::default() };
    let mut nobody = ();
    let mut receiver = Receiver::new(sink, policy, None, &mut nobody);
    tell(&mut receiver, hello(Content::Files, b""));
    offers.into_iter().for_each(|offer| tell(&mut receiver, offer));
    assert!(told(&mut receiver).iter().all(|answer| !matches!(answer, Answer::Item { .. })), "before it was synced");
    receiver.commit_if_due(receiver.deadline(Instant::now()).unwrap());
    told(&mut receiver)
}

#[test]
fn what_was_there_before_is_only_called_so_once_it_is_synced() {
    let home = Home::new();
    fs::create_dir(home.inbox().join("d")).unwrap();
    fs::write(home.inbox().join("d/f"), b"same").unwrap();
    symlink("f", home.inbox().join("d/l")).unwrap();
    // As they will be announced.
    let announced = Attributes { mode: 0o755, mtime: WHEN };
    for path in ["d", "d/f"] {
        announced.set(std::fs::File::open(home.inbox().join(path)).unwrap()).unwrap();
    }
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

/// A small tree would take as long as a file waits for others that share its sync.
#[test]
fn what_has_come_whole_waits_for_no_company() {
    let home = Home::new();
    let sink = Box::new(TreeSink::new(Inbox::open(&home.inbox()).unwrap(), Overwrite::Never, SENDER, 1));
    let mut nobody = ();
    let mut receiver = Receiver::new(sink, ReceivePolicy::default(), None, &mut nobody);
    let totals = Some(Totals { items: 3, bytes: 8 });
    tell(&mut receiver, Offer::Hello(Hello { version: VERSION, content: Content::Files, totals, name: Vec::new() }));
    let now = Instant::now();
    let is_due = |receiver: &Receiver<'_, '_>| receiver.deadline(now).map(|deadline| deadline <= now);
    assert_eq!(is_due(&receiver), None);
    tell(&mut receiver, entry(0, Kind::Directory, 0, &[b"d"]));
    tell(&mut receiver, entry(1, Kind::File, 4, &[b"d", b"e"]));
    bring(&mut receiver, 1, b"some");
    assert_eq!(is_due(&receiver), Some(false), "another is to be offered");
    tell(&mut receiver, entry(2, Kind::File, 4, &[b"d", b"f"]));
    assert_eq!(is_due(&receiver), Some(false), "it has not come");
    tell(&mut receiver, Offer::Begin { index: 2, offset: 0 });
    assert_eq!(is_due(&receiver), Some(false), "it is coming");
    tell_bytes(
        &mut receiver,
        &encoded([Say::Data(b"more"), Offer::End { index: 2, hash: blake3::hash(b"more").into() }.into()]),
    );
    assert_eq!(is_due(&receiver), Some(true));
    assert!(told(&mut receiver).iter().all(|answer| !matches!(answer, Answer::Item { .. })));
    receiver.commit_if_due(now);
    assert_eq!(is_due(&receiver), None);
    assert_eq!(told(&mut receiver).iter().filter(|answer| matches!(answer, Answer::Item { .. })).count(), 3);
}

/// A receiver whose file system folds case, or is said to. Nothing but the test makes one name of two.
fn overwriting<'p>(home: &Home, folds: bool, nobody: &'p mut ()) -> Receiver<'p, 'static> {
    let mut inbox = Inbox::open(&home.inbox()).unwrap();
    inbox.planted.folding = folds;
    let sink = Box::new(TreeSink::new(inbox, Overwrite::Yes, SENDER, 1));
    let mut receiver = Receiver::new(sink, ReceivePolicy::default(), None, nobody);
    tell(&mut receiver, hello(Content::Files, b""));
    receiver
}

/// What each item has come to.
fn outcomes(receiver: &mut Receiver<'_, '_>) -> Vec<(u32, ItemOutcome)> {
    receiver.commit();
    let item = |answer| if let Answer::Item { index, outcome } = answer { Some((index, outcome)) } else { None };
    told(receiver).into_iter().filter_map(item).collect()
}

fn bring(receiver: &mut Receiver<'_, '_>, index: u32, content: &'static [u8]) {
    let hash = blake3::hash(content).into();
    let said = [Offer::Begin { index, offset: 0 }.into(), Say::Data(content), Offer::End { index, hash }.into()];
    tell_bytes(receiver, &encoded(said));
}

#[test]
fn what_is_kept_is_not_replaced_by_what_the_file_system_takes_for_the_same() {
    for (folds, second) in [(true, ItemOutcome::Refused(Fault::Duplicate)), (false, ItemOutcome::Committed)] {
        let home = Home::new();
        fs::write(home.inbox().join("README"), "kept").unwrap();
        fs::hard_link(home.inbox().join("README"), home.inbox().join("readme")).unwrap();
        let mut nobody = ();
        let mut receiver = overwriting(&home, folds, &mut nobody);
        for (index, name) in [(0, b"README"), (1, b"readme")] {
            tell(&mut receiver, entry(index, Kind::File, 4, &[name]));
        }
        tell(&mut receiver, Offer::Same { index: 0 });
        bring(&mut receiver, 1, b"else");
        assert_eq!(outcomes(&mut receiver), [(0, ItemOutcome::Exists), (1, second)]);
    }
}

#[test]
fn what_was_replaced_meanwhile_under_another_name_is_not_said_to_be_there() {
    let home = Home::new();
    fs::write(home.inbox().join("README"), "kept").unwrap();
    let mut nobody = ();
    let mut receiver = overwriting(&home, true, &mut nobody);
    for (index, name) in [(0, b"readme"), (1, b"README")] {
        tell(&mut receiver, entry(index, Kind::File, 4, &[name]));
    }
    bring(&mut receiver, 0, b"else");
    assert_eq!(outcomes(&mut receiver), [(0, ItemOutcome::Committed)]);
    fs::rename(home.inbox().join("readme"), home.inbox().join("README")).unwrap();
    tell(&mut receiver, Offer::Same { index: 1 });
    assert_eq!(outcomes(&mut receiver), [(1, ItemOutcome::Refused(Fault::Duplicate))]);
}

/// Whoever is told that all is there looks for it where it belongs.
#[test]
fn what_went_into_a_directory_that_was_moved_away_meanwhile_is_not_called_complete() {
    for (was_there, stays, status) in
        [(true, true, Status::Complete), (true, false, Status::Partial), (false, false, Status::Partial)]
    {
        let home = Home::new();
        let (tree, elsewhere) = (home.inbox().join("t"), home.inbox().join("elsewhere"));
        fs::create_dir(&elsewhere).unwrap();
        if was_there {
            fs::create_dir(&tree).unwrap();
        }
        let mut nobody = ();
        let mut receiver = overwriting(&home, false, &mut nobody);
        tell(&mut receiver, entry(0, Kind::Directory, 0, &[b"t"]));
        tell(&mut receiver, entry(1, Kind::File, 4, &[b"t", b"f"]));
        bring(&mut receiver, 1, b"text");
        if !stays {
            fs::rename(&tree, home.inbox().join("moved")).unwrap();
            std::os::unix::fs::symlink("elsewhere", &tree).unwrap();
        }
        tell(&mut receiver, Offer::Finish { entries: 2, skipped: 0 });
        let done = told(&mut receiver).pop();
        assert!(matches!(done, Some(Answer::Done { status: said, .. }) if said == status), "{done:?}");
        assert_eq!(names(&elsewhere), [""; 0]);
    }
}

#[test]
fn a_directory_is_not_replaced_by_what_the_file_system_takes_for_the_same() {
    for is_there in [true, false] {
        let home = Home::new();
        if is_there {
            fs::create_dir(home.inbox().join("README")).unwrap();
        }
        let mut nobody = ();
        let mut receiver = overwriting(&home, true, &mut nobody);
        tell(&mut receiver, entry(0, Kind::Directory, 0, &[b"README"]));
        // As a file system that folds case would show it.
        fs::rename(home.inbox().join("README"), home.inbox().join("readme")).unwrap();
        tell(&mut receiver, entry(1, Kind::File, 4, &[b"readme"]));
        bring(&mut receiver, 1, b"else");
        let first = if is_there { ItemOutcome::Exists } else { ItemOutcome::Committed };
        assert_eq!(outcomes(&mut receiver), [(0, first), (1, ItemOutcome::Refused(Fault::Duplicate))]);
        assert!(home.inbox().join("readme").is_dir());
    }
}

#[test]
fn a_link_is_not_replaced_by_what_the_file_system_takes_for_the_same() {
    let link = |index, name: &[u8], target: &[u8]| entry(index, Kind::Link(target.to_vec()), 0, &[b"d", name]);
    for is_kept in [true, false] {
        let home = Home::new();
        let directory = home.inbox().join("d");
        fs::create_dir(&directory).unwrap();
        if is_kept {
            symlink("x", directory.join("l")).unwrap();
        }
        let mut nobody = ();
        let mut receiver = overwriting(&home, true, &mut nobody);
        tell(&mut receiver, entry(0, Kind::Directory, 0, &[b"d"]));
        tell(&mut receiver, link(1, b"l", b"x"));
        fs::hard_link(directory.join("l"), directory.join("L")).unwrap();
        tell(&mut receiver, link(2, b"L", b"y"));
        let first = if is_kept { ItemOutcome::Exists } else { ItemOutcome::Committed };
        let all = [(0, ItemOutcome::Exists), (1, first), (2, ItemOutcome::Refused(Fault::Duplicate))];
        assert_eq!(outcomes(&mut receiver), all);
        assert_eq!(names(&directory), ["L", "l"], "nothing half-made stays");
    }
}

/// The last that was reported: bytes done, and those of them that did not move.
#[derive(Default)]
struct Last(u64, u64);

impl Progress for Last {
    fn report(&mut self, at: Snapshot<'_>) {
        (self.0, self.1) = (at.bytes_done, at.bytes_skipped);
    }
}

#[test]
fn what_need_not_move_is_counted_as_done_and_not_for_speed() {
    let home = Home::new();
    let files = [("different", 3), ("half", 100_000), ("new", 50), ("same", 2_000)];
    let sources: Vec<_> = files.iter().map(|(name, bytes)| home.put(name, &noise(40, *bytes))).collect();
    let hole = home.from("hole");
    fs::File::create(&hole).unwrap().set_len(1 << 20).unwrap();
    fs::write(home.inbox().join("same"), noise(40, 2_000)).unwrap();
    fs::write(home.inbox().join("different"), b"???").unwrap();
    // An earlier run got this far.
    let mut early = Inbox::open(&home.inbox()).unwrap();
    let path = TreePath::top(b"half").unwrap();
    let meta = fs::metadata(&sources[1]).unwrap();
    let mtime = Mtime { seconds: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap() };
    let name = PartName { key: PartKey::new(&SENDER, &path, 100_000, mtime), run: 5 };
    let mut part = PartFile::create(&early.directory(b"").unwrap(), &name).unwrap();
    part.write(&noise(40, 60_000)).unwrap();
    drop(part);

    let send = job(&[&sources[..], &[hole]].concat());
    let (mut sending, mut receiving) = (Last::default(), Last::default());
    let (mut ours, mut theirs) = pair();
    let (sent, got) = thread::scope(|scope| {
        let sender = scope.spawn(|| send.run(&mut ours, &mut sending));
        let got = into(&home.inbox()).run(&mut theirs, &mut receiving);
        (sender.join().unwrap().unwrap(), got.unwrap())
    });
    let total = 3 + 100_000 + 50 + 2_000 + (1 << 20);
    for (last, moved) in [(sending, sent.sent_bytes), (receiving, got.received_bytes)] {
        assert_eq!(moved, 40_000 + 50);
        assert_eq!((last.0, last.1), (total, total - moved));
    }
}
