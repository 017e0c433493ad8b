//! Who goes on with which unfinished file.

use super::super::part::PartKey;
use super::super::privilege::without_privilege;
use super::*;
use crate::transfer::item::Mtime;
use std::fs;
use std::time::Duration;

const WHEN: Mtime = Mtime { seconds: 5, nanos: 6 };

fn name(path: &TreePath, size: u64, run: u64) -> PartName {
    PartName { key: PartKey::new(&[7; 32], path, size, WHEN), run }
}

/// So many seconds from now, with so much room.
fn now(seconds: u64, free: u64) -> Now<impl Fn(&OwnedFd) -> u64> {
    Now { time: SystemTime::now() + Duration::from_secs(seconds), free_bytes: move |_: &OwnedFd| free }
}

#[test]
fn what_another_process_may_have_finished_a_moment_ago_is_left_to_it_if_there_is_room() {
    for (seconds, free, is_left) in [(0, u64::MAX, true), (0, 7, false), (60, u64::MAX, false)] {
        let home = tempfile::tempdir().unwrap();
        let path = TreePath::top(b"f").unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let root = inbox.directory(b"").unwrap();
        let (theirs, ours) = (name(&path, 4, 1), name(&path, 4, 2));
        let mut file = PartFile::create(&root, &theirs).unwrap();
        file.write(b"full").unwrap();
        drop(file.finish(Some(0o640), Some(WHEN)).unwrap()); // unlocked, and waits for its batch
        let adopted = adopt_within(&mut inbox, &path, ours, &now(seconds, free)).unwrap().expect("all of it");
        assert_eq!(adopted.length, 4);
        assert_eq!(home.path().join(theirs.to_string()).exists(), is_left, "{seconds} {free}");
        assert!(home.path().join(ours.to_string()).exists());
    }
}

#[test]
fn an_unfinished_file_is_taken_over_once_and_hashed() {
    let home = tempfile::tempdir().unwrap();
    let path = TreePath::top(b"f").unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let old = name(&path, 4_000_000, 1);
    fs::write(home.path().join(old.to_string()), &content).unwrap();
    let ours = name(&path, 4_000_000, 2);
    let mut inbox = Inbox::open(home.path()).unwrap();
    let mut rival = Inbox::open(home.path()).unwrap();
    assert_eq!(rival.parts_for(b"", &ours.key).unwrap(), [old]);
    let adopted = adopt(&mut inbox, &path, ours).unwrap().unwrap();
    assert!(adopt(&mut rival, &path, name(&path, 4_000_000, 3)).unwrap().is_none());
    let states = adopted.checkpoints(4_000_000, NonZeroU64::new(64).unwrap()).unwrap();
    let lengths: Vec<u64> = states.iter().map(|state| state.0).collect();
    assert_eq!(lengths, [1 << 20, 2 << 20, 3_000_000]);
    assert_eq!(states[2].1.hash(), *blake3::hash(&content).as_bytes());
}

#[test]
fn a_complete_file_that_nobody_may_write_is_taken_over_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    without_privilege(|| {
        let path = TreePath::top(b"f").unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let root = inbox.directory(b"").unwrap();
        for (run, mode) in [(1, 0o444), (2, 0o400), (3, 0o555)] {
            let left = name(&path, 4, run);
            let mut file = PartFile::create(&root, &left).unwrap();
            file.write(b"full").unwrap();
            drop(file.finish(Some(mode), Some(WHEN)).unwrap()); // and killed before it got its name
            let denied = fs::File::options().write(true).open(home.path().join(left.to_string())).unwrap_err();
            assert_eq!(denied.kind(), std::io::ErrorKind::PermissionDenied, "so nothing is tested");
            inbox = Inbox::open(home.path()).unwrap();
            let ours = name(&path, 4, run + 10);
            let adopted = adopt_within(&mut inbox, &path, ours, &now(60, u64::MAX)).unwrap().expect("taken over");
            assert!(!home.path().join(left.to_string()).exists());
            assert_eq!(adopted.checkpoints(4, NonZeroU64::MIN).unwrap()[0].0, 4);
            let file = PartFile::resume(&root, &ours, 4).unwrap().finish(Some(mode), None).unwrap().0;
            assert_eq!(u32::from(mode), fstat(&file).unwrap().st_mode & 0o777);
            fs::remove_file(home.path().join(ours.to_string())).unwrap();
        }
    });
}

