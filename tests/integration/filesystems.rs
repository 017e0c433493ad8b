//! File systems, and systems, that cannot or may not do everything: what can be delivered is, and what cannot is said.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::data::{digest, nasty_tree};
use crate::harness::{
    OLD_SYSTEM, Party, Random, Running, World, assert_same_content, assert_same_tree, eventually, exit, names, skip,
};
use crate::impair::Shape;

/// A receiver of files in the world's `inbox`.
fn inbox(west: &Party<'_>, args: &[&str]) -> Running {
    west.waiting(west.recv().args(["drop", "-d", "inbox"]).args(args))
}

#[test]
fn trees_come_and_grow_where_newer_system_calls_are_refused() {
    let refused = OLD_SYSTEM.map(|rule| rule.replace("ENOSYS", "EPERM"));
    for filter in [OLD_SYSTEM, refused.each_ref().map(String::as_str)] {
        let world = World::new();
        let relay = world.relay();
        let (east, west) = (relay.party("east").filtered(&filter), relay.party("west").filtered(&filter));
        nasty_tree(&world.path("tree"));
        world.dir("tree/day/2026");
        world.write("tree/day/2026/a", "1");
        world.dir("inbox");
        for more in ["b", "c"] {
            let recv = inbox(&west, &["--overwrite", "yes"]);
            east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
            recv.wait().expect(exit::DONE);
            assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));
            world.write(&format!("tree/day/2026/{more}"), "2");
        }
        let recv = inbox(&west, &[]);
        east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
        recv.wait().expect(exit::DONE);
        assert_eq!(names(&world.path("inbox/tree/day/2026")), ["a", "b", "c"]);
        assert!(fs::read_dir(world.path("inbox")).expect("an inbox").count() == 1, "leftovers");
    }
}

/// A small file system of the test's own, gone when dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// None, and a line that says so, where mounting is not permitted.
    fn new(at: PathBuf) -> Option<Mounted> {
        Self::mount(&["-t", "tmpfs", "-o", "size=4m,mode=755", "vp-test"], at)
    }

    /// What is in this image of a disk.
    fn of_image(image: &Path, at: PathBuf) -> Option<Mounted> {
        Self::mount(&["-o", "loop", image.to_str().expect("text")], at)
    }

    /// Whatever `mount` makes of these.
    pub fn mount(args: &[&str], at: PathBuf) -> Option<Mounted> {
        if has_run("mount", args.iter().map(Path::new).chain([&*at])) {
            return Some(Mounted(at));
        }
        skip("mounting needs root, and loop devices for the image of a disk");
        None
    }

    /// As the kernel does on an error of the disk: from now on nothing can be written, open files or not.
    fn becomes_read_only(&self) {
        assert!(has_run("mount", ["-o", "remount,abort"].map(Path::new).into_iter().chain([&*self.0])));
    }
}

fn has_run<'a>(program: &str, args: impl IntoIterator<Item = &'a Path>) -> bool {
    Command::new(program).args(args).output().is_ok_and(|done| done.status.success())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn what_is_mounted_in_the_inbox_is_delivered_to() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    nasty_tree(&world.path("tree/photos/2026"));
    world.write("tree/beside", "on the disk around it");
    let photos = world.dir("inbox/tree/photos");
    let Some(_mounted) = Mounted::new(photos.clone()) else { return };
    fs::write(photos.join("before"), "there before").expect("a file");
    for overwrite in ["never", "rename", "yes"] {
        let recv = inbox(&west, &["--overwrite", overwrite]);
        world.write(&format!("tree/photos/{overwrite}"), overwrite);
        east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
        recv.wait().expect(exit::DONE);
        assert_eq!(fs::read_to_string(photos.join("before")).expect("it stays"), "there before");
        fs::remove_file(photos.join("before")).expect("aside");
        assert_same_content(&world.path("tree"), &world.path("inbox/tree"));
        fs::write(photos.join("before"), "there before").expect("back");
    }
}

