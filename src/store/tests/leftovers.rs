//! What is left unfinished and goes, and what stays.

use super::super::part::{LiveRun, PartFile};
use super::*;
use crate::transfer::item::Mtime;
use rustix::fs::{AtFlags, Timespec, Timestamps, utimensat};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

const SENDER: [u8; 32] = [7; 32];

fn mtime(path: &Path) -> Mtime {
    let directory = openat(CWD, path.parent().unwrap(), DIRECTORY, Mode::empty()).unwrap();
    match There::at(&directory, path.file_name().unwrap().as_encoded_bytes()) {
        Ok(There::File(stamp)) => stamp.mtime,
        other => panic!("{other:?}"),
    }
}

fn part(sender: &[u8; 32], path: &str, (size, time): (u64, Mtime), run: u64) -> PartName {
    let path = TreePath::from_components(path.as_bytes().split(|byte| *byte == b'/')).unwrap();
    PartName { key: PartKey::new(sender, &path, size, time), run }
}

#[test]
fn what_is_left_of_the_very_version_that_is_there_goes_unless_a_run_has_it_in_hand() {
    for directory in ["", "d"] {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().join(directory);
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("f"), "whole").unwrap();
        let version = (5, mtime(&at.join("f")));
        let path = Path::new(directory).join("f").to_string_lossy().into_owned();
        let of = |sender, version, run| part(sender, &path, version, run);
        let left = of(&SENDER, version, 1);
        let kept = [
            of(&[8; 32], version, 2),
            of(&SENDER, (6, version.1), 3),
            of(&SENDER, (5, Mtime { seconds: 5, nanos: 6 }), 4),
            part(&SENDER, "other", version, 5),
            of(&SENDER, version, 0xabc_0006),
        ];
        for part in kept.iter().chain([&left]) {
            fs::write(at.join(part.to_string()), "who").unwrap();
        }
        let mut inbox = Inbox::open(home.path()).unwrap();
        let root = inbox.directory(directory.as_bytes()).unwrap();
        let written = of(&SENDER, version, 7);
        let _writer = PartFile::create(&root, &written).unwrap();
        // Finished by a run that waits for its batch.
        let _live = LiveRun::begin(0xabc_0006);
        let top = TreePath::top(directory.as_bytes()).ok();
        clear_whole(&mut inbox, &SENDER, top.as_ref());
        let there = |part: &PartName| at.join(part.to_string()).exists();
        assert!(!there(&left));
        assert!(kept.iter().chain([&written]).all(there));
        clear_target(&mut inbox, directory.as_bytes(), &left.key);
        assert_eq!(kept.each_ref().map(there), [true, false, false, true, true], "other versions go with a kept file");
    }
}

#[test]
fn old_ones_go_wherever_they_are_and_nothing_is_looked_for_behind_links_or_without_end() {
    let home = tempfile::tempdir().unwrap();
    let (root, outside) = (home.path().join("root"), home.path().join("outside"));
    let deep = root.join("a/b/c");
    for directory in [&deep, &outside] {
        fs::create_dir_all(directory).unwrap();
    }
    symlink(&outside, root.join("way out")).unwrap();
    let now = SystemTime::now();
    let day = |days: u64| {
        let time = (now - Duration::from_secs(days * 24 * 60 * 60)).duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timespec { tv_sec: time.as_secs().try_into().unwrap(), tv_nsec: 0 }
    };
    let name = |run| part(&SENDER, "f", (1, Mtime { seconds: 5, nanos: 6 }), run).to_string();
    let age = |path: &Path, days| {
        let times = Timestamps { last_access: day(days), last_modification: day(days) };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    let make = |directory: &Path, run, days| {
        let path = directory.join(name(run));
        fs::write(&path, "who").unwrap();
        age(&path, days);
        path
    };
    let old = [make(&root, 1, 31), make(&deep, 2, 31)];
    let link = deep.join(name(3));
    symlink("f", &link).unwrap();
    age(&link, 31);
    let kept = [make(&root, 4, 29), make(&deep, 5, 29), make(&outside, 6, 31), deep.join(name(7))];
    symlink("f", &kept[3]).unwrap();
    fs::write(deep.join("file"), "old").unwrap();
    age(&deep.join("file"), 400);
    let there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let opened = openat(CWD, &root, DIRECTORY, Mode::empty()).unwrap();
    remove_old_within(&opened, now, 3).unwrap();
    assert!(there(&old[1]), "so many names lead nowhere near");
    remove_old_within(&opened, now, 100).unwrap();
    assert!(!old.iter().chain([&link]).any(|path| there(path)));
    assert!(kept.iter().all(|path| there(path)) && deep.join("file").exists());
}
