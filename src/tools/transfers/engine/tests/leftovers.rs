//! What runs that did not come to their ends have left unfinished, when another run of the same sender does.

use super::script::{Say, WHEN, encoded, entry, hello, tell, tell_bytes};
use super::*;
use crate::store::attributes::Attributes;
use crate::store::inbox::Inbox;
use crate::tools::transfers::engine::receiving::Receiver;
use crate::tools::transfers::engine::tree::TreeSink;
use crate::transfer::item::Kind;
use crate::transfer::messages::*;
use std::os::unix::fs::PermissionsExt;
use std::slice::from_ref;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A receiver that has been offered `t/f`, and has half of it.
fn halfway<'p>(home: &Home, run: u64, nobody: &'p mut ()) -> Receiver<'p, 'static> {
    let sink = Box::new(TreeSink::new(Inbox::open(&home.inbox()).unwrap(), Overwrite::Never, SENDER, run));
    let mut receiver = Receiver::new(sink, ReceivePolicy::default(), None, nobody);
    offer_half(&mut receiver);
    receiver
}

fn offer_half(receiver: &mut Receiver<'_, '_>) {
    tell(receiver, hello(Content::Files, b""));
    tell(receiver, entry(0, Kind::Directory, 0, &[b"t"]));
    tell(receiver, entry(1, Kind::File, 8, &[b"t", b"f"]));
    tell_bytes(receiver, &encoded([Offer::Begin { index: 1, offset: 0 }.into(), Say::Data(b"half")]));
}

fn finish(mut receiver: Receiver<'_, '_>) -> ReceiveOutcome {
    let end = Offer::End { index: 1, hash: blake3::hash(b"half and").into() };
    tell_bytes(&mut receiver, &encoded([Say::Data(b" and"), end.into()]));
    receiver.commit();
    tell(&mut receiver, Offer::Finish { entries: 2, skipped: 0 });
    receiver.into_outcome()
}

fn break_off(mut receiver: Receiver<'_, '_>) {
    receiver.rescue();
}

#[test]
fn what_a_second_run_left_that_was_killed_beside_the_first_goes_with_the_file() {
    let home = Home::new();
    let mut nobody = [(), ()];
    let [first, second] = &mut nobody;
    let (first, second) = (halfway(&home, 0xf1, first), halfway(&home, 0xf2, second));
    assert_eq!(names(&home.inbox().join("t")).len(), 2, "two are on their way");
    break_off(second);
    assert_eq!(names(&home.inbox().join("t")).len(), 2, "what has come is kept");
    assert_eq!(finish(first).status, Status::Complete);
    assert_eq!(names(&home.inbox().join("t")), ["f"]);
    assert_eq!(fs::metadata(home.inbox().join("t")).unwrap().mtime(), WHEN.seconds, "its time is set last");
}

#[test]
fn what_a_second_run_has_goes_when_that_is_killed_after_the_first_has_ended() {
    let home = Home::new();
    let mut nobody = [(), ()];
    let [first, second] = &mut nobody;
    let (first, second) = (halfway(&home, 0xf4, first), halfway(&home, 0xf5, second));
    let began = SystemTime::now();
    assert_eq!(finish(first).status, Status::Complete);
    // The kernel's clock for files may be some milliseconds behind.
    let there = home.inbox().join("t/f");
    let time_of =
        |meta: fs::Metadata| Duration::new(meta.ctime().try_into().unwrap(), meta.ctime_nsec().try_into().unwrap());
    let mut changes = 0..1 << 20;
    while UNIX_EPOCH + time_of(fs::metadata(&there).unwrap()) < began {
        assert!(changes.next().is_some(), "the clock stands still");
        fs::set_permissions(&there, PermissionsExt::from_mode(0o700)).unwrap();
    }
    break_off(second);
    assert_eq!(names(&home.inbox().join("t")), ["f"]);
    assert_eq!(fs::metadata(home.inbox().join("t")).unwrap().mtime(), WHEN.seconds, "the first has set its time");
}

#[test]
fn what_differs_from_a_file_of_the_same_size_and_time_is_gone_on_with() {
    let home = Home::new();
    let mut nobody = ();
    fs::create_dir(home.inbox().join("t")).unwrap();
    let there = home.inbox().join("t/f");
    fs::write(&there, b"damaged!").unwrap();
    let announced = Attributes { mode: 0o755, mtime: WHEN };
    announced.set(fs::File::open(&there).unwrap()).unwrap();
    let sink = Box::new(TreeSink::new(Inbox::open(&home.inbox()).unwrap(), Overwrite::Yes, SENDER, 0xf6));
    let mut receiver = Receiver::new(sink, ReceivePolicy::default(), None, &mut nobody);
    offer_half(&mut receiver);
    break_off(receiver);
    assert_eq!(names(&home.inbox().join("t")).len(), 2);
}

#[test]
fn what_an_interrupted_run_left_goes_when_the_file_is_there_by_other_ways() {
    for overwrite in [Overwrite::Never, Overwrite::Rename, Overwrite::Yes] {
        // Put there by a copy that keeps times, or by one that does not.
        for same_time in [true, false] {
            let home = Home::new();
            let mut nobody = ();
            break_off(halfway(&home, 0xf3, &mut nobody));
            let source = home.put("t/f", b"half and");
            let announced = Attributes { mode: 0o755, mtime: WHEN };
            announced.set(fs::File::open(&source).unwrap()).unwrap();
            let there = home.inbox().join("t/f");
            fs::write(&there, b"half and").unwrap();
            if same_time {
                announced.set(fs::File::open(&there).unwrap()).unwrap();
            }
            let tree = home.from("t");
            let (sent, _) = run(job(from_ref(&tree)), into_with(&home.inbox(), overwrite));
            assert!(sent.tally.failures.is_empty(), "{sent:?}");
            let names = names(&home.inbox().join("t"));
            assert!(names.iter().all(|name| !name.starts_with(".vp-part.")), "{overwrite:?} {same_time} {names:?}");
        }
    }
}