#[test]
fn what_another_run_still_writes_is_copied_and_left_to_it() {
    let home = tempfile::tempdir().unwrap();
    let path = TreePath::top(b"f").unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut inbox = Inbox::open(home.path()).unwrap();
    let root = inbox.directory(b"").unwrap();
    let [theirs, shorter, ours] = [1, 2, 3].map(|run| name(&path, 4_000_000, run));
    let mut writer = PartFile::create(&root, &theirs).unwrap();
    writer.write(&content).unwrap();
    let mut behind = PartFile::create(&root, &shorter).unwrap();
    behind.write(&content[..10]).unwrap();
    let adopted = adopt(&mut inbox, &path, ours).unwrap().expect("a copy");
    writer.write(b"and on").unwrap();
    let states = adopted.checkpoints(4_000_000, NonZeroU64::new(64).unwrap()).unwrap();
    assert_eq!(states.last().unwrap().0, 3_000_000);
    assert_eq!(states.last().unwrap().1.hash(), *blake3::hash(&content).as_bytes());
    let mut copy = PartFile::resume(&root, &ours, 3_000_000).unwrap();
    copy.write(b"otherwise").unwrap();
    let read = |part: PartName| fs::read(home.path().join(part.to_string())).unwrap();
    assert_eq!(read(theirs), [&content[..], b"and on"].concat());
    assert_eq!(read(ours), [&content[..], b"otherwise"].concat());
    assert_eq!(read(shorter).len(), 10);
}

#[test]
fn the_longest_unfinished_file_serves_whether_another_run_still_writes_it_or_not() {
    for (written, left, copied) in [(1_000, 10, true), (10, 1_000, false)] {
        let home = tempfile::tempdir().unwrap();
        let path = TreePath::top(b"f").unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let [theirs, old, ours] = [1, 2, 3].map(|run| name(&path, 4_000, run));
        let mut writer = PartFile::create(&inbox.directory(b"").unwrap(), &theirs).unwrap();
        writer.write(&vec![1; written]).unwrap();
        fs::write(home.path().join(old.to_string()), vec![1; left]).unwrap();
        assert_eq!(adopt(&mut inbox, &path, ours).unwrap().unwrap().length, 1_000);
        let there = |part: PartName| home.path().join(part.to_string()).exists();
        assert_eq!([there(theirs), there(old), there(ours)], [true, copied, true]);
    }
}

#[test]
fn what_another_run_still_writes_is_not_copied_where_that_would_take_the_room() {
    for (free, left, adopted) in
        [(2_000, None, Some(1_000)), (1_999, None, None), (1_999, Some(10), Some(10)), (0, Some(0), Some(0))]
    {
        let home = tempfile::tempdir().unwrap();
        let path = TreePath::top(b"f").unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let [theirs, old, ours] = [1, 2, 3].map(|run| name(&path, 4_000, run));
        let mut writer = PartFile::create(&inbox.directory(b"").unwrap(), &theirs).unwrap();
        writer.write(&[1; 1_000]).unwrap();
        if let Some(left) = left {
            fs::write(home.path().join(old.to_string()), vec![1; left]).unwrap();
        }
        let found = adopt_within(&mut inbox, &path, ours, &now(0, free)).unwrap();
        assert_eq!(found.map(|found| found.length), adopted.map(|length| length as u64), "{free}");
    }
}

#[test]
fn an_unfinished_file_of_another_version_or_in_use_is_left() {
    let home = tempfile::tempdir().unwrap();
    let path = TreePath::top(b"f").unwrap();
    let mut inbox = Inbox::open(home.path()).unwrap();
    let root = inbox.directory(b"").unwrap();
    let _writer = PartFile::create(&root, &name(&path, 5, 1)).unwrap();
    fs::write(home.path().join(name(&path, 6, 1).to_string()), "x").unwrap();
    assert!(adopt(&mut inbox, &path, name(&path, 5, 2)).unwrap().is_none());
    assert!(adopt(&mut inbox, &path, name(&path, 7, 2)).unwrap().is_none());
    assert!(adopt(&mut inbox, &path, name(&path, 6, 2)).unwrap().is_some());
}