#[test]
fn disk_that_turns_read_only_in_mid_write_is_told_of_at_both_ends_and_the_next_run_goes_on() {
    const LARGE: u64 = 24 << 20;
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("small", "small");
    Random::file(&world.path("large"), 1, LARGE);
    let (image, at) = (world.path("image"), world.dir("inbox"));
    fs::File::create(&image).and_then(|file| file.set_len(4 * LARGE)).expect("an image");
    if !has_run("mkfs.ext4", [Path::new("-q"), &image]) {
        return skip("to make a disk needs mkfs.ext4");
    }
    let Some(disk) = Mounted::of_image(&image, at.clone()) else { return };
    let recv = inbox(&west, &[]);
    let send = east.send().args(["small", "large", "west", "--limit", "1M"]).spawn();
    let part_bytes = || {
        let part = names(&at).into_iter().find(|name| name.starts_with(".vp-part."));
        part.and_then(|part| fs::metadata(at.join(part)).ok()).map_or(0, |part| part.len())
    };
    eventually("a part of the large file is there", || at.join("small").exists() && part_bytes() > LARGE / 6);
    // So that there is something to go on with when the disk is back.
    assert!(has_run("sync", [Path::new("-f"), &at]));
    disk.becomes_read_only();
    let line = "1 of 2 items was not transferred: ";
    let sent = send.wait().expect(exit::PARTIAL);
    sent.expect_error(&format!("error: west:drop: {line}at west: read-only file system"));
    recv.wait().expect(exit::PARTIAL).expect_error(&format!("error: east:drop: {line}read-only file system"));
    assert!(!at.join("large").exists(), "half of it has its name");
    drop(disk);

    // What the error has left is mended by the check at the next start, whose status 1 says that it mended something.
    let _ = has_run("fsck.ext4", [Path::new("-p"), &image]);
    let Some(_disk) = Mounted::of_image(&image, at.clone()) else { return };
    assert!(part_bytes() > 0, "the part is gone");
    let (proxy, through) = relay.behind(Shape::default());
    let recv = inbox(&west, &[]);
    world.party("east", &through).send().args(["small", "large", "west"]).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE);
    assert!(proxy.count().delivered[0] < LARGE - LARGE / 8, "all was sent once more");
    assert_eq!(names(&at), ["large", "lost+found", "small"]);
    assert_eq!(digest(&at.join("large")), digest(&world.path("large")));
}

#[test]
fn without_a_rename_that_never_replaces_hard_links_serve_and_without_those_a_hint() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    Random::file(&world.path("file"), 1, 1 << 20);
    world.dir("inbox");
    let none = "the file system has neither a rename that never replaces nor hard links, which only --overwrite yes does without";
    for (refused, no_links) in [("EINVAL", "EPERM"), ("ENOSYS", "EOPNOTSUPP"), ("EOPNOTSUPP", "EMLINK")] {
        let rule = format!("renameat2={refused}");
        let west = relay.party("west").filtered(&[&rule, &format!("linkat={no_links}"), "ftruncate=EPERM"]);
        for overwrite in ["never", "rename"] {
            let recv = inbox(&west, &["--overwrite", overwrite]);
            let sent = east.send().args(["file", "west"]).run();
            for done in [sent, recv.wait()] {
                let done = done.expect(exit::REFUSED).expect_error(none);
                assert!(done.stderr.contains("hint: vp-recv --overwrite yes"), "{done}");
            }
            assert!(!world.path("inbox/file").exists());
        }
        // What came is there still, and is not sent again.
        let (proxy, through) = relay.behind(Shape::default());
        let recv = inbox(&west, &["--overwrite", "yes"]);
        world.party("east", &through).send().args(["file", "west"]).run().expect(exit::DONE);
        recv.wait().expect(exit::DONE);
        assert!(proxy.count().delivered[0] < 100_000, "it was sent once more");
        assert_eq!(names(&world.path("inbox")), ["file"]);
        fs::remove_file(world.path("inbox/file")).expect("removed");
        let west = relay.party("west").filtered(&[&rule]);
        for (content, code) in [("one", exit::DONE), ("another", exit::REFUSED)] {
            world.write("note", content);
            let recv = inbox(&west, &[]);
            east.send().args(["note", "west"]).run().expect(code);
            recv.wait().expect(code);
            assert_eq!(fs::read_to_string(world.path("inbox/note")).expect("a file"), "one");
        }
        assert_eq!(names(&world.path("inbox")), ["note"]);
        fs::remove_file(world.path("inbox/note")).expect("removed");
    }
}

/// A tree without links, and what a FAT or a foreign server would refuse of it.
fn attributes_refused(errno: &str) -> [String; 4] {
    ["fchmod", "utimensat", "fchmodat", "chmod"].map(|call| format!("{call}={errno}"))
}

