//! What unfinished files are called, how they are written, and when they go.

use super::super::inbox::Inbox;
use super::*;
use rustix::fs::{Timespec, Timestamps};
use std::fs;

const WHEN: Mtime = Mtime { seconds: 5, nanos: 6 };

fn name(path: &TreePath, size: u64, run: u64) -> PartName {
    PartName { key: PartKey::new(&[7; 32], path, size, WHEN), run }
}

#[test]
fn names_are_read_back_and_others_are_not_ours() {
    let path = TreePath::top(b"f").unwrap();
    let ours = name(&path, 9, 3);
    assert_eq!(PartName::parse(ours.to_string().as_bytes()), Some(ours));
    let upper = ours.to_string().to_uppercase();
    for other in ["f", ".vp-part.", ".vp-part.1.2.3", &upper, &format!("{ours}.4")] {
        assert_eq!(PartName::parse(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn what_nobody_has_asked_for_in_a_month_goes_unless_somebody_writes_it() {
    let day = |days: i64| Timespec { tv_sec: now_seconds() - days * 24 * 60 * 60, tv_nsec: 0 };
    let home = tempfile::tempdir().unwrap();
    let path = TreePath::top(b"f").unwrap();
    let make = |run: u64, read: i64, written: i64| {
        let part = name(&TreePath::top(b"other").unwrap(), 4, run);
        let file = File::create(home.path().join(part.to_string())).unwrap();
        rustix::fs::futimens(&file, &Timestamps { last_access: day(read), last_modification: day(written) }).unwrap();
        (part, file)
    };
    let (old, _) = make(1, 31, 31);
    let (recent, _) = make(2, 29, 29);
    // Finished a moment ago, with the time of the file that it is for.
    let (finished, _) = make(3, 0, 400);
    let (written, held) = make(4, 31, 31);
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    let second_name = home.path().join("second");
    let (linked, _) = make(5, 31, 31);
    fs::hard_link(home.path().join(linked.to_string()), &second_name).unwrap();
    fs::write(home.path().join(".vp-part.notes"), "not ours").unwrap();
    let mut inbox = Inbox::open(home.path()).unwrap();
    let ours = inbox.parts_for(b"", &name(&path, 4, 9).key).unwrap();
    assert!(ours.is_empty(), "they are for another target");
    let there = |part: &PartName| home.path().join(part.to_string()).exists();
    assert!(!there(&old));
    assert!([recent, finished, written, linked].iter().all(there));
    assert!(home.path().join(".vp-part.notes").exists());
}

#[test]
fn what_waits_for_its_batch_is_not_idle_for_as_long_as_another_process_may_have_it() {
    let home = tempfile::tempdir().unwrap();
    let path = TreePath::top(b"f").unwrap();
    let root = Inbox::open(home.path()).unwrap().directory(b"").unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    let [begun, finished] = [1, 2].map(|run| name(&path, 4, run));
    for part in [begun, finished] {
        let mut file = PartFile::create(&root, &part).unwrap();
        assert!(!remove_idle(&root, &part, later), "somebody writes it");
        file.write(b"full").unwrap();
        let time = (part == finished).then_some(WHEN);
        drop(file.finish(None, time).unwrap());
    }
    let now = SystemTime::now();
    assert_eq!([begun, finished].map(|part| remove_idle(&root, &part, now)), [true, false]);
    assert!(remove_idle(&root, &finished, later));
}

fn now_seconds() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

#[test]
fn where_nothing_can_be_cut_off_the_beginning_is_copied() {
    let home = tempfile::tempdir().unwrap();
    let mut inbox = Inbox::open(home.path()).unwrap();
    let root = inbox.directory(b"").unwrap();
    let ours = name(&TreePath::top(b"f").unwrap(), 9, 1);
    let mut part = PartFile::create(&root, &ours).unwrap();
    part.write(b"beginning, and what does not fit").unwrap();
    let mut part = PartFile::beginning_of(&root, &ours, 9).unwrap();
    assert_eq!(part.offset(), 9);
    part.skip(2);
    part.write(b"!").unwrap();
    drop(part.finish(None, None).unwrap());
    assert_eq!(fs::read(home.path().join(ours.to_string())).unwrap(), b"beginning\0\0!");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}
