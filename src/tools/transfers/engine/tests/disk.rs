//! Disks that are full, read-only, or failing, and systems out of descriptors.

use super::*;
use crate::store::inbox::Inbox;
use crate::transfer::Fault;
use std::io::Write;
use std::process::Command;
use std::slice::from_ref;

/// A small file system of our own, gone when dropped.
struct Mount(tempfile::TempDir);

impl Mount {
    /// `None`, and a line that says so, where mounting is not permitted. With `VP_TEST_EVERYTHING` that fails the test.
    fn new(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = mount(options, directory.path());
        if !mounted {
            let name = std::thread::current().name().unwrap_or("a test").to_owned();
            // Not by a macro: the test runner would keep it to itself.
            writeln!(std::io::stderr(), "SKIPPED: {name}: mounting a tmpfs is not permitted here").unwrap();
            assert!(std::env::var_os("VP_TEST_EVERYTHING").is_none(), "every test must run here");
        }
        mounted.then(|| Self(directory))
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", options]).arg(self.0.path()).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn mount(options: &str, at: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "vp-test"]).arg(at);
    mount.output().is_ok_and(|done| done.status.success())
}

/// Even while somebody has something open there.
fn unmount(at: &Path) {
    assert!(Command::new("umount").arg("-l").arg(at).status().unwrap().success());
}

#[test]
fn what_is_mounted_in_the_directory_is_delivered_to_and_what_comes_later_is_not() {
    // It takes what is mounted within with it when it goes.
    let Some(disk) = Mount::new("size=4m") else {
        return;
    };
    let root = disk.0.path();
    let away: PathBuf = (0..40).map(|n| n.to_string()).collect::<Vec<_>>().join("/").into();
    for directory in ["t/there", "t/later", "t/never"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::create_dir_all(root.join(&away)).unwrap();
    assert!(mount("size=1m", &root.join("t/there")));
    let mut inbox = Inbox::open(root).unwrap();
    let mut look = |path: &str| {
        // Far enough away that nothing else stays open.
        let far = away.ancestors().filter(|path| path.file_name().is_some());
        far.for_each(|path| drop(inbox.directory(path.as_os_str().as_encoded_bytes()).unwrap()));
        inbox.directory(path.as_bytes()).map(drop)
    };
    assert_eq!([look("t/there"), look("t/later")], [Ok(()), Ok(())]);
    assert!(mount("size=1m", &root.join("t/later")));
    assert!(mount("size=1m", &root.join("t/never")));
    assert_eq!(look("t/later"), Err(Fault::Parent), "mounted where we had been");
    fs::create_dir(root.join("t/later/below")).unwrap();
    assert_eq!(look("t/later/below"), Err(Fault::Parent), "nor is what is below it followed");
    assert_eq!(look("t/never"), Ok(()), "it was there when we came");
    unmount(&root.join("t/later"));
    assert_eq!(look("t/later"), Ok(()));
    // Its numbers are not given to another one, as long as we hold it.
    unmount(&root.join("t/there"));
    assert_eq!(look("t/there"), Err(Fault::Parent), "taken away");
    assert!(mount("size=1m", &root.join("t/there")));
    assert_eq!(look("t/there"), Err(Fault::Parent), "and another put in its place");
    ["t/there", "t/never"].iter().for_each(|at| unmount(&root.join(at)));
}

#[test]
fn a_full_disk_fails_the_item_keeps_the_part_and_lets_others_through() {
    let Some(disk) = Mount::new("size=2m") else {
        return;
    };
    let home = Home::new();
    let large = home.put("large", &noise(30, 4_000_000));
    let small = home.put("z-small", b"fits");
    let mut send = job(&[large.clone(), small]);
    send.compression = Compression::Off;
    // Leave a little room behind the large one, as a real disk full to the brim would not.
    let reserve = disk.0.path().join("reserve");
    fs::write(&reserve, noise(31, 100_000)).unwrap();
    let (sent, got) = run(send.clone(), into(disk.0.path()));
    assert_eq!((sent.status, got.status), (Status::LocalIo, Status::LocalIo), "{sent:?}");
    assert!(sent.tally.failures.iter().all(|failure| failure.fault == Fault::NoSpace));
    let parts = names(disk.0.path());
    assert!(parts[0].starts_with(".vp-part.") && !parts.contains(&"large".to_owned()), "{parts:?}");
    let kept = fs::metadata(disk.0.path().join(&parts[0])).unwrap().len();
    assert!(kept > 1_500_000, "{kept}");

    disk.remount("remount,size=8m");
    let (sent, _) = run(send, into(disk.0.path()));
    assert_eq!(sent.status, Status::Complete);
    assert_eq!(sent.sent_bytes, 4_000_000 - kept + 4, "went on where the disk was full");
    assert_eq!(names(disk.0.path()), ["large", "reserve", "z-small"]);
    assert_eq!(fs::read(disk.0.path().join("large")).unwrap(), fs::read(large).unwrap());
}

#[test]
fn a_read_only_directory_is_named_as_such() {
    let Some(disk) = Mount::new("size=2m") else {
        return;
    };
    disk.remount("remount,ro");
    let home = Home::new();
    let tree = home.put("t/f", b"x").parent().unwrap().to_path_buf();
    let (sent, got) = run(job(&[tree]), into(disk.0.path()));
    assert_eq!(sent.tally.failures[0].fault, Fault::ReadOnly, "{sent:?}");
    assert_ne!(sent.status, Status::Complete);
    assert_eq!(sent.tally.counts, got.tally.counts);
    assert_eq!(names(disk.0.path()), [""; 0]);
}

/// Runs one of the tests below again, in a process with this limit, and removes what it leaves: with the limit it may not be able to.
fn in_child(limit: &str, test: &str) {
    let left = tempfile::tempdir().unwrap();
    let done = Command::new("sh")
        .arg("-c")
        .arg(format!("trap '' XFSZ; {limit}; exec \"$0\" --exact \"$1\" --test-threads=1"))
        .arg(std::env::current_exe().unwrap())
        .arg(format!("tools::transfers::engine::tests::disk::{test}"))
        .env(LIMITED, "1")
        .env("TMPDIR", left.path())
        .output()
        .unwrap();
    left.close().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

const LIMITED: &str = "VP_TEST_LIMITED";

#[test]
fn a_file_larger_than_the_system_allows_fails_alone() {
    if std::env::var_os(LIMITED).is_none() {
        // 1,024 blocks of 512 bytes in some shells, of 1,024 in others.
        return in_child("ulimit -f 1024", "a_file_larger_than_the_system_allows_fails_alone");
    }
    let home = Home::new();
    let large = home.from("large");
    fs::File::create(&large).unwrap();
    // Our own files are limited too, so the source is made of pieces that are not.
    let parts: Vec<PathBuf> = (0..3).map(|n| home.put(&format!("t/{n}"), &noise(n, 100_000))).collect();
    fs::remove_file(large).unwrap();
    let hole = home.from("t/hole");
    // A hole needs no room, but its length is beyond the limit on either side.
    let made = fs::File::create(&hole).unwrap().set_len(1 << 30);
    assert!(made.is_err(), "the limit is not in force");
    fs::remove_file(hole).unwrap();
    let (sent, _) = run(job(&parts), into(&home.inbox()));
    assert_eq!(sent.status, Status::Complete);

    let (sent, _) = run(job(&[PathBuf::from("/proc/self/exe"), parts[0].clone()]), into(&home.inbox()));
    assert_eq!(sent.status, Status::Partial, "{sent:?}");
    assert_eq!(sent.tally.failures[0].fault, Fault::TooLarge);
    assert!(!home.inbox().join("exe").exists());
    assert_eq!(names(&home.inbox()), ["0", "1", "2"]);
}

#[test]
fn out_of_descriptors_fails_items_and_nothing_else() {
    if std::env::var_os(LIMITED).is_none() {
        return in_child("ulimit -n 24", "out_of_descriptors_fails_items_and_nothing_else");
    }
    let home = Home::new();
    let deep: PathBuf = std::iter::repeat_n("d", 40).collect();
    fs::create_dir_all(home.from("t").join(&deep)).unwrap();
    home.put("t/f", b"x");
    // Both ends share them here: where the receiver could not even begin, nothing is shown yet.
    let begun = (0..100).map(|_| run_over(pair(), job(&[home.from("t")]), into(&home.inbox())));
    let mut begun = begun.skip_while(|(_, got)| matches!(got, Err(TransferError::Inbox(_))));
    let (sent, got) = begun.next().expect("a receiver that begins");
    let (sent, got) = (sent.unwrap(), got.unwrap());
    assert_ne!(sent.status, Status::Complete, "24 descriptors were enough");
    assert_eq!(sent.tally.counts, got.tally.counts);
    let faults: Vec<Fault> = sent.tally.failures.iter().map(|failure| failure.fault).collect();
    assert!(faults.contains(&Fault::NoDescriptors), "{faults:?}");
}

#[test]
fn a_small_disk_of_a_thousand_files_fills_up_without_a_wrong_one() {
    let Some(disk) = Mount::new("size=1m,nr_inodes=500") else {
        return;
    };
    let home = Home::new();
    for number in 0..1_000 {
        home.put(&format!("t/{number}"), &noise(33, 3_000));
    }
    let (sent, _) = run(job(from_ref(&home.from("t"))), into(disk.0.path()));
    assert_eq!(sent.status, Status::Partial);
    assert!(sent.tally.failures.iter().all(|failure| failure.fault == Fault::NoSpace));
    let good = names(&disk.0.path().join("t"));
    let good: Vec<_> = good.iter().filter(|name| !name.starts_with(".vp-part.")).collect();
    assert_eq!(good.len() + 1, sent.tally.counts.committed as usize);
    for name in good {
        assert_eq!(fs::read(disk.0.path().join("t").join(name)).unwrap(), noise(33, 3_000));
    }
}