#[test]
fn what_a_file_system_does_not_keep_is_said_once_and_the_rest_arrives() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    let tree = world.dir("tree/empty").parent().expect("a tree").to_owned();
    for name in ["a", "b", "empty/c"] {
        world.write(&format!("tree/{name}"), name);
    }
    crate::harness::data::sparse(&tree.join("sparse"), 1 << 20);
    for errno in ["EPERM", "EOPNOTSUPP"] {
        let rules = attributes_refused(errno);
        let all: Vec<&str> = rules.iter().map(String::as_str).chain(["ftruncate=EPERM"]).collect();
        for (rules, what) in [(&all[..], "times and permissions"), (&all[..1], "permissions"), (&all[1..2], "times")] {
            let _ = fs::remove_dir_all(world.path("inbox"));
            world.dir("inbox");
            let west = relay.party("west").filtered(rules);
            for _ in 0..2 {
                let recv = inbox(&west, &[]);
                east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
                let done = recv.wait().expect(exit::DONE);
                let said: Vec<_> = done.stderr.lines().filter(|line| !line.starts_with("attached")).collect();
                let line = format!(
                    "vp-recv: warning: {what} are not kept in {}: its file system refuses them",
                    world.path("inbox").display()
                );
                assert!(said.len() <= 1 && said.iter().all(|said| *said == line), "{errno}: {done}");
                for name in ["a", "b", "empty/c", "sparse"] {
                    assert_eq!(digest(&tree.join(name)), digest(&world.path("inbox/tree").join(name)), "{name}");
                }
                world.write("tree/more", "more");
            }
            let _ = fs::remove_file(tree.join("more"));
        }
    }
}

#[test]
fn where_nothing_says_who_made_a_directory_it_stays_as_the_first_transfer_left_it() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west").filtered(&["fsetxattr=EOPNOTSUPP"]));
    let (tree, there) = (world.dir("tree/below").parent().expect("a tree").to_owned(), world.path("inbox/tree"));
    let mode = |mode| fs::set_permissions(tree.join("below"), fs::Permissions::from_mode(mode)).expect("a mode");
    mode(0o755);
    world.write("tree/below/one", "1");
    world.dir("inbox");
    let deliver = || {
        let recv = inbox(&west, &["--overwrite", "yes"]);
        let sent = east.send().args(["tree", "west"]).run().expect(exit::DONE);
        (sent, recv.wait().expect(exit::DONE))
    };
    deliver().0.expect_silence();
    assert_same_tree(&tree, &there);
    world.write("tree/below/two", "2");
    deliver().0.expect_silence();
    assert_same_content(&tree, &there);
    mode(0o700);
    let (sent, got) = deliver();
    for done in [sent, got] {
        assert!(
            done.stderr.contains("already there with other permissions")
                && done.stderr.contains("that the sender made"),
            "{done}"
        );
    }
    assert_eq!(fs::metadata(there.join("below")).expect("it").permissions().mode() & 0o7777, 0o755);
}

#[test]
fn without_a_sync_of_directories_the_file_system_is_synced_and_without_one_of_data_nothing_counts() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    world.write("file", "content");
    world.dir("inbox");
    let west = relay.party("west").filtered(&["fsync=EINVAL"]);
    world.dir("tree/empty");
    let recv = inbox(&west, &[]);
    east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE);
    assert_eq!(names(&world.path("inbox")), ["tree", "tree/empty"]);
    let recv = inbox(&west, &[]);
    // Here it is the file's own that is refused.
    east.send().args(["file", "west"]).run().expect(exit::FAILED).expect_error("input/output error");
    recv.wait().expect(exit::FAILED);
    assert_eq!(names(&world.path("inbox")), ["tree", "tree/empty"]);
}

#[test]
fn links_are_refused_by_name_where_there_are_none_and_the_rest_arrives() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    world.dir("tree");
    world.write("tree/file", "content");
    std::os::unix::fs::symlink("file", world.path("tree/link")).expect("a link");
    for errno in ["EPERM", "EOPNOTSUPP", "ENOSYS"] {
        world.dir("inbox");
        let west = relay.party("west").filtered(&[&format!("symlinkat={errno}")]);
        let recv = inbox(&west, &[]);
        let sent = east.send().args(["tree", "west"]).run();
        for done in [sent, recv.wait()] {
            done.expect(exit::REFUSED)
                .expect_error("1 of 3 items was not transferred: ")
                .expect_error("the file system has no symbolic links");
        }
        assert_eq!(names(&world.path("inbox/tree")), ["file"]);
        fs::remove_dir_all(world.path("inbox")).expect("removed");
    }
}
